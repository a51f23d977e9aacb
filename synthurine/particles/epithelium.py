"""Epithelial cells and atypical cells.

Sizes in um after Brunzel, Fundamentals of Urine and Body Fluid Analysis: squamous 40-60,
transitional 20-30, renal 12-25. Atypical cells as in Fogazzi, Pallotti and Garigali, Clin. Chim.
Acta 439, 107 (2015): of unlike size and shape, with a large irregular nucleus and chromatin.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from synthurine.particles.canvas import Array, Canvas, Rng
from synthurine.particles.shapes import Points, blob, corners, in_disc, inside, rounded, turns

PALE = np.array((0.030, 0.030, 0.034))


def squamous(rng: Rng, k: float) -> Canvas:
    """A large thin plate with corners and a small nucleus, its edges folded; or rolled up."""
    c = Canvas(rng, k, 34.0)
    r = rng.uniform(24, 29)
    rolled, bare = rng.random(2) < (0.13, 0.1)  # bare: it has lost its nucleus
    plate = corners(rng, int(rng.integers(4, 8)), r, r * rng.uniform(0.72, 0.95), 0.2)
    plate *= (1.05, 0.6 if rolled else 1.0)
    layers = [_dense(rounded(plate, int(rng.choice((1, 2), p=(0.88, 0.12)))))]
    if rolled:
        for side in (np.pi / 2, -np.pi / 2):
            layers = _fold(layers, side + rng.normal(0, 0.1), r * 0.2)
    else:
        n_folds = int(bare) + int(rng.choice(3, p=(0.35, 0.4, 0.25)))
        for turn in np.cumsum(rng.uniform(0.9, 3.0, n_folds)):
            layers = _fold(layers, turn, r * rng.uniform(0.42, 0.66))
    # nothing about it is quite straight
    swing = rng.uniform(0.6, 2.0, 2)
    wave = rng.uniform(0, 6, 2)
    layers = [layer + swing * np.sin(layer[:, ::-1] * 0.16 + wave) for layer in layers]
    sheets = [c.fill(layer) for layer in layers]
    grain = 1 + 0.12 * (c.noise(1.1) + c.noise(4.5))
    # folded parts are as thick as their layers together
    c.add(np.sum(sheets, axis=0) * grain, 0.42, PALE * 1.2)
    wrinkles = [_crease(rng, r) for _ in range(int(rng.integers(0, 4)))]
    if wrinkles:
        c.add(c.blur(c.lines(wrinkles, 0.5) * sheets[0], 0.3), 0.35, PALE)
    n = int(rng.choice((0, 25, 90), p=(0.3, 0.4, 0.3)))  # granules of keratohyalin
    if n:
        granules = c.dots(inside(rng, layers[0], n, 0.9), rng.uniform(0.2, 0.45, n))
        c.add(granules * sheets[0], 0.35, PALE * 1.5)
    if not bare:
        at = in_disc(rng, r * 0.12, 1)[0]
        _nucleus(c, at, rng.uniform(3.2, 4.8), 0.13)
    return c


def _crease(rng: Rng, r: float) -> Points:
    """A line from near the plate's edge inward."""
    t = rng.uniform(0, 6.3)
    start = np.array([np.cos(t), np.sin(t)]) * r * 0.7
    end = start * rng.uniform(0.4, 0.7) + rng.normal(0, r * 0.2, 2)
    s = np.linspace(0, 1, 10)[:, None]
    return start + (end - start) * s + np.sin(np.pi * s) * rng.normal(0, 1.5, 2)


def _dense(outline: Points, n: int = 8) -> Points:
    """The same outline with ``n`` points on each side."""
    after = np.roll(outline, -1, axis=0)
    s = np.arange(n)[None, :, None] / n
    return (outline[:, None] * (1 - s) + after[:, None] * s).reshape(-1, 2)


def _fold(layers: list[Points], turn: float, away: float) -> list[Points]:
    """Folds a plate back over itself: its layers, the flaps last.

    The fold is the line that lies ``away`` um from the origin in direction ``turn`` (radians).
    """
    direction = np.array([np.cos(turn), np.sin(turn)])
    along = np.array([-direction[1], direction[0]])
    bases = []
    flaps = []
    for layer in layers:
        over = layer @ direction - away
        side = layer @ along
        beyond = over > 0
        if beyond.sum() < 3 or beyond.all():
            bases.append(layer)
            continue
        crossing = side[beyond != np.roll(beyond, 1)]  # where the edge crosses the fold
        on_fold = np.clip(side, crossing.min(), crossing.max())[:, None] * along + away * direction
        mirrored = layer - 2 * over[:, None] * direction
        bases.append(np.where(beyond[:, None], on_fold, layer))
        flaps.append(np.where(beyond[:, None], mirrored, on_fold))
    return bases + flaps


def transitional(rng: Rng, k: float) -> Canvas:
    """From the bladder: smooth and rather thick; round, a pear, with one tail or two."""
    c = Canvas(rng, k, 18.0)
    kind = rng.choice(4, p=(0.42, 0.23, 0.23, 0.12))
    at = np.zeros(2)  # of the nucleus
    r = rng.uniform(10, 13.2)
    if kind == 0:
        outline = blob(rng, r, r * rng.uniform(0.8, 1.0), 0.035)
    elif kind < 3:
        outline, at = _drop(rng, r, tailed=kind == 2)
    else:
        outline = _spindle(rng, r * 1.15)
    body = c.fill(outline)
    c.add(0.45 * body + 0.55 * c.dome(body), 1.05, PALE * 1.5)
    c.add(body * (c.noise(0.9) + c.noise(2.6)), 0.06, PALE * 0.2)  # fine grain
    n = int(rng.integers(20, 70))
    grains = c.dots(inside(rng, outline, n, 0.85), rng.uniform(0.18, 0.36, n))
    c.add(grains, 0.3, PALE)
    size = rng.uniform(3.4, 4.4)
    if kind == 0 and rng.random() < 0.2:  # two nuclei
        for side in (-1, 1):
            place = at + in_disc(rng, 1.0, 1)[0] + np.array([side * 4.2, 0])
            _nucleus(c, place, size * 0.85, 0.15)
    else:
        _nucleus(c, at + in_disc(rng, 1.0, 1)[0], size, 0.15)
    return c


def _drop(rng: Rng, r: float, tailed: bool) -> tuple[Points, Points]:
    """A drop's outline, its end along +x blunt or drawn out to a tail, and a place in its head."""
    t = turns(96)
    r *= 1.15 if tailed else 1.05
    b = r * rng.uniform(0.6, 0.72)  # radius of the head
    thin = rng.uniform(1.4, 2.2) if tailed else rng.uniform(0.7, 0.9)
    x = r * np.cos(t)
    head = b - r  # x of its middle
    tail = 0.75 * b * np.clip((r - x) / (r - head), 0, 1) ** thin + 0.7
    tail = tail * np.clip((x - head) / b + 0.6, 0, 1)
    # a smooth maximum of the head (a circle) and the tail
    half = (np.clip(b**2 - (x - head) ** 2, 0, None) ** 1.5 + tail**3) ** (1 / 3)
    half *= np.minimum(1, (r - x) / 0.6) ** 0.5  # the tail's end is rounded
    outline = np.c_[x, np.sign(np.sin(t)) * half + rng.normal(0, 0.12) * x**2 / r]
    return outline, np.array([head + rng.uniform(-0.1, 0.3) * b, 0])


def _spindle(rng: Rng, r: float) -> Points:
    """An outline with a tail at both ends."""
    t = turns(96)
    blunt = rng.uniform(0.15, 0.3)
    lean = rng.uniform(-0.35, 0.35)
    wide = blunt + (1 - blunt) * np.abs(np.sin(t)) ** rng.uniform(1.2, 2.5)
    wide *= r * rng.uniform(0.42, 0.55) * np.sin(t)  # thin at both ends
    bow = rng.normal(0, 0.14) * r * (np.cos(t) ** 2 - 0.2)
    return np.c_[r * np.cos(t), wide * (1 + lean * np.cos(t)) + bow]


def renal(rng: Rng, k: float) -> Canvas:
    """From a tubule: small, coarsely granular, a large nucleus to one side."""
    c = Canvas(rng, k, 14.0)
    kind = rng.choice(3, p=(0.4, 0.35, 0.25))
    r = rng.uniform(6.2, 9.0)
    if kind == 0:  # of the collecting duct: cuboidal
        plate = corners(rng, int(rng.integers(4, 6)), r * 1.15, r * rng.uniform(0.95, 1.15), 0.1)
        outline = _dense(rounded(_dense(plate, 2), 3), 2)
        # nearer to a circle
        outline *= 0.7 + 0.3 * r / np.linalg.norm(outline, axis=1, keepdims=True)
    elif kind == 1:  # of the distal tubule: round
        outline = blob(rng, r, r * rng.uniform(0.82, 0.98), 0.03)
    else:  # of the proximal tubule: columnar
        r = rng.uniform(9.0, 12.0)
        wide = r * rng.uniform(0.42, 0.55)
        taper = rng.uniform(0.75, 1.0)
        box = np.array([[-r, -wide], [r, -wide * taper], [r, wide * taper], [-r, wide]])
        box += rng.normal(0, 0.7, (4, 2))
        outline = _dense(rounded(_dense(box, 2), 3), 2)
        outline[:, 1] += rng.normal(0, 0.7) * (outline[:, 0] / r) ** 2
    body = c.fill(outline)
    c.add(0.55 * body + 0.45 * c.dome(body), 1.1, (0.065, 0.072, 0.088))
    size = min(rng.uniform(3.0, 4.1), 0.5 * r)
    if kind == 2:
        aside = min(r * rng.uniform(0.25, 0.45), r - size - 0.8)
    else:
        aside = max(0.0, min(r * 0.35, r - size - 1.0))
    nucleus = _nucleus(c, (aside, 0), size, 0.2)
    n = int(rng.integers(60, 130)) if kind < 2 else 150
    places = inside(rng, outline, n)
    grains = c.dots(places, np.minimum(0.32 * rng.lognormal(0, 0.3, n), 0.75))
    # the nucleus hides most of those over it
    c.add(grains * (1 - 0.8 * nucleus), 0.28, (0.05, 0.055, 0.065))
    c.add(body * c.noise(1.4), 0.09, 0.016)
    return c


def atypical(rng: Rng, k: float) -> Canvas:
    """A cell suspected of malignancy, alone or two moulded to one another."""
    if rng.random() > 0.2:
        return _atypical_cell(rng, k, rng.uniform(8.5, 16.0))
    c = Canvas(rng, k, 24.0)
    radii = rng.uniform(7.5, 9.5, 2)
    for r, side in zip(radii, (-1, 1), strict=True):
        c.stamp(_atypical_cell(rng, k, r), (side * r * 0.85, 0))
    return c


def _atypical_cell(rng: Rng, k: float, r: float) -> Canvas:
    """Little cytoplasm about a dark, notched nucleus with clods of chromatin and nucleoli."""
    c = Canvas(rng, k, r * 1.45 + 2)
    outline = blob(rng, r, r * rng.uniform(0.75, 0.97), 0.08, 6)
    body = c.fill(outline)
    c.add(0.6 * body + 0.4 * c.dome(body), 0.85, PALE * 1.7)
    c.add(body * c.noise(1.2), 0.12, PALE * 0.4)
    share = rng.uniform(0.62, 0.78)  # of the nucleus in the cell
    edge = blob(rng, r * share, r * share * rng.uniform(0.78, 0.95), 0.12, 7)
    at = in_disc(rng, r * 0.12, 1)[0]
    nucleus = c.blur(c.fill(edge, at) * body, 0.25)
    dark = np.array((0.25, 0.25, 0.22)) * rng.uniform(0.8, 1.25)
    c.add(nucleus, 0.6, dark)
    clods = nucleus * np.clip(c.noise(1.5) + 0.6 * c.noise(3.5), -1, 2)
    c.add(clods, 0.25, dark * 0.35)
    membrane = c.blur(c.line(edge, 0.7, True, at), 0.2) * body
    c.add(membrane, 0.2, dark * 0.5)
    n = int(rng.integers(1, 4))
    nucleoli = c.dots(at + in_disc(rng, r * share * 0.5, n), rng.uniform(0.9, 1.6, n))
    c.add(c.blur(nucleoli, 0.15), 0.5, dark * 0.9)
    return c


def _nucleus(c: Canvas, at: ArrayLike, r: float, dense: float) -> Array:
    """A round nucleus with a membrane, finely clotted chromatin and a nucleolus; its coverage."""
    rng = c.rng
    outline = blob(rng, r, r * rng.uniform(0.88, 1.0), 0.03)
    shape = c.blur(c.fill(outline, at), 0.2)
    grey = np.multiply(dense, (1.0, 0.97, 0.85))
    c.add(shape, 0.5, grey)
    c.add(shape * c.noise(1.1), 0.06, grey * 0.15)  # chromatin
    c.add(c.blur(c.line(outline, 0.4, True, at), 0.15), 0.25, grey * 0.5)  # membrane
    place = np.asarray(at) + rng.normal(0, r * 0.2, 2)
    nucleolus = c.dots([place], r * rng.uniform(0.15, 0.24))
    c.add(nucleolus, 0.3, grey * 0.8)
    return shape


DRAW = {
    "Epithelial cell (squamous)": squamous,
    "Epithelial cell (transitional)": transitional,
    "Suspected atypical cell": atypical,
    "Epithelial cell (renal)": renal,
}
