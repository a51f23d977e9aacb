"""Casts: cylinders moulded in the tubule, told apart by what they hold."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from synthurine.particles.canvas import Array, Canvas, Rng
from synthurine.particles.cells import rbc, wbc
from synthurine.particles.epithelium import renal
from synthurine.particles.mould import Slit, mould, outline
from synthurine.particles.others import add_droplets
from synthurine.particles.shapes import Numbers, Points, farthest, in_disc


def hyaline(rng: Rng, k: float) -> Canvas:
    """Clear as glass: a thin outline, a fold or two, seldom an inclusion."""
    m = mould(rng, (55, 110), (15, 27), (0.62, 0.08, 0.30), curly=0.5)
    edge = outline(rng, m)
    c, body = _sheet(rng, k, edge)
    c.add(body, rng.uniform(0.12, 0.25), (0.026, 0.026, 0.030))
    c.add(c.dome(body), rng.uniform(0.2, 0.5))
    threads = [edge]
    for _ in range(int(rng.integers(0, 4))):  # folds along it
        start = rng.uniform(0.05, 0.6)
        side = rng.uniform(-0.7, 0.7)
        along = np.linspace(start, start + rng.uniform(0.15, 0.4), 30)
        bow = rng.uniform(-0.25, 0.25) * np.sin(np.linspace(0, np.pi, 30))
        threads.append(m.at(along, side + bow))
    c.add(c.blur(c.lines(threads, 0.5), 0.25) + 0.12 * body * c.noise(3.0), 0.28, 0.035)
    if rng.random() < 0.5:  # granules
        n = int(rng.integers(4, 30))
        c.add(c.dots(m.inside(rng, n, 1.5), rng.uniform(0.25, 0.6, n)), 0.5, 0.08)
    if rng.random() < 0.25:  # a cell
        at = m.inside(rng, 1, 6.0, (0.2, 0.8))
        _lay_cells(rng, c, at, [wbc(rng, k) if rng.random() < 0.5 else rbc(rng, k)])
    return c


def granular(rng: Rng, k: float) -> Canvas:
    """Grey grains, fine or coarse or both, all through the matrix or in a part of it."""
    m = mould(rng, (50, 105), (16, 33), (0.5, 0.42, 0.08), rough=0.25)
    c, body = _sheet(rng, k, outline(rng, m))
    parts = [(0.0, 1.0), (0.0, 0.6), (0.4, 1.0), (0.25, 0.8)]
    whole = parts[0]
    part = parts[int(rng.choice(4, p=(0.7, 0.1, 0.1, 0.1)))]
    coarse = rng.choice((0.0, 0.12, 0.25, 0.35))
    grains = 0.12 * body * c.noise(1.2)  # uneven ground
    for size, dense in ((0.3, 0.9 - 1.2 * coarse), (0.62, coarse)):
        n = int(dense * m.area() * (part[1] - part[0]))
        at = m.inside(rng, n, 0.5, part) + rng.normal(0, 1.2, (n, 2)) * (part != whole)
        grains += c.dots(at, size * rng.lognormal(0, 0.35, n)) * body
    grey = np.array((0.18, 0.19, 0.225)) * rng.uniform(0.8, 1.25)
    c.add(body, rng.uniform(0.25, 0.4), grey * 0.3)
    c.add(c.dome(body), 0.3)
    c.add(c.blur(grains, 0.15), 0.5, grey)
    return c


def muddy_brown(rng: Rng, k: float) -> Canvas:
    """Coarse brown grains that hide the matrix; a ragged outline, ends broken off."""
    m = mould(rng, (50, 95), (18, 35), (0.4, 0.6, 0.0), curly=0.12, rough=0.45)
    c, body = _sheet(rng, k, outline(rng, m))
    brown = np.array((rng.uniform(0.44, 0.56), 0.72, 1.0)) * rng.uniform(0.85, 1.15)
    grains = 0.55 * body + body * (0.08 * c.noise(5.0) + 0.08 * c.noise(1.0))  # uneven ground
    # grains a square um, their radius in um, their thickness
    for dense, size, thick in ((0.40, 0.5, 0.30), (0.20, 0.75, 0.35), (0.03, 1.1, 0.45)):
        n = int(dense * m.area())
        grains += thick * c.dots(m.inside(rng, n, 0.1), size * rng.lognormal(0, 0.3, n))
    c.add(c.blur(grains, 0.15) + 0.15 * c.dome(body), 0.7, brown)
    return c


def waxy(rng: Rng, k: float) -> Canvas:
    """Smooth and refractile like wax: sharp dark edges, broken ends, cracks and notches."""
    broad = rng.random() < 0.4
    width = (32, 44) if broad else (19, 32)
    m = mould(rng, (55, 100), width, (0.15, 0.85, 0.0), 0.12 if broad else 0.35)
    slits: list[Slit] = []
    for place in rng.permutation(np.linspace(0.08, 0.92, 15))[: int(rng.integers(3, 9))]:
        if rng.random() < 0.65:  # a crack
            deep = rng.choice((0.4, 0.7, 1.1, 1.6)) * rng.uniform(0.7, 1.1)
            gap = rng.uniform(0.4, 0.9)
        else:  # a notch
            deep = rng.uniform(0.12, 0.35)
            gap = rng.uniform(1.5, 4.0)
        side = int(rng.integers(2))
        slits.append((side, float(place + rng.uniform(-0.02, 0.02)), float(deep), float(gap)))
    edge = outline(rng, m, slits)
    c, body = _sheet(rng, k, edge)
    tint = np.array((0.8, 0.9, 1.4)) * rng.uniform(0.06, 0.14)
    c.add(body, 1.4, tint)
    c.add(c.dome(body), 1.0, tint * 0.4)
    c.add(c.blur(c.line(edge, 0.6, True), 0.2), 0.0, 0.24)  # sharp dark edges
    return c


def rbc_cast(rng: Rng, k: float) -> Canvas:
    """Yellow-red, crowded with red cells, or these have decayed to reddish-brown granules."""
    m = mould(rng, (50, 95), (16, 27), (0.6, 0.4, 0.0), rough=0.25)
    c, body = _sheet(rng, k, outline(rng, m))
    red = np.array((rng.uniform(0.06, 0.16), 0.44, 0.70)) * rng.uniform(0.8, 1.2)
    degraded = rng.random() < 0.3
    c.add(body, 0.3, red * (0.6 if degraded else rng.uniform(0.15, 0.35)))
    c.add(c.dome(body), 0.3, red * 0.3)
    if degraded:
        n = int(0.5 * m.area())
        grains = c.dots(m.inside(rng, n, 0.5), 0.42 * rng.lognormal(0, 0.35, n)) * body
        c.add(c.blur(grains, 0.15) + 0.3 * body * c.noise(2.0), 0.5, red * 0.35)
    n = int(m.area() / 40 * (0.35 if degraded else rng.uniform(1.1, 1.7)))
    at = m.inside(rng, 7 * n, 3.2)  # more places than needed: many overlap
    at = at[_apart(at, np.full(len(at), 3.3), 0.32)][:n]
    dark = 0.5 if degraded else 1.3
    _lay_cells(rng, c, at, [rbc(rng, k, dark * rng.uniform(0.8, 1.2)) for _ in range(7)])
    return c


def mixed_cell_cast(rng: Rng, k: float) -> Canvas:
    """White, red and tubular cells side by side in a finely granular matrix."""
    m = mould(rng, (60, 106), (22, 34), (0.6, 0.4, 0.0), rough=0.25)
    c, body = _sheet(rng, k, outline(rng, m))
    c.add(body, 0.35, (0.03, 0.03, 0.035))
    c.add(c.dome(body), 0.3)
    c.add(body * c.noise(1.2), 0.14, 0.015)
    n = 300  # places that are tried
    kinds = rng.choice(3, n, p=[0.45, 0.4, 0.15])
    kinds[:6] = (2, 0, 1, 2, 0, 1)  # so that all three occur
    radii = np.array((5.8, 3.5, 7.5))[kinds]
    at = m.inside(rng, n, 0.9 * radii)
    free = _apart(at, radii, 0.15)
    for kind, (cell, n_looks) in enumerate(((wbc, 4), (rbc, 4), (renal, 2))):
        places = at[free[kinds[free] == kind]]
        _lay_cells(rng, c, places, [cell(rng, k) for _ in range(n_looks)])
    return c


def lipid_cast(rng: Rng, k: float) -> Canvas:
    """Bright fat droplets of every size in a pale matrix, some huddled in oval fat bodies."""
    m = mould(rng, (50, 100), (16, 30), (0.62, 0.3, 0.08), rough=0.2)
    c, body = _sheet(rng, k, outline(rng, m))
    c.add(body, 0.3, (0.03, 0.035, 0.05))
    c.add(c.dome(body), 0.35, (0.015, 0.018, 0.03))
    n = int(rng.uniform(0.08, 0.35) * m.area())
    loose = np.clip(0.8 * rng.lognormal(0, 0.55, n), 0.4, 3.2)
    places = [m.inside(rng, n, loose + 0.5)]
    radii = [loose]
    reach = min(0.72 * float(m.half.max()), 8.0)  # radius of a fat body
    fat_bodies = m.inside(rng, int(rng.integers(0, 4)), reach)
    for fat_body in fat_bodies:
        places.insert(0, fat_body + in_disc(rng, reach - 0.6, 120))
        radii.insert(0, rng.uniform(0.6, 1.3, 120))
    c.add(c.dots(fat_bodies, reach), 0.3, (0.06, 0.09, 0.15))  # the cells that hold the droplets
    at = np.concatenate(places)
    sizes = np.concatenate(radii)
    free = _apart(at, sizes, 0.12)
    add_droplets(c, at[free], sizes[free])
    return c


def _sheet(rng: Rng, k: float, edge: Points) -> tuple[Canvas, Array]:
    """A canvas with room for the cast and for cells on its edge, and the coverage of its body."""
    c = Canvas(rng, k, farthest(edge) + 7)
    return c, c.fill(edge)


def _apart(places: Points, radii: Numbers, overlap: float = 0.0) -> NDArray[np.intp]:
    """The numbers of discs that overlap by no more than a part of their radii.

    A disc that comes earlier is preferred.
    """
    gap = np.linalg.norm(places[:, None] - places[None], axis=2)
    clash = gap < (radii[:, None] + radii[None]) * (1 - overlap)
    free = np.ones(len(places), bool)
    chosen = []
    for i in range(len(places)):
        if free[i]:
            chosen.append(i)
            free &= ~clash[i]
    return np.array(chosen, int)


def _lay_cells(rng: Rng, c: Canvas, places: Points, looks: Sequence[Canvas]) -> None:
    """Lays down cells, each with one of the ``looks``, turned by some quarters."""
    for place in places:
        cell = copy.copy(looks[int(rng.integers(len(looks)))])
        quarters = int(rng.integers(4))
        cell.phase = np.rot90(cell.phase, quarters)
        cell.mask = np.rot90(cell.mask, quarters)
        cell.absorb = np.rot90(cell.absorb, quarters, (1, 2))
        reach = float(np.abs([cell.low, cell.high]).max())  # bounds that hold however it is turned
        cell.low = np.full(2, -reach)
        cell.high = np.full(2, reach)
        c.stamp(cell, place)


DRAW = {
    "Muddy brown cast": muddy_brown,
    "Granular cast": granular,
    "Hyaline cast": hyaline,
    "Waxy cast": waxy,
    "Mixed cell cast": mixed_cell_cast,
    "RBC cast": rbc_cast,
    "Lipid cast": lipid_cast,
}
