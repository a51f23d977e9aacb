"""Laboratories at random, and what lies on their fields besides particles."""

import dataclasses

import numpy as np
import pytest
import yaml
from drawing import PLAIN, TINY

from synthurine import clutter, command, fields, laboratories_at_random
from synthurine.laboratories import LABORATORIES, background
from synthurine.many import OPENEST, RANGES
from synthurine.many import PLAIN as DRAWN_AS_THEY_ARE


def test_the_same_seed_gives_the_same_laboratories_and_more_of_them_begin_alike():
    assert laboratories_at_random(5, 3) == laboratories_at_random(9, 3)[:5]
    assert not set(laboratories_at_random(5, 3)) & set(laboratories_at_random(5, 4))
    with pytest.raises(ValueError, match="at least one"):
        laboratories_at_random(0)


def test_numbers_lie_in_their_ranges_and_fill_them():
    labs = laboratories_at_random(400)
    for name in DRAWN_AS_THEY_ARE:
        low, high = RANGES[name]
        values = [getattr(lab, name) for lab in labs]
        assert low <= min(values) < low + 0.02 * (high - low), name
        assert high - 0.02 * (high - low) < max(values) <= high, name
    # to three decimals
    assert all(lab.microscope.condenser <= OPENEST * lab.microscope.na + 5e-4 for lab in labs)
    weak = [lab for lab in labs if lab.microscope.na < RANGES["microscope"]["na"][0]]
    assert 0.1 < len(weak) / len(labs) < 0.2
    assert max(lab.zoom for lab in weak) < RANGES["zoom"][0]
    for name in ("mottle", "lines", "edge"):
        has_it = np.mean([getattr(lab, name) > 0 for lab in labs])
        assert abs(has_it - RANGES[name]["share"]) < 0.08, name


def test_they_are_wider_than_the_eight_that_exist_but_not_softer():
    """The eight whose cells lie far out of focus, or that hardly sharpen, look softer than real
    fields do: docs/measured.md, on contrast."""
    softer = {"focus": 1, "sharpen": 3}
    for name in DRAWN_AS_THEY_ARE:
        low, high = RANGES[name]
        outside = [lab for lab in LABORATORIES if not low <= getattr(lab, name) <= high]
        assert len(outside) == softer.get(name, 0), name


@pytest.mark.parametrize("k", [2.0, 5.0])
def test_mottle_is_grain_of_mean_zero_that_no_field_of_the_eight_has(k):
    patterns = [clutter.mottle(300, k, np.random.default_rng(seed)) for seed in range(6)]
    for pattern in patterns:
        assert pattern.shape == (300, 300)
        assert abs(pattern.mean()) < 1e-4 and abs(pattern.std() - 1) < 1e-3
        # neighbours are alike: it is grain and not the noise of a sensor
        assert np.corrcoef(pattern[:, 1:].ravel(), pattern[:, :-1].ravel())[0, 1] > 0.5
    assert not any(lab.mottle or lab.lines or lab.edge for lab in LABORATORIES)


def test_lines_cross_the_field_as_dark_and_bright_grooves():
    assert not clutter.lines(200, 3.0, 0.0, np.random.default_rng(0)).any()
    drawn = [clutter.lines(200, 1.0, 2.0, np.random.default_rng(seed)) for seed in range(12)]
    assert max(c.max() for c in drawn) > 0.08 and min(c.min() for c in drawn) < -0.04
    # most of a field stays free
    assert np.median(np.abs(drawn)) < 0.01


def test_an_edge_is_one_step_in_the_light():
    c = clutter.edge(200, 3.0, np.random.default_rng(1))
    step = c.max() - c.min()
    assert clutter.EDGE_STEP[0] * 0.5 < step <= clutter.EDGE_STEP[1]
    # along any line it rises or falls, never both
    for row in c[::20]:
        changes = np.diff(row)
        assert (changes >= -1e-6).all() or (changes <= 1e-6).all()


def test_a_laboratory_shows_what_it_has():
    rng = [np.random.default_rng(5) for _ in range(3)]
    _, plain = background(240, 3.0, PLAIN, rng[0])
    _, mottled = background(240, 3.0, dataclasses.replace(PLAIN, mottle=0.1), rng[1])
    assert 0.05 < (mottled / plain).std() < 0.15
    ruled = dataclasses.replace(PLAIN, lines=6.0, edge=1.0)
    c, light = background(240, 3.0, ruled, rng[2])
    assert np.abs(c).max() > 0.1 and np.array_equal(light, plain)
    # particles are drawn over it, with their boxes
    image, boxes = fields.lay(["RBC"] * 5, 400, 0.3, ruled, np.random.default_rng(5))
    assert len(boxes) == 5 and image.std() > 1


def test_the_command_draws_with_them_and_leaves_their_list(tmp_path, capsys):
    size = [f"--{name.replace('_', '-')}={TINY[name]}" for name in ("field_px", "field_um")]
    given = [f"--out={tmp_path / 'many'}", "--laboratories=3", "--fields=4", "--seed=2", *size]
    assert command.main(given) == 0
    listed = yaml.safe_load((tmp_path / "many" / "laboratories.yaml").read_text())
    assert len(listed["laboratories"]) == 3
    assert len(list((tmp_path / "many" / "images").iterdir())) == 4
    with pytest.raises(SystemExit):  # one or the other
        command.main([*given, "--like=somewhere"])
    assert "not allowed with" in capsys.readouterr().err
