"""Trichomonas, and the eggs of two worms.

Trichomonas is 10-20 um long, its flagella 6-18. The egg of Enterobius is 50-60 x 20-32 um
(parasitology.ou.ac.lk), that of Schistosoma haematobium 112-170 x 40-70 (parasite.org.au); this one
is drawn 90-120 um long, so that a field holds it.
"""

from __future__ import annotations

import numpy as np

from synthurine.particles.canvas import Array, Canvas, Rng
from synthurine.particles.shapes import Points, band, blob, ellipse, in_disc, normals, rays


# --- Enterobius -------------------------------------------------------------------------------
def enterobius(rng: Rng, k: float) -> Canvas:
    """A clear egg, flat on one side, in a double shell, with a larva or an embryo in it."""
    c = Canvas(rng, k, 32.0)
    rx = rng.uniform(25, 30)
    wide = rng.uniform(20, 29)
    outline = _egg_outline(rng, rx, wide)
    room = outline * (1 - 2.2 / rx, 1 - 2.2 / (wide / 2))
    body = c.fill(outline)
    inner = c.fill(room)
    c.add(body, 0.5, (0.05, 0.055, 0.085))
    c.add(c.line(outline * (1 - 0.35 / rx), 0.7, True), 0.5, (0.28, 0.29, 0.33))  # outer shell
    c.add(c.line(room, 0.5, True), 0.3, (0.17, 0.18, 0.21))  # inner shell
    kind = rng.random()
    if kind < 0.5:
        _add_larva(c, rx, wide, inner)
    elif kind < 0.72:  # a C-shaped embryo along the round side, its tail bent back
        t = np.linspace(-2.9, rng.uniform(0.8, 1.8), 48)
        worm = np.c_[rx * rng.uniform(0.5, 0.62) * np.cos(t), wide * 0.19 * np.sin(t)]
        _add_worm(c, worm, wide * rng.uniform(0.15, 0.18), inner)
    else:  # a granular embryo
        edge = blob(rng, rx * rng.uniform(0.74, 0.84), wide * rng.uniform(0.32, 0.38), 0.04)
        mass = c.fill(edge) * inner
        _add_granular(c, c.blur(mass, 0.3))
        at = in_disc(rng, 0.8, 70) * (rx, wide / 2)
        c.add(c.dots(at, rng.uniform(0.4, 1.1, 70)) * mass, 0.5, (0.06, 0.07, 0.10))
    return c


def _egg_outline(rng: Rng, rx: float, wide: float) -> Points:
    """Of half length ``rx`` and width ``wide``: an ellipse, flatter on one side and blunter."""
    flat = rng.uniform(0.38, 0.6)
    outline = ellipse(rx, wide / (1 + flat), 96)
    cone = 1 + rng.uniform(-0.08, 0.08) * outline[:, 0] / rx
    outline[:, 1] *= np.where(outline[:, 1] > 0, flat, 1.0) * cone
    # blunter than an ellipse
    outline[:, 1] *= np.clip(np.abs(outline[:, 1]) / (0.5 * wide), 0.02, 1) ** -0.13
    # smooth where the halves meet
    outline = np.mean([np.roll(outline, i, axis=0) for i in range(-5, 6)], axis=0)
    outline *= (2 * rx, wide) / np.ptp(outline, axis=0)
    outline[:, 1] -= (outline[:, 1].min() + outline[:, 1].max()) / 2
    return outline


def _add_larva(c: Canvas, rx: float, wide: float, inner: Array) -> None:
    """A worm that is bent back on itself."""
    rng = c.rng
    gap = wide * rng.uniform(0.15, 0.18)
    left = -rx * rng.uniform(0.66, 0.74)
    right = rx * rng.uniform(0.38, 0.52)
    forth = np.linspace(left, right, 22)[:-1]
    turn = np.linspace(np.pi / 2, -np.pi / 2, 16)
    back = np.linspace(right, left * rng.uniform(0.5, 0.95), 22)[1:]
    worm = np.r_[
        np.c_[forth, np.full(21, gap)],
        np.c_[right + gap * 1.3 * np.cos(turn), gap * np.sin(turn)],
        np.c_[back, np.full(21, -gap)],
    ]
    worm[:, 1] += wide * 0.03 * np.sin(worm[:, 0] * 0.16 + rng.uniform(0, 6)) - wide * 0.02
    _add_worm(c, worm, gap * 0.86, inner)


def _add_worm(c: Canvas, axis: Points, half: float, inner: Array) -> None:
    """A worm along ``axis``: blunt in front, drawn out behind, granular, with a thin skin."""
    t = np.linspace(0, 1, len(axis))
    front = np.sqrt(np.clip(t / 0.07, 0.02, 1))
    rear = np.clip((1.02 - t) / 0.45, 0, 1) ** 0.8
    outline = band(axis, half * front * rear)
    _add_granular(c, c.blur(c.fill(outline), 0.25) * inner)
    c.add(c.line(outline, 0.35, True) * inner, 0.3, (0.12, 0.13, 0.15))
    c.add(c.line(axis[3:-8], 0.4) * inner, 0.2, 0.07)  # the gut


def _add_granular(c: Canvas, shape: Array) -> None:
    c.add(shape, 0.5, (0.09, 0.11, 0.17))
    c.add(shape * (c.noise(0.8) + c.noise(2.0)), 0.2, (0.035, 0.045, 0.055))


# --- Schistosoma ------------------------------------------------------------------------------
def schistosoma(rng: Rng, k: float) -> Canvas:
    """A large yellow-brown egg with a spine; in it a miracidium, yolk, or all dark with lime."""
    rx = rng.uniform(42, 53)
    ry = rng.uniform(18.5, 24)
    spine = rng.uniform(7, 11)
    c = Canvas(rng, k, rx + spine / 2 + 2)
    outline = ellipse(rx, ry, 96)
    x = outline[:, 0] / rx
    rear = -rng.uniform(0.2, 0.36)
    front = rng.uniform(0, 0.12)
    outline[:, 1] *= 1 + np.where(x > 0, rear, front) * x**2  # narrower towards the spine
    outline[:, 0] -= spine / 2
    base = rx - spine / 2 - 2.5  # of the spine
    tip = [(base, -3.2), (rx + spine / 2, rng.normal(0, 1.5)), (base, 3.2)]
    thorn = c.fill(tip)
    body = c.fill(outline)
    deep = rng.uniform(0.8, 1.3)
    c.add(np.maximum(thorn, body), 0.6, np.multiply(deep, (0.05, 0.09, 0.19)))
    shell = np.maximum(c.line(outline, 1.2, True), c.line(tip, 0.7) * (1 - body))
    c.add(shell, 0.6, np.multiply(deep, (0.26, 0.31, 0.42)))
    kind = rng.random()
    if kind < 0.72:
        _add_miracidium(c, rx, ry, spine, body)
        return c
    inner = c.blur(c.fill(outline * (0.84, 0.82) - (spine * 0.1, 0)), 0.6)
    if kind < 0.9:  # yolk
        c.add(inner, 0.3, (0.08, 0.12, 0.20))
        at = in_disc(rng, 1.0, 130) * (rx * 0.8, ry * 0.72) - (spine / 2, 0)
        c.add(c.dots(at, rng.uniform(0.6, 1.9, 130)) * inner, 0.5, (0.06, 0.08, 0.13))
        c.add(inner * c.noise(1.5), 0.2, (0.03, 0.04, 0.055))
    else:  # lime
        c.add(inner, 0.5, (0.45, 0.52, 0.62))
        c.add(inner * (c.noise(2.0) + c.noise(6.0)), 0.3, (0.10, 0.12, 0.14))
    return c


def _add_miracidium(c: Canvas, rx: float, ry: float, spine: float, body: Array) -> None:
    """The larva: cilia all round, a papilla in front with glands behind it, and germ cells."""
    rng = c.rng
    ahead = rng.choice([-1, 1])  # it lies either way
    outline = blob(rng, rx * rng.uniform(0.74, 0.82), ry * rng.uniform(0.70, 0.78), 0.02, 4, 96)
    x = outline[:, 0] / rx
    outline[:, 1] *= 1 - 0.22 * np.clip(x * ahead, 0, 1)  # narrower in front
    papilla = 1.8 * ahead * np.exp(-((outline[:, 1] / 3) ** 2)) * (x * ahead > 0)
    outline += np.c_[papilla, np.zeros(96)]
    at = np.array([-spine / 2 - 0.5, rng.normal(0, 0.6)])
    larva = c.blur(c.fill(outline, at), 0.3)
    c.add(larva, 0.35, (0.07, 0.10, 0.16))
    c.add(larva * (c.noise(2.1) + c.noise(5.0)), 0.1, (0.016, 0.022, 0.03))
    c.add(c.line(outline, 0.6, True, at), 0.3, (0.13, 0.15, 0.18))
    roots = np.repeat(outline, 2, 0) + at
    tips = roots - np.repeat(normals(outline), 2, 0) * 2.4 + rng.normal(0, 0.5, (192, 2))
    cilia = list(np.stack([roots, tips], 1))
    c.add(c.lines(cilia, 0.3) * body, 0.2, 0.07)
    glands = at + np.array([(0.38, 0.22), (0.38, -0.22), (0.55, 0.0)]) * (rx * ahead, ry)
    c.add(c.blur(c.dots(glands, ry * np.array([0.2, 0.2, 0.15])), 0.5), -0.4, (-0.05, -0.07, -0.10))
    germs = at + (in_disc(rng, 1.0, 26) * (0.36, 0.45) - (0.28 * ahead, 0)) * (rx, ry)
    c.add(c.blur(c.dots(germs, rng.uniform(1.2, 2.6, 26)), 0.25), 0.6, (0.12, 0.15, 0.19))
    drops = at + ellipse(rx * 0.92, ry * 0.85, 60)[rng.integers(60, size=9)]
    c.add(c.dots(drops, rng.uniform(0.4, 1.0, 9)) * body, 0.5, 0.12)


# --- Trichomonas ------------------------------------------------------------------------------
def trichomonas(rng: Rng, k: float) -> Canvas:
    """A pear or turnip, or rounded up: flagella in front, a membrane on one side, an axostyle."""
    c = Canvas(rng, k, 25.0)
    kind = rng.random()
    rounded = kind > 0.78
    rx = rng.uniform(5.2, 7.2) if rounded else rng.uniform(5.5, 9.5)
    ry = rx * (rng.uniform(0.88, 1.0) if rounded else rng.uniform(0.58, 0.8))
    outline = blob(rng, rx, ry, 0.07 if 0.6 < kind < 0.78 else 0.025, 5, 96)
    cone = 0.05 if rounded else rng.uniform(0.25, 0.5)
    outline[:, 1] *= 1 + cone * outline[:, 0] / rx  # broad in front
    body = c.fill(outline)
    c.add(body, 0.5, (0.05, 0.045, 0.05))
    c.add(c.dome(body), 0.6, (0.04, 0.03, 0.03))
    c.add(body * (c.noise(0.9) + c.noise(2.2)), 0.14, 0.016)
    side = rng.choice([-1, 1])
    _add_membrane(c, outline, side)
    _add_flagella(c, np.array([rx * 0.96, 0]), side, rounded)
    # the axostyle, which sticks out behind
    end = -rx - (rng.uniform(0.5, 2) if rounded else rng.uniform(2.5, 5))
    tip = (end, rng.normal(0, 0.4))
    axostyle = [(rx * 0.5, 0.5), (-rx, 0.42), tip, (-rx, -0.42), (rx * 0.5, -0.5)]
    c.add(c.fill(axostyle), 0.5, 0.13)
    x = rng.uniform(-0.75, 0.3, 22) * rx
    y = rng.choice([-1, 1], 22) * rng.uniform(0.7, 1.5, 22)
    c.add(c.dots(np.c_[x, y], rng.uniform(0.25, 0.45, 22)) * body, 0.4, 0.10)  # granules
    nucleus = c.fill(ellipse(rx * 0.27, ry * 0.27), (rx * 0.45, 0.2 * ry * side))
    c.add(c.blur(nucleus, 0.2), 0.5, (0.13, 0.13, 0.10))
    if rng.random() < 0.4:  # a vacuole or two
        c.add(c.dots(in_disc(rng, ry * 0.6, 2), rng.uniform(0.6, 1.1)) * body, -0.6)
    return c


def _add_membrane(c: Canvas, outline: Points, side: int) -> None:
    """The undulating membrane, from the front half way down one side."""
    rng = c.rng
    t = np.linspace(0, 1, 40)
    places = (side * np.linspace(3, rng.uniform(24, 34), 40)).astype(int)
    root = outline[places]
    waves = 2 * np.pi * (rng.uniform(2.5, 4) * t + rng.random())
    height = np.sin(np.pi * t) ** 0.5 * (1.1 + 0.65 * np.sin(waves))  # um
    fin = root * (1 + height / np.linalg.norm(root, axis=1))[:, None]  # outward from the cell
    c.add(c.fill(np.r_[root, fin[::-1]]), 0.3, 0.02)
    c.add(c.line(fin, 0.4), 0.4, 0.15)


def _add_flagella(c: Canvas, root: Points, side: int, rounded: bool) -> None:
    """Four flagella from one root."""
    rng = c.rng
    flagella = []
    for direction in np.linspace(-0.8, 0.8, 4) + rng.normal(0, 0.18, 4) - 0.25 * side:
        s = np.linspace(0, 1, 24)
        long = rng.uniform(6, 9) if rounded else rng.uniform(7, 13)
        heading = direction + rng.normal(0, 0.5) * s
        swing = rng.uniform(0.5, 0.9)
        heading += swing * np.sin(rng.uniform(5, 8) * s + rng.uniform(0, 6))
        flagella.append(root + np.cumsum(rays(heading), axis=0) * long / 24)
    c.add(c.lines(flagella, 0.35), 0.45, 0.18)


DRAW = {
    "Enterobius vermicularis egg": enterobius,
    "Schistosoma haematobium eggs": schistosoma,
    "Trichomonas vaginalis": trichomonas,
}
