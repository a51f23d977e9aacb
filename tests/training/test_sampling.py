"""Which images an epoch shows: the right ones, equally many, the same for the same seed."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import tiny

from openurine_lib.training.engines import loop, torchvision, ultralytics
from openurine_lib.training.sampling import Balanced, OneOfEachField, repeat_factors
from openurine_lib.training.slices import slices_of


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
    images, boxes = slices_of(job.images, job.boxes, 64, 0.25, 4, 0, tmp_path / "slices")
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


IMAGES = pd.DataFrame({"image": [f"f{i}" for i in range(100)]})
# class 0 on all images, class 1 on four, class 2 on one
BOXES = pd.DataFrame(
    {"image": [*IMAGES.image, "f0", "f1", "f2", "f3", "f3"], "cls": [0] * 100 + [1] * 4 + [2]}
)


def test_repeat_factors_are_those_of_the_rarest_class():
    factors = repeat_factors(IMAGES, BOXES, threshold=0.16)
    assert np.allclose(factors[:5], [2, 2, 2, 4, 1]) and (factors[5:] == 1).all()
    assert (repeat_factors(IMAGES, BOXES.iloc[:0], 0.16) == 1).all()


def test_images_with_rare_classes_come_more_often_in_equally_long_epochs():
    sampler = Balanced(IMAGES, BOXES, 0.16, seed=0)
    epochs = [list(sampler) for _ in range(200)]
    assert all(len(epoch) == 100 for epoch in epochs)
    times = np.bincount(np.concatenate(epochs), minlength=100) / 200
    expected = sampler.factors * 100 / sampler.factors.sum()
    assert np.abs(times - expected).max() < 0.1  # 3.8 for the rarest, 0.94 for most
    sampler.set_epoch(3)
    assert list(sampler) == epochs[3] and epochs[3] != epochs[4]


def test_every_engine_shows_what_the_sampler_chooses(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Balanced, "chosen", lambda self, epoch, rng: np.zeros(8, int))
    get = loop.Fields.__getitem__
    monkeypatch.setattr(
        loop.Fields, "__getitem__", lambda self, i: (seen.append(i), get(self, i))[1]
    )
    job = tiny.job(
        tmp_path / "job", "single", "ssdlite320_mobilenet_v3_large", 1, repeat_threshold=0.3
    )
    torchvision.fit(job)
    assert seen and set(seen) == {0}
