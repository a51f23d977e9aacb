"""What drawn fields are worth on real ones, with detections made by hand."""

from types import SimpleNamespace

import pandas as pd
import pytest

from openurine_lib.clinical import drawn_to_real
from openurine_lib.data import taxonomy
from openurine_lib.experiments.methods import method, profile
from openurine_lib.experiments.run import Run

TAX = taxonomy.load("urised2k")
OPENURINE = taxonomy.load("openurine")
COLUMNS = ["image", "cls", "x1", "y1", "x2", "y2"]


def square(image, cls, at, side):
    return (image, cls, at, at, at + side, at + side)


@pytest.fixture
def run(monkeypatch):
    """Two test fields and a training field whose annotators leave 5 px around a cell of 20 px."""
    red, white, other = map(TAX.id, ("erythrocyte", "leukocyte", "other"))
    truth = pd.DataFrame(
        [square(image, cls, at - 5, 30) for image, cls, at in (
            ("a", red, 50), ("a", white, 100), ("b", red, 50), ("b", other, 200), ("t", red, 50),
        )], columns=COLUMNS,
    )  # fmt: skip
    fields = pd.DataFrame({"image": ["a", "b", "t"]})
    made = Run("/data/slides", profile("demo"))
    made.__dict__["dataset"] = SimpleNamespace(
        taxonomy=TAX, synthetic=False, fingerprint="0" * 12,
        test_images=lambda fold, limit: fields[:2], train_images=lambda fold, limit: fields[2:],
        boxes_of=lambda images: truth[truth.image.isin(images.image)],
    )  # fmt: skip
    found = pd.DataFrame(
        # tight boxes of all red cells, none of the white one, and one on what is no shared class
        [square(image, OPENURINE.id("RBC"), at, 20) for image, at in
         (("a", 50), ("b", 50), ("t", 50), ("b", 198))], columns=COLUMNS,
    ).assign(conf=0.9)  # fmt: skip

    def stand_in(detector, images, slice_px, overlap, out, way):
        assert (slice_px, way.at_once) == (544, True)  # as its record says
        assert way.looks == (1 if out.name.startswith("train") else 2)
        out.parent.mkdir(parents=True, exist_ok=True)
        found[found.image.isin(images.image)].to_csv(out, index=False)

    weights = made.dir / "best.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"tensors")
    monkeypatch.setattr(drawn_to_real.default_weights, "path", lambda: weights)
    meta = {
        "engine": "ultralytics",
        "imgsz": 448,
        "synthetic": True,
        "classes": list(OPENURINE.classes),
    }
    monkeypatch.setattr(drawn_to_real, "read_weights", lambda path, needed: {"meta": meta})
    record = {"slice_px": 544, "at_once": True, "looks": 2}
    monkeypatch.setattr(drawn_to_real.validation, "read", lambda path: record)
    monkeypatch.setattr(
        drawn_to_real, "engine", lambda name: SimpleNamespace(detector=lambda *of: None)
    )
    monkeypatch.setattr(drawn_to_real, "predict_fields", stand_in)
    return made


def test_tight_boxes_are_found_but_fit_only_when_they_are_widened(run):
    table = drawn_to_real.table_drawn_to_real(run, 0)
    by_room = {room: part.set_index("class") for room, part in table.groupby("room")}
    measured = drawn_to_real.MEASURED.format(5)
    assert set(by_room) == {drawn_to_real.NONE, drawn_to_real.USUAL, measured}
    tight, usual, loose = (
        by_room[room] for room in (drawn_to_real.NONE, drawn_to_real.USUAL, measured)
    )
    assert list(tight.loc["erythrocyte", ["boxes", "ap50", "ap30"]]) == [2, 0, 100]
    assert list(loose.loc["erythrocyte", ["ap50", "ap30"]]) == [100, 100]
    # 20 px in 30 have an IoU of 0.44, and 1.19 times as much one of 0.63
    assert list(usual.loc["erythrocyte", ["ap50", "ap30"]]) == [100, 100]
    # two shared classes have true boxes; the mean is over them
    assert tight.loc["mean", "ap30"] == loose.loc["mean", "ap50"] == 50
    assert set(tight.index) == {"erythrocyte", "leukocyte", "mean"}
    said = drawn_to_real.sentence(table)
    assert "2 shared classes is 50.0 % at an IoU of 0.3 and 50.0 % at 0.5" in said
    assert "have 0.0 % at 0.5" in said and "Widened by 5.0 px, as measured" in said
    assert "trained on the real fields" not in said


def test_the_runs_own_detectors_stand_beside(run):
    folder = run.predict_dir(method("yolo12m-sahi"), 0)
    folder.mkdir(parents=True)
    rows = [(*square(image, TAX.id("erythrocyte"), 45, 30), 0.9) for image in "ab"]
    rows.append((*square("a", TAX.id("leukocyte"), 95, 30), 0.9))
    frame = pd.DataFrame(rows, columns=[*COLUMNS, "conf"])
    frame.to_csv(folder / "predictions.csv", index=False)
    table = drawn_to_real.table_drawn_to_real(run, 0)
    own = table[table.detector == "yolo12m-sahi"].set_index("class")
    assert own.loc["mean", "ap50"] == 100
    assert "yolo12m-sahi, trained on the real fields, has 100.0 %" in drawn_to_real.sentence(table)


def test_drawn_fields_and_foreign_classes_have_nothing_to_compare(run):
    run.dataset.synthetic = True
    assert drawn_to_real.table_drawn_to_real(run, 0) is None
    run.dataset.synthetic = False
    run.dataset.taxonomy = taxonomy.parse("name: mine\nclasses: {thing: Others}\n", "mine.yaml")
    assert drawn_to_real.table_drawn_to_real(run, 0) is None
    assert "make reproduce DATA=" in drawn_to_real.sentence(None)
