"""From a folder to a data set: prepared once, loaded after; limits, sides, fingerprints."""

import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import four_forms as ff
import pandas as pd
import pytest

import synthurine
from openurine_lib import open_run
from openurine_lib.data import check, dataset, splits
from openurine_lib.data.source import DataError

DATA = Path(os.environ.get("OPENURINE_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")


@pytest.fixture
def run_of(tmp_path, monkeypatch):
    """Runs whose results lie in a folder of the test's own."""
    monkeypatch.setenv("OPENURINE_ROOT", str(tmp_path / "root"))
    return lambda folder, profile="smoke", seed=0: open_run(str(folder), profile, seed)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine").mkdir()
    ff.yolo(tmp_path / "mine")
    ff.images(tmp_path / "mine", "unlabelled", [f"u{i}" for i in range(12)], first=20)
    ff.images(tmp_path / "mine", "cohort", ["c0", "c1"], first=40)
    extra = [(f"u{i}.png", f"S{i // 2}") for i in range(12)] + [("c0.png", "C0"), ("c1.png", "C1")]
    ff.groups(tmp_path / "mine", extra)
    (tmp_path / "mine" / "laboratory.csv").write_text(
        "group,component,level,count\nC0,RBC,few,4.5\nC1,RBC,none,\n"
    )
    return tmp_path / "mine"


def test_the_two_frames(run_of, folder):
    d = run_of(folder).dataset
    assert list(d.images) == dataset.IMAGE_COLUMNS and list(d.boxes) == dataset.BOX_COLUMNS
    assert (d.name, d.synthetic, d.taxonomy.name, len(d.images), len(d.boxes)) == (
        "mine",
        False,
        "openurine",
        26,
        24,
    )
    assert d.images["split"].value_counts().to_dict() == {
        "labelled": 12,
        "unlabelled": 12,
        "cohort": 2,
    }
    assert (d.images["fold"].ge(0) == d.images["split"].eq("labelled")).all()
    assert all(Path(p).is_absolute() and Path(p).is_file() for p in d.images["path"])
    assert d.laboratory.iloc[:, :3].to_numpy().tolist() == [
        ["C0", "RBC", "few"],
        ["C1", "RBC", "none"],
    ]
    assert d.laboratory["count"].iloc[0] == 4.5 and math.isnan(d.laboratory["count"].iloc[1])
    assert d.images["um_per_px"].isna().all() and d.images["um_per_px"].dtype == float
    assert list(d.cohort_images()["image"]) == ["c0", "c1"]


def test_sides_share_no_group(run_of, folder):
    d = run_of(folder).dataset
    for fold in range(5):
        tested = set(d.test_images(fold)["group"])
        assert tested and not tested & set(d.train_images(fold)["group"])
        assert not tested & set(d.unlabelled_images(fold)["group"])
        assert len(d.test_images(fold)) + len(d.train_images(fold)) == 12
        assert set(d.train_images(fold, 3)["image"]) < set(d.train_images(fold)["image"])
        assert len(d.train_images(fold, 3)) == 3 and len(d.unlabelled_images(fold, 2)) == 2
    covered = d.boxes_of(d.train_images(0, 3))["cls"].unique()
    assert set(covered) == set(d.boxes_of(d.train_images(0))["cls"])


def test_the_second_call_only_loads(run_of, folder, monkeypatch):
    first = run_of(folder).dataset
    monkeypatch.setattr(dataset, "read", lambda _: pytest.fail("read again"))
    second = run_of(folder).dataset
    pd.testing.assert_frame_equal(first.images, second.images)
    pd.testing.assert_frame_equal(first.boxes, second.boxes)


def test_what_changed_is_prepared_anew(run_of, folder):
    first = run_of(folder).dataset
    ff.edit(folder / "labels" / "f00.txt", 3, "1 0.5 0.5 0.25 0.25")
    second = run_of(folder).dataset
    assert len(second.boxes) == len(first.boxes) + 1 and second.fingerprint != first.fingerprint
    assert run_of(folder, seed=1).dataset.fingerprint == second.fingerprint


def test_the_fingerprint_is_of_the_contents_alone(run_of, folder, tmp_path):
    first = run_of(folder).dataset
    moved = shutil.copytree(folder, tmp_path / "elsewhere" / "other_name")
    for file in moved.rglob("*"):
        os.utime(file, (1, 1))
    assert run_of(moved).dataset.fingerprint == first.fingerprint
    (moved / "images" / "f00.png").rename(moved / "images" / "g00.png")
    (moved / "labels" / "f00.txt").rename(moved / "labels" / "g00.txt")
    text = (moved / "slides.csv").read_text()
    (moved / "slides.csv").write_text(text.replace("f00", "g00"))
    assert run_of(moved).dataset.fingerprint != first.fingerprint


def test_a_bad_set_leaves_its_list_and_the_data_as_they_were(run_of, folder):
    ff.edit(folder / "labels" / "f00.txt", 1, "oops")
    before = {f: f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    run = run_of(folder)
    with pytest.raises(DataError, match="labels/f00.txt:1"):
        _ = run.dataset
    assert {f: f.read_bytes() for f in folder.rglob("*") if f.is_file()} == before
    content = json.loads((run.dir / "dataset" / "check.json").read_text())
    assert (
        content["problems"][0]["file"] == "labels/f00.txt" and content["problems"][0]["line"] == 1
    )
    assert not (run.dir / "dataset" / "meta.json").exists()
    ff.edit(folder / "labels" / "f00.txt", 1, "1 0.5 0.5 0.25 0.25")
    assert len(run_of(folder).dataset.boxes) == 24


def test_a_problem_that_was_mended_is_in_no_table(run_of, folder):
    good = run_of(folder).dataset.report
    path = folder / "labels" / "f00.txt"
    text, times = path.read_text(), path.stat()
    path.write_text("oops\n")
    with pytest.raises(DataError, match="labels/f00.txt:1"):
        _ = run_of(folder).dataset
    path.write_text(text)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as from a backup: nothing changed
    pd.testing.assert_frame_equal(run_of(folder).dataset.report, good)


def test_a_folder_without_labels_leaves_its_list(run_of, folder):
    shutil.rmtree(folder / "labels")
    (folder / "data.yaml").unlink()
    run = run_of(folder)
    with pytest.raises(DataError, match="holds no labels"):
        _ = run.dataset
    assert "holds no labels" in (run.dir / "dataset" / "check.json").read_text()


def test_the_sets_own_facts_are_read_with_a_byte_order_mark(run_of, folder):
    (folder / "meta.json").write_text('\ufeff{"um_per_px": 0.5, "synthetic": true}')
    d = run_of(folder).dataset
    assert d.synthetic and d.meta["um_per_px"] == 0.5 and (d.images["um_per_px"] == 0.5).all()


def test_a_set_that_turns_bad_is_not_served_from_the_store(run_of, folder):
    _ = run_of(folder).dataset
    (folder / "images" / "f00.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="corrupt image: images/f00.png"):
        _ = run_of(folder).dataset


def test_too_few_groups_is_a_data_error(run_of, folder):
    (folder / "slides.csv").write_text(
        "image,slide\n" + "".join(f"{f.name},S0\n" for f in folder.glob("[iu]*/*.png"))
    )
    for file in (folder / "cohort").iterdir():
        file.unlink()
    (folder / "laboratory.csv").unlink()
    with pytest.raises(DataError, match="1 groups cannot fill 5 folds"):
        _ = run_of(folder).dataset


def test_equal_names_in_two_folders_get_ids_of_their_own(run_of, folder):
    (folder / "unlabelled" / "u0.png").rename(folder / "unlabelled" / "f00.png")
    text = (folder / "slides.csv").read_text()
    text = text.replace("u0.png", "unlabelled/f00.png").replace("\nf00.png", "\nimages/f00.png")
    (folder / "slides.csv").write_text(text)
    d = run_of(folder).dataset
    assert {"images_f00", "unlabelled_f00"} <= set(d.images["image"]) and d.images[
        "image"
    ].is_unique


def test_synthetic_data_is_drawn_once_and_goes_on_after_a_kill(run_of, monkeypatch):
    run = run_of("synthetic")
    small = {
        "fields": 10,
        "unlabelled": 2,
        "field_px": 160,
        "field_um": 160,
        "patients": 5,
        "cohort": 1,
    }
    run = replace(run, profile=replace(run.profile, synthetic=small))
    monkeypatch.setattr(synthurine, "write", write_until_killed := Killed(synthurine.write))
    with pytest.raises(KeyboardInterrupt):
        _ = run.dataset
    half = {f: f.stat().st_mtime_ns for f in (run.dir / "dataset" / "fields" / "images").iterdir()}
    d = run.dataset
    assert (
        d.synthetic and len(half) == 5 and all(f.stat().st_mtime_ns == at for f, at in half.items())
    )
    splits.assert_disjoint(d.images)
    again = replace(run).dataset
    assert again.fingerprint == d.fingerprint and write_until_killed.calls == 2
    other = replace(run, seed=1).dataset
    assert other.fingerprint != d.fingerprint and write_until_killed.calls == 3


class Killed:
    """The generator, killed at its first call when half of the labelled fields are there."""

    def __init__(self, write):
        self.write, self.calls = write, 0

    def __call__(self, folder, spec, seed):
        self.calls += 1
        self.write(folder, spec, seed)
        if self.calls == 1:
            for file in sorted((folder / "images").iterdir())[5:]:
                file.unlink()
            raise KeyboardInterrupt


@pytest.mark.skipif(
    not (DATA / "urised2k").is_dir(), reason=f"no urised2k in {DATA}; set OPENURINE_TEST_DATA"
)
def test_urised2k(run_of, monkeypatch):
    d = run_of(DATA / "urised2k").dataset
    assert (len(d.images), len(d.boxes), d.taxonomy.name) == (1790, 13735, "urised2k")
    counts = d.boxes["cls"].map(lambda c: d.taxonomy.classes[c]).value_counts().to_dict()
    assert (counts["erythrocyte"], counts["mycete"], counts["other"]) == (
        8086,
        250,
        697,
    )  # its README
    assert d.report["found"].sum() == 0 and d.laboratory is None and d.cohort_images().empty
    splits.assert_disjoint(d.images)
    table = splits.boxes_per_fold(d.images, d.boxes, d.taxonomy.classes).set_index("class")
    assert (table.drop(index="mycete") > 0).all(axis=None)  # all mycete boxes are of one slide
    for fold in range(5):
        assert not set(d.test_images(fold)["group"]) & set(d.unlabelled_images(fold)["group"])
    # once checked, no image is looked at again
    monkeypatch.setattr(check, "scan", None)
    assert len(run_of(DATA / "urised2k").dataset.images) == 1790
