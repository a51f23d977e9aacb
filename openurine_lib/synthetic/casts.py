"""Casts: cylinders moulded in the tubule, told apart by what they hold. 40-70 um long, 11-20 wide."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openurine_lib.synthetic.canvas import Array, Canvas, Draw
from openurine_lib.synthetic.cells import rbc, wbc
from openurine_lib.synthetic.others import droplets
from openurine_lib.synthetic.shapes import Points, inside_tube, normals, spread, tube

Rng = np.random.Generator


def _cast(
    rng: Rng, k: float, length: tuple[float, float], width: tuple[float, float], bend: float = 0.35, blunt: bool = False
) -> tuple[Canvas, Array, Points, float, Points]:
    long, wide = rng.uniform(*length), rng.uniform(*width)
    c = Canvas(rng, k, long / 2 + wide / 2 + 2)
    outline, axis = tube(rng, long, wide, bend, blunt)
    return c, c.fill(outline), axis, wide, outline


def hyaline(rng: Rng, k: float) -> Canvas:
    c, body, axis, wide, outline = _cast(rng, k, (46, 68), (11, 15), 0.6)
    c.add(body, 0.28, (0.025, 0.025, 0.03))
    c.add(c.dome(body), 0.3, 0.02)
    c.add(c.blur(c.line(outline, 0.45, True), 0.25), 0.12, 0.07)
    c.add(body * c.noise(5.0), 0.12, 0.01)
    return c


def granular(rng: Rng, k: float) -> Canvas:
    c, body, axis, wide, _ = _cast(rng, k, (42, 62), (12, 17))
    c.add(body, 0.45, (0.08, 0.08, 0.09))
    c.add(c.dome(body), 0.3, (0.06, 0.06, 0.07))
    coarse = rng.random() < 0.5
    n, big = (190, 0.95) if coarse else (420, 0.5)
    grains = c.dots(inside_tube(rng, axis, wide * 0.88, n, 0.03), rng.uniform(0.3, big, n)) * body
    c.add(c.blur(grains, 0.25), 0.7, (0.17, 0.17, 0.18))
    c.add(body * (c.noise(0.8) + c.noise(2.5)), 0.12, 0.035)
    return c


def muddy_brown(rng: Rng, k: float) -> Canvas:
    c, body, axis, wide, _ = _cast(rng, k, (36, 58), (13, 19), 0.3)
    c.add(body, 0.5, (0.16, 0.36, 0.62))
    c.add(c.dome(body), 0.3, (0.10, 0.18, 0.26))
    grains = c.dots(inside_tube(rng, axis, wide * 0.84, 170, 0.04), rng.uniform(0.5, 1.3, 170))
    c.add(c.blur(grains, 0.3), 0.6, (0.20, 0.32, 0.44))
    c.add(body * (c.noise(1.0) + c.noise(2.6)), 0.15, (0.04, 0.07, 0.10))
    return c


def waxy(rng: Rng, k: float) -> Canvas:
    c, body, axis, wide, outline = _cast(rng, k, (40, 60), (16, 22), 0.22, blunt=True)
    c.add(body, 0.95, (0.10, 0.12, 0.21))
    c.add(c.dome(body), 0.7, (0.05, 0.06, 0.10))
    c.add(c.blur(c.line(outline, 0.8, True), 0.2), 0.3, (0.24, 0.25, 0.28))
    across = normals(axis)
    cracks = []
    for side in (-1, 1):
        for i in rng.integers(5, len(axis) - 5, int(rng.integers(2, 4))):
            edge = axis[i] + side * across[i] * wide / 2
            cracks.append([edge, axis[i] + side * across[i] * wide * rng.uniform(0.1, 0.25) + rng.normal(0, 0.6, 2)])
    c.add(c.blur(c.lines(cracks, 0.6), 0.12) * body, -0.5, 0.32)
    return c


def _holding(
    rng: Rng, k: float, c: Canvas, axis: Points, wide: float, cells: Sequence[Draw], apart: float, n: int
) -> None:
    """Fills a cast with cells that keep ``apart`` um from one another."""
    for at in spread(rng, inside_tube(rng, axis, wide * 0.62, 12 * n, 0.1), apart, n):
        c.stamp(cells[int(rng.integers(len(cells)))](rng, k), at)


def rbc_cast(rng: Rng, k: float) -> Canvas:
    c, body, axis, wide, _ = _cast(rng, k, (42, 62), (13, 17), 0.4)
    c.add(body, 0.35, (0.05, 0.19, 0.23))
    c.add(c.dome(body), 0.2, (0.02, 0.09, 0.10))
    _holding(rng, k, c, axis, wide, [lambda r, kk: rbc(r, kk, 1.3)], 5.2, 26)
    return c


def mixed_cell_cast(rng: Rng, k: float) -> Canvas:
    c, body, axis, wide, _ = _cast(rng, k, (46, 66), (16, 20), 0.35)
    c.add(body, 0.4, (0.07, 0.07, 0.08))
    c.add(body * c.noise(1.2), 0.25, 0.025)
    _holding(rng, k, c, axis, wide, [rbc, wbc, wbc], 8.2, 14)
    return c


def lipid_cast(rng: Rng, k: float) -> Canvas:
    c, body, axis, wide, _ = _cast(rng, k, (42, 62), (13, 18), 0.4)
    c.add(body, 0.35, (0.05, 0.06, 0.10))
    c.add(c.dome(body), 0.3, (0.03, 0.04, 0.06))
    at = spread(rng, inside_tube(rng, axis, wide * 0.74, 300), 2.9, 34)
    droplets(c, at, rng.uniform(0.9, 2.0, len(at)))
    return c


DRAW = {
    "Muddy brown cast": muddy_brown,
    "Granular cast": granular,
    "Hyaline cast": hyaline,
    "Waxy cast": waxy,
    "Mixed cell cast": mixed_cell_cast,
    "RBC cast": rbc_cast,
    "Lipid cast": lipid_cast,
}
