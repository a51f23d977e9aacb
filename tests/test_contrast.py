"""A field's contrast is brought to a usual one; its background stays."""

import numpy as np
import pytest

from openurine_lib.contrast import LEAST, MOST, brought_to


def field(depth: float) -> np.ndarray:
    """(300, 300, 3): a lamp that is darker to the right, and a grid of spots of so many levels."""
    light = np.linspace(200, 160, 300, dtype=np.float32)[None, :, None]
    picture = np.broadcast_to(light, (300, 300, 3)).copy()
    for top in range(20, 280, 40):
        for left in range(20, 280, 40):
            picture[top : top + 6, left : left + 6] -= depth
    return picture.round().astype(np.uint8)


def spot(picture: np.ndarray) -> float:
    """How much darker than beside it the spot in the middle is, in grey levels."""
    beside, inside = picture[148:152, 150:158], picture[142:145, 142:145]
    return float(beside.mean() - inside.mean())


def test_pale_and_hard_pictures_of_one_specimen_become_alike():
    pale, hard = (brought_to(field(depth), 8.0) for depth in (30, 100))
    assert spot(pale) == pytest.approx(spot(hard), rel=0.05)
    assert 30 < spot(pale) < 100
    assert pale.dtype == np.uint8 and pale.shape == (300, 300, 3)


def test_the_background_stays():
    before, after = field(60), brought_to(field(60), 4.0)
    empty = np.s_[0:15, 20:280]  # no spot lies there
    assert np.abs(before[empty].astype(int) - after[empty]).max() <= 2


@pytest.mark.parametrize(("depth", "factor"), [(2, MOST), (150, LEAST)])
def test_the_factor_has_limits(depth, factor):
    wanted = 1000.0 if factor == MOST else 0.1
    assert spot(brought_to(field(depth), wanted)) == pytest.approx(factor * depth, abs=2.5)


def test_an_empty_picture_stays_as_it_is():
    grey = np.full((64, 80, 3), 128, np.uint8)
    assert (brought_to(grey, 7.0) == grey).all()
