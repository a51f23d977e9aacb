"""Slices in training: the right pixels, the right boxes, the same every time."""

import numpy as np
import tiny
from PIL import Image

from openurine_lib.data.boxes import XYXY
from openurine_lib.training.slices import slices_of


def test_slices_of_every_field_with_their_boxes(tmp_path):
    images, boxes = tiny.frames(tmp_path / "fields", 4)
    cut, cut_boxes = slices_of(images, boxes, 64, 0.25, 2, 0, tmp_path / "slices")
    assert (
        len(cut) == 8
        and list(cut.columns) == [*images.columns, "field"]
        and set(cut.group) == set(images.group)
    )
    assert (cut[["width", "height"]] == 64).all().all() and cut.image.is_unique
    for row in cut.itertuples():
        mine = cut_boxes[cut_boxes.image == row.image]
        pixels = np.asarray(Image.open(row.path)).astype(int)
        assert (
            len(mine)
            and (mine[["x1", "y1"]] >= 0).all().all()
            and (mine[["x2", "y2"]] <= 64).all().all()
        )
        for b in mine.itertuples():  # the middle of a particle is coloured, the background is light
            assert pixels[int((b.y1 + b.y2) / 2), int((b.x1 + b.x2) / 2)].min() < 130
    again, _ = slices_of(images, boxes, 64, 0.25, 2, 0, tmp_path / "again")
    assert list(again.image) == list(cut.image)


def test_boxes_mostly_outside_are_dropped_and_small_fields_stay_whole(tmp_path):
    images, boxes = tiny.frames(tmp_path / "fields", 2)
    _, cut = slices_of(images, boxes, 64, 0.25, 9, 0, tmp_path / "slices")
    whole = boxes.set_index(["image", "cls"])
    for b in cut.itertuples():
        w = whole.loc[(b.image.split("#")[0], b.cls)]
        assert (b.x2 - b.x1) * (b.y2 - b.y1) >= 0.5 * (w.x2 - w.x1) * (w.y2 - w.y1)
    same, same_boxes = slices_of(images, boxes, 96, 0.25, 4, 0, tmp_path / "none")
    assert list(same.image) == list(images.image) and len(same_boxes) == len(boxes)


def test_a_slice_is_its_part_of_the_field_to_the_pixel(tmp_path):
    """Every pixel of this field tells its own place, so a slice tells where it was cut."""
    side = 96
    yy, xx = np.mgrid[:side, :side]
    field = np.stack([xx, yy, xx + yy], axis=2).astype(np.uint8)
    Image.fromarray(field).save(tmp_path / "field.png")
    images, boxes = tiny.frames(tmp_path / "fields", 1, side)
    images["path"] = str(tmp_path / "field.png")
    cut, cut_boxes = slices_of(images, boxes, 64, 0.25, 9, 0, tmp_path / "slices")
    corners = set()
    for row in cut.itertuples():
        pixels = np.asarray(Image.open(row.path))
        left, top = (int(v) for v in pixels[0, 0, :2])
        corners.add((left, top))
        assert np.array_equal(pixels, field[top : top + 64, left : left + 64])
        mine = cut_boxes[cut_boxes.image == row.image].set_index("cls")
        whole = boxes.set_index("cls")[XYXY]
        moved = (whole - [left, top, left, top]).clip(0, 64)
        assert len(mine) and np.array_equal(mine[XYXY], moved.loc[mine.index])
    # two slices of 64 pixels reach across 96: one at each end
    assert corners == {(0, 0), (32, 0), (0, 32), (32, 32)}
