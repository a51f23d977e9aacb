"""Slices in training: the right pixels, the right boxes, the same every time."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import tiny
from PIL import Image

from openurine_lib.training.engines import ultralytics
from openurine_lib.training.slices import OneOfEachField, slices_of


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


def test_an_epoch_shows_one_slice_of_every_field_and_all_of_them_in_turn():
    fields = pd.Series(["a"] * 3 + ["b"] + ["c"] * 3)
    sampler = OneOfEachField(fields, seed=0)
    epochs = [list(sampler) for _ in range(6)]
    for epoch in epochs:
        assert sorted(fields[epoch]) == ["a", "b", "c"]
    for turn in (epochs[:3], epochs[3:]):  # a and c have three slices each
        assert set(np.concatenate(turn)) == set(range(7))
    assert epochs[0] != epochs[1] and epochs[:3] != epochs[3:]
    sampler.set_epoch(4)  # as a resumed training does
    assert list(sampler) == epochs[4] and list(OneOfEachField(fields, seed=1)) != epochs[0]


def test_processes_share_an_epoch_between_them():
    fields = pd.Series(["a", "a", "b", "b", "c", "c", "d", "d"])
    shares = [set(OneOfEachField(fields, 0, rank, 2)) for rank in (0, 1)]
    whole = set(OneOfEachField(fields, 0))
    assert shares[0] | shares[1] == whole and not shares[0] & shares[1]


def test_a_training_sees_one_slice_of_every_field_an_epoch(tmp_path, monkeypatch):
    job = tiny.job(tmp_path / "job", mosaic=0, epochs=2, refresh_bn=False)
    images, boxes = slices_of(job.images, job.boxes, 64, 4, 0, tmp_path / "slices")
    seen = []
    prepare = ultralytics.DetectionTrainer.preprocess_batch

    def watched(trainer, batch):
        seen.extend(int(Path(file).stem) for file in batch["im_file"])
        return prepare(trainer, batch)

    monkeypatch.setattr(ultralytics.DetectionTrainer, "preprocess_batch", watched)
    ultralytics.fit(dataclasses.replace(job, images=images, boxes=boxes))
    n = len(job.images)
    first, second = seen[:n], seen[n:]
    for epoch in (first, second):
        assert sorted(images.field.iloc[epoch]) == sorted(job.images.image)
    assert not set(first) & set(second)
