"""Crystals of acid urine that also healthy people have: calcium oxalate, uric and hippuric acid."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from synthurine.particles.canvas import Array, Canvas, Rng
from synthurine.particles.shapes import Points, spin, spokes
from synthurine.particles.solids import Matrix, ball, euler, plate, refract, size, solid, turned


def calcium_oxalate(rng: Rng, k: float) -> Canvas:
    """The dihydrate is a bipyramid, so an envelope from above; the monohydrate is rounded.

    One bipyramid in four leans; a few are drawn out, twinned or paired.
    """
    if rng.random() < 0.2:
        return _monohydrate(rng, k)
    r = size(rng, 3, 8, 20) / 2
    long = r * rng.uniform(0.3, 1.2) if rng.random() < 0.15 else 0.0
    c = Canvas(rng, k, (r + long) * 2.4 + 1, 0.0)
    flat = rng.random() < 0.72 and not long
    tilt = abs(rng.normal(0, 0.16)) if flat else rng.uniform(0.4, 1.5)
    turn = turned(rng, tilt)
    thick = _bipyramid(c, rng, r, long, turn, (0, 0))
    company = rng.random()
    if company < 0.06:  # a second one grown through it
        smaller = r * rng.uniform(0.7, 1)
        second_turn = turn @ turned(rng, 0.5)
        thick = np.maximum(thick, _bipyramid(c, rng, smaller, 0, second_turn, (0.2 * r, 0)))
    elif company < 0.16:  # a second one beside it
        at = spin([(r * rng.uniform(1.0, 1.7), 0)], rng.uniform(0, 6.3))[0]
        smaller = r * rng.uniform(0.4, 0.9)
        second_turn = turned(rng, rng.uniform(0, 0.5))
        thick = thick + _bipyramid(c, rng, smaller, 0, second_turn, at)
    # ridges are never sharp as a knife: they shine
    refract(c, c.blur(thick, 0.04 * r + 0.12), 0.0, rng.uniform(1.1, 1.9))
    return c


def _bipyramid(c: Canvas, rng: Rng, r: float, long: float, turn: Matrix, at: ArrayLike) -> Array:
    """Two four-sided pyramids base to base, or with a prism ``long`` um high between them."""
    slope = rng.uniform(0.6, 1.0)
    other = r * rng.uniform(0.86, 1.0)
    sides = [(r, (1, 0)), (r, (-1, 0)), (other, (0, 1)), (other, (0, -1))]
    faces = [(slope * x, slope * y, z) for _, (x, y) in sides for z in (1, -1)]  # of the pyramids
    away = [slope * distance + long for distance, _ in sides for _ in (1, -1)]
    faces += [(x, y, 0) for _, (x, y) in sides]  # of the prism
    away += [distance for distance, _ in sides]
    return solid(c, faces, away, turn, at)


def _monohydrate(rng: Rng, k: float) -> Canvas:
    """A dumbbell, an oval, or a biscuit with a hollow middle."""
    a = size(rng, 5, 9, 16) / 2
    turn = rng.uniform(0, 6.3)
    kind = rng.random()
    c = Canvas(rng, k, a * 1.1 + 1, 0.0)
    if kind < 0.5:  # dumbbell
        b = a * rng.uniform(0.42, 0.58)
        ends = []
        for side in (-1, 1):
            width = b * rng.uniform(0.95, 1.25)
            ends.append(ball(c, b, width, spin([(side * (a - b), 0)], turn)[0], turn))
        waist = ball(c, a * 0.7, b * rng.uniform(0.5, 0.75), (0, 0), turn)
        thick = np.maximum(np.maximum(*ends), waist)
        fan = [[(0.2 * a, 0.2 * y), ((0.9 - 0.3 * abs(y)) * a, y * b)] for y in (-0.6, 0, 0.6)]
        striae = [spin(ray, turn + half_turn) for ray in fan for half_turn in (0, np.pi)]
        c.add(c.blur(c.lines(striae, 0.25), 0.1), 0.2, 0.08)  # striae that spread from the waist
    else:
        b = a * rng.uniform(0.5, 0.8)
        thick = ball(c, a, b, (0, 0), turn)
        if kind > 0.75:  # biscuit
            deep = np.float32(rng.uniform(0.5, 1.0))
            thick = thick - deep * ball(c, a * 0.55, b * 0.5, (0, 0), turn)
    refract(c, thick, (0.03, 0.03, 0.05), 0.9)
    return c


def uric_acid(rng: Rng, k: float) -> Canvas:
    """Yellow to red-brown, in many forms: whetstones, rhombs, barrels, hexagons, rosettes."""
    a = size(rng, 10, 22, 40) / 2
    yellow = np.multiply((0.07, 0.22, 0.60), rng.uniform(0.4, 1.3))
    colour = yellow + rng.uniform(0, 0.12) * np.array((0.3, 1.2, 1.4))
    if rng.random() < 0.16:
        return _uric_rosette(rng, k, a, colour)
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
        steps = [step[: int(len(step) * rng.uniform(0.4, 1.0)) + 1] for step in steps]
        c.add(c.blur(c.lines(steps, 0.35), 0.15), 0.2, colour * 0.12)
    return c


def _uric_rosette(rng: Rng, k: float, a: float, colour: ArrayLike) -> Canvas:
    c = Canvas(rng, k, a + 1.5)
    thick = np.zeros_like(c.phase)
    n = int(rng.integers(6, 12))
    kind = rng.choice([0.3, 0.5, 0.7])
    for turn in spokes(n) + rng.normal(0, 0.25, n):
        long = a * rng.uniform(0.34, 0.48)
        petal = _uric_outline(rng, kind, long, long * rng.uniform(0.45, 0.7))
        petal = petal + (long * rng.uniform(0.8, 1), 0)
        thick += plate(c, spin(petal, turn), 2.5, 0.8)
    refract(c, np.minimum(thick, 6), np.multiply(colour, 1.5), 0.7)  # petals overlap in the middle
    return c


def _uric_outline(rng: Rng, kind: float, a: float, b: float) -> Points:
    """An outline of half length ``a`` and half width ``b``; ``kind`` (0..1) chooses the form."""
    x = np.linspace(-1, 1, 24)
    if kind < 0.4:  # whetstone: pointed, with bowed sides
        side = np.c_[a * x, b * (1 - x**2) ** rng.uniform(0.75, 1.15)]
        return np.r_[side, -side]
    if kind < 0.65:  # rhomb, its corners a little blunt
        lean = rng.uniform(-0.5, 0.5)
        cut = rng.uniform(0.03, 0.1)
        points = np.array([(-a, 0), (lean * b, -b), (a, 0), (-lean * b, b)])
        to_before = cut * (np.roll(points, 1, 0) - points)
        to_after = cut * (np.roll(points, -1, 0) - points)
        return np.stack([points + to_before, points + to_after], 1).reshape(-1, 2)
    if kind < 0.85:  # barrel
        side = np.c_[a * 0.9 * x, b * (1 - rng.uniform(0.25, 0.45) * x**2)]
        return np.r_[side, -side]
    cut = rng.uniform(0.45, 0.7)  # six-sided
    return np.array([(-a, 0), (-a * cut, -b), (a * cut, -b), (a, 0), (a * cut, b), (-a * cut, b)])


def hippuric_acid(rng: Rng, k: float) -> Canvas:
    """Long four-sided prisms with sloping ends, some as thin as needles.

    They are single, or a few have grown from one place.
    """
    a = size(rng, 16, 38, 80) / 2
    c = Canvas(rng, k, a * 1.2 + 1, 0.0)
    n = 1 if rng.random() < 0.6 else int(rng.integers(2, 6))
    thin = rng.uniform(0.035, 0.15)
    thick = np.zeros_like(c.phase)
    first_turn = rng.uniform(0, 6.3)
    for i in range(n):
        long = a if n == 1 else a * rng.uniform(0.4, 0.55)
        wide = max(a * thin * rng.uniform(0.7, 1.3), 0.6)
        turn = first_turn + (rng.normal(0, 0.8) if i else 0)
        slope = rng.uniform(0.7, 1.6)  # of the ends
        bevel = rng.uniform(-0.3, 0.3)
        roll = rng.uniform(0, 1.5)
        frame = euler("xyz", [roll, rng.normal(0, 0.06), turn])  # lying nearly flat
        flat = wide * rng.uniform(0.5, 1)
        # two faces at each
        ends = [(x, x * bevel + y * slope, 0) for x in (1, -1) for y in (1, -1)]
        faces = [(0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1), *ends]
        at = spin([(long if n > 1 else 0, 0)], turn)[0]
        thick += solid(c, faces, [wide, wide, flat, flat] + [long] * 4, frame, at)
    refract(c, thick, np.array((0.02, 0.04, 0.12)) * rng.uniform(0, 1.6), 0.7)
    return c


DRAW = {"Calcium oxalate": calcium_oxalate, "Uric acid": uric_acid, "Hippuric acid": hippuric_acid}
