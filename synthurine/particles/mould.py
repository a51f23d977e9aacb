"""The shape of a cast: it was moulded in a tubule of the kidney.

Casts are 50-110 um long and 15-35 wide, waxy and other broad ones up to 45 (atlases: 50-150 and
5-50 um). Their sides are parallel; they are straight, bent, S-shaped or convoluted; their ends are
rounded, broken off, or drawn out to a tail (cylindroid).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from synthurine.particles.canvas import Rng
from synthurine.particles.shapes import Numbers, Points, middle, normals, rays

Range = tuple[float, float]
Slit = tuple[int, float, float, float]
T = np.linspace(0, 1, 220)  # places along a cast
ROUND, BROKEN, TAIL = range(3)  # kinds of ends


@dataclass(frozen=True)
class Mould:
    """A cast's shape, given at the places T along it."""

    length: float  # um
    axis: Points  # (T, 2)
    half: Numbers  # half widths to the left and to the right of the axis (2, T)
    ends: tuple[int, int]  # their kinds

    def at(self, along: ArrayLike, side: ArrayLike) -> Points:
        """The places ``along`` the axis (0 to 1) and to its ``side`` (-1 to 1 are the edges)."""
        along, side = np.broadcast_arrays(np.asarray(along, float), np.asarray(side, float))
        left = np.interp(along, T, self.half[0])
        right = np.interp(along, T, self.half[1])
        half = np.where(side > 0, left, right)
        lines = np.c_[self.axis, normals(self.axis)].T
        x, y, dx, dy = (np.interp(along, T, line) for line in lines)
        return np.stack([x + side * half * dx, y + side * half * dy], -1)

    def inside(self, rng: Rng, n: int, room: ArrayLike, part: Range = (0.0, 1.0)) -> Points:
        """``n`` places on a ``part`` of its length, spread evenly over its area.

        room: distance from the edges in um, one number or one for each place.
        """
        room = np.broadcast_to(np.asarray(room, float), n)
        least_room = room.min(initial=9.0)
        wide = np.clip(self.half.min(0) - least_room, 0, None)
        wide[np.minimum(T, 1 - T) * self.length < least_room] = 0  # nothing at the ends
        share = np.cumsum(np.where((part[0] <= T) & (part[1] >= T), wide, 0))  # of the area up to T
        along = np.interp(rng.uniform(0, share[-1], n), share, T)
        half = np.interp(along, T, self.half.min(0))
        return self.at(along, rng.uniform(-1, 1, n) * np.clip(1 - room / half, 0, 1))

    def area(self) -> float:
        """In square um."""
        return float(self.half.sum(0).mean() * self.length)


def mould(
    rng: Rng,
    length: Range,
    width: Range,
    ends: Sequence[float],
    curly: float = 0.3,
    rough: float = 0.0,
) -> Mould:
    """A random shape.

    Args:
        length, width: limits in um.
        ends: how likely an end is rounded, broken off or a tail.
        curly: how likely the cast has two and more bends.
        rough: roughness of the sides in um.
    """
    wide = rng.uniform(*width)
    first, last = rng.choice(3, 2, p=ends).tolist()
    if first == last == TAIL:
        last = ROUND
    has_tail = TAIL in (first, last)
    long = max(rng.uniform(*length), (3.4 if has_tail else 2.3) * wide)
    # the sides: slow waves, a little conical, rough
    wave = 0.05 * rng.normal() * np.sin(2 * np.pi * T + rng.uniform(0, 6))
    cone = rng.uniform(-0.2, 0.2)
    smooth = wide / 2 * (1 + wave + cone * (T - 0.5))
    knots = np.linspace(0, 1, int(long / 2.2))
    roughness = [rough * np.interp(T, knots, rng.normal(size=len(knots))) for _ in range(2)]
    half = np.stack([smooth + side for side in roughness])  # (2, T)
    # what the ends do to the sides and to the axis
    curl = np.zeros_like(T)
    for kind, t in ((first, T), (last, 1 - T)):
        bow = wide / 2 * rng.uniform(0.6, 1.1)  # length of a rounded end
        if kind == TAIL:
            reach = rng.uniform(0.45, 0.7)
            thin = rng.uniform(0.08, 0.18)
            ramp = np.clip(t / reach, 0, 1)
            half = half * (thin + (1 - thin) * ramp * ramp * (3 - 2 * ramp))
            curl += rng.uniform(-1.2, 1.2) * np.clip(1 - t / reach, 0, 1) ** 2  # tails curl
            bow *= thin
        if kind == BROKEN:
            half = half * (1 - 0.22 * np.clip(1 - t * long / 2.5, 0, 1) ** 2)  # blunt corners
        else:
            half = half * np.sqrt(1 - np.clip(1 - t * long / bow, 0, 1) ** 2)  # an ellipse
    return Mould(long, _axis(rng, long, wide, curly, curl), half, (first, last))


def _axis(rng: Rng, long: float, wide: float, curly: float, curl: Numbers) -> Points:
    """The tubule's path, never bent more sharply than its width allows.

    ``curl`` (T,) is added to its heading, in radians.
    """
    sign = rng.choice([-1, 1])
    wobble = 0.08 * rng.normal() * np.sin(3 * np.pi * T + rng.uniform(0, 6))
    heading = wobble + 0.25 * rng.normal() * (T - 0.5)
    if rng.random() < curly:  # S-shaped or convoluted
        swing = sign * rng.uniform(0.5, 1.0)
        waves = 2 * np.pi * rng.uniform(0.8, 1.9)
        heading += swing * np.cos(waves * T + rng.uniform(-0.6, 0.6))
    elif rng.random() < 0.5:  # a bend or a knee
        swing = sign * rng.uniform(0.25, 0.7)
        place = rng.uniform(0.3, 0.7)
        heading += swing * np.tanh((T - place) / rng.uniform(0.12, 0.4))
    sharpest = np.abs(np.gradient(heading, T * long)).max()  # radians/um
    heading *= min(1.0, 1 / (0.8 * wide * sharpest))
    heading += curl
    axis = np.cumsum(rays(heading), axis=0) * long / len(T)
    return axis - middle(axis)


def outline(rng: Rng, m: Mould, slits: Sequence[Slit] = ()) -> Points:
    """The cast's outline (P, 2): its sides, and across each broken end the fracture.

    slits: cracks and notches from the sides. Each is (0 left or 1 right, place along the cast,
    depth as a part of the half width, width in um).
    """
    left = _side(rng, m, [slit for slit in slits if slit[0] == 0], 1)
    right = _side(rng, m, [slit for slit in slits if slit[0] == 1], -1)
    start = _fracture(rng, m, 0)
    end = _fracture(rng, m, -1)
    return np.r_[left, end, right[::-1], start]


def _side(rng: Rng, m: Mould, slits: Sequence[Slit], sign: int) -> Points:
    """One side from start to end; ``sign`` is 1 on the left and -1 on the right."""
    edge = np.c_[T, np.ones_like(T)]  # (P, 2): along the cast, and towards its side
    for _, place, deep, gap in sorted(slits):
        s = np.r_[np.linspace(0, 1, 12), np.linspace(1, 0, 12)]  # into the slit and out again
        bent = rng.normal(0, 2.0) * s + rng.normal(0, 0.8) * np.sin(np.pi * s)
        walls = gap / 2 * (1 - s) * np.repeat((-1, 1), 12)
        along = place + (bent + walls) / m.length
        edge = edge[np.abs(edge[:, 0] - place) * m.length > gap / 2]
        slit = np.c_[along, 1 - deep * s]
        edge = np.insert(edge, np.searchsorted(edge[:, 0], place), slit, axis=0)
    return m.at(edge[:, 0], edge[:, 1] * sign)


def _fracture(rng: Rng, m: Mould, end: int) -> Points:
    """Across a broken end (0 or -1): bulging or hollow, oblique, jagged. Empty for other ends."""
    side = np.linspace(-1, 1, 15)[1:-1] * (1 if end == 0 else -1)
    bulge = rng.normal(0.04, 0.05) * (1 - side**2)
    bulge += rng.normal(0, 0.04) * side
    teeth = 0.04 * np.interp(side, np.linspace(-1, 1, 6), rng.normal(size=6))
    bulge += teeth + 0.008 * rng.normal(size=len(side))
    away = m.axis[0] - m.axis[4] if end == 0 else m.axis[-1] - m.axis[-5]
    wide = m.half[:, end].sum()
    cap = m.at(float(end != 0), side) + wide * bulge[:, None] * away / np.hypot(*away)
    return cap if m.ends[end] == BROKEN else cap[:0]
