"""Which fields are predicted, and whose they are: sure, or refused."""

import math

import numpy as np
import pytest
from PIL import Image

from openurine_lib.data.given import ONE_PATIENT, given_fields
from openurine_lib.data.source import DataError


def folder(path, names, table=None, file="patients.csv"):
    path.mkdir(parents=True)
    for name in names:
        Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(path / f"{name}.png")
    if table is not None:
        (path / file).write_text(table)
    return path


def test_a_table_says_whose_each_field_is(tmp_path):
    table = "image,patient,um_per_px\nb,Ann,0.3\na.png,Bo,\nc,Ann,0.5\nnot-here,Cy,\n"
    fields = given_fields([folder(tmp_path / "in", "abc", table)], tmp_path)
    assert fields[["image", "group"]].to_numpy().tolist() == [
        ["a", "Bo"],
        ["b", "Ann"],
        ["c", "Ann"],
    ]
    assert math.isnan(fields.um_per_px[0]) and fields.um_per_px.tolist()[1:] == [0.3, 0.5]


@pytest.mark.parametrize("file", ["slides.csv", "groups.csv"])
def test_slides_and_groups_count_as_well(tmp_path, file):
    table = f"image,{file.removesuffix('s.csv')}\na,s1\nb,s2\n"
    assert given_fields([folder(tmp_path / "in", "ab", table, file)], tmp_path).group.nunique() == 2


def test_without_a_table_there_is_one_patient(tmp_path):
    images = [folder(tmp_path / "in", "ab"), np.zeros((8, 8, 3), np.uint8)]
    fields = given_fields(images, tmp_path)
    assert fields.image.tolist() == ["a", "b", "field2"] and set(fields.group) == {ONE_PATIENT}


def test_a_field_without_a_patient_is_named_with_its_table(tmp_path):
    place = folder(tmp_path / "in", "ab", "image,patient\na,Ann\n")
    with pytest.raises(DataError, match="patients.csv: has no row for b.png"):
        given_fields([place], tmp_path)


def test_patients_are_never_mixed_up(tmp_path):
    one = folder(tmp_path / "one", "ab", "image,patient\na,7\nb,8\n")
    other = folder(tmp_path / "other", "cd", "image,patient\nc,7\nd,9\n")
    with pytest.raises(ValueError, match="patient '7' stands in .*one and in .*other; "):
        given_fields([one, other], tmp_path)
    alone = folder(tmp_path / "alone", "e")
    with pytest.raises(ValueError, match="e.png: no table says whose field this is"):
        given_fields([one, alone], tmp_path)
