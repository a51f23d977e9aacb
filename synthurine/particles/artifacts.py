"""What falls into a specimen or lies on the slide, from fibres to glove powder.

Kinds and looks after Mundt & Shanahan, Graff's Textbook of Urinalysis and Body Fluids, 2nd ed.,
2011.
"""

from __future__ import annotations

import numpy as np

from synthurine.particles.canvas import Array, Canvas, Rng
from synthurine.particles.shapes import (
    band,
    blob,
    corners,
    ellipse,
    farthest,
    in_disc,
    normals,
    path,
    rays,
    rounded,
    spokes,
    turns,
)

DYES = (  # optical density in R, G, B
    (0.05, 0.06, 0.09),
    (0.05, 0.06, 0.09),
    (0.42, 0.24, 0.08),
    (0.10, 0.30, 0.24),
    (0.30, 0.30, 0.32),
)


def artifact(rng: Rng, k: float) -> Canvas:
    """One of ten kinds."""
    return KINDS[int(rng.choice(len(KINDS), p=SHARES))](rng, k)


def _cotton(rng: Rng, k: float) -> Canvas:
    """A flat ribbon that twists: where it turns it is narrow and its two thick edges cross."""
    long = rng.uniform(60, 112)
    wide = rng.uniform(8, 14)
    axis = path(rng, long, rng.uniform(0.3, 0.7), 120)
    t = np.linspace(0, 1, 120)
    # in half turns
    twist = rng.uniform(1.5, 3.5) * t + rng.uniform(0, 1) + rng.normal(0, 0.2) * np.sin(9 * t)
    side = np.cos(np.pi * twist)
    side = wide / 2 * np.sign(side) * np.abs(side) ** 0.55  # it turns over within a short way
    dye = np.array(DYES[int(rng.integers(5))]) * rng.uniform(0.6, 1.2)
    c = Canvas(rng, k, farthest(axis) + wide / 2 + 3)
    edges = normals(axis) * side[:, None]
    rims = c.lines([axis + edges, axis - edges], 1.7)
    body = np.maximum(c.fill(band(axis, np.abs(side) + wide * 0.12)), rims)
    c.add(c.blur(body, 0.2), 0.7, dye)
    c.add(c.blur(rims, 0.3), 0.8, dye * 0.7 + 0.16)
    c.add(body * c.noise(3.0), 0.2, 0.02)
    return c


def _synthetic(rng: Rng, k: float) -> Canvas:
    """A smooth, straight glassy rod cut off square, often dyed or specked with whitener."""
    long = rng.uniform(75, 112)
    wide = rng.uniform(6, 12)
    axis = path(rng, long, rng.choice([0.02, 0.15, 0.4]), 60)
    dye = np.array(DYES[int(rng.integers(5))]) * rng.uniform(0.5, 1.3)
    c = Canvas(rng, k, farthest(axis) + wide / 2 + 2)
    body = c.fill(band(axis, np.full(60, wide / 2)))
    c.add(body, 0.8, dye + 0.5)
    # the bright middle; what is left of the dark body are its two edges
    c.add(c.blur(c.line(axis, wide * 0.62) * body, wide * 0.07), 0.9, -0.48)
    if rng.random() < 0.4:  # whitener
        at = axis[rng.integers(60, size=70)] + rng.uniform(-0.36, 0.36, (70, 2)) * wide
        c.add(c.dots(at, rng.uniform(0.2, 0.45, 70)) * body, 0.3, 0.25)
    return c


def _hair(rng: Rng, k: float) -> Canvas:
    """Brown, with a dark scaly cuticle and a broken dark medulla; some end in a point."""
    long = rng.uniform(90, 112)
    wide = rng.uniform(7, 14)
    axis = path(rng, long, 0.2, 140)
    t = np.linspace(0, 1, 140)
    half = wide / 2 * (1 - 0.06 * ((t * long / rng.uniform(4, 6)) % 1))  # scales
    if rng.random() < 0.4:
        half *= np.clip((1.01 - t) / 0.7, 0, 1) ** 0.5  # a point
    tint = np.array((0.16, 0.25, 0.36)) * rng.uniform(0.6, 2.2)
    c = Canvas(rng, k, farthest(axis) + wide / 2 + 2)
    body = c.fill(band(axis, half))
    core = c.fill(band(axis, half - 1.6 * np.minimum(1, half / 4)))
    c.add(body, 0.8, tint + 0.35)
    c.add(c.blur(core, 0.4), 0.6, -0.30)  # lighter than the cuticle
    starts = np.arange(6, 116, 7)
    lengths = rng.integers(4, 8, len(starts))
    medulla = [axis[i : i + int(n)] for i, n in zip(starts, lengths, strict=True)]
    c.add(c.blur(c.lines(medulla, wide * 0.16), 0.4) * core, 0.3, tint + 0.25)
    return c


def _bubbles(rng: Rng, k: float) -> Canvas:
    """Air: all light but that through the middle is thrown aside, so a thick black ring."""
    r = rng.uniform(6, 24)
    n = int(rng.choice([1, 2, 3], p=[0.75, 0.17, 0.08]))
    radii = r * np.r_[1, rng.uniform(0.25, 0.6, n - 1)]
    angles = rng.uniform(0, 1.8) + np.arange(n) * 2.2
    at = rays(angles) * np.r_[0, r + radii[1:] + 0.8][:, None]  # the small ones touch the large one
    c = Canvas(rng, k, float((np.linalg.norm(at, axis=1) + radii).max()) + 2)
    rings = c.dots(at, radii)
    squashed = n == 1 and rng.random() < 0.25
    if squashed:
        outline = blob(rng, r * 0.98, r * rng.uniform(0.7, 0.9), 0.05, 3)
        rings = c.fill(outline)
    part = rng.uniform(0.68, 0.84)  # the bright middle, of the radius
    c.add(c.blur(rings, 0.15), -0.5, (1.45, 1.5, 1.5))  # air is optically thinner than water
    hole = c.fill(outline * part) if squashed else c.dots(at, radii * part)
    c.add(c.blur(hole, 0.04 * r), 0, (-1.52, -1.57, -1.55))  # takes the black away again
    return c


def _scratches(rng: Rng, k: float) -> Canvas:
    """Straight scores in the glass, dead thin, parallel or crossing, with chips along them."""
    long = rng.uniform(60, 114)
    n = int(rng.integers(1, 4))
    c = Canvas(rng, k, long / 2 + 3)
    scores = []
    chips = []
    for i in range(n):
        tilt = rng.normal(0, 0.04) if i else 0.0
        aside = rng.uniform(-5, 5) if i else 0.0
        part = long * (rng.uniform(0.5, 0.95) if i else 1.0)
        s = np.linspace(-0.5 * part, rng.uniform(0.2, 0.5) * part, 30)
        line = np.c_[s, aside + np.tan(tilt) * s + 0.8 * (s / long) ** 2]
        gap = int(rng.integers(6, 24))
        scores += [line[:gap], line[gap + int(rng.integers(0, 2)) :]]  # with a small gap
        roots = line[rng.integers(30, size=9)]
        chips += list(np.stack([roots, roots + rng.normal(0, 1, (9, 2))], 1))
    c.add(c.lines(scores, rng.uniform(0.4, 0.9)), -0.8, 0.50)
    c.add(c.lines(chips, 0.35), -0.3, 0.30)
    return c


def _shard(rng: Rng, k: float) -> Canvas:
    """Glass: clear, with sharp black edges, uneven angles and the curved steps of a fracture."""
    r = rng.uniform(7, 24)
    c = Canvas(rng, k, r * 1.4 + 1)
    outline = corners(rng, int(rng.integers(3, 6)), r, r * rng.uniform(0.3, 0.7), 0.38)
    body = c.fill(outline)
    c.add(body, 0.6, 0.04)
    c.add(body - c.blur(body, 0.035 * r + 0.3) * body, 0.2, 1.6)  # the rim
    steps = []
    s = np.linspace(0, 1, 20)[:, None]
    for _ in range(int(rng.integers(1, 4))):
        # from a place on one side to a place on another
        sides = rng.choice(len(outline), 2, replace=False)
        a, b = (outline[i] + (outline[i - 1] - outline[i]) * rng.uniform(0.2, 0.8) for i in sides)
        steps.append(a + (b - a) * s - (a + b) * rng.uniform(0.3, 0.8) * s * (1 - s))  # bent inward
    c.add(c.lines(steps, 0.5) * body, 0.5, 0.3)
    return c


def _pollen(rng: Rng, k: float) -> Canvas:
    """Yellow grains in a thick double wall: ragweed with spines, birch with three pores, grass."""
    kind = rng.random()
    r = rng.uniform(8.5, 12) if kind < 0.4 else rng.uniform(10, 15)
    deep = rng.uniform(0.6, 1.3)
    c = Canvas(rng, k, r * 1.25 + 1)
    if kind < 0.4:
        inner = _ragweed(c, r)
    elif kind < 0.75:
        inner = _birch(c, r)
    else:
        inner = _grass(c, r)
    # yellow, and lighter than the wall
    c.add(c.blur(inner, 0.3), 0.3, np.multiply(deep, (0.04, 0.09, 0.34)) - (0.14, 0.15, 0.14))
    c.add(inner * (c.noise(1.0) + c.noise(2.4)), 0.2, (0.03, 0.04, 0.07))
    return c


def _ragweed(c: Canvas, r: float) -> Array:
    """Spines all round; the coverage of the grain's inside."""
    rng = c.rng
    n = int(rng.integers(15, 21))
    outline = ellipse(r, r * rng.uniform(0.92, 1.0), 180)
    in_period = (turns(180) * n / 2 / np.pi) % 1
    spines = np.clip(1 - np.abs(in_period - 0.5) * 3, 0, 1)
    spiny = outline * (1 + rng.uniform(0.10, 0.18) * spines)[:, None]
    c.add(c.fill(spiny), 0.4, (0.20, 0.24, 0.36))
    inner = c.fill(outline * 0.92)
    face = in_disc(rng, r * 0.85, 60)  # the spines that point to the viewer
    c.add(c.blur(c.dots(face, 0.55), 0.15), 0.5, (0.14, 0.16, 0.20))
    return inner


def _birch(c: Canvas, r: float) -> Array:
    """Three pores; the coverage of the grain's inside."""
    outline = ellipse(r, r, 180) * (1 + 0.07 * np.cos(3 * turns(180)))[:, None]
    body = c.fill(outline)
    inner = c.fill(outline * 0.86)
    c.add(body, 0.6, (0.26, 0.30, 0.40))
    pores = rays(spokes(3)) * r
    c.add(c.dots(pores, r * 0.17), 0.5, (0.16, 0.18, 0.22))
    c.add(c.dots(pores * 1.02, r * 0.08), -0.5, (-0.36, -0.40, -0.46))  # a hole in the wall
    if c.rng.random() < 0.5:
        furrows = list(np.stack([pores * 0.9, pores * 0.35], 1))
        c.add(c.blur(c.lines(furrows, 1.0), 0.25), -0.3, 0.18)
    return inner


def _grass(c: Canvas, r: float) -> Array:
    """One pore; the coverage of the grain's inside."""
    rng = c.rng
    outline = blob(rng, r, r * rng.uniform(0.85, 1.0), 0.02)
    c.add(c.fill(outline), 0.6, (0.30, 0.32, 0.38))
    inner = c.fill(outline * 0.91)
    pore = np.array([[r * rng.uniform(0.2, 0.6), 0]])
    c.add(c.dots(pore, r * 0.2), 0.5, 0.20)
    c.add(c.dots(pore, r * 0.12), -0.4, -0.22)
    return inner


def _dirt(rng: Rng, k: float) -> Canvas:
    """Opaque specks, black or rust brown, of no shape."""
    r = float(np.clip(rng.lognormal(1.5, 0.55), 1.5, 13))
    c = Canvas(rng, k, r * 2.3 + 1)
    lumps = np.zeros_like(c.mask)
    for i in range(int(rng.integers(1, 5))):
        size = r * (rng.uniform(0.25, 0.7) if i else 1.0)
        rough = corners(rng, int(rng.integers(9, 22)), size, size * rng.uniform(0.5, 1.0), 0.2)
        at = in_disc(rng, r * 0.95, 1)[0] if i else (0, 0)
        np.maximum(lumps, c.fill(rough, at), out=lumps)
    colours = [(1.3, 1.35, 1.4), (0.7, 1.0, 1.35), (0.9, 0.95, 1.0)]
    colour = np.array(colours[int(rng.integers(3))])
    c.add(c.blur(lumps, 0.12), 0.6, colour * rng.uniform(0.7, 1.1))
    c.add(lumps * (c.noise(0.9) + c.noise(2.8)), 0.2, colour * 0.16)
    return c


def _starch(rng: Rng, k: float) -> Canvas:
    """Glove powder: shining grains with a slit of two to four arms in the middle."""
    r = rng.uniform(4.5, 11)
    c = Canvas(rng, k, r * 1.25 + 1)
    outline = blob(rng, r, r * rng.uniform(0.8, 1.0), 0.04)
    if rng.random() < 0.5:  # not round, but with blunt corners
        n = int(rng.integers(5, 8))
        outline = rounded(corners(rng, n, r * 1.05, r * rng.uniform(0.85, 1.05), 0.1), 2)
    body = c.fill(outline)
    c.add(c.dome(body), 1.9, (-0.04, -0.04, -0.02))  # it shines
    c.add(body - c.blur(body, 0.12 * r) * body, 0.6, (0.85, 0.85, 0.88))  # a dark rim
    n = int(rng.integers(2, 5))
    hilum = rng.normal(0, 0.1 * r, 2)
    angles = spokes(n) + rng.normal(0, 0.25, n)
    ends = hilum + rays(angles) * (r * rng.uniform(0.2, 0.55, n))[:, None]
    c.add(c.blur(c.lines([[hilum, end] for end in ends], 0.07 * r + 0.2), 0.2), -0.4, 0.42)
    for ring in (0.5, 0.72):
        c.add(c.blur(c.line((outline - hilum) * ring + hilum, 0.35, True), 0.2), 0.1, 0.05)
    return c


def _talc(rng: Rng, k: float) -> Canvas:
    """Thin angular flakes lying on one another, colourless, with broken edges."""
    r = rng.uniform(4, 11)
    c = Canvas(rng, k, r * 2 + 1)
    for i in range(int(rng.integers(2, 5))):
        size = r * (rng.uniform(0.4, 0.8) if i else 1.0)
        flake = corners(rng, int(rng.integers(7, 13)), size, size * rng.uniform(0.5, 0.9), 0.32)
        body = c.fill(flake, in_disc(rng, r * 0.9, 1)[0] if i else (0, 0))
        c.add(body * (1 + 0.4 * c.noise(1.5)), 0.5, 0.03)
        c.add(body - c.blur(body, 0.5) * body, 0.2, 0.6)  # a dark rim
    return c


KINDS = (_cotton, _synthetic, _hair, _bubbles, _scratches, _shard, _pollen, _dirt, _starch, _talc)
SHARES = (0.13, 0.12, 0.06, 0.15, 0.06, 0.09, 0.10, 0.12, 0.12, 0.05)
DRAW = {"Artifact": artifact}
