"""Slices in training: the right pixels, the right boxes, the same every time."""

import numpy as np
import tiny
from PIL import Image

from openurine_lib.slices import with_slices


def test_a_slice_of_every_field_with_its_boxes(tmp_path):
    images, boxes = tiny.frames(tmp_path / "fields", 4)
    more, more_boxes = with_slices(images, boxes, 64, 0, tmp_path / "slices")
    added = more.iloc[4:]
    assert len(more) == 8 and list(more.columns) == list(images.columns) and set(added.group) == set(images.group)
    assert (added[["width", "height"]] == 64).all().all()
    for row in added.itertuples():
        mine = more_boxes[more_boxes.image == row.image]
        pixels = np.asarray(Image.open(row.path)).astype(int)
        assert len(mine) and (mine[["x1", "y1"]] >= 0).all().all() and (mine[["x2", "y2"]] <= 64).all().all()
        for b in mine.itertuples():  # the middle of a particle is coloured, the background is light
            middle = pixels[int((b.y1 + b.y2) / 2), int((b.x1 + b.x2) / 2)]
            assert middle.min() < 130
    again, _ = with_slices(images, boxes, 64, 0, tmp_path / "again")
    assert list(again.image) == list(more.image)


def test_boxes_mostly_outside_are_dropped_and_small_fields_left_alone(tmp_path):
    images, boxes = tiny.frames(tmp_path / "fields", 2)
    _, cut = with_slices(images, boxes, 64, 0, tmp_path / "slices")
    area = ((cut.x2 - cut.x1) * (cut.y2 - cut.y1))[len(boxes) :]
    assert (area >= 0.5 * 19 * 11).all()
    same, same_boxes = with_slices(images, boxes, 96, 0, tmp_path / "none")
    assert len(same) == 2 and len(same_boxes) == len(boxes)
