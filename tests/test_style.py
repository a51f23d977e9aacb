"""Heads have their colours to themselves, and colours can be told apart."""

from itertools import combinations

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from skimage.color import deltaE_ciede2000, rgb2lab

from openurine_lib import style
from openurine_lib.data import taxonomy

TOLD_APART = 15  # CIEDE2000; 1 is the least that an eye can see side by side


def difference(a: str, b: str) -> float:
    return float(deltaE_ciede2000(rgb2lab(to_rgb(a)), rgb2lab(to_rgb(b))))


def test_every_head_of_both_data_sets_has_a_colour():
    for name in ("openurine", "urised2k"):
        assert set(taxonomy.load(name).heads) <= set(style.HEAD_COLOURS)


def test_heads_are_told_apart_from_each_other_and_from_what_is_no_head():
    heads = list(style.HEAD_COLOURS.values())
    others = [*style.SERIES.values(), style.HERE_COLOUR, style.PAPER_COLOUR]
    assert min(difference(a, b) for a, b in combinations(heads, 2)) > TOLD_APART
    assert min(difference(a, b) for a in heads for b in others) > TOLD_APART
    assert min(difference(a, b) for a, b in combinations(others, 2)) > TOLD_APART


def test_no_colour_is_grey():
    for colour in (*style.HEAD_COLOURS.values(), *style.SERIES.values(), style.HERE_COLOUR):
        assert np.ptp(to_rgb(colour)) > 0.3, colour


def test_heat_maps_grow_lighter_or_darker_all_the_way():
    for name in (style.SEQUENTIAL, style.SHARES):
        lightness = rgb2lab(colormaps[name](np.linspace(0, 1, 50))[:, :3])[:, 0]
        steps = np.diff(lightness)
        assert (steps > 0).all() or (steps < 0).all()
