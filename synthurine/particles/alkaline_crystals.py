"""The crystals of alkaline urine, and the amorphous ones of any urine.

Sizes, where it gives them, after the WHO's Manual of basic techniques for a health laboratory,
2nd ed. (2003), pp. 246-247.
"""

from __future__ import annotations

import numpy as np

from synthurine.particles.canvas import Array, Canvas, Rng
from synthurine.particles.shapes import Points, blob, ellipse, huddle, in_disc, spin, spokes
from synthurine.particles.solids import ball, euler, plate, refract, size, solid


def amorphous(rng: Rng, k: float) -> Canvas:
    """Sand of no form: yellowish or pinkish urates, grey phosphates; a sheet, clump or strand."""
    urates = rng.random() < 0.5
    a = size(rng, 11, 28, 60) / 2
    b = a * (rng.uniform(0.22, 0.4) if rng.random() < 0.25 else rng.uniform(0.55, 0.95))
    c = Canvas(rng, k, a + 1.5)
    n = int(np.clip(a * b * rng.uniform(3.5, 6.5), 180, 1400))  # grains
    # grains about 14 heaps in the unit disc; those that fall out of it are brought back
    heaps = in_disc(rng, 0.8, 14)
    weight = rng.gamma(2.0, 1.0, 14)
    nearest = rng.choice(14, n, p=weight / weight.sum())
    at = heaps[nearest] + rng.normal(0, rng.uniform(0.14, 0.26), (n, 2))
    away = np.hypot(*at.T)
    pull = np.where(away > 0.97, rng.uniform(0.5, 0.97, n) / np.maximum(away, 0.1), 1)
    at *= pull[:, None] * (a, b)
    if urates:
        tint = np.array([(0.20, 0.28, 0.44), (0.16, 0.32, 0.36)][int(rng.integers(2))])
    else:
        tint = np.array((0.27, 0.26, 0.26))
    tint *= rng.uniform(0.7, 1.3)
    radii = rng.uniform(0.15, 0.36, n) * rng.uniform(0.85, 1.3)
    for part in np.array_split(np.arange(n), 3):  # they add up where they overlap
        c.add(c.blur(c.dots(at[part], radii[part]), 0.1), 0.6, tint * 1.3)
    return c


def triple_phosphate(rng: Rng, k: float) -> Canvas:
    """Coffin lids from above or from the side, long prisms; while they dissolve, an X or a fern."""
    a = size(rng, 20, 40, 70) / 2
    kind = rng.random()
    if kind < 0.18:
        return _fern(rng, k, a)
    c = Canvas(rng, k, a * 1.2 + 1.5, 0.0)
    b = a * (rng.uniform(0.36, 0.7) if kind < 0.85 else rng.uniform(0.2, 0.32))
    side, end = rng.uniform(0.6, 1.3, 2)  # slopes of the lid
    wall = 0.15 * b
    chop = rng.uniform(0.1, 0.5)  # of the upright edges
    # a roof, or its top cut off
    top = wall + side * b * (rng.uniform(0.4, 0.75) if rng.random() < 0.3 else 1.0)
    faces = [(0, 0, -1), (0, 0, 1), (0, 1, 0), (0, -1, 0), (1, 0, 0), (-1, 0, 0)]  # a box
    away = [0.3 * b, top, b, b, a, a]
    faces += [(0, side, 1), (0, -side, 1), (end, 0, 1), (-end, 0, 1)]  # the lid
    away += [side * b + wall, side * b + wall, end * a + wall, end * a + wall]
    faces += [(x, y, 0) for x in (1, -1) for y in (1, -1)]  # the upright edges, cut off
    away += [a + b * (1 - chop)] * 4
    roll = rng.normal(0, 0.15) if rng.random() < 0.7 else rng.uniform(0.7, 1.6)
    pitch = rng.normal(0, 0.08)
    turn = euler("xyz", [roll, pitch, rng.uniform(0, 6.3)])
    thick = solid(c, faces, away, turn)
    refract(c, thick, 0.01, rng.uniform(0.8, 1.2))
    return c


def _fern(rng: Rng, k: float, a: float) -> Canvas:
    """Two to six feathered blades from one point: two pairs of them are the X."""
    c = Canvas(rng, k, a + 1.5)
    turns = [0.0, np.pi, 0.0, np.pi] + np.array((1, -1, -1, 1)) * rng.uniform(0.4, 0.75)
    if rng.random() < 0.5:
        n = int(rng.integers(3, 7))
        turns = spokes(n) + rng.normal(0, 0.15, n)
    ribs: list[Points] = []
    barbs: list[Points] = []
    for turn in turns:
        long = a * rng.uniform(0.75, 1)
        lean = rng.uniform(0.6, 1.0)
        ribs.append(spin([(0, 0), (long, 0)], turn))
        for x in np.arange(0.06, 0.97, 1.5 / long):  # a pair of barbs every 1.5 um
            reach = long * 0.3 * np.sin(np.pi * x**0.7) ** 0.8 * rng.uniform(0.75, 1.1)
            tip = min(x * long + reach * np.cos(lean), long)
            for way in (-1, 1):
                barb = [(x * long, 0), (tip, way * reach * np.sin(lean))]
                barbs.append(spin(barb, turn))
    refract(c, c.lines(barbs, 0.6) + c.lines(ribs, 0.9), 0.03, 0.8)
    return c


def ammonium_biurate(rng: Rng, k: float) -> Canvas:
    """Brown spheres with radial and ring-shaped striae.

    One to three smooth ones, or a thorn apple: a sphere with spicules.
    """
    r = size(rng, 8, 15, 26) / 2
    brown = np.array((0.36, 0.78, 1.3)) * rng.uniform(0.7, 1.25)
    thorny = rng.random() < 0.65
    c = Canvas(rng, k, r * (2.4 if thorny else 3.2) + 1, 0.0)
    n = 1 if thorny or rng.random() < 0.5 else int(rng.integers(2, 4))
    thick = np.zeros_like(c.phase)
    striae: list[Points] = []
    rings: list[Points] = []
    for at in huddle(rng, 1.8 * r, n):
        radius = r * (rng.uniform(0.75, 1) if n > 1 else 1)
        thick = np.maximum(thick, ball(c, radius, radius * rng.uniform(0.94, 1), at))
        for turn, start, end in rng.uniform((0, 0.1, 0.5), (6.3, 0.5, 0.97), (24, 3)):
            striae.append(spin([(radius * start, 0), (radius * end, 0)], turn, at))
        for f in rng.uniform(0.4, 0.9, 2):
            ring = ellipse(radius * f, radius * f) + at
            rings.append(np.r_[ring, ring[:1]])
    c.add(c.blur(c.lines(striae, 0.3), 0.1), 0.2, brown * 0.25)
    c.add(c.blur(c.lines(rings, 0.35), 0.15), 0.2, brown * 0.15)
    if thorny:
        horns = _horns(c, r)
        c.add(horns * (thick == 0), 0.0, brown * 0.4)  # outside the sphere alone
        thick = np.maximum(thick, c.blur(horns, 0.03 * r) * np.float32(0.35 * r))
    refract(c, thick, brown, 0.5)
    return c


def _horns(c: Canvas, r: float) -> Array:
    """Coverage of bent spicules all round a sphere of radius ``r``."""
    rng = c.rng
    n = int(rng.integers(3, 14))
    horns = np.zeros_like(c.phase)
    for turn in rng.uniform(0, 6.3) + spokes(n) + rng.normal(0, 0.22, n):
        reach = r * rng.uniform(0.3, 1.15)
        half = r * rng.uniform(0.12, 0.26)
        bow = rng.normal(0, 0.3)
        x = np.linspace(0, 1, 8)
        axis = np.c_[r * 0.85 + x * reach, bow * reach * x**2]  # from under the surface outward
        edge = np.c_[0 * x, half * (1 - x) ** 0.8]
        horn = np.r_[axis + edge, (axis - edge)[::-1]]
        horns = np.maximum(horns, c.fill(spin(horn, turn)))
    return horns


def calcium_phosphate(rng: Rng, k: float) -> Canvas:
    """Stars of wedge-shaped prisms, sheaves of needles, one wedge, or a thin granular plate."""
    a = size(rng, 18, 34, 64) / 2
    kind = rng.random()
    c = Canvas(rng, k, a * 1.4 + 1.5)
    thick = np.zeros_like(c.phase)
    if kind < 0.16:  # a plate
        edge = blob(rng, a, a * rng.uniform(0.55, 0.9), 0.18, 9, 16)
        grain = np.maximum(1 + 0.35 * c.noise(1.1), 0.1)
        refract(c, plate(c, edge, 0.6, 0.3) * grain, 0.05, 0.6)
        return c
    if kind < 0.4:  # a sheaf
        fan = rng.uniform(0.25, 0.6)
        n = int(rng.integers(12, 26))
        needles = []
        for turn in rng.normal(0, fan / 2, n):
            needles.append(spin([(0, 0), (2 * a * rng.uniform(0.55, 1), 0)], turn, (-a, 0)))
        thick += c.lines(needles, rng.uniform(0.5, 0.9))
    else:  # wedges
        n = int(rng.integers(1, 3)) if kind < 0.5 else int(rng.integers(7, 16))
        spread = rng.uniform(1.2, 2.2) if rng.random() < 0.3 else 2 * np.pi
        for turn in np.arange(n) * spread / n + rng.normal(0, 0.18, n):
            long = a * (rng.uniform(0.6, 1.0) if n > 2 else 1)
            wide = long * rng.uniform(0.1, 0.2)
            cut = rng.uniform(-0.2, 0.2)
            narrow_end = [(0, 0.15 * wide), (0, -0.15 * wide)]
            wide_end = [(long * (1 + cut), -wide), (long * (1 - cut), wide)]
            wedge = np.array(narrow_end + wide_end) - (0 if n > 2 else long / 2, 0)
            thick += plate(c, spin(wedge, turn), 1.4, 0.5)
    refract(c, np.minimum(thick, 4), 0.02, 0.65)  # wedges overlap in the middle
    return c


def calcium_carbonate(rng: Rng, k: float) -> Canvas:
    """Small bright grains: spheres, dumbbells, fours in a cross, and clumps."""
    r = size(rng, 1.2, 1.9, 3.4)
    n = int(rng.choice([1, 2, 4, int(rng.integers(5, 12))], p=[0.2, 0.42, 0.2, 0.18]))
    c = Canvas(rng, k, r * (2.5 if n < 5 else 6.5) + 1, 0.0)
    near = r * rng.uniform(0.75, 1.0)
    turn = rng.uniform(0, 6.3)
    pair = [(-near, 0.0), (near, 0.0)]
    few = {1: [(0.0, 0.0)], 2: pair, 4: [*pair, (0.0, near), (0.0, -near)]}
    places = spin(few[n], turn) if n < 5 else huddle(rng, 1.8 * r, n)
    thick = np.zeros_like(c.phase)
    for at in places:
        radius = r * (rng.uniform(0.9, 1.05) if n < 5 else rng.uniform(0.6, 1.1))
        thick = np.maximum(thick, ball(c, radius, radius * rng.uniform(0.85, 1), at, turn))
    refract(c, thick, (0.08, 0.10, 0.16), 0.9)
    return c


DRAW = {
    "Amorphous": amorphous,
    "Triple phosphate": triple_phosphate,
    "Ammonium biurat": ammonium_biurate,
    "Calcium phosphate": calcium_phosphate,
    "Calcium carbonate": calcium_carbonate,
}
