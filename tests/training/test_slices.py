"""Slices in training: the right pixels, the right boxes, the same every time."""

import numpy as np
import tiny
from PIL import Image

from openurine_lib.training.slices import slices_of


def test_slices_of_every_field_with_their_boxes(tmp_path):
    images, boxes = tiny.frames(tmp_path / "fields", 4)
    cut, cut_boxes = slices_of(images, boxes, 64, 2, 0, tmp_path / "slices")
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
    again, _ = slices_of(images, boxes, 64, 2, 0, tmp_path / "again")
    assert list(again.image) == list(cut.image)


def test_boxes_mostly_outside_are_dropped_and_small_fields_stay_whole(tmp_path):
    images, boxes = tiny.frames(tmp_path / "fields", 2)
    _, cut = slices_of(images, boxes, 64, 9, 0, tmp_path / "slices")
    whole = boxes.set_index(["image", "cls"])
    for b in cut.itertuples():
        w = whole.loc[(b.image.split("#")[0], b.cls)]
        assert (b.x2 - b.x1) * (b.y2 - b.y1) >= 0.5 * (w.x2 - w.x1) * (w.y2 - w.y1)
    same, same_boxes = slices_of(images, boxes, 96, 4, 0, tmp_path / "none")
    assert list(same.image) == list(images.image) and len(same_boxes) == len(boxes)
