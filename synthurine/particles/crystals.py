"""All crystals. Drawn here are those of acid urine: of health (oxalate, uric and hippuric acid) and of disease
(cystine, leucine, tyrosine, cholesterol, bilirubin)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

from synthurine.particles import alkaline_crystals
from synthurine.particles.alkaline_crystals import (
    Matrix,
    Rng,
    ball,
    plate,
    refract,
    size,
    solid,
    spin,
    turned,
)
from synthurine.particles.canvas import Array, Canvas
from synthurine.particles.shapes import Points, ellipse, in_disc


def calcium_oxalate(rng: Rng, k: float) -> Canvas:
    """Dihydrate: a bipyramid, so an envelope from above; one in four leans, a few are drawn out, twinned or paired.
    Monohydrate: an oval, a dumbbell or a biscuit with a hollow middle."""
    if rng.random() < 0.2:
        return _monohydrate(rng, k)
    r = size(rng, 3, 8, 20) / 2
    long = r * rng.uniform(0.3, 1.2) if rng.random() < 0.15 else 0.0
    c = Canvas(rng, k, (r + long) * 2.4 + 1, 0.0)
    tilt = abs(rng.normal(0, 0.16)) if rng.random() < 0.72 and not long else rng.uniform(0.4, 1.5)
    turn = turned(rng, tilt)
    thick = _bipyramid(c, rng, r, long, turn, (0, 0))
    other = rng.random()
    if other < 0.06:  # grown through one another
        thick = np.maximum(
            thick,
            _bipyramid(c, rng, r * rng.uniform(0.7, 1), 0, turn @ turned(rng, 0.5), (0.2 * r, 0)),
        )
    elif other < 0.16:  # side by side
        at = spin([(r * rng.uniform(1.0, 1.7), 0)], rng.uniform(0, 6.3))[0]
        thick = thick + _bipyramid(
            c, rng, r * rng.uniform(0.4, 0.9), 0, turned(rng, rng.uniform(0, 0.5)), at
        )
    refract(
        c, c.blur(thick, 0.04 * r + 0.12), 0.0, rng.uniform(1.1, 1.9)
    )  # ridges are never knife-sharp: they shine
    return c


def _bipyramid(c: Canvas, rng: Rng, r: float, long: float, turn: Matrix, at: ArrayLike) -> Array:
    slope, other = rng.uniform(0.6, 1.0), r * rng.uniform(0.86, 1.0)
    sides = [(r, (1, 0)), (r, (-1, 0)), (other, (0, 1)), (other, (0, -1))]
    faces = [(slope * x, slope * y, z) for _, (x, y) in sides for z in (1, -1)] + [
        (x, y, 0) for _, (x, y) in sides
    ]
    away = [slope * d + long for d, _ in sides for _ in (1, -1)] + [d for d, _ in sides]
    return solid(c, faces, away, turn, at)


def _monohydrate(rng: Rng, k: float) -> Canvas:
    a, turn, kind = size(rng, 5, 9, 16) / 2, rng.uniform(0, 6.3), rng.random()
    c = Canvas(rng, k, a * 1.1 + 1, 0.0)
    if kind < 0.5:  # dumbbell
        b = a * rng.uniform(0.42, 0.58)
        ends = [
            ball(c, b, b * rng.uniform(0.95, 1.25), spin([(s * (a - b), 0)], turn)[0], turn)
            for s in (-1, 1)
        ]
        thick = np.maximum(
            np.maximum(*ends), ball(c, a * 0.7, b * rng.uniform(0.5, 0.75), (0, 0), turn)
        )
        fan = [[(0.2 * a, 0.2 * y), ((0.9 - 0.3 * abs(y)) * a, y * b)] for y in (-0.6, 0, 0.6)]
        c.add(
            c.blur(c.lines([spin(ray, turn + s) for ray in fan for s in (0, np.pi)], 0.25), 0.1),
            0.2,
            0.08,
        )
    else:
        b = a * rng.uniform(0.5, 0.8)
        thick = ball(c, a, b, (0, 0), turn)
        if kind > 0.75:  # biscuit
            thick = thick - np.float32(rng.uniform(0.5, 1.0)) * ball(
                c, a * 0.55, b * 0.5, (0, 0), turn
            )
    refract(c, thick, (0.03, 0.03, 0.05), 0.9)
    return c


def uric_acid(rng: Rng, k: float) -> Canvas:
    """Yellow to red-brown, of the most forms of all: whetstones, rhombs, barrels, six-sided plates, rosettes."""
    a = size(rng, 10, 22, 40) / 2
    colour = np.multiply((0.07, 0.22, 0.60), rng.uniform(0.4, 1.3)) + rng.uniform(
        0, 0.12
    ) * np.array((0.3, 1.2, 1.4))
    if rng.random() < 0.16:
        c = Canvas(rng, k, a + 1.5)
        thick = np.zeros_like(c.phase)
        n, kind = int(rng.integers(6, 12)), rng.choice([0.3, 0.5, 0.7])
        for turn in np.arange(n) * 2 * np.pi / n + rng.normal(0, 0.25, n):
            long = a * rng.uniform(0.34, 0.48)
            petal = _uric_outline(rng, kind, long, long * rng.uniform(0.45, 0.7))
            thick += plate(c, spin(petal + (long * rng.uniform(0.8, 1), 0), turn), 2.5, 0.8)
        refract(c, np.minimum(thick, 6), colour * 1.5, 0.7)
        return c
    c = Canvas(rng, k, a * 1.25 + 1.5)
    kind = rng.random()
    outline = _uric_outline(rng, kind, a, a * rng.uniform(0.42, 0.72))
    thick = plate(c, outline, a * 0.35, a * rng.uniform(0.08, 0.32))
    if rng.random() < 0.25:  # a second one on it
        upper = spin(outline * rng.uniform(0.6, 0.95), rng.normal(0, 0.5), (0.12 * a, 0.2 * a))
        thick += plate(c, upper, a * 0.2, a * 0.1)
    refract(c, thick, colour, 0.7)
    if rng.random() < 0.6:  # growth lines along the sides
        steps = [outline * f for f in rng.uniform(0.5, 0.9, int(rng.integers(1, 4)))]
        steps = [s[: int(len(s) * rng.uniform(0.4, 1.0)) + 1] for s in steps]
        c.add(c.blur(c.lines(steps, 0.35), 0.15), 0.2, colour * 0.12)
    return c


def _uric_outline(rng: Rng, kind: float, a: float, b: float) -> Points:
    x = np.linspace(-1, 1, 24)
    if kind < 0.4:  # whetstone: pointed, with bowed sides
        side = np.c_[a * x, b * (1 - x**2) ** rng.uniform(0.75, 1.15)]
        return np.r_[side, -side]
    if kind < 0.65:  # rhomb, its corners a little blunt
        lean, cut = rng.uniform(-0.5, 0.5), rng.uniform(0.03, 0.1)
        points = np.array([(-a, 0), (lean * b, -b), (a, 0), (-lean * b, b)])
        before, after = np.roll(points, 1, 0), np.roll(points, -1, 0)
        return np.stack(
            [points + cut * (before - points), points + cut * (after - points)], 1
        ).reshape(-1, 2)
    if kind < 0.85:  # barrel
        side = np.c_[a * 0.9 * x, b * (1 - rng.uniform(0.25, 0.45) * x**2)]
        return np.r_[side, -side]
    cut = rng.uniform(0.45, 0.7)  # six-sided
    return np.array([(-a, 0), (-a * cut, -b), (a * cut, -b), (a, 0), (a * cut, b), (-a * cut, b)])


def hippuric_acid(rng: Rng, k: float) -> Canvas:
    """Long four-sided prisms with sloping ends, some as thin as needles; single, or a few grown from one place."""
    a = size(rng, 16, 38, 80) / 2
    c = Canvas(rng, k, a * 1.2 + 1, 0.0)
    n = 1 if rng.random() < 0.6 else int(rng.integers(2, 6))
    thin = rng.uniform(0.035, 0.15)
    thick, first = np.zeros_like(c.phase), rng.uniform(0, 6.3)
    for i in range(n):
        long = a if n == 1 else a * rng.uniform(0.4, 0.55)
        wide = max(a * thin * rng.uniform(0.7, 1.3), 0.6)
        turn, end, bevel = (
            first + (rng.normal(0, 0.8) if i else 0),
            rng.uniform(0.7, 1.6),
            rng.uniform(-0.3, 0.3),
        )
        frame = np.asarray(
            Rotation.from_euler("xyz", [rng.uniform(0, 1.5), rng.normal(0, 0.06), turn]).as_matrix()
        )
        flat = wide * rng.uniform(0.5, 1)
        ends = [(x, x * bevel + y * end, 0) for x in (1, -1) for y in (1, -1)]
        faces = [(0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1), *ends]
        at = spin([(long if n > 1 else 0, 0)], turn)[0]
        thick += solid(c, faces, [wide, wide, flat, flat] + [long] * 4, frame, at)
    refract(c, thick, np.array((0.02, 0.04, 0.12)) * rng.uniform(0, 1.6), 0.7)
    return c


def cystine(rng: Rng, k: float) -> Canvas:
    """Colourless hexagons with sharp sides, equal or not; single, laminated, or several stuck together."""
    r = size(rng, 12, 30, 60) / 2
    n = 1 if rng.random() < 0.6 else int(rng.integers(2, 5))
    c = Canvas(rng, k, r * (1.15 if n == 1 else 2.1) + 1.5)
    thick = np.zeros_like(c.phase)
    for i in range(n):
        side = r * (1 if not i else rng.uniform(0.45, 0.9))
        at = spin([(r * rng.uniform(0.35, 1.1), 0)], rng.uniform(0, 6.3))[0] * (i > 0)
        hexagon = spin(_hexagon(rng, side), rng.normal(0, 0.3) if i else 0, at)
        thick += plate(c, hexagon, 1.4, 0.25)
        if rng.random() < 0.6:  # layers, each smaller than the one below
            for f in np.cumprod(rng.uniform(0.7, 0.93, int(rng.integers(1, 4)))):
                thick += plate(
                    c, (hexagon - at) * f + at + rng.normal(0, 0.02, 2) * side, 0.45, 0.25
                )
    refract(c, thick, (0.01, 0.01, 0.015), 0.65)
    return c


def _hexagon(rng: Rng, r: float) -> Points:
    """Sides at 60 degrees; in most hexagons their distances from the middle differ."""
    away = (
        r
        * 0.87
        * (1 - (rng.uniform(0, 0.28, 6) if rng.random() < 0.6 else rng.uniform(0, 0.03, 6)))
    )
    turn = np.arange(6) * np.pi / 3
    after, angle = np.roll(away, -1), np.pi / 3
    along = (after - away * np.cos(angle)) / np.sin(angle)  # of a side to its corner
    return (
        away[:, None] * np.c_[np.cos(turn), np.sin(turn)]
        + along[:, None] * np.c_[-np.sin(turn), np.cos(turn)]
    )


def leucine(rng: Rng, k: float) -> Canvas:
    """Oily yellow-brown spheres with rings towards the rim and radial striae; now and then two are fused."""
    r = size(rng, 8, 14, 26) / 2
    two = rng.random() < 0.25
    c = Canvas(rng, k, r * (2.6 if two else 1.1) + 1, 0.0)
    colour = np.array((0.07, 0.22, 0.60)) * rng.uniform(0.6, 1.2)
    thick, rings, rays = np.zeros_like(c.phase), [], []
    beside = spin([(r * rng.uniform(1.2, 1.6), 0)], rng.uniform(0, 6.3))[0]
    for at, own in [((0, 0), r)] + [(beside, r * rng.uniform(0.5, 0.95))] * two:
        thick = np.maximum(thick, ball(c, own, own * rng.uniform(0.94, 1), at))
        radii = np.linspace(0.92, rng.uniform(0.5, 0.75), int(rng.integers(2, 5))) + rng.normal(
            0, 0.015
        )
        rings += [np.r_[e, e[:1]] for e in (ellipse(own * f, own * f * 0.98) + at for f in radii)]
        turns = np.arange(28) * 2 * np.pi / 28 + rng.normal(0, 0.08, 28)
        rays += [
            spin(np.c_[rng.uniform([0.05, 0.35], [0.3, 0.85]), (0, 0)] * own, t, at) for t in turns
        ]
    refract(c, thick, colour, 0.6)
    c.add(c.blur(c.lines(rings, 0.3), 0.12), 0.3, (0.16, 0.22, 0.28))
    c.add(c.blur(c.lines(rays, 0.3), 0.1), 0.2, (0.10, 0.14, 0.17))
    return c


def tyrosine(rng: Rng, k: float) -> Canvas:
    """Fine silky needles in sheaves tied in the middle, or in rosettes; black or brown where they lie close."""
    a = size(rng, 18, 36, 66) / 2
    c = Canvas(rng, k, a * 1.1 + 1)
    n, kind = int(rng.integers(30, 50) * (0.7 + a / 30)), rng.random()
    spread = rng.uniform(0.2, 0.5)
    needles = []
    for _ in range(n):
        turn = rng.normal(0, spread) if kind < 0.65 else rng.uniform(0, 6.3)
        left, right = (
            a * rng.uniform(0.45, 1, 2) if kind < 0.65 else a * rng.uniform((0, 0.5), (0.2, 1))
        )
        x = np.linspace(-left, right, 7)
        needles.append(
            spin(np.c_[x, rng.normal(0, 0.06) * x**2 / a], turn)
            + rng.normal(0, 0.04 * a, 2) * (1, 0.4)
        )
    tint = np.array((0.26, 0.28, 0.32)) + rng.uniform(0, 1) * np.array((0.0, 0.04, 0.12))
    for part in np.array_split(np.arange(n), 4):  # they add up where they cross
        c.add(c.lines([needles[i] for i in part], 0.2), 0.35, tint)
    return c


def cholesterol(rng: Rng, k: float) -> Canvas:
    """Large, very thin, clear plates with a corner or more cut out in steps; often several overlap."""
    a = size(rng, 34, 62, 105) / 2
    n = int(rng.choice([1, 2, 3, 4], p=[0.4, 0.3, 0.2, 0.1]))
    c = Canvas(rng, k, a * 1.28 + 1.5)
    a *= 1.0 if n == 1 else 0.8
    b = a * rng.uniform(0.55, 0.85)
    thick = np.zeros_like(c.phase)
    for i in range(n):
        f = rng.uniform(0.55, 1) if i else 1
        sheet = _notched(rng, a * f * 0.86, b * f * rng.uniform(0.8, 1) * 0.86)
        at = rng.uniform(-0.45, 0.45, 2) * (a, b) * (i > 0)
        thick += c.fill(spin(sheet, rng.normal(0, 0.15) if i else 0, at)) * np.float32(
            rng.uniform(0.6, 1.0)
        )
    refract(c, thick, (0.015, 0.015, 0.015), 0.75)
    return c


def _notched(rng: Rng, a: float, b: float) -> Points:
    """A parallelogram, nearly a rectangle; one to three corners are cut out, some in two steps."""
    corner, points = rng.permutation(4) < rng.integers(1, 4), []
    for i, (x, y) in enumerate([(-1, -1), (1, -1), (1, 1), (-1, 1)]):
        p, (u, v) = np.array((x * a, y * b)), rng.uniform(0.18, 0.45, 2) * (a, b)
        if not corner[i]:
            points.append([p])
            continue
        to, fro = np.array((-x * u, 0)), np.array((0, -y * v))
        steps = (
            [(0, 1), (1, 1), (1, 0)]
            if rng.random() < 0.6
            else [(0, 1), (0.5, 1), (0.5, 0.5), (1, 0.5), (1, 0)]
        )
        cut = [p + m * to + n * fro for m, n in steps]
        points.append(cut if x * y > 0 else cut[::-1])
    outline = np.concatenate(points)
    return outline + np.c_[outline[:, 1] * rng.uniform(-0.15, 0.15), 0 * outline[:, 1]]


def bilirubin(rng: Rng, k: float) -> Canvas:
    """Tiny orange to red-brown needles in tufts or upon a spherule, or heaps of granules."""
    a = size(rng, 5, 12, 26) / 2
    c = Canvas(rng, k, a + 1.5)
    red = np.array((0.16, 0.60, 1.0)) * rng.uniform(0.7, 1.2)
    kind = rng.random()
    core = a * rng.uniform(0.3, 0.5)
    if kind < 0.3:  # on a spherule
        c.add(c.dome(c.fill(ellipse(core, core * rng.uniform(0.85, 1)))), 0.9, red * 0.3)
    n = int(rng.integers(14, 34))
    needles = []
    for _ in range(n):
        turn, long = rng.uniform(0, 6.3), rng.uniform(0.45, 1) * a
        start = core * rng.uniform(0.5, 1) if kind < 0.3 else rng.uniform(-0.4, 0.15) * a
        x = np.linspace(start, long, 5)
        needles.append(spin(np.c_[x, rng.normal(0, 0.12) * x**2 / a], turn))
    if kind < 0.75:
        for part in np.array_split(np.arange(n), 2):
            c.add(c.blur(c.lines([needles[i] for i in part], 0.2), 0.08), 0.45, red)
    grains = in_disc(rng, a * 0.25, int(rng.integers(10, 25)))
    if kind >= 0.75:  # granules only, in a few heaps
        grains = in_disc(rng, a * 0.65, 5)[rng.integers(5, size=60)] + rng.normal(
            0, 0.12 * a, (60, 2)
        )
    c.add(c.blur(c.dots(grains, rng.uniform(0.2, 0.5, len(grains))), 0.1), 0.5, red)
    return c


DRAW = {
    "Calcium oxalate": calcium_oxalate,
    "Uric acid": uric_acid,
    "Hippuric acid": hippuric_acid,
    "Cystine": cystine,
    "Leucine": leucine,
    "Tyrosine crystal": tyrosine,
    "Cholesterol": cholesterol,
    "Bilirubin": bilirubin,
    **alkaline_crystals.DRAW,
}
