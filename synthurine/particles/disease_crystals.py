"""Crystals of disease: cystine, leucine, tyrosine, cholesterol, bilirubin; in acid urine."""

from __future__ import annotations

import numpy as np

from synthurine.particles.canvas import Canvas, Rng
from synthurine.particles.shapes import Points, ellipse, in_disc, rays, spin, spokes
from synthurine.particles.solids import ball, plate, refract, size


def cystine(rng: Rng, k: float) -> Canvas:
    """Colourless hexagons with sharp sides; single, laminated, or several stuck together."""
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
                layer = (hexagon - at) * f + at + rng.normal(0, 0.02, 2) * side
                thick += plate(c, layer, 0.45, 0.25)
    refract(c, thick, (0.01, 0.01, 0.015), 0.65)  # colourless
    return c


def _hexagon(rng: Rng, r: float) -> Points:
    """Sides at 60 degrees; in most hexagons their distances from the middle differ."""
    shrink = rng.uniform(0, 0.28, 6) if rng.random() < 0.6 else rng.uniform(0, 0.03, 6)
    away = r * 0.87 * (1 - shrink)
    turn = np.arange(6) * np.pi / 3
    angle = np.pi / 3
    # from the foot of each side's normal along the side to its corner
    along = (np.roll(away, -1) - away * np.cos(angle)) / np.sin(angle)
    return away[:, None] * rays(turn) + along[:, None] * np.c_[-np.sin(turn), np.cos(turn)]


def leucine(rng: Rng, k: float) -> Canvas:
    """Oily yellow-brown spheres with rings towards the rim and radial striae; some are fused."""
    r = size(rng, 8, 14, 26) / 2
    two = rng.random() < 0.25
    c = Canvas(rng, k, r * (2.6 if two else 1.1) + 1, 0.0)
    colour = np.array((0.07, 0.22, 0.60)) * rng.uniform(0.6, 1.2)
    beside = spin([(r * rng.uniform(1.2, 1.6), 0)], rng.uniform(0, 6.3))[0]
    spheres = [(np.zeros(2), r), (beside, r * rng.uniform(0.5, 0.95))]
    thick = np.zeros_like(c.phase)
    rings: list[Points] = []
    striae: list[Points] = []
    for at, radius in spheres if two else spheres[:1]:
        thick = np.maximum(thick, ball(c, radius, radius * rng.uniform(0.94, 1), at))
        innermost = rng.uniform(0.5, 0.75)
        radii = np.linspace(0.92, innermost, int(rng.integers(2, 5))) + rng.normal(0, 0.015)
        for f in radii:
            ring = ellipse(radius * f, radius * f * 0.98) + at
            rings.append(np.r_[ring, ring[:1]])
        for turn in spokes(28) + rng.normal(0, 0.08, 28):
            ends = rng.uniform([0.05, 0.35], [0.3, 0.85])  # from the middle
            striae.append(spin(np.c_[ends, (0, 0)] * radius, turn, at))
    refract(c, thick, colour, 0.6)
    c.add(c.blur(c.lines(rings, 0.3), 0.12), 0.3, (0.16, 0.22, 0.28))  # dark rings
    c.add(c.blur(c.lines(striae, 0.3), 0.1), 0.2, (0.10, 0.14, 0.17))
    return c


def tyrosine(rng: Rng, k: float) -> Canvas:
    """Fine silky needles in sheaves or rosettes, black or brown where they lie close."""
    a = size(rng, 18, 36, 66) / 2
    c = Canvas(rng, k, a * 1.1 + 1)
    n = int(rng.integers(30, 50) * (0.7 + a / 30))
    sheaf = rng.random() < 0.65  # tied in the middle
    spread = rng.uniform(0.2, 0.5)
    needles = []
    for _ in range(n):
        if sheaf:
            turn = rng.normal(0, spread)
            left, right = a * rng.uniform(0.45, 1, 2)
        else:
            turn = rng.uniform(0, 6.3)
            left, right = a * rng.uniform((0, 0.5), (0.2, 1))
        x = np.linspace(-left, right, 7)
        bow = rng.normal(0, 0.06) * x**2 / a
        needles.append(spin(np.c_[x, bow], turn) + rng.normal(0, 0.04 * a, 2) * (1, 0.4))
    tint = np.array((0.26, 0.28, 0.32)) + rng.uniform(0, 1) * np.array((0.0, 0.04, 0.12))
    for part in np.array_split(np.arange(n), 4):  # they add up where they cross
        c.add(c.lines([needles[i] for i in part], 0.2), 0.35, tint)
    return c


def cholesterol(rng: Rng, k: float) -> Canvas:
    """Large, very thin, clear plates with corners cut out in steps; often several overlap."""
    a = size(rng, 34, 62, 105) / 2
    n = int(rng.choice([1, 2, 3, 4], p=[0.4, 0.3, 0.2, 0.1]))
    c = Canvas(rng, k, a * 1.28 + 1.5)
    a *= 1.0 if n == 1 else 0.8  # room for several
    b = a * rng.uniform(0.55, 0.85)
    thick = np.zeros_like(c.phase)
    for i in range(n):
        f = rng.uniform(0.55, 1) if i else 1
        outline = _notched(rng, a * f * 0.86, b * f * rng.uniform(0.8, 1) * 0.86)
        at = rng.uniform(-0.45, 0.45, 2) * (a, b) * (i > 0)
        sheet = c.fill(spin(outline, rng.normal(0, 0.15) if i else 0, at))
        thick += sheet * np.float32(rng.uniform(0.6, 1.0))
    refract(c, thick, (0.015, 0.015, 0.015), 0.75)  # clear as glass
    return c


def _notched(rng: Rng, a: float, b: float) -> Points:
    """A parallelogram, nearly a rectangle; one to three corners are cut out, some in two steps."""
    is_cut = rng.permutation(4) < rng.integers(1, 4)
    points = []
    for i, (x, y) in enumerate([(-1, -1), (1, -1), (1, 1), (-1, 1)]):
        corner = np.array((x * a, y * b))
        u, v = rng.uniform(0.18, 0.45, 2) * (a, b)  # the notch's sides
        if not is_cut[i]:
            points.append([corner])
            continue
        along_x = np.array((-x * u, 0))
        along_y = np.array((0, -y * v))
        if rng.random() < 0.6:
            steps = [(0.0, 1.0), (1.0, 1.0), (1.0, 0.0)]
        else:
            steps = [(0.0, 1.0), (0.5, 1.0), (0.5, 0.5), (1.0, 0.5), (1.0, 0.0)]
        notch = [corner + m * along_x + n * along_y for m, n in steps]
        points.append(notch if x * y > 0 else notch[::-1])
    outline = np.concatenate(points)
    shear = outline[:, 1] * rng.uniform(-0.15, 0.15)
    return outline + np.c_[shear, 0 * outline[:, 1]]


def bilirubin(rng: Rng, k: float) -> Canvas:
    """Tiny orange to red-brown needles in tufts or upon a spherule, or heaps of granules."""
    a = size(rng, 5, 12, 26) / 2
    c = Canvas(rng, k, a + 1.5)
    red = np.array((0.16, 0.60, 1.0)) * rng.uniform(0.7, 1.2)
    kind = rng.random()
    core = a * rng.uniform(0.3, 0.5)
    if kind < 0.3:  # a spherule
        c.add(c.dome(c.fill(ellipse(core, core * rng.uniform(0.85, 1)))), 0.9, red * 0.3)
    n = int(rng.integers(14, 34))
    needles = []
    for _ in range(n):
        turn = rng.uniform(0, 6.3)
        long = rng.uniform(0.45, 1) * a
        start = core * rng.uniform(0.5, 1) if kind < 0.3 else rng.uniform(-0.4, 0.15) * a
        x = np.linspace(start, long, 5)
        needles.append(spin(np.c_[x, rng.normal(0, 0.12) * x**2 / a], turn))  # a little bent
    if kind < 0.75:
        for part in np.array_split(np.arange(n), 2):
            c.add(c.blur(c.lines([needles[i] for i in part], 0.2), 0.08), 0.45, red)
    grains = in_disc(rng, a * 0.25, int(rng.integers(10, 25)))
    if kind >= 0.75:  # granules only, in a few heaps
        heaps = in_disc(rng, a * 0.65, 5)
        grains = heaps[rng.integers(5, size=60)] + rng.normal(0, 0.12 * a, (60, 2))
    c.add(c.blur(c.dots(grains, rng.uniform(0.2, 0.5, len(grains))), 0.1), 0.5, red)
    return c


DRAW = {
    "Cystine": cystine,
    "Leucine": leucine,
    "Tyrosine crystal": tyrosine,
    "Cholesterol": cholesterol,
    "Bilirubin": bilirubin,
}
