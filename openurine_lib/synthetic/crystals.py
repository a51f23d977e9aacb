"""Crystals: outlines with facets, needles and spheres. Dark edges and bright faces, as refraction leaves them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from openurine_lib.synthetic.canvas import Array, Canvas
from openurine_lib.synthetic.shapes import Points, blob, corners, ellipse, in_disc

Rng = np.random.Generator
CLEAR = (0.04, 0.04, 0.05)


def _facet(
    c: Canvas, outline: Points, colour: ArrayLike, edge: float = 0.30, width: float = 0.6, phase: float = 0.8
) -> Array:
    body = c.fill(outline)
    c.add(body, phase, colour)
    c.add(c.blur(c.line(outline, width, True), 0.12), 0.2, np.add(edge, np.multiply(colour, 0.6)))
    return body


def _ridges(c: Canvas, lines: Sequence[ArrayLike], dark: float = 0.24, width: float = 0.45) -> None:
    c.add(c.blur(c.lines(lines, width), 0.1), 0.4, dark)


def _needle(length: float, half: float, turn: float, start: float = 0.0) -> Points:
    points = np.array(
        [
            (start, 0),
            (start + length * 0.25, half),
            (start + length * 0.8, half * 0.8),
            (start + length, 0),
            (start + length * 0.8, -half * 0.8),
            (start + length * 0.25, -half),
        ]
    )
    cos, sin = np.cos(turn), np.sin(turn)
    return points @ np.array([[cos, sin], [-sin, cos]])


def calcium_oxalate(rng: Rng, k: float) -> Canvas:
    c = Canvas(rng, k, 11.0)
    r = rng.uniform(3.8, 6.5)
    if rng.random() < 0.8:  # dihydrate: an octahedron seen as an envelope
        ry = r * rng.uniform(0.8, 1.0)
        square = np.array([(-r, -ry), (r, -ry), (r, ry), (-r, ry)])
        _facet(c, square, (-0.02, -0.02, -0.01), 0.34, 0.7)
        _ridges(c, [[square[0], square[2]], [square[1], square[3]]], 0.34, 0.6)
        c.add(c.blur(c.dots([(0, 0)], r * 0.16), 0.2), 0.2, -0.35)
    else:  # monohydrate: a dumbbell
        t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        outline = np.c_[r * 1.15 * np.cos(t), r * 0.62 * np.sin(t) * (0.55 + 0.75 * np.abs(np.cos(t)))]
        body = _facet(c, outline, CLEAR, 0.3)
        c.add(c.dome(body), 0.6, -0.05)
        _ridges(c, [[(-r * 0.8, y), (r * 0.8, y * 0.9)] for y in (-0.18 * r, 0.18 * r)], 0.12, 0.35)
    return c


def amorphous(rng: Rng, k: float) -> Canvas:
    c = Canvas(rng, k, 15.0)
    r = rng.uniform(6, 10)
    tint = [(0.24, 0.30, 0.42), (0.26, 0.26, 0.26)][int(rng.integers(2))]
    heaps = in_disc(rng, r * 0.6, 5)
    at = heaps[rng.integers(5, size=85)] + rng.normal(0, r * 0.2, (85, 2))
    at *= np.minimum(1, r * 1.15 / np.hypot(*at.T))[:, None]
    for part in np.array_split(at, 3):
        c.add(c.blur(c.dots(part, rng.uniform(0.3, 0.7, len(part))), 0.12), 0.6, tint)
    return c


def triple_phosphate(rng: Rng, k: float) -> Canvas:
    """A coffin lid: a long six-sided plate with a smaller roof ridge."""
    c = Canvas(rng, k, 21.0)
    a, b = rng.uniform(11, 17), rng.uniform(5.5, 7.5)
    hip = a - b * rng.uniform(0.7, 1.0)
    lid = np.array(
        [(-a, -b * 0.45), (-hip, -b), (hip, -b), (a, -b * 0.45), (a, b * 0.45), (hip, b), (-hip, b), (-a, b * 0.45)]
    )
    _facet(c, lid, (0.0, 0.0, 0.01), 0.32, 0.75, 1.0)
    left, right = np.array([-hip * 0.62, 0]), np.array([hip * 0.62, 0])
    _ridges(
        c,
        [[left, right], *[[left, p] for p in lid[[0, 1, 6, 7]]], *[[right, p] for p in lid[[2, 3, 4, 5]]]],
        0.22,
        0.55,
    )
    return c


def uric_acid(rng: Rng, k: float) -> Canvas:
    c = Canvas(rng, k, 17.0)
    a = rng.uniform(7.5, 12)
    b = a * rng.uniform(0.5, 0.68)
    colour = np.multiply((0.06, 0.20, 0.56), rng.uniform(0.75, 1.35))
    kind = rng.random()
    if kind < 0.6:  # whetstone: a rhombus with curved sides
        t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        outline = np.c_[
            a * np.sign(np.cos(t)) * np.abs(np.cos(t)) ** 1.5, b * np.sign(np.sin(t)) * np.abs(np.sin(t)) ** 1.2
        ]
    else:  # barrel
        x = np.linspace(-1, 1, 14)
        side = np.c_[a * 0.85 * x, b * (1 - 0.35 * x**2)]
        outline = np.r_[side, -side]
    body = _facet(c, outline, colour, 0.22, 0.7, 0.9)
    c.add(c.dome(body), 0.5, np.multiply(colour, 0.45))
    _ridges(c, [outline * (0.6, 0.55)], 0.14, 0.45)
    return c


def ammonium_biurate(rng: Rng, k: float) -> Canvas:
    """A thorn apple: a brown sphere with curved spicules."""
    c = Canvas(rng, k, 17.0)
    r = rng.uniform(5, 7.5)
    n = int(rng.integers(6, 11))
    thorns = []
    for turn in np.arange(n) * 2 * np.pi / n + rng.normal(0, 0.15, n):
        reach = r * rng.uniform(0.35, 0.85)
        way, side = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
        tip = (r + reach) * way + rng.normal(0, 1.2) * side
        thorns.append(np.array([r * 0.9 * way - r * 0.2 * side, tip, r * 0.9 * way + r * 0.2 * side]))
    brown = np.array((0.22, 0.50, 0.95))
    body = c.fill(blob(rng, r, r, 0.03))
    for thorn in thorns:
        body = np.maximum(body, c.fill(thorn))
    c.add(c.blur(body, 0.12), 0.6, brown * 0.6)
    c.add(c.dome(body), 0.8, brown * 0.5)
    _ridges(c, [np.array([(0.2, 0), (0.85, 0)]) * r @ _turn(t) for t in rng.uniform(0, 6.3, 9)], 0.12, 0.4)
    return c


def _turn(angle: float) -> Points:
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def hippuric_acid(rng: Rng, k: float) -> Canvas:
    """A long pale prism with roof-shaped ends."""
    c = Canvas(rng, k, 24.0)
    a, b = rng.uniform(14, 20), rng.uniform(2.4, 3.6)
    prism = np.array([(-a, 0), (-a + 1.6 * b, -b), (a - 1.6 * b, -b), (a, 0), (a - 1.6 * b, b), (-a + 1.6 * b, b)])
    _facet(c, prism, (0.02, 0.03, 0.10), 0.26, 0.6, 1.0)
    _ridges(c, [[(-a, 0), (a, 0)]], 0.16, 0.45)
    return c


def calcium_phosphate(rng: Rng, k: float) -> Canvas:
    """A rosette of wedge-shaped prisms that meet in the centre."""
    c = Canvas(rng, k, 19.0)
    n = int(rng.integers(5, 9))
    for turn in np.arange(n) * 2 * np.pi / n + rng.normal(0, 0.2, n):
        long, wide = rng.uniform(9, 15), rng.uniform(1.3, 2.2)
        wedge = np.array([(0, 0), (long, -wide), (long * 0.96, wide)]) @ _turn(turn)
        _facet(c, wedge, (0.01, 0.01, 0.02), 0.22, 0.5, 0.5)
    return c


def cystine(rng: Rng, k: float) -> Canvas:
    c = Canvas(rng, k, 16.0)
    r = rng.uniform(7.5, 12)
    plate = corners(rng, 6, r, r * rng.uniform(0.88, 1.0))
    _facet(c, plate, (0.015, 0.015, 0.02), 0.34, 0.8, 0.8)
    if rng.random() < 0.6:
        _ridges(c, [np.r_[plate, plate[:1]] * rng.uniform(0.68, 0.82)], 0.12, 0.5)
    return c


def leucine(rng: Rng, k: float) -> Canvas:
    """An oily yellow sphere with concentric rings and radial striae."""
    c = Canvas(rng, k, 13.0)
    r = rng.uniform(6.5, 9.5)
    colour = np.array((0.08, 0.20, 0.46)) * rng.uniform(0.8, 1.2)
    body = _facet(c, ellipse(r, r * rng.uniform(0.94, 1.0)), colour, 0.22, 0.8, 0.9)
    c.add(c.dome(body), 0.5, colour * 0.3)
    for f in (0.75, 0.5, 0.25):
        c.add(c.blur(c.line(ellipse(r * f, r * f), 0.55, True), 0.15), 0.3, 0.20)
    _ridges(c, [np.array([(0.25, 0), (0.95, 0)]) * r @ _turn(t) for t in np.arange(18) * 2 * np.pi / 18], 0.06, 0.35)
    return c


def tyrosine(rng: Rng, k: float) -> Canvas:
    """A sheaf of fine dark needles, tied in the middle."""
    c = Canvas(rng, k, 23.0)
    needles = []
    for _ in range(int(rng.integers(16, 26))):
        turn, long = rng.normal(0, 0.36), rng.uniform(9, 17)
        mid = np.array([rng.normal(0, 1.2), rng.normal(0, 0.5)])
        needles.append(np.array([(-long, 0), (long, 0)]) @ _turn(turn) + mid)
    c.add(c.lines(needles, 0.4), 0.7, (0.26, 0.27, 0.30))
    c.add(c.blur(c.dots(rng.normal(0, 1.0, (8, 2)) * (2.2, 0.6), 1.0), 0.5), 0.5, (0.30, 0.32, 0.36))
    return c


def calcium_carbonate(rng: Rng, k: float) -> Canvas:
    """Small paired granules, or a group of four."""
    c = Canvas(rng, k, 8.0)
    r = rng.uniform(1.4, 2.0)
    at = [(-r * 0.95, 0.0), (r * 0.95, 0.0)]
    if rng.random() < 0.3:
        at += [(0.0, -r * 0.95), (0.0, r * 0.95)]
    grains = c.dots(at, r)
    c.add(grains, 1.1, (0.30, 0.29, 0.26))
    c.add(c.blur(c.dots(at, r * 0.5), 0.2), 0.4, -0.42)
    return c


def cholesterol(rng: Rng, k: float) -> Canvas:
    """A large thin plate with a notched corner."""
    c = Canvas(rng, k, 27.0)
    a, b = rng.uniform(14, 19), rng.uniform(10, 14)
    n, m = rng.uniform(0.25, 0.45) * a, rng.uniform(0.25, 0.45) * b
    plate = [(-a, -b), (a - n, -b), (a - n, -b + m), (a, -b + m), (a, b), (-a, b)]
    if rng.random() < 0.5:
        plate = plate[:4] + [(a, b), (-a + n * 0.8, b), (-a + n * 0.8, b - m * 0.8), (-a, b - m * 0.8)]
    _facet(c, np.array(plate), (0.03, 0.03, 0.03), 0.22, 0.55, 0.5)
    if rng.random() < 0.6:
        _ridges(c, [[(-a * 0.85, b * 0.5), (a * 0.9, b * 0.55)]], 0.08, 0.4)
    return c


def bilirubin(rng: Rng, k: float) -> Canvas:
    """A tuft of short reddish-brown needles."""
    c = Canvas(rng, k, 12.0)
    n = int(rng.integers(12, 20))
    needles = [_needle(rng.uniform(5, 10), 0.3, t, rng.uniform(-1.5, 0.3)) for t in rng.uniform(0, 2 * np.pi, n)]
    red = np.array((0.14, 0.62, 0.95))
    c.add(c.blur(c.lines(needles, 0.45), 0.1), 0.7, red)
    c.add(c.blur(c.dots(in_disc(rng, 1.6, 8), 1.0), 0.3), 0.3, red * 0.5)
    return c


DRAW = {
    "Calcium oxalate": calcium_oxalate,
    "Amorphous": amorphous,
    "Triple phosphate": triple_phosphate,
    "Uric acid": uric_acid,
    "Ammonium biurat": ammonium_biurate,
    "Hippuric acid": hippuric_acid,
    "Calcium phosphate": calcium_phosphate,
    "Cystine": cystine,
    "Leucine": leucine,
    "Tyrosine crystal": tyrosine,
    "Calcium carbonate": calcium_carbonate,
    "Cholesterol": cholesterol,
    "Bilirubin": bilirubin,
}
