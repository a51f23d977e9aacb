"""Sperm, mucus, fat and artifacts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from openurine_lib.synthetic.canvas import Canvas
from openurine_lib.synthetic.shapes import blob, corners, ellipse, in_disc, normals, path, spread

Rng = np.random.Generator


def droplets(c: Canvas, at: ArrayLike, radii: ArrayLike) -> None:
    """Highly refractile spheres: a dark rim around a bright, slightly yellow core."""
    at, radii = np.asarray(at, float).reshape(-1, 2), np.asarray(radii, float)
    rim = c.dots(at, radii)
    core = c.blur(c.dots(at, radii * 0.62), 0.18)
    c.add(rim, 0.7, (0.40, 0.42, 0.46))
    c.add(core, 0.3, (-0.58, -0.58, -0.46))


def fat_droplets(rng: Rng, k: float) -> Canvas:
    c = Canvas(rng, k, 9.0)
    n = int(rng.integers(1, 4))
    at = spread(rng, in_disc(rng, 3.2, 40), 4.0, n)
    droplets(c, at, rng.uniform(1.9, 3.4, len(at)) * (1.25 if n == 1 else 0.85))
    return c


def oval_fat_body(rng: Rng, k: float) -> Canvas:
    c = Canvas(rng, k, 15.0)
    r = rng.uniform(9, 11.5)
    body = c.fill(blob(rng, r, r * rng.uniform(0.82, 0.98), 0.03))
    c.add(body, 0.5, (0.14, 0.20, 0.32))
    c.add(c.dome(body), 0.3, (0.08, 0.10, 0.15))
    at = spread(rng, in_disc(rng, r * 0.8, 300), 2.4, 40) * (1, 0.9)
    droplets(c, at, rng.uniform(0.8, 1.6, len(at)))
    return c


def sperm(rng: Rng, k: float) -> Canvas:
    c = Canvas(rng, k, 26.0)
    tail = path(rng, rng.uniform(30, 42), 0.7)
    tail = tail[::-1] if rng.random() < 0.5 else tail
    toward = tail[0] - tail[3]
    turn = np.arctan2(toward[1], toward[0])
    ry, rx = rng.uniform(1.5, 1.8), rng.uniform(2.6, 3.2)
    cos, sin = np.cos(turn), np.sin(turn)
    outline = ellipse(rx, ry) @ np.array([[cos, sin], [-sin, cos]])
    head = c.fill(outline, tail[0] + np.array([cos, sin]) * rx * 0.8)
    c.add(c.dome(head), 1.2, (0.12, 0.13, 0.13))
    c.add(head, 0.5, (0.17, 0.17, 0.17))
    c.add(c.line(tail[:8], 0.8), 0.6, 0.20)
    c.add(c.line(tail, 0.45), 0.7, 0.20)
    return c


def mucus(rng: Rng, k: float) -> Canvas:
    long = rng.uniform(60, 105)
    c = Canvas(rng, k, long / 2 + 6)
    axis = path(rng, long, 0.9, 60)
    across = normals(axis)
    t = np.linspace(0, 1, 60)
    strands = []
    for _ in range(int(rng.integers(3, 6))):
        off = rng.normal(0, 1.5) * np.sin(np.pi * t) + rng.normal(0, 0.8) * np.sin(3 * np.pi * t + rng.uniform(0, 6))
        strands.append(axis + across * off[:, None])
    ribbon = c.blur(c.lines(strands, 1.3), 0.5)
    c.add(ribbon, 0.4, (0.05, 0.05, 0.06))
    c.add(c.blur(c.lines(strands, 0.35), 0.15), 0.4, 0.08)
    return c


def artifact(rng: Rng, k: float) -> Canvas:
    """A fibre, an air bubble, a starch grain, or a dark shard."""
    return [_fibre, _bubble, _starch, _shard][int(rng.choice(4, p=[0.35, 0.2, 0.2, 0.25]))](rng, k)


def _fibre(rng: Rng, k: float) -> Canvas:
    long = rng.uniform(45, 85)
    c = Canvas(rng, k, long / 2 + 5)
    axis = path(rng, long, 0.8, 60)
    colour = [(0.34, 0.24, 0.10), (0.22, 0.22, 0.24), (0.12, 0.26, 0.26)][int(rng.integers(3))]
    wide = rng.uniform(3.0, 4.6)
    c.add(c.blur(c.line(axis, wide), 0.2), 1.1, np.multiply(colour, 1.6))
    c.add(c.blur(c.line(axis, wide * 0.4), 0.3), -0.5, np.multiply(colour, -0.8))
    return c


def _bubble(rng: Rng, k: float) -> Canvas:
    c = Canvas(rng, k, 17.0)
    r = rng.uniform(8, 14)
    c.add(c.fill(ellipse(r, r)), 0.6, 0.75)
    c.add(c.blur(c.fill(ellipse(r * 0.74, r * 0.74)), 0.7), 0.2, -0.80)
    return c


def _starch(rng: Rng, k: float) -> Canvas:
    c = Canvas(rng, k, 14.0)
    r = rng.uniform(6.5, 10)
    body = c.fill(blob(rng, r, r * rng.uniform(0.85, 1.0), 0.05))
    c.add(c.dome(body), 1.4, -0.06)
    c.add(body - c.blur(body, 1.2) * body, 0.6, 0.55)
    n = int(rng.integers(3, 5))
    arms = np.arange(n) * 2 * np.pi / n + rng.normal(0, 0.25, n)
    reach = r * rng.uniform(0.2, 0.55, n)
    slit = c.blur(
        c.lines([[(0, 0), (d * np.cos(t), d * np.sin(t))] for t, d in zip(arms, reach, strict=True)], 0.8), 0.25
    )
    c.add(slit, 0.5, 0.42)
    return c


def _shard(rng: Rng, k: float) -> Canvas:
    c = Canvas(rng, k, 16.0)
    r = rng.uniform(6, 11)
    outline = corners(rng, int(rng.integers(4, 7)), r, r * rng.uniform(0.45, 0.8), 0.35)
    body = c.blur(c.fill(outline), 0.15)
    c.add(body, 0.8, (0.62, 0.66, 0.70))
    c.add(body * (c.noise(0.9) + c.noise(4.0)), 0.15, 0.08)
    return c


DRAW = {
    "Sperm": sperm,
    "Mucus": mucus,
    "Fat droplets": fat_droplets,
    "Oval fat bodies": oval_fat_body,
    "Artifact": artifact,
}
