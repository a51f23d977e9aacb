"""Bacteria, yeast and hyphae; the parasites are in a module of their own. Rods 1.5-6 x 0.6-1 um, cocci 0.7-1, yeast
cells 4-8, filaments of Candida 3-5 thick; looks after Poloni & Rotta, J. Fungi 6, 245, doi:10.3390/jof6040245."""

from __future__ import annotations

import numpy as np

from synthurine.particles import parasites
from synthurine.particles.canvas import Canvas
from synthurine.particles.shapes import Points, ellipse, huddle, normals, path

Rng = np.random.Generator
Cell = tuple[float, float, float, float, float]  # x, y, half length, half width, turn


def bacteria(rng: Rng, k: float) -> Canvas:
    """Rods (singly, curved, dividing, in pairs and chains) or cocci, grey without any inside."""
    phase, grey = rng.uniform(0.8, 1.2), rng.uniform(0.12, 0.24)
    if rng.random() < 0.75:
        rods, wide = _rods(rng)
        c = Canvas(rng, k, float(np.abs(np.concatenate(rods)).max()) * 1.42 + 1.2)
        shape = c.lines(rods, wide)
    else:
        at, r = _cocci(rng)
        c = Canvas(rng, k, float(np.abs(at).max()) * 1.42 + 1.2)
        shape = c.dots(at, r)
    c.add(shape, phase, (grey, grey, grey * 0.9))
    return c


def _rods(rng: Rng) -> tuple[list[Points], float]:
    n = (1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 4)[int(rng.integers(12))]
    wide = rng.uniform(0.6, 1.0)
    long = 1.5 + 4.5 * rng.beta(1.5, 2.5) if n == 1 else rng.uniform(1.6, 3.0)
    axis = path(rng, n * long, rng.choice([0.1, 0.25, 0.5]), 25)
    cut = wide * rng.uniform(0.3, 0.55)  # small: they still divide; large: two that hang together
    t, whole = np.linspace(0, n * long, 25), []
    for i in range(n):
        s = np.linspace(
            i * long + (cut if i else wide / 2),
            (i + 1) * long - (cut if i < n - 1 else wide / 2),
            7,
        )
        whole.append(np.c_[np.interp(s, t, axis[:, 0]), np.interp(s, t, axis[:, 1])])
    return whole, wide


def _cocci(rng: Rng) -> tuple[Points, float]:
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


def yeast(rng: Rng, k: float) -> Canvas:
    """Smooth ovals that shine, without colour; singly, budding, in small clusters or as a short pseudohypha."""
    kind = rng.random()
    rx, ry = rng.uniform(2.2, 3.8), rng.uniform(0.66, 0.88)
    ry *= rx
    if kind < 0.62:
        cells: list[Cell] = [(0, 0, rx, ry, 0)]
        for _ in range(int(rng.choice([0, 1, 2], p=[0.3, 0.57, 0.13]))):
            cells.append(_bud(rng, cells[0], rng.uniform(0.35, 0.85)))
    elif kind < 0.84:
        cells = []
        for x, y in huddle(rng, (rx + ry) * 1.06, int(rng.integers(3, 7))):
            size = rng.uniform(0.8, 1.15)
            cells.append((x, y, rx * size, ry * size, rng.uniform(0, 6.3)))
            if rng.random() < 0.3:
                cells.append(_bud(rng, cells[-1], rng.uniform(0.35, 0.6)))
    else:
        cells = _pseudohypha(rng)
    at = np.array([cell[:2] for cell in cells], float)
    at -= (at.min(0) + at.max(0)) / 2
    c = Canvas(rng, k, float(np.abs(at).max()) * 1.42 + max(cell[2] for cell in cells) + 1)
    for place, (_, _, a, b, turn) in zip(at, cells, strict=True):
        c.stamp(_oval(rng, k, a, b, c.angle + turn), place)
    return c


def _bud(rng: Rng, of: Cell, size: float) -> Cell:
    """A smaller cell that hangs on one end or shoulder of another."""
    x, y, rx, ry, turn = of
    t = rng.choice([0, np.pi]) + rng.normal(0, 0.45)
    edge = rx * ry / np.hypot(ry * np.cos(t), rx * np.sin(t)) + rx * size * 0.92
    return x + edge * np.cos(t + turn), y + edge * np.sin(t + turn), rx * size, ry * size, t + turn


def _pseudohypha(rng: Rng) -> list[Cell]:
    """Two to four long cells end to end, with buds where they meet."""
    cells: list[Cell] = []
    at, turn = np.zeros(2), 0.0
    for _ in range(int(rng.integers(2, 5))):
        rx, ry = rng.uniform(4.0, 6.5), rng.uniform(1.5, 2.0)
        turn += rng.normal(0, 0.3)
        way = np.array([np.cos(turn), np.sin(turn)])
        cells.append((*(at + way * rx), rx, ry, turn))
        at = at + way * 1.94 * rx
        if rng.random() < 0.6:
            aside = turn + rng.choice([-1, 1]) * rng.uniform(0.7, 1.3)
            cells.append((*(at + 2.7 * np.array([np.cos(aside), np.sin(aside)])), 2.2, 1.7, aside))
    return cells


def _oval(rng: Rng, k: float, rx: float, ry: float, angle: float) -> Canvas:
    """A yeast cell: a thin wall about clear protoplasm with a vacuole and a granule that dances in it."""
    c = Canvas(rng, k, rx + 0.8, angle)
    outline = ellipse(rx, ry, 36)
    outline[:, 1] *= 1 + rng.uniform(-0.1, 0.1) * outline[:, 0] / rx
    body = c.fill(outline)
    c.add(body, 0.7, (0.05, 0.03, 0.05))
    c.add(c.dome(body), 0.8)
    c.add(c.line(outline * 0.95, 0.4, True), 0.2, (0.17, 0.15, 0.17))
    hole = (rx * rng.uniform(-0.35, 0.35), ry * rng.uniform(-0.2, 0.2))
    c.add(c.blur(c.dots([hole], ry * rng.uniform(0.3, 0.55)), 0.2), -0.5, -0.02)
    c.add(c.dots([(-hole[0] + rng.normal(0, 0.3), rng.normal(0, ry * 0.25))], 0.32), 0.5, 0.16)
    return c


def hyphae(rng: Rng, k: float) -> Canvas:
    """Branching filaments divided by septa; pseudohyphae are pinched there, and bear clusters of blastospores."""
    wide, joint = rng.uniform(3.0, 4.4), rng.uniform(9, 17)
    pinch = rng.uniform(0.25, 0.5) if rng.random() < 0.6 else 0.06
    arms = [path(rng, rng.uniform(50, 92), rng.uniform(0.2, 0.5), 80)]
    for at in np.cumsum(rng.uniform(0.16, 0.3, int(rng.integers(1, 4)))):
        stem = arms[0] if rng.random() < 0.8 else arms[-1]
        i = int(at * (len(stem) - 2))
        way = np.arctan2(*(stem[i + 1] - stem[i])[::-1]) + rng.choice([-1, 1]) * rng.uniform(
            0.55, 0.95
        )
        arms.append(stem[i] + _shoot(way, rng.normal(0, 0.5), rng.uniform(16, 40)))
    middle = (np.concatenate(arms).min(0) + np.concatenate(arms).max(0)) / 2
    arms = [arm - middle for arm in arms]
    c = Canvas(rng, k, float(np.linalg.norm(np.concatenate(arms), axis=1).max()) + 9)
    body, septa, spores = np.zeros_like(c.mask), [], []
    for arm in arms:
        s = np.r_[0, np.cumsum(np.linalg.norm(np.diff(arm, axis=0), axis=1))]
        off = (s + joint / 2) % joint - joint / 2  # from the nearest septum
        half = wide / 2 * (1 - pinch * np.exp(-((off / 1.6) ** 2)))
        half *= np.sqrt(np.clip(np.minimum(s, s[-1] - s) / 1.8, 0.05, 1))
        across = normals(arm)
        np.maximum(
            body,
            c.fill(np.r_[arm + across * half[:, None], (arm - across * half[:, None])[::-1]]),
            out=body,
        )
        for node in np.arange(joint, s[-1] - 3, joint):
            i = int(np.argmin(np.abs(s - node)))
            septa.append([arm[i] - across[i] * half[i], arm[i] + across[i] * half[i]])
            if rng.random() < 0.35 + 0.6 * pinch:
                sides = ((-1, 1), (1,), (-1,))[rng.integers(3)]
                spores += [arm[i] + (wide / 2 + 1.4) * side * across[i] for side in sides]
        spores += [arm[-1]] if rng.random() < 0.3 else []
    c.add(body, 0.8, (0.06, 0.04, 0.06))
    c.add(c.dome(body), 0.4)
    c.add(c.lines(septa, 0.4), 0.3, 0.16)
    inside = np.concatenate(arms)[rng.integers(sum(map(len, arms)), size=40)]
    c.add(
        c.dots(inside + rng.normal(0, wide * 0.13, (40, 2)), rng.uniform(0.25, 0.55, 40)) * body,
        0.4,
        0.06,
    )
    for place in spores:
        rx = rng.uniform(1.9, 2.7)
        c.stamp(_oval(rng, k, rx, rx * rng.uniform(0.7, 0.9), rng.uniform(0, 6.3)), place)
    return c


def _shoot(way: float, bend: float, long: float) -> Points:
    """A branch that grows from the origin, ``bend`` radians from its first direction to its last."""
    heading = way + bend * np.linspace(0, 1, 40)
    return np.cumsum(np.c_[np.cos(heading), np.sin(heading)] * long / 40, axis=0)


DRAW = {"Bacteria": bacteria, "Yeast": yeast, "Fungal hyphae": hyphae, **parasites.DRAW}
