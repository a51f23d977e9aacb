"""Bacteria, yeast and hyphae.

Rods are 1.5-6 x 0.6-1 um, cocci 0.7-1, yeast cells 4-8, filaments of Candida 3-5 thick; looks after
Poloni & Rotta, J. Fungi 6, 245, doi:10.3390/jof6040245.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from synthurine.particles.canvas import Canvas, Rng
from synthurine.particles.shapes import (
    Points,
    band,
    ellipse,
    farthest,
    huddle,
    middle,
    normals,
    path,
    rays,
)


# --- bacteria ---------------------------------------------------------------------------------
def bacteria(rng: Rng, k: float) -> Canvas:
    """Rods (singly, curved, dividing, in pairs and chains) or cocci, grey without any inside."""
    phase = rng.uniform(0.8, 1.2)
    grey = rng.uniform(0.12, 0.24)
    if rng.random() < 0.75:
        rods, wide = _rods(rng)
        c = Canvas(rng, k, _half_diagonal(np.concatenate(rods)) + 1.2)
        shape = c.lines(rods, wide)
    else:
        at, r = _cocci(rng)
        c = Canvas(rng, k, _half_diagonal(at) + 1.2)
        shape = c.dots(at, r)
    c.add(shape, phase, (grey, grey, grey * 0.9))
    return c


def _half_diagonal(points: Points) -> float:
    """Of the square about the origin that holds the points: a radius with room for them."""
    return float(np.abs(points).max()) * 1.42


def _rods(rng: Rng) -> tuple[list[Points], float]:
    """The axes of one to four rods in a chain, and their width."""
    n = (1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 4)[int(rng.integers(12))]
    wide = rng.uniform(0.6, 1.0)
    long = 1.5 + 4.5 * rng.beta(1.5, 2.5) if n == 1 else rng.uniform(1.6, 3.0)
    axis = path(rng, n * long, rng.choice([0.1, 0.25, 0.5]), 25)
    cut = wide * rng.uniform(0.3, 0.55)  # small: they still divide; large: two that hang together
    t = np.linspace(0, n * long, 25)
    rods = []
    for i in range(n):
        start = i * long + (cut if i else wide / 2)
        end = (i + 1) * long - (cut if i < n - 1 else wide / 2)
        s = np.linspace(start, end, 7)
        rods.append(np.c_[np.interp(s, t, axis[:, 0]), np.interp(s, t, axis[:, 1])])
    return rods, wide


def _cocci(rng: Rng) -> tuple[Points, float]:
    """The places of cocci, and their radius: single, a pair, a chain, a square, or a heap."""
    r = rng.uniform(0.36, 0.52)
    kind = rng.random()
    if kind < 0.25:
        return np.zeros((1, 2)), r
    if kind < 0.5:
        return np.array([(-0.95 * r, 0), (0.95 * r, 0)]), r
    if kind < 0.8:
        n = int(rng.integers(3, 10))
        return path(rng, 1.9 * r * (n - 1), 0.6, n), r
    if kind < 0.9:
        return np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)]) * 0.95 * r, r
    return huddle(rng, 2.2 * r, int(rng.integers(3, 9))), r


# --- yeast ------------------------------------------------------------------------------------
class Cell(NamedTuple):
    """A yeast cell: its place, half its length and half its width in um, its turn in radians."""

    x: float
    y: float
    rx: float
    ry: float
    turn: float


def yeast(rng: Rng, k: float) -> Canvas:
    """Smooth ovals that shine, without colour; single, budding, clustered, or a pseudohypha."""
    kind = rng.random()
    rx = rng.uniform(2.2, 3.8)
    ry = rng.uniform(0.66, 0.88) * rx
    if kind < 0.62:  # a cell with buds
        cells = [Cell(0, 0, rx, ry, 0)]
        for _ in range(int(rng.choice([0, 1, 2], p=[0.3, 0.57, 0.13]))):
            cells.append(_bud(rng, cells[0], rng.uniform(0.35, 0.85)))
    elif kind < 0.84:  # a cluster
        cells = []
        for x, y in huddle(rng, (rx + ry) * 1.06, int(rng.integers(3, 7))):
            size = rng.uniform(0.8, 1.15)
            cells.append(Cell(x, y, rx * size, ry * size, rng.uniform(0, 6.3)))
            if rng.random() < 0.3:
                cells.append(_bud(rng, cells[-1], rng.uniform(0.35, 0.6)))
    else:
        cells = _pseudohypha(rng)
    at = np.array([(cell.x, cell.y) for cell in cells], float)
    at -= middle(at)
    c = Canvas(rng, k, _half_diagonal(at) + max(cell.rx for cell in cells) + 1)
    for place, cell in zip(at, cells, strict=True):
        c.stamp(_oval(rng, k, cell.rx, cell.ry, c.angle + cell.turn), place)
    return c


def _bud(rng: Rng, parent: Cell, size: float) -> Cell:
    """A smaller cell that hangs on one end of another; ``size`` is the ratio of both."""
    x, y, rx, ry, turn = parent
    t = rng.choice([0, np.pi]) + rng.normal(0, 0.45)
    # from the middle of the cell to that of its bud: the radius of the ellipse, and the bud's own
    edge = rx * ry / np.hypot(ry * np.cos(t), rx * np.sin(t)) + rx * size * 0.92
    bud_x = x + edge * np.cos(t + turn)
    bud_y = y + edge * np.sin(t + turn)
    return Cell(bud_x, bud_y, rx * size, ry * size, t + turn)


def _pseudohypha(rng: Rng) -> list[Cell]:
    """Two to four long cells end to end, with buds where they meet."""
    cells: list[Cell] = []
    end = np.zeros(2)
    turn = 0.0
    for _ in range(int(rng.integers(2, 5))):
        rx = rng.uniform(4.0, 6.5)
        ry = rng.uniform(1.5, 2.0)
        turn += rng.normal(0, 0.3)
        direction = np.array([np.cos(turn), np.sin(turn)])
        x, y = end + direction * rx
        cells.append(Cell(x, y, rx, ry, turn))
        end = end + direction * 1.94 * rx  # the next one overlaps it a little
        if rng.random() < 0.6:
            aside = turn + rng.choice([-1, 1]) * rng.uniform(0.7, 1.3)
            x, y = end + 2.7 * np.array([np.cos(aside), np.sin(aside)])
            cells.append(Cell(x, y, 2.2, 1.7, aside))
    return cells


def _oval(rng: Rng, k: float, rx: float, ry: float, angle: float) -> Canvas:
    """A yeast cell: a thin wall, clear protoplasm, a vacuole and a granule that dances in it."""
    c = Canvas(rng, k, rx + 0.8, angle)
    outline = ellipse(rx, ry, 36)
    outline[:, 1] *= 1 + rng.uniform(-0.1, 0.1) * outline[:, 0] / rx
    body = c.fill(outline)
    c.add(body, 0.7, (0.05, 0.03, 0.05))  # a green shine: red and blue are lost
    c.add(c.dome(body), 0.8)
    c.add(c.line(outline * 0.95, 0.4, True), 0.2, (0.17, 0.15, 0.17))  # the wall
    x = rx * rng.uniform(-0.35, 0.35)
    y = ry * rng.uniform(-0.2, 0.2)
    c.add(c.blur(c.dots([(x, y)], ry * rng.uniform(0.3, 0.55)), 0.2), -0.5, -0.02)  # the vacuole
    granule = (-x + rng.normal(0, 0.3), rng.normal(0, ry * 0.25))
    c.add(c.dots([granule], 0.32), 0.5, 0.16)
    return c


# --- hyphae -----------------------------------------------------------------------------------
def hyphae(rng: Rng, k: float) -> Canvas:
    """Branching filaments divided by septa.

    Pseudohyphae are pinched at the septa, and bear clusters of blastospores there.
    """
    wide = rng.uniform(3.0, 4.4)
    joint = rng.uniform(9, 17)  # um from septum to septum
    pinch = rng.uniform(0.25, 0.5) if rng.random() < 0.6 else 0.06
    arms = _branches(rng)
    c = Canvas(rng, k, farthest(np.concatenate(arms)) + 9)
    body = np.zeros_like(c.mask)
    septa = []
    spores: list[Points] = []
    for arm in arms:
        s = np.r_[0, np.cumsum(np.linalg.norm(np.diff(arm, axis=0), axis=1))]  # um along it
        from_septum = (s + joint / 2) % joint - joint / 2
        half = wide / 2 * (1 - pinch * np.exp(-((from_septum / 1.6) ** 2)))
        half *= np.sqrt(np.clip(np.minimum(s, s[-1] - s) / 1.8, 0.05, 1))  # rounded ends
        across = normals(arm)
        np.maximum(body, c.fill(band(arm, half)), out=body)
        for place in np.arange(joint, s[-1] - 3, joint):
            i = int(np.argmin(np.abs(s - place)))
            septa.append([arm[i] - across[i] * half[i], arm[i] + across[i] * half[i]])
            if rng.random() < 0.35 + 0.6 * pinch:
                sides = ((-1, 1), (1,), (-1,))[rng.integers(3)]
                spores += [arm[i] + (wide / 2 + 1.4) * side * across[i] for side in sides]
        if rng.random() < 0.3:
            spores.append(arm[-1])
    c.add(body, 0.8, (0.06, 0.04, 0.06))
    c.add(c.dome(body), 0.4)
    c.add(c.lines(septa, 0.4), 0.3, 0.16)
    along = np.concatenate(arms)
    granules = along[rng.integers(len(along), size=40)] + rng.normal(0, wide * 0.13, (40, 2))
    c.add(c.dots(granules, rng.uniform(0.25, 0.55, 40)) * body, 0.4, 0.06)
    for at in spores:
        rx = rng.uniform(1.9, 2.7)
        ry = rx * rng.uniform(0.7, 0.9)
        c.stamp(_oval(rng, k, rx, ry, rng.uniform(0, 6.3)), at)
    return c


def _branches(rng: Rng) -> list[Points]:
    """A stem and its branches."""
    arms = [path(rng, rng.uniform(50, 92), rng.uniform(0.2, 0.5), 80)]
    for place in np.cumsum(rng.uniform(0.16, 0.3, int(rng.integers(1, 4)))):
        stem = arms[0] if rng.random() < 0.8 else arms[-1]
        i = int(place * (len(stem) - 2))
        dx, dy = stem[i + 1] - stem[i]
        direction = np.arctan2(dy, dx) + rng.choice([-1, 1]) * rng.uniform(0.55, 0.95)
        bend = rng.normal(0, 0.5)
        arms.append(stem[i] + _shoot(direction, bend, rng.uniform(16, 40)))
    centre = middle(np.concatenate(arms))
    return [arm - centre for arm in arms]


def _shoot(direction: float, bend: float, long: float) -> Points:
    """A branch from the origin, ``bend`` radians from its first direction to its last."""
    heading = direction + bend * np.linspace(0, 1, 40)
    return np.cumsum(rays(heading) * long / 40, axis=0)


DRAW = {"Bacteria": bacteria, "Yeast": yeast, "Fungal hyphae": hyphae}
