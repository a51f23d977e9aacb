"""Fields that look unlike those of training are told by numbers."""

import cv2
import numpy as np
import pytest
import tiny

from openurine_lib.data import appearance
from openurine_lib.data.images import read_rgb


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    images, _ = tiny.frames(tmp_path_factory.mktemp("fields"), 12)
    return [read_rgb(path) for path in images.path]


@pytest.fixture(scope="module")
def ranges(known):
    return appearance.ranges(map(appearance.measured, known))


def test_a_field_of_the_same_kind_is_inside(ranges, tmp_path):
    images, _ = tiny.frames(tmp_path, 6, seed=7)
    for path in images.path:
        assert appearance.far_outside(appearance.measured(read_rgb(path)), ranges) == []


@pytest.mark.parametrize(
    "changed, what",
    [
        (lambda p: p // 4, "brightness"),
        (lambda p: cv2.GaussianBlur(p, (0, 0), 6), "focus"),
        (lambda p: np.random.default_rng(0).integers(0, 255, p.shape, np.uint8), "colour"),
        (lambda p: np.full_like(p, 215), "contrast"),
    ],
    ids=["dark", "blurred", "no micrograph", "empty glass"],
)
def test_a_field_of_another_kind_is_told(known, ranges, changed, what):
    assert what in appearance.far_outside(appearance.measured(changed(known[0])), ranges)


def test_a_large_training_part_is_measured_in_part_and_evenly():
    names = [str(i) for i in range(790)]
    chosen = appearance.spread(names)
    assert len(chosen) <= appearance.MOST_FIELDS and chosen[0] == "0" and int(chosen[-1]) > 780
    assert appearance.spread(names[:50]) == names[:50] and appearance.spread([]) == []
