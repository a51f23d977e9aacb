"""A checkpoint is of the pictures that it was trained on, whatever they are called."""

import shutil
from pathlib import Path

import tiny


def test_other_pictures_under_the_same_names_are_another_training(tmp_path):
    job = tiny.job(tmp_path, n=4)
    before = job.signature()
    first, second = (Path(path) for path in job.images.path[:2])
    shutil.copyfile(second, first)
    assert job.signature() != before


def test_the_same_pictures_in_another_place_are_the_same_training(tmp_path):
    job = tiny.job(tmp_path / "one", n=4)
    assert tiny.job(tmp_path / "two", n=4).signature() == job.signature() == job.signature()
