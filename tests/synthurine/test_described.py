"""The descriptions beside a drawn set: Croissant, read by its own library, and the datasheet."""

import argparse
import json
import shutil

import mlcroissant
import numpy as np
import pandas as pd
import pytest
from drawing import TINY
from PIL import Image

from openurine_lib.data import readers
from synthurine import CLASSES, command, contents, croissant, datasheet, spec_for, write


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A set as the command leaves it."""
    out = tmp_path_factory.mktemp("described") / "set"
    options = [f"--{key.replace('_', '-')}={value}" for key, value in TINY.items()]
    assert command.main(["--out", str(out), "--seed", "4", "--workers", "1", *options]) == 0
    return out


def records(folder, name):
    """The records of a set as a frame; text, which the library gives as bytes, as text."""
    dataset = mlcroissant.Dataset(folder / croissant.FILE)
    issues = dataset.metadata.ctx.issues
    assert not issues.errors and not issues.warnings
    frame = pd.DataFrame(list(dataset.records(name)))
    frame.columns = [column.partition("/")[2] for column in frame]
    return frame.map(lambda value: value.decode() if isinstance(value, bytes) else value)


def yolo(folder):
    """The boxes of the label files: [image, name, x, y, width, height], in pixels."""
    rows = []
    for file in sorted((folder / "labels").glob("*.txt")):
        for line in file.read_text().splitlines():
            cls, x, y, w, h = map(float, line.split())
            px = np.array([x - w / 2, y - h / 2, w, h]) * TINY["field_px"]
            rows.append((file.stem, CLASSES[int(cls)], *px))
    return pd.DataFrame(rows, columns=["image", "name", "x", "y", "w", "h"])


def test_croissant_gives_the_pictures(drawn):
    for subset, place in (("labelled", "images"), ("unlabelled", "unlabelled")):
        found = records(drawn, subset)
        assert sorted(found["image"]) == sorted(file.stem for file in (drawn / place).iterdir())
        assert len(found) == TINY[{"labelled": "fields"}.get(subset, subset)]
        row = found.iloc[-1]
        with Image.open(drawn / place / f"{row['image']}.jpg") as image:
            assert np.array_equal(row["content"], image)


def test_croissant_gives_the_boxes_of_the_label_files(drawn):
    boxes, named = records(drawn, "boxes"), records(drawn, "classes").set_index("id")["name"]
    fields = records(drawn, "labelled_fields").set_index("id")["file_name"]
    expected = yolo(drawn)
    images = boxes["field"].map(fields).str.extract(r"images/(.*)\.jpg")[0]
    assert images.tolist() == expected["image"].tolist()
    assert boxes["class"].map(named).tolist() == expected["name"].tolist()
    assert np.allclose([*boxes["box"]], expected[["x", "y", "w", "h"]], atol=0.011)


def test_croissant_gives_the_tables(drawn):
    for name, file in (("fields", "patients.csv"), ("reports", "laboratory.csv")):
        table = pd.read_csv(drawn / file)
        pd.testing.assert_frame_equal(records(drawn, name).set_axis(table.columns, axis=1), table)


def test_a_changed_table_is_noticed(drawn, tmp_path):
    copy = shutil.copytree(drawn, tmp_path / "copy")
    with (copy / "patients.csv").open("a") as file:
        file.write("X,X,labelled,normal,1,1.0\n")
    with pytest.raises(mlcroissant.GenerationError) as caught:
        records(copy, "fields")
    assert "not identical" in str(caught.value.__cause__)


def test_what_a_set_has_none_of_is_not_described(tmp_path):
    out = write(tmp_path, spec_for(1) | {"field_px": 96, "field_um": 150}, 0, workers=1)
    drawn = contents.count(out)
    croissant.write(out, drawn)
    sets = {entry.id for entry in mlcroissant.Dataset(out / croissant.FILE).metadata.record_sets}
    assert sets == {"labelled", "fields", "labelled_fields", "boxes", "classes"}
    assert len(records(out, "labelled")) == 1
    assert "| cohort | `cohort/` | 0 | 0 |" in datasheet.datasheet(drawn)


def test_the_datasheet_counts_the_files(drawn):
    text = (drawn / datasheet.FILE).read_text(encoding="utf-8")
    boxes = yolo(drawn)
    for name, found in boxes.groupby("name"):
        assert f"\n| {name} | {len(found)} | {found['image'].nunique()} | " in text
    assert f"have {len(boxes)} boxes" in text and f"with {len(boxes)} boxes of" in text
    assert f"\n| labelled | `images/` | {TINY['fields']} | {TINY['patients']} | boxes |" in text

    before = contents.count(drawn)
    coco = json.loads((drawn / "annotations" / "coco.json").read_text())
    rarest = before.classes().iloc[-1]["name"]
    assert f"Without a box in this set: {rarest}" not in text
    without = before.boxes[before.boxes["name"] != rarest]
    other = datasheet.datasheet(contents.Contents(**vars(before) | {"boxes": without}))
    assert f"have {len(without)} boxes" in other and len(without) < len(coco["annotations"])
    assert f"Without a box in this set: {rarest}." in other


def test_the_datasheets_command_draws_the_same_set(drawn, monkeypatch):
    text = (drawn / datasheet.FILE).read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("openurine synthesize"))
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    asked = []

    def write(out, spec, seed, workers):
        asked.append((spec, seed))
        return drawn

    monkeypatch.setattr("synthurine.dataset.write", write)
    command.run(parser.parse_args(line.split()[2:]))
    assert asked == [(TINY, 4)]


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no whole drawn set: meta\.json.*synthesize"):
        contents.count(tmp_path)


def test_croissant_is_not_read_as_labels(drawn, tmp_path):
    """Also other people's sets come with a croissant.json beside their COCO file."""
    copy = shutil.copytree(drawn, tmp_path / "copy")
    (copy / "data.yaml").unlink()
    source = readers.read(copy)
    assert not source.problems and len(source.found) == len(yolo(drawn))
