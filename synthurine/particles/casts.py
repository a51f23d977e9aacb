"""Casts: cylinders moulded in the tubule, told apart by what they hold.

50-110 um long and 15-35 wide, waxy and other broad casts to 45 (atlases: 50-150 and 5-50 um). Parallel sides; straight,
bent, S-shaped or convoluted; ends rounded, broken off, or drawn out to a tail (cylindroid).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synthurine.particles.canvas import Array, Canvas
from synthurine.particles.cells import rbc, renal, wbc
from synthurine.particles.others import droplets
from synthurine.particles.shapes import Points, in_disc, normals

Rng = np.random.Generator
Range = tuple[float, float]
T = np.linspace(0, 1, 220)  # places along a cast
ROUND, BROKEN, TAIL = range(3)


# --- the tubule's shape ----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Mould:
    """A cast's axis (P, 2), its half widths to the left and the right of it (2, P), both at T, and its ends' kinds."""

    length: float
    axis: Points
    half: NDArray[np.float64]
    ends: tuple[int, int]

    def at(self, along: ArrayLike, side: ArrayLike) -> Points:
        """The places ``along`` the axis (0 to 1) and to its ``side`` (-1 to 1 are the edges)."""
        along, side = np.broadcast_arrays(np.asarray(along, float), np.asarray(side, float))
        across = normals(self.axis)
        half = np.where(
            side > 0, np.interp(along, T, self.half[0]), np.interp(along, T, self.half[1])
        )
        x, y, dx, dy = (np.interp(along, T, line) for line in np.c_[self.axis, across].T)
        return np.stack([x + side * half * dx, y + side * half * dy], -1)

    def inside(self, rng: Rng, n: int, room: ArrayLike, part: Range = (0.0, 1.0)) -> Points:
        """``n`` places on a ``part`` of its length, evenly over its area, ``room`` um (or one each) off its edges."""
        room = np.broadcast_to(np.asarray(room, float), n)
        wide = np.clip(self.half.min(0) - room.min(initial=9.0), 0, None)
        wide[np.minimum(T, 1 - T) * self.length < room.min(initial=9.0)] = 0
        share = np.cumsum(np.where((part[0] <= T) & (part[1] >= T), wide, 0))
        along = np.interp(rng.uniform(0, share[-1], n), share, T)
        half = np.interp(along, T, self.half.min(0))
        return self.at(along, rng.uniform(-1, 1, n) * np.clip(1 - room / half, 0, 1))

    def area(self) -> float:
        return float(self.half.sum(0).mean() * self.length)


def _mould(
    rng: Rng,
    length: Range,
    width: Range,
    ends: Sequence[float],
    curly: float = 0.3,
    rough: float = 0.0,
) -> Mould:
    """``ends``: how likely each kind of end. ``curly``: how likely two and more bends. ``rough``: of the sides, um."""
    wide = rng.uniform(*width)
    first, last = rng.choice(3, 2, p=ends).tolist()
    end = (first, ROUND if first == last == TAIL else last)
    long = max(rng.uniform(*length), (3.4 if TAIL in end else 2.3) * wide)
    # sides: slow waves, a little conical, rough; then what the ends do to them
    wave, cone = (
        0.05 * rng.normal() * np.sin(2 * np.pi * T + rng.uniform(0, 6)),
        rng.uniform(-0.2, 0.2),
    )
    half = wide / 2 * (1 + wave + cone * (T - 0.5))
    knots = np.linspace(0, 1, int(long / 2.2))
    half = np.stack(
        [half + rough * np.interp(T, knots, rng.normal(size=len(knots))) for _ in range(2)]
    )
    curl = np.zeros_like(T)
    for kind, t in zip(end, (T, 1 - T), strict=True):
        s, bow = t * long, wide / 2 * rng.uniform(0.6, 1.1)
        if kind == TAIL:
            reach, thin = rng.uniform(0.45, 0.7), rng.uniform(0.08, 0.18)
            ramp = np.clip(t / reach, 0, 1)
            half = half * (thin + (1 - thin) * ramp * ramp * (3 - 2 * ramp))
            curl += rng.uniform(-1.2, 1.2) * np.clip(1 - t / reach, 0, 1) ** 2
            bow *= thin
        corner = 0.22 * np.clip(1 - s / 2.5, 0, 1) ** 2
        half = half * (
            1 - corner if kind == BROKEN else np.sqrt(1 - np.clip(1 - s / bow, 0, 1) ** 2)
        )
    return Mould(long, _axis(rng, long, wide, curly, curl), half, end)


def _axis(rng: Rng, long: float, wide: float, curly: float, curl: NDArray[np.float64]) -> Points:
    """The path of the tubule, never bent more sharply than its width allows; ``curl`` adds to its heading."""
    sign = rng.choice([-1, 1])
    heading = 0.08 * rng.normal() * np.sin(
        3 * np.pi * T + rng.uniform(0, 6)
    ) + 0.25 * rng.normal() * (T - 0.5)
    if rng.random() < curly:  # S-shaped or convoluted
        heading += (
            sign
            * rng.uniform(0.5, 1.0)
            * np.cos(2 * np.pi * rng.uniform(0.8, 1.9) * T + rng.uniform(-0.6, 0.6))
        )
    elif rng.random() < 0.5:  # a bend or a knee
        heading += (
            sign
            * rng.uniform(0.25, 0.7)
            * np.tanh((T - rng.uniform(0.3, 0.7)) / rng.uniform(0.12, 0.4))
        )
    heading *= min(1.0, 1 / (0.8 * wide * np.abs(np.gradient(heading, T * long)).max()))
    heading += curl
    axis = np.cumsum(np.c_[np.cos(heading), np.sin(heading)], axis=0) * long / len(T)
    return axis - (axis.min(0) + axis.max(0)) / 2


def _outline(rng: Rng, m: Mould, slits: Sequence[tuple[int, float, float, float]] = ()) -> Points:
    """The sides, and across a broken end the fracture: bulging or hollow, oblique, jagged.

    ``slits`` from the sides: (0 left or 1 right, place along it, depth as a part of the half width, width in um).
    """
    sides = []
    for right in (0, 1):
        edge = np.c_[T, np.ones_like(T)]
        for where, deep, gap in sorted(slit[1:] for slit in slits if slit[0] == right):
            s = np.r_[np.linspace(0, 1, 12), np.linspace(1, 0, 12)]
            bent = rng.normal(0, 2.0) * s + rng.normal(0, 0.8) * np.sin(np.pi * s)
            along = where + (bent + gap / 2 * (1 - s) * np.repeat((-1, 1), 12)) / m.length
            edge = edge[np.abs(edge[:, 0] - where) * m.length > gap / 2]
            edge = np.insert(
                edge, np.searchsorted(edge[:, 0], where), np.c_[along, 1 - deep * s], axis=0
            )
        sides.append(m.at(edge[:, 0], edge[:, 1] * (1 - 2 * right)))
    caps = []
    for kind, end in zip(m.ends, (0, -1), strict=True):
        side = np.linspace(-1, 1, 15)[1:-1] * (1 if end == 0 else -1)
        wide = m.half[:, end].sum()
        out = rng.normal(0.04, 0.05) * (1 - side**2) + rng.normal(0, 0.04) * side
        out += 0.04 * np.interp(
            side, np.linspace(-1, 1, 6), rng.normal(size=6)
        ) + 0.008 * rng.normal(size=len(side))
        away = m.axis[0] - m.axis[4] if end == 0 else m.axis[-1] - m.axis[-5]
        cap = m.at(float(end != 0), side) + wide * out[:, None] * away / np.hypot(*away)
        caps.append(cap if kind == BROKEN else cap[:0])
    return np.r_[sides[0], caps[1], sides[1][::-1], caps[0]]


def _sheet(rng: Rng, k: float, m: Mould, outline: Points) -> tuple[Canvas, Array]:
    """A canvas with room for it and for cells on its edge, and its body drawn."""
    c = Canvas(rng, k, float(np.linalg.norm(outline, axis=1).max()) + 7)
    return c, c.fill(outline)


# --- what fills it ---------------------------------------------------------------------------------------------------
def _apart(places: Points, radii: NDArray[np.float64], overlap: float = 0.0) -> NDArray[np.intp]:
    """Which of the discs to keep, the first ones first, so that no two overlap by more than a part of their radii."""
    gap = np.linalg.norm(places[:, None] - places[None], axis=2)
    clash = gap < (radii[:, None] + radii[None]) * (1 - overlap)
    free, kept = np.ones(len(places), bool), []
    for i in range(len(places)):
        if free[i]:
            kept.append(i)
            free &= ~clash[i]
    return np.array(kept, int)


def _cells(rng: Rng, c: Canvas, at: Points, kinds: Sequence[Canvas]) -> None:
    """Lays down cells, each one of ``kinds`` turned by a quarter or more."""
    for place in at:
        cell = copy.copy(kinds[int(rng.integers(len(kinds)))])
        quarters = int(rng.integers(4))
        cell.phase, cell.mask = np.rot90(cell.phase, quarters), np.rot90(cell.mask, quarters)
        cell.absorb = np.rot90(cell.absorb, quarters, (1, 2))
        reach = float(np.abs([cell.low, cell.high]).max())
        cell.low, cell.high = np.full(2, -reach), np.full(2, reach)
        c.stamp(cell, place)


# --- the classes -----------------------------------------------------------------------------------------------------
def hyaline(rng: Rng, k: float) -> Canvas:
    """Clear as glass, its refractive index near urine's: a thin outline, a fold or two, seldom an inclusion."""
    m = _mould(rng, (55, 110), (15, 27), (0.62, 0.08, 0.30), curly=0.5)
    outline = _outline(rng, m)
    c, body = _sheet(rng, k, m, outline)
    c.add(body, rng.uniform(0.12, 0.25), (0.026, 0.026, 0.030))
    c.add(c.dome(body), rng.uniform(0.2, 0.5))
    threads = [outline]
    for _ in range(int(rng.integers(0, 4))):  # folds along it
        start, side = rng.uniform(0.05, 0.6), rng.uniform(-0.7, 0.7)
        t = np.linspace(start, start + rng.uniform(0.15, 0.4), 30)
        threads.append(m.at(t, side + rng.uniform(-0.25, 0.25) * np.sin(np.linspace(0, np.pi, 30))))
    c.add(c.blur(c.lines(threads, 0.5), 0.25) + 0.12 * body * c.noise(3.0), 0.28, 0.035)
    if rng.random() < 0.5:
        n = int(rng.integers(4, 30))
        c.add(c.dots(m.inside(rng, n, 1.5), rng.uniform(0.25, 0.6, n)), 0.5, 0.08)
    if rng.random() < 0.25:
        _cells(
            rng,
            c,
            m.inside(rng, 1, 6.0, (0.2, 0.8)),
            [wbc(rng, k) if rng.random() < 0.5 else rbc(rng, k)],
        )
    return c


def granular(rng: Rng, k: float) -> Canvas:
    """Grey grains, fine or coarse or both, all through the matrix or in a part of it, the rest hyaline."""
    m = _mould(rng, (50, 105), (16, 33), (0.5, 0.42, 0.08), rough=0.25)
    c, body = _sheet(rng, k, m, _outline(rng, m))
    part = [(0.0, 1.0), (0.0, 0.6), (0.4, 1.0), (0.25, 0.8)][
        int(rng.choice(4, p=(0.7, 0.1, 0.1, 0.1)))
    ]
    coarse = rng.choice((0.0, 0.12, 0.25, 0.35))
    grains = 0.12 * body * c.noise(1.2)
    for size, dense in ((0.3, 0.9 - 1.2 * coarse), (0.62, coarse)):
        n = int(dense * m.area() * (part[1] - part[0]))
        at = m.inside(rng, n, 0.5, part) + rng.normal(0, 1.2, (n, 2)) * (part != (0.0, 1.0))
        grains += c.dots(at, size * rng.lognormal(0, 0.35, n)) * body
    grey = np.array((0.18, 0.19, 0.225)) * rng.uniform(0.8, 1.25)
    c.add(body, rng.uniform(0.25, 0.4), grey * 0.3)
    c.add(c.dome(body), 0.3)
    c.add(c.blur(grains, 0.15), 0.5, grey)
    return c


def muddy_brown(rng: Rng, k: float) -> Canvas:
    """Coarse brown grains packed so that they hide the matrix; a ragged outline, ends broken off."""
    m = _mould(rng, (50, 95), (18, 35), (0.4, 0.6, 0.0), curly=0.12, rough=0.45)
    c, body = _sheet(rng, k, m, _outline(rng, m))
    brown = np.array((rng.uniform(0.44, 0.56), 0.72, 1.0)) * rng.uniform(0.85, 1.15)
    stuff = 0.55 * body + body * (0.08 * c.noise(5.0) + 0.08 * c.noise(1.0))
    for dense, size, thick in ((0.40, 0.5, 0.30), (0.20, 0.75, 0.35), (0.03, 1.1, 0.45)):
        n = int(dense * m.area())
        stuff += thick * c.dots(m.inside(rng, n, 0.1), size * rng.lognormal(0, 0.3, n))
    c.add(c.blur(stuff, 0.15) + 0.15 * c.dome(body), 0.7, brown)
    return c


def waxy(rng: Rng, k: float) -> Canvas:
    """Smooth and refractile like wax: sharp dark edges, square broken ends, cracks and notches from the sides."""
    broad = rng.random() < 0.4
    width, curly = ((32, 44), 0.12) if broad else ((19, 32), 0.35)
    m = _mould(rng, (55, 100), width, (0.15, 0.85, 0.0), curly)
    slits = []
    for where in rng.permutation(np.linspace(0.08, 0.92, 15))[: int(rng.integers(3, 9))]:
        if rng.random() < 0.65:  # a crack, else a notch
            deep, gap = (
                rng.choice((0.4, 0.7, 1.1, 1.6)) * rng.uniform(0.7, 1.1),
                rng.uniform(0.4, 0.9),
            )
        else:
            deep, gap = rng.uniform(0.12, 0.35), rng.uniform(1.5, 4.0)
        slits.append(
            (int(rng.integers(2)), float(where + rng.uniform(-0.02, 0.02)), float(deep), float(gap))
        )
    outline = _outline(rng, m, slits)
    c, body = _sheet(rng, k, m, outline)
    tint = np.array((0.8, 0.9, 1.4)) * rng.uniform(0.06, 0.14)
    c.add(body, 1.4, tint)
    c.add(c.dome(body), 1.0, tint * 0.4)
    c.add(c.blur(c.line(outline, 0.6, True), 0.2), 0.0, 0.24)
    return c


def rbc_cast(rng: Rng, k: float) -> Canvas:
    """Yellow-red, crowded with red cells; or these have fallen apart to a reddish-brown granular matrix."""
    m = _mould(rng, (50, 95), (16, 27), (0.6, 0.4, 0.0), rough=0.25)
    c, body = _sheet(rng, k, m, _outline(rng, m))
    red = np.array((rng.uniform(0.06, 0.16), 0.44, 0.70)) * rng.uniform(0.8, 1.2)
    degraded = rng.random() < 0.3
    c.add(body, 0.3, red * (0.6 if degraded else rng.uniform(0.15, 0.35)))
    c.add(c.dome(body), 0.3, red * 0.3)
    if degraded:
        n = int(0.5 * m.area())
        grains = c.dots(m.inside(rng, n, 0.5), 0.42 * rng.lognormal(0, 0.35, n)) * body
        c.add(c.blur(grains, 0.15) + 0.3 * body * c.noise(2.0), 0.5, red * 0.35)
    n = int(m.area() / 40 * (0.35 if degraded else rng.uniform(1.1, 1.7)))
    at = m.inside(rng, 7 * n, 3.2)
    at = at[_apart(at, np.full(len(at), 3.3), 0.32)][:n]
    dark = 0.5 if degraded else 1.3
    _cells(rng, c, at, [rbc(rng, k, dark * rng.uniform(0.8, 1.2)) for _ in range(7)])
    return c


def mixed_cell_cast(rng: Rng, k: float) -> Canvas:
    """White, red and tubular cells side by side in a finely granular matrix."""
    m = _mould(rng, (60, 106), (22, 34), (0.6, 0.4, 0.0), rough=0.25)
    c, body = _sheet(rng, k, m, _outline(rng, m))
    c.add(body, 0.35, (0.03, 0.03, 0.035))
    c.add(c.dome(body), 0.3)
    c.add(body * c.noise(1.2), 0.14, 0.015)
    n = 300
    kind = rng.choice(3, n, p=[0.45, 0.4, 0.15])
    kind[:6] = (2, 0, 1, 2, 0, 1)
    radii = np.array((5.8, 3.5, 7.5))[kind]
    at = m.inside(rng, n, 0.9 * radii)
    kept = _apart(at, radii, 0.15)
    for which, (cell, kinds) in enumerate(((wbc, 4), (rbc, 4), (renal, 2))):
        _cells(rng, c, at[kept[kind[kept] == which]], [cell(rng, k) for _ in range(kinds)])
    return c


def lipid_cast(rng: Rng, k: float) -> Canvas:
    """Bright fat droplets of every size in a pale matrix, some huddled in oval fat bodies."""
    m = _mould(rng, (50, 100), (16, 30), (0.62, 0.3, 0.08), rough=0.2)
    c, body = _sheet(rng, k, m, _outline(rng, m))
    c.add(body, 0.3, (0.03, 0.035, 0.05))
    c.add(c.dome(body), 0.35, (0.015, 0.018, 0.03))
    n = int(rng.uniform(0.08, 0.35) * m.area())
    loose = np.clip(0.8 * rng.lognormal(0, 0.55, n), 0.4, 3.2)
    at, radii = [m.inside(rng, n, loose + 0.5)], [loose]
    reach = min(0.72 * float(m.half.max()), 8.0)
    bodies = m.inside(rng, int(rng.integers(0, 4)), reach)
    for middle in bodies:
        at, radii = (
            [middle + in_disc(rng, reach - 0.6, 120), *at],
            [rng.uniform(0.6, 1.3, 120), *radii],
        )
    c.add(c.dots(bodies, reach), 0.3, (0.06, 0.09, 0.15))
    places, sizes = np.concatenate(at), np.concatenate(radii)
    kept = _apart(places, sizes, 0.12)
    droplets(c, places[kept], sizes[kept])
    return c


DRAW = {
    "Muddy brown cast": muddy_brown,
    "Granular cast": granular,
    "Hyaline cast": hyaline,
    "Waxy cast": waxy,
    "Mixed cell cast": mixed_cell_cast,
    "RBC cast": rbc_cast,
    "Lipid cast": lipid_cast,
}
