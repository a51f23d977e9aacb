"""Outlines and paths in micrometres, as arrays (P, 2) of x and y."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synthurine.particles.canvas import Rng

Points = NDArray[np.float64]
Numbers = NDArray[np.float64]


def rays(angles: ArrayLike) -> Points:
    """The unit vectors (P, 2) at those angles (P,), in radians."""
    return np.c_[np.cos(angles), np.sin(angles)]


def turns(n: int) -> Numbers:
    """``n`` angles evenly round a circle, from 0 on."""
    return np.linspace(0, 2 * np.pi, n, endpoint=False)


def spokes(n: int) -> Numbers:
    """``n`` angles evenly round a circle, for a few spokes or horns."""
    return np.arange(n) * 2 * np.pi / n


def spin(points: ArrayLike, angle: float, at: ArrayLike = (0, 0)) -> Points:
    """The points, turned about the origin by ``angle`` (radians) and moved to ``at``."""
    cos = np.cos(angle)
    sin = np.sin(angle)
    return np.asarray(points, float) @ np.array([[cos, sin], [-sin, cos]]) + np.asarray(at, float)


def middle(points: Points) -> Numbers:
    """The middle (2,) of the points' bounding rectangle."""
    return (points.min(0) + points.max(0)) / 2


def farthest(points: Points) -> float:
    """The largest distance of a point from the origin."""
    return float(np.linalg.norm(points, axis=1).max())


def ellipse(rx: float, ry: float, n: int = 48) -> Points:
    return rays(turns(n)) * (rx, ry)


def blob(rng: Rng, rx: float, ry: float, wobble: float, waves: int = 5, n: int = 72) -> Points:
    """An ellipse whose radius wavers by ``wobble`` (a fraction) in harmonics 2..waves."""
    t = turns(n)
    radius = np.ones(n)
    for m in range(2, waves + 1):
        size = wobble / np.sqrt(m) * rng.normal()  # higher harmonics are weaker
        radius += size * np.cos(m * t + rng.uniform(0, 2 * np.pi)) * 0.7
    return np.c_[rx * radius * np.cos(t), ry * radius * np.sin(t)]


def corners(rng: Rng, n: int, rx: float, ry: float, jitter: float = 0.0) -> Points:
    """A polygon of ``n`` corners on an ellipse, each moved by ``jitter`` (a fraction)."""
    t = (np.arange(n) + 0.5 + jitter * rng.uniform(-1, 1, n)) * 2 * np.pi / n
    r = 1 + jitter * rng.uniform(-1, 1, n)
    return np.c_[rx * r * np.cos(t), ry * r * np.sin(t)]


def rounded(points: Points, passes: int = 2) -> Points:
    """The polygon with its corners cut off, by Chaikin's algorithm."""
    for _ in range(passes):
        after = np.roll(points, -1, axis=0)
        pairs = [0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after]
        points = np.stack(pairs, 1).reshape(-1, 2)
    return points


def path(rng: Rng, length: float, wander: float, n: int = 40) -> Points:
    """A smooth path of ``length`` um, its bounding rectangle centred on the origin.

    wander: the heading's typical change along it, in radians.
    """
    t = np.linspace(0, 1, n)
    heading = np.zeros(n)
    for m in (1, 2, 3):
        heading += wander / m * rng.normal() * np.sin(m * np.pi * t + rng.uniform(0, 2 * np.pi))
    points = np.cumsum(rays(heading) * length / (n - 1), axis=0)  # steps of equal length
    return points - middle(points)


def normals(axis: Points) -> Points:
    """The unit vectors across a path, to the left of it."""
    along = np.gradient(axis, axis=0)  # (P, 2)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    return np.c_[-along[:, 1], along[:, 0]]


def band(axis: Points, half: Numbers) -> Points:
    """The outline (2P, 2) of a band along a path (P, 2), ``half`` (P,) um to each side of it."""
    edge = normals(axis) * half[:, None]
    return np.r_[axis + edge, (axis - edge)[::-1]]


def in_disc(rng: Rng, radius: float, n: int) -> Points:
    """``n`` random points in a disc about the origin."""
    r = radius * np.sqrt(rng.uniform(0, 1, n))  # the root makes it even over the area
    t = rng.uniform(0, 2 * np.pi, n)
    return np.c_[r * np.cos(t), r * np.sin(t)]


def inside(rng: Rng, outline: Points, n: int, reach: float = 0.88) -> Points:
    """``n`` random points in an outline that is a star about the origin.

    reach: how far out they lie at most, as a part of the way to the outline.
    """
    edge = outline[rng.integers(len(outline), size=n)]
    return edge * (reach * np.sqrt(rng.uniform(0, 1, n)))[:, None]


def huddle(rng: Rng, apart: float, n: int) -> Points:
    """``n`` places packed about the origin, about ``apart`` um from one another.

    Each new place touches an earlier one; of some free places the innermost is taken.
    """
    places = np.zeros((1, 2))
    while len(places) < n:
        angles = rng.uniform(0, 2 * np.pi, 24)
        neighbours = places[rng.integers(len(places), size=24)]
        tried = neighbours + apart * rng.uniform(0.82, 0.95, (24, 1)) * rays(angles)
        nearest = np.linalg.norm(tried[:, None] - places[None], axis=2).min(1)
        free = tried[nearest > 0.8 * apart][:8]  # (F, 2)
        if len(free):
            innermost = np.linalg.norm(free - places.mean(0), axis=1).argmin()
            places = np.r_[places, [free[innermost]]]
    return places - middle(places)
