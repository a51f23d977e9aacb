"""Trichomonas (10-20 um, flagella 6-18), and the eggs of Enterobius (50-60 x 20-32; parasitology.ou.ac.lk) and of
Schistosoma haematobium (112-170 x 40-70; parasite.org.au), this one drawn 90-120 long, so that a field holds it."""

from __future__ import annotations

import numpy as np

from synthurine.particles.canvas import Array, Canvas
from synthurine.particles.shapes import Points, blob, ellipse, in_disc, normals

Rng = np.random.Generator


def enterobius(rng: Rng, k: float) -> Canvas:
    """A clear egg, flat on one side, in a double shell; in it a folded larva, or a C-shaped or a granular embryo."""
    c = Canvas(rng, k, 32.0)
    rx, wide, flat = rng.uniform(25, 30), rng.uniform(20, 29), rng.uniform(0.38, 0.6)
    ry = wide / (1 + flat)
    outline = ellipse(rx, ry, 96)
    outline[:, 1] *= np.where(outline[:, 1] > 0, flat, 1.0) * (
        1 + rng.uniform(-0.08, 0.08) * outline[:, 0] / rx
    )
    outline[:, 1] *= (
        np.clip(np.abs(outline[:, 1]) / (0.5 * wide), 0.02, 1) ** -0.13
    )  # blunter than an ellipse
    outline = np.mean(
        [np.roll(outline, i, axis=0) for i in range(-5, 6)], axis=0
    )  # the halves meet smoothly
    outline *= (2 * rx, wide) / np.ptp(outline, axis=0)
    outline[:, 1] -= (outline[:, 1].min() + outline[:, 1].max()) / 2
    room = outline * (1 - 2.2 / rx, 1 - 2.2 / (wide / 2))
    body, inner = c.fill(outline), c.fill(room)
    c.add(body, 0.5, (0.05, 0.055, 0.085))
    c.add(c.line(outline * (1 - 0.35 / rx), 0.7, True), 0.5, (0.28, 0.29, 0.33))
    c.add(c.line(room, 0.5, True), 0.3, (0.17, 0.18, 0.21))
    kind = rng.random()
    if kind < 0.5:  # a larva, bent back on itself
        gap, left = wide * rng.uniform(0.15, 0.18), -rx * rng.uniform(0.66, 0.74)
        right = rx * rng.uniform(0.38, 0.52)
        turn = np.linspace(np.pi / 2, -np.pi / 2, 16)
        back = np.linspace(right, left * rng.uniform(0.5, 0.95), 22)[1:]
        worm = np.r_[
            np.c_[np.linspace(left, right, 22)[:-1], np.full(21, gap)],
            np.c_[right + gap * 1.3 * np.cos(turn), gap * np.sin(turn)],
            np.c_[back, np.full(21, -gap)],
        ]
        worm[:, 1] += wide * 0.03 * np.sin(worm[:, 0] * 0.16 + rng.uniform(0, 6)) - wide * 0.02
        _worm(c, worm, gap * 0.86, inner)
    elif kind < 0.72:  # a thick body along the round side, its tail bent back
        t = np.linspace(-2.9, rng.uniform(0.8, 1.8), 48)
        worm = np.c_[rx * rng.uniform(0.5, 0.62) * np.cos(t), wide * 0.19 * np.sin(t)]
        _worm(c, worm, wide * rng.uniform(0.15, 0.18), inner)
    else:
        mass = (
            c.fill(blob(rng, rx * rng.uniform(0.74, 0.84), wide * rng.uniform(0.32, 0.38), 0.04))
            * inner
        )
        _granular(c, c.blur(mass, 0.3))
        c.add(
            c.dots(in_disc(rng, 0.8, 70) * (rx, wide / 2), rng.uniform(0.4, 1.1, 70)) * mass,
            0.5,
            (0.06, 0.07, 0.10),
        )
    return c


def _worm(c: Canvas, axis: Points, half: float, inner: Array) -> None:
    """A larva: blunt in front, drawn out behind, granular, with a thin skin."""
    t = np.linspace(0, 1, len(axis))
    half_at = half * np.sqrt(np.clip(t / 0.07, 0.02, 1)) * np.clip((1.02 - t) / 0.45, 0, 1) ** 0.8
    edge = normals(axis) * half_at[:, None]
    outline = np.r_[axis + edge, (axis - edge)[::-1]]
    _granular(c, c.blur(c.fill(outline), 0.25) * inner)
    c.add(c.line(outline, 0.35, True) * inner, 0.3, (0.12, 0.13, 0.15))
    c.add(c.line(axis[3:-8], 0.4) * inner, 0.2, 0.07)


def _granular(c: Canvas, shape: Array) -> None:
    c.add(shape, 0.5, (0.09, 0.11, 0.17))
    c.add(shape * (c.noise(0.8) + c.noise(2.0)), 0.2, (0.035, 0.045, 0.055))


def schistosoma(rng: Rng, k: float) -> Canvas:
    """A large yellow-brown egg, a spine at its end; in it a ciliated miracidium, or yolk, or all dark with lime."""
    rx, ry, spine = rng.uniform(42, 53), rng.uniform(18.5, 24), rng.uniform(7, 11)
    c = Canvas(rng, k, rx + spine / 2 + 2)
    outline = ellipse(rx, ry, 96)
    pull = outline[:, 0] / rx
    rear, front = -rng.uniform(0.2, 0.36), rng.uniform(0, 0.12)
    outline[:, 1] *= 1 + np.where(pull > 0, rear, front) * pull**2
    outline[:, 0] -= spine / 2
    aside = rng.normal(0, 1.5)
    tip = [(rx - spine / 2 - 2.5, -3.2), (rx + spine / 2, aside), (rx - spine / 2 - 2.5, 3.2)]
    thorn, body = c.fill(tip), c.fill(outline)
    deep = rng.uniform(0.8, 1.3)
    c.add(np.maximum(thorn, body), 0.6, np.multiply(deep, (0.05, 0.09, 0.19)))
    shell = np.maximum(c.line(outline, 1.2, True), c.line(tip, 0.7) * (1 - body))
    c.add(shell, 0.6, np.multiply(deep, (0.26, 0.31, 0.42)))
    kind = rng.random()
    if kind < 0.72:
        _miracidium(c, rx, ry, spine, body)
        return c
    inner = c.blur(c.fill(outline * (0.84, 0.82) - (spine * 0.1, 0)), 0.6)
    if kind < 0.9:
        c.add(inner, 0.3, (0.08, 0.12, 0.20))
        at = in_disc(rng, 1.0, 130) * (rx * 0.8, ry * 0.72) - (spine / 2, 0)
        c.add(c.dots(at, rng.uniform(0.6, 1.9, 130)) * inner, 0.5, (0.06, 0.08, 0.13))
        c.add(inner * c.noise(1.5), 0.2, (0.03, 0.04, 0.055))
    else:
        c.add(inner, 0.5, (0.45, 0.52, 0.62))
        c.add(inner * (c.noise(2.0) + c.noise(6.0)), 0.3, (0.10, 0.12, 0.14))
    return c


def _miracidium(c: Canvas, rx: float, ry: float, spine: float, body: Array) -> None:
    """The larva: cilia all round, a papilla in front with gland cells behind it, and round germ cells in the rear."""
    rng = c.rng
    ahead = rng.choice([-1, 1])  # it lies either way
    outline = blob(rng, rx * rng.uniform(0.74, 0.82), ry * rng.uniform(0.70, 0.78), 0.02, 4, 96)
    front = outline[:, 0] / rx
    outline[:, 1] *= 1 - 0.22 * np.clip(front * ahead, 0, 1)
    outline += np.c_[
        1.8 * ahead * np.exp(-((outline[:, 1] / 3) ** 2)) * (front * ahead > 0), np.zeros(96)
    ]
    middle = np.array([-spine / 2 - 0.5, rng.normal(0, 0.6)])
    larva = c.blur(c.fill(outline, middle), 0.3)
    c.add(larva, 0.35, (0.07, 0.10, 0.16))
    c.add(larva * (c.noise(2.1) + c.noise(5.0)), 0.1, (0.016, 0.022, 0.03))
    c.add(c.line(outline, 0.6, True, middle), 0.3, (0.13, 0.15, 0.18))
    roots = np.repeat(outline, 2, 0) + middle
    ends = roots - np.repeat(normals(outline), 2, 0) * 2.4 + rng.normal(0, 0.5, (192, 2))
    c.add(c.lines(list(np.stack([roots, ends], 1)), 0.3) * body, 0.2, 0.07)
    glands = middle + np.array([(0.38, 0.22), (0.38, -0.22), (0.55, 0.0)]) * (rx * ahead, ry)
    c.add(c.blur(c.dots(glands, ry * np.array([0.2, 0.2, 0.15])), 0.5), -0.4, (-0.05, -0.07, -0.10))
    germs = middle + (in_disc(rng, 1.0, 26) * (0.36, 0.45) - (0.28 * ahead, 0)) * (rx, ry)
    c.add(c.blur(c.dots(germs, rng.uniform(1.2, 2.6, 26)), 0.25), 0.6, (0.12, 0.15, 0.19))
    loose = middle + ellipse(rx * 0.92, ry * 0.85, 60)[rng.integers(60, size=9)]
    c.add(c.dots(loose, rng.uniform(0.4, 1.0, 9)) * body, 0.5, 0.12)


def trichomonas(rng: Rng, k: float) -> Canvas:
    """A pear or turnip: four flagella in front, a membrane along one side, the axostyle out behind; or rounded up."""
    c = Canvas(rng, k, 25.0)
    kind = rng.random()
    rounded = kind > 0.78
    rx = rng.uniform(5.2, 7.2) if rounded else rng.uniform(5.5, 9.5)
    ry = rx * (rng.uniform(0.88, 1.0) if rounded else rng.uniform(0.58, 0.8))
    outline = blob(rng, rx, ry, 0.07 if 0.6 < kind < 0.78 else 0.025, 5, 96)
    outline[:, 1] *= (
        1 + (0.05 if rounded else rng.uniform(0.25, 0.5)) * outline[:, 0] / rx
    )  # broad in front
    body = c.fill(outline)
    c.add(body, 0.5, (0.05, 0.045, 0.05))
    c.add(c.dome(body), 0.6, (0.04, 0.03, 0.03))
    c.add(body * (c.noise(0.9) + c.noise(2.2)), 0.14, 0.016)
    side, t = rng.choice([-1, 1]), np.linspace(0, 1, 40)
    along = outline[
        (side * np.linspace(3, rng.uniform(24, 34), 40)).astype(int)
    ]  # from the front half way down
    wave = np.sin(np.pi * t) ** 0.5 * (
        1.1 + 0.65 * np.sin(2 * np.pi * (rng.uniform(2.5, 4) * t + rng.random()))
    )
    fin = along * (1 + wave / np.linalg.norm(along, axis=1))[:, None]
    c.add(c.fill(np.r_[along, fin[::-1]]), 0.3, 0.02)
    c.add(c.line(fin, 0.4), 0.4, 0.15)
    root = np.array([rx * 0.96, 0])
    whips = []
    for way in np.linspace(-0.8, 0.8, 4) + rng.normal(0, 0.18, 4) - 0.25 * side:
        s, long = np.linspace(0, 1, 24), rng.uniform(6, 9) if rounded else rng.uniform(7, 13)
        heading = way + rng.normal(0, 0.5) * s
        heading += rng.uniform(0.5, 0.9) * np.sin(rng.uniform(5, 8) * s + rng.uniform(0, 6))
        whips.append(root + np.cumsum(np.c_[np.cos(heading), np.sin(heading)], axis=0) * long / 24)
    c.add(c.lines(whips, 0.35), 0.45, 0.18)
    end = -rx - (rng.uniform(0.5, 2) if rounded else rng.uniform(2.5, 5))
    c.add(
        c.fill(
            [
                (rx * 0.5, 0.5),
                (-rx, 0.42),
                (end, rng.normal(0, 0.4)),
                (-rx, -0.42),
                (rx * 0.5, -0.5),
            ]
        ),
        0.5,
        0.13,
    )
    beads = np.c_[
        rng.uniform(-0.75, 0.3, 22) * rx, rng.choice([-1, 1], 22) * rng.uniform(0.7, 1.5, 22)
    ]
    c.add(c.dots(beads, rng.uniform(0.25, 0.45, 22)) * body, 0.4, 0.10)
    c.add(
        c.blur(c.fill(ellipse(rx * 0.27, ry * 0.27), (rx * 0.45, 0.2 * ry * side)), 0.2),
        0.5,
        (0.13, 0.13, 0.10),
    )
    if rng.random() < 0.4:  # a vacuole or two
        c.add(c.dots(in_disc(rng, ry * 0.6, 2), rng.uniform(0.6, 1.1)) * body, -0.6)
    return c


DRAW = {
    "Enterobius vermicularis egg": enterobius,
    "Schistosoma haematobium eggs": schistosoma,
    "Trichomonas vaginalis": trichomonas,
}
