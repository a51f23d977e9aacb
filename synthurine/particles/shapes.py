"""Outlines and paths in micrometres, as arrays (P, 2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def ellipse(rx: float, ry: float, n: int = 48) -> Points:
    t = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.c_[rx * np.cos(t), ry * np.sin(t)]


def blob(
    rng: np.random.Generator, rx: float, ry: float, wobble: float, waves: int = 5, n: int = 72
) -> Points:
    """An ellipse whose radius wavers by ``wobble`` (a fraction) in harmonics 2..waves."""
    t = np.linspace(0, 2 * np.pi, n, endpoint=False)
    radius = np.ones(n)
    for m in range(2, waves + 1):
        radius += (
            wobble / np.sqrt(m) * rng.normal() * np.cos(m * t + rng.uniform(0, 2 * np.pi)) * 0.7
        )
    return np.c_[rx * radius * np.cos(t), ry * radius * np.sin(t)]


def corners(rng: np.random.Generator, n: int, rx: float, ry: float, jitter: float = 0.0) -> Points:
    """A polygon of ``n`` corners on an ellipse, each moved by ``jitter`` (a fraction)."""
    t = (np.arange(n) + 0.5 + jitter * rng.uniform(-1, 1, n)) * 2 * np.pi / n
    r = 1 + jitter * rng.uniform(-1, 1, n)
    return np.c_[rx * r * np.cos(t), ry * r * np.sin(t)]


def rounded(points: Points, passes: int = 2) -> Points:
    """Chaikin's corner cutting."""
    for _ in range(passes):
        after = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after], 1).reshape(
            -1, 2
        )
    return points


def path(rng: np.random.Generator, length: float, wander: float, n: int = 40) -> Points:
    """A smooth path of ``length`` um, centred; ``wander`` is the heading's typical change in radians along it."""
    t = np.linspace(0, 1, n)
    heading = np.zeros(n)
    for m in (1, 2, 3):
        heading += wander / m * rng.normal() * np.sin(m * np.pi * t + rng.uniform(0, 2 * np.pi))
    step = np.c_[np.cos(heading), np.sin(heading)] * length / (n - 1)
    points = np.cumsum(step, axis=0)
    return points - (points.min(0) + points.max(0)) / 2


def tube(
    rng: np.random.Generator, length: float, width: float, bend: float, blunt: bool = False
) -> tuple[Points, Points]:
    """A cast's outline and its axis: parallel sides, ends rounded or, if ``blunt``, broken off square."""
    axis = path(rng, length, bend)
    n = len(axis)
    t = np.linspace(0, 1, n)
    half = (
        width
        / 2
        * (
            1
            + 0.07 * rng.normal() * np.sin(2 * np.pi * t + rng.uniform(0, 6))
            + rng.uniform(-0.18, 0.18) * (t - 0.5)
        )
    )
    if not blunt:
        reach = np.minimum(t, 1 - t) * length / (width / 2)
        half = half * np.sqrt(1 - np.clip(1 - reach, 0, 1) ** 2)
    across = normals(axis)
    return np.r_[axis + across * half[:, None], (axis - across * half[:, None])[::-1]], axis


def normals(axis: Points) -> Points:
    along = np.gradient(axis, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    return np.c_[-along[:, 1], along[:, 0]]


def inside_tube(
    rng: np.random.Generator, axis: Points, width: float, n: int, ends: float = 0.06
) -> Points:
    """``n`` random points in a tube of that axis and width, keeping off its ends."""
    index = rng.uniform(ends, 1 - ends, n) * (len(axis) - 1)
    i = index.astype(int).clip(0, len(axis) - 2)
    on = axis[i] + (index - i)[:, None] * (axis[i + 1] - axis[i])
    return on + normals(axis)[i] * (rng.uniform(-0.5, 0.5, n) * width)[:, None]


def in_disc(rng: np.random.Generator, radius: float, n: int) -> Points:
    r, t = radius * np.sqrt(rng.uniform(0, 1, n)), rng.uniform(0, 2 * np.pi, n)
    return np.c_[r * np.cos(t), r * np.sin(t)]


def huddle(rng: np.random.Generator, apart: float, n: int) -> Points:
    """``n`` places packed about the origin: each touches a neighbour, and is the innermost of some free ones."""
    kept = np.zeros((1, 2))
    while len(kept) < n:
        turn, stem = rng.uniform(0, 2 * np.pi, 24), kept[rng.integers(len(kept), size=24)]
        new = stem + apart * rng.uniform(0.82, 0.95, (24, 1)) * np.c_[np.cos(turn), np.sin(turn)]
        free = new[np.linalg.norm(new[:, None] - kept[None], axis=2).min(1) > 0.8 * apart][:8]
        if len(free):
            kept = np.r_[kept, [free[np.linalg.norm(free - kept.mean(0), axis=1).argmin()]]]
    return kept - (kept.min(0) + kept.max(0)) / 2


def spread(rng: np.random.Generator, candidates: Points, apart: float, n: int) -> Points:
    """The first ``n`` candidates that keep ``apart`` um from one another."""
    kept: list[NDArray[np.float64]] = []
    for p in candidates:
        if all(np.hypot(*(p - q)) >= apart for q in kept):
            kept.append(p)
        if len(kept) == n:
            break
    return np.array(kept).reshape(-1, 2)


def inside(rng: np.random.Generator, outline: Points, n: int, reach: float = 0.88) -> Points:
    """``n`` random points in an outline that is a star about the origin, as far out as ``reach`` of the way to it."""
    return (
        outline[rng.integers(len(outline), size=n)]
        * (reach * np.sqrt(rng.uniform(0, 1, n)))[:, None]
    )
