"""The 39 classes, and the page that describes them."""

import re
from pathlib import Path

import numpy as np
from drawing import bounds

from openurine_lib.data.taxonomy import load
from synthurine import CLASSES, fields, patients
from synthurine.particles import classes


def test_classes_are_table_2s_and_all_are_drawn():
    assert (
        load("openurine").classes == CLASSES
        and set(classes.DRAW) == set(CLASSES)
        and len(CLASSES) == 39
    )
    listed = {
        name for rates in (patients.BACKGROUND, *patients.PROFILES.values()) for name in rates
    }
    assert listed == set(CLASSES)


def test_the_table_of_particles_is_about_what_is_drawn():
    """docs/particles.md: every class, and a size that drawn particles have."""
    text = (Path(__file__).parents[2] / "docs" / "particles.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if line.startswith("| ")
    ][1:]
    assert {row[0] for row in rows} == set(CLASSES) and all(row[2] and row[3] for row in rows)
    sources = text.split("## Sources")[1].split("##")[0].count("\n")
    assert all(int(n) <= sources for row in rows for n in re.findall(r"\[(\d+)\]", row[3]))
    for name, size, *_ in rows:
        low, middle, high = map(float, size.split(" - "))
        sides = []
        for seed in range(12):
            x1, y1, x2, y2 = bounds(
                classes.draw(name, np.random.default_rng(seed), 3.0).mask >= fields.COVERED
            )
            sides.append(max(x2 - x1, y2 - y1) / 3)
        assert low < np.median(sides) < high and abs(np.log(np.median(sides) / middle)) < 0.5, (
            name,
            np.median(sides),
        )
