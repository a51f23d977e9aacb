"""How large a slice is cut, so that a detector meets particles of the size that it has learned."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import tiny

import synthurine
from openurine_lib import default_weights
from openurine_lib.clinical import validation
from openurine_lib.data import taxonomy
from openurine_lib.data.boxes import XYXY
from openurine_lib.data.dataset import Dataset, prepare
from openurine_lib.laboratory import slice_sides
from openurine_lib.training.weights import read_weights

OLD = taxonomy.load("openurine")
NEW = taxonomy.parse(
    """
name: ours
classes: {disc: Cells, square: Crystals, bar: Crystals}
components: {RBC: [disc], Crystals: [square, bar]}
openurine: {disc: [RBC], square: [Calcium oxalate]}
""",
    "ours",
)


@pytest.fixture
def d(tmp_path) -> Dataset:
    images, boxes = tiny.frames(tmp_path / "images", 24)
    images = images.assign(um_per_px=np.nan, fold=-1, split="labelled")
    none = pd.DataFrame()
    return Dataset("ours", False, NEW, "f" * 64, images, boxes, None, none, none, 0, {})


def test_boxes_are_compared_with_those_of_the_same_particle(d):
    sides = np.sqrt((d.boxes.x2 - d.boxes.x1) * (d.boxes.y2 - d.boxes.y1))
    disc, square = (sides[d.boxes.cls == cls].median() for cls in (0, 1))
    # 24 discs look twice as large as what the detector was scored on, 24 squares three times
    record = {"particle_px": {"RBC": disc / 2, "Calcium oxalate": square / 3, "WBC": 1.0}}
    assert slice_sides.by_size(d, d.images, OLD, 100, record) == 250
    without = {"particle_px": {"RBC": disc / 2}}
    assert slice_sides.by_size(d, d.images, OLD, 100, without) == 200


def test_where_no_particle_is_known_the_sizes_of_a_pixel_decide(d):
    record = {"particle_px": {"WBC": 20.0}, "slice_px": 500, "um_per_px": 0.2}
    assert slice_sides.by_size(d, d.images, OLD, 448, record) == 500
    finer = d.images.assign(um_per_px=0.1)
    assert slice_sides.by_size(d, finer, OLD, 448, record) == 1000


def detector_of(side: int, d: Dataset):
    """A ``predict_fields`` that finds every known box in slices of that side, else every fourth."""

    def predict(detector, images, slice_px, overlap, out):
        truth = d.boxes_of(images)
        found = truth[truth.cls < 2].assign(conf=0.9)
        found["cls"] = [OLD.id(("RBC", "Calcium oxalate")[cls]) for cls in found.cls]
        seen.append(slice_px)
        return found if slice_px == side else found[::4]

    seen = []
    return predict, seen


def test_the_side_is_taken_at_which_most_is_found(d, tmp_path, monkeypatch):
    weights = tiny.untrained(tmp_path)
    usual = 60
    sides = [30, 38, 48, 60, 76]
    for best in (38, 76):
        predict, seen = detector_of(best, d)
        monkeypatch.setattr(slice_sides, "predict_fields", predict)
        assert slice_sides.by_finds(d, d.images, weights, usual, 0, 0, tmp_path) == best
        assert seen == sides
    # of equals, the one that sizes tell
    predict, _ = detector_of(0, d)
    monkeypatch.setattr(slice_sides, "predict_fields", predict)
    assert slice_sides.by_finds(d, d.images, weights, usual, 0, 0, tmp_path) == usual


def test_a_side_longer_than_every_field_is_tried_once(d, tmp_path, monkeypatch):
    predict, seen = detector_of(96, d)
    monkeypatch.setattr(slice_sides, "predict_fields", predict)
    weights = tiny.untrained(tmp_path)
    assert slice_sides.by_finds(d, d.images, weights, 150, 0, 0, tmp_path) == 96
    assert seen == [75, 94, 96]


@pytest.mark.parametrize(("own", "tried"), [(40, [40, 96]), (90, [96]), (0, [96])])
def test_the_side_of_its_own_slices_is_tried_where_sizes_are_far_off(
    d, tmp_path, monkeypatch, own, tried
):
    predict, seen = detector_of(40, d)
    monkeypatch.setattr(slice_sides, "predict_fields", predict)
    weights = tiny.untrained(tmp_path)
    # four times as large as the fields
    assert slice_sides.by_finds(d, d.images, weights, 400, own, 0, tmp_path) == tried[0]
    assert seen == tried


def test_few_boxes_of_known_classes_decide_nothing(d, tmp_path, monkeypatch):
    predict, seen = detector_of(30, d)
    monkeypatch.setattr(slice_sides, "predict_fields", predict)
    weights = tiny.untrained(tmp_path)
    few = d.images[: slice_sides.LEAST_BOXES // 2 - 1]  # two boxes of known classes each
    assert slice_sides.by_finds(d, few, weights, 60, 0, 0, tmp_path) == 60
    assert seen == []


def test_loose_boxes_mislead_sizes_and_not_the_finds(tmp_path, monkeypatch):
    """The detector that comes with the project, on drawn fields whose boxes have room."""
    monkeypatch.setattr(slice_sides, "FIELDS", 6)
    um_per_px = 0.4
    synthurine.write(tmp_path / "drawn", synthurine.spec_like(um_per_px, 30, 560), 0)
    d = prepare(tmp_path / "drawn", tmp_path / "dataset", 0)
    weights = default_weights.path()
    record, imgsz = validation.read(weights), read_weights(weights)["meta"]["imgsz"]
    right = record["slice_px"] * record["um_per_px"] / um_per_px
    x1, y1, x2, y2 = d.boxes[XYXY].to_numpy().T
    room = 0.35 * np.stack([x1 - x2, y1 - y2, x2 - x1, y2 - y1], axis=1)
    loose = dataclasses.replace(
        d, boxes=d.boxes.assign(**dict(zip(XYXY, room.T + [x1, y1, x2, y2], strict=True)))
    )
    usual = slice_sides.by_size(loose, d.images, OLD, imgsz, record)
    side = slice_sides.by_finds(loose, d.images, weights, usual, 0, 0, tmp_path / "sides")
    print(right, usual, side)
    assert usual > 1.3 * right
    assert abs(np.log(side / right)) < 0.5 * abs(np.log(usual / right))
