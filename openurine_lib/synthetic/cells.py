"""Blood cells, epithelial cells, atypical cells and clumps. Sizes in um after Brunzel, Fundamentals of Urine and Body
Fluid Analysis (red cell 7, white cell 10-14, renal 12-25, transitional 20-30, squamous 40-60)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from openurine_lib.synthetic.canvas import Canvas, Draw
from openurine_lib.synthetic.shapes import blob, corners, ellipse, huddle, in_disc, rounded

Rng = np.random.Generator
RED = (0.015, 0.10, 0.11)  # optical density of haemoglobin in a thin cell


def rbc(rng: Rng, k: float, dark: float = 1.0) -> Canvas:
    c = Canvas(rng, k, 6.0)
    r = rng.uniform(3.4, 4.1)
    crenated = rng.random() < 0.12
    outline = ellipse(r, r * rng.uniform(0.86, 1.0))
    if crenated:
        t = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        outline = ellipse(r, r, 72) * (1 + 0.07 * np.cos(rng.integers(9, 12) * t))[:, None]
    body = c.fill(outline)
    dome = c.dome(body)
    pit = np.clip(dome - 0.80, 0, 1) / 0.2 * (0.0 if crenated else rng.uniform(0.5, 1.0))
    c.add(body, 0.55 * dark)
    c.add(dome, 0.6 * dark)
    c.add(c.blur(pit, 0.5), -0.8)
    c.add(body * (1 - 0.75 * pit), 0, np.multiply(RED, dark * rng.uniform(0.6, 1.25)))
    return c


def wbc(rng: Rng, k: float) -> Canvas:
    c = Canvas(rng, k, 9.5)
    r = rng.uniform(5.4, 6.8)
    body = c.fill(blob(rng, r, r * rng.uniform(0.9, 1.0), 0.03))
    c.add(c.dome(body), 0.6, (0.05, 0.05, 0.03))
    c.add(body, 0.4, (0.03, 0.03, 0.02))
    grains = c.dots(in_disc(rng, r * 0.8, 34), rng.uniform(0.25, 0.5, 34))
    c.add(grains, 0.5, 0.09)
    lobes = in_disc(rng, r * 0.42, int(rng.integers(2, 5)))
    nucleus = c.blur(c.dots(lobes, rng.uniform(0.26, 0.36, len(lobes)) * r), 0.35)
    c.add(nucleus, 0.7, (0.17, 0.16, 0.11))
    return c


def _clump(rng: Rng, k: float, cell: Draw, apart: float, count: tuple[int, int]) -> Canvas:
    """Cells packed against one another, each new one touching an earlier one."""
    n = int(rng.integers(*count))
    at = huddle(rng, apart, n)
    c = Canvas(rng, k, float(np.abs(at).max()) * 1.42 + 10)
    for place in at:
        c.stamp(cell(rng, k), place)
    return c


def wbc_clump(rng: Rng, k: float) -> Canvas:
    return _clump(rng, k, wbc, 10.2, (6, 12))


def rbc_clump(rng: Rng, k: float) -> Canvas:
    return _clump(rng, k, lambda r, kk: rbc(r, kk, 1.25), 5.0, (10, 20))


def squamous(rng: Rng, k: float) -> Canvas:
    c = Canvas(rng, k, 34.0)
    r = rng.uniform(20, 26)
    body = c.fill(
        rounded(corners(rng, int(rng.integers(5, 8)), r, r * rng.uniform(0.65, 0.95), 0.3), 1 + int(rng.random() < 0.5))
    )
    c.add(body, 0.5, (0.06, 0.055, 0.07))
    c.add(body * c.noise(4.0), 0.15, 0.014)
    folds = []
    for _ in range(int(rng.integers(1, 4))):  # creases from near the edge inward
        a = np.array([np.cos(t := rng.uniform(0, 6.3)), np.sin(t)]) * r * 0.8
        b = a * rng.uniform(0.3, 0.6) + rng.normal(0, r * 0.25, 2)
        s = np.linspace(0, 1, 10)[:, None]
        folds.append(a + (b - a) * s + np.sin(np.pi * s) * rng.normal(0, 2.0, 2))
    c.add(c.blur(c.lines(folds, 0.6) * body, 0.4), 0.5, 0.06)
    grains = in_disc(rng, r * 0.72, 50)
    c.add(c.dots(grains, rng.uniform(0.25, 0.5, 50)) * body, 0.4, 0.10)
    _nucleus(c, in_disc(rng, r * 0.15, 1)[0], rng.uniform(3.3, 4.3), 0.22)
    return c


def transitional(rng: Rng, k: float) -> Canvas:
    c = Canvas(rng, k, 24.0)
    r = rng.uniform(10.5, 13.5)
    outline = blob(rng, r, r * rng.uniform(0.8, 0.98), 0.05)
    if rng.random() < 0.45:  # caudate: drawn out to a tail on one side
        right = outline[:, 0] > 0
        outline[right, 1] *= 1 - 0.75 * (outline[right, 0] / outline[:, 0].max()) ** 1.0
        outline[right, 0] *= rng.uniform(1.35, 1.6)
    body = c.fill(outline)
    c.add(body, 0.45, (0.06, 0.06, 0.055))
    c.add(c.dome(body), 0.6, (0.07, 0.07, 0.05))
    c.add(body * (c.noise(1.4) + c.noise(3.1)), 0.08, 0.016)
    _nucleus(c, in_disc(rng, r * 0.15, 1)[0], r * rng.uniform(0.32, 0.4), 0.26)
    return c


def renal(rng: Rng, k: float) -> Canvas:
    c = Canvas(rng, k, 13.0)
    r = rng.uniform(7.6, 9.2)
    body = c.fill(rounded(corners(rng, int(rng.integers(5, 7)), r, r * rng.uniform(0.78, 0.95), 0.12), 2))
    c.add(body, 0.6, (0.10, 0.12, 0.16))
    c.add(c.dome(body), 0.5, (0.08, 0.09, 0.12))
    c.add(body * (c.noise(0.9) + c.noise(2.3)), 0.13, 0.04)
    _nucleus(c, np.array([r * rng.uniform(0.22, 0.36), 0]), r * rng.uniform(0.42, 0.5), 0.34)
    return c


def atypical(rng: Rng, k: float) -> Canvas:
    c = Canvas(rng, k, 24.0)
    r = rng.uniform(12, 16)
    body = c.fill(blob(rng, r, r * rng.uniform(0.75, 0.95), 0.10, 6))
    c.add(body, 0.55, (0.10, 0.11, 0.07))
    c.add(body * c.noise(1.5), 0.2, 0.02)
    nucleus = c.fill(blob(rng, r * 0.66, r * 0.56, 0.13, 7), in_disc(rng, r * 0.12, 1)[0]) * body
    soft = c.blur(nucleus, 0.3)
    c.add(soft, 0.7, (0.38, 0.42, 0.26))
    c.add(soft * (c.noise(1.3) + c.noise(3.7)), 0.15, (0.08, 0.09, 0.06))
    spots = in_disc(rng, r * 0.34, int(rng.integers(1, 4)))
    c.add(c.blur(c.dots(spots, rng.uniform(1.1, 1.8, len(spots))), 0.2), 0.5, 0.32)
    return c


def _nucleus(c: Canvas, at: ArrayLike, r: float, dense: float) -> None:
    """A round nucleus with a membrane and one nucleolus."""
    outline = blob(c.rng, r, r * c.rng.uniform(0.88, 1.0), 0.03)
    shape = c.blur(c.fill(outline, at), 0.25)
    c.add(shape, 0.5, np.multiply(dense, (1.0, 0.95, 0.75)))
    c.add(shape * c.noise(1.3), 0.1, dense * 0.12)
    c.add(c.blur(c.line(outline, 0.4, True, at), 0.15), 0.2, dense * 0.45)
    c.add(c.dots([np.asarray(at) + c.rng.normal(0, r * 0.2, 2)], r * 0.2), 0.2, dense * 0.7)


DRAW = {
    "RBC": rbc,
    "WBC": wbc,
    "Epithelial cell (squamous)": squamous,
    "Epithelial cell (transitional)": transitional,
    "Suspected atypical cell": atypical,
    "Epithelial cell (renal)": renal,
    "WBC clump": wbc_clump,
    "RBC clump": rbc_clump,
}
