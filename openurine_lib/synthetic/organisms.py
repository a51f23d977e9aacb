"""Bacteria, yeast, hyphae, Trichomonas, and the eggs of Enterobius and Schistosoma (the eggs a little small, so that a
field holds them)."""

from __future__ import annotations

import numpy as np

from openurine_lib.synthetic.canvas import Canvas
from openurine_lib.synthetic.shapes import blob, ellipse, in_disc, normals, path

Rng = np.random.Generator


def bacteria(rng: Rng, k: float) -> Canvas:
    c = Canvas(rng, k, 5.0)
    if rng.random() < 0.8:
        rod = c.line(path(rng, rng.uniform(2.4, 4.2), 0.25, 12), 1.05)
    else:  # a short chain of cocci
        n = int(rng.integers(2, 5))
        rod = c.dots(path(rng, 1.25 * (n - 1), 0.4, n) if n > 2 else [(-0.65, 0), (0.65, 0)], 0.72)
    c.add(rod, 1.0, (0.30, 0.30, 0.27))
    return c


def yeast(rng: Rng, k: float) -> Canvas:
    c = Canvas(rng, k, 11.0)
    rx, ry = rng.uniform(2.7, 3.4), rng.uniform(2.1, 2.5)
    parts = [((0.0, 0.0), rx, ry)]
    if rng.random() < 0.85:
        small = rng.uniform(0.5, 0.75)
        parts.append(((rx + rx * small * 0.85, rng.normal(0, 0.4)), rx * small, ry * small))
        if rng.random() < 0.35:
            parts.append(((-rx * 1.75, rng.normal(0, 0.6)), rx * 0.8, ry * 0.85))
    for at, a, b in parts:
        cell = c.fill(ellipse(a, b), at)
        c.add(cell, 0.9, (0.20, 0.12, 0.20))
        c.add(c.line(ellipse(a, b) * 0.95, 0.45, True, at), 0.3, 0.20)
        c.add(c.blur(c.fill(ellipse(a * 0.55, b * 0.5), at), 0.25), 0.4, (-0.24, -0.26, -0.20))
        c.add(c.dots([(at[0] + a * 0.3, at[1])], 0.4), 0.2, 0.25)
    return c


def hyphae(rng: Rng, k: float) -> Canvas:
    long = rng.uniform(45, 68)
    c = Canvas(rng, k, long / 2 + 16)
    stem = path(rng, long, 0.5, 50)
    arms, across = [stem], normals(stem)
    for _ in range(int(rng.integers(2, 4))):
        i, side = int(rng.integers(10, 38)), rng.choice([-1, 1])
        way = (stem[i + 1] - stem[i]) / np.linalg.norm(stem[i + 1] - stem[i]) * 0.75 + side * across[i] * 0.75
        bent = np.linspace(0, 1, 14)[:, None] * way * rng.uniform(12, 22)
        arms.append(stem[i] + bent + np.linspace(0, 1, 14)[:, None] ** 2 * rng.normal(0, 3, 2))
    wall, core = c.lines(arms, 2.9), c.lines(arms, 1.7)
    c.add(wall, 0.8, (0.26, 0.18, 0.24))
    c.add(c.blur(core, 0.2), 0.1, (-0.20, -0.15, -0.18))
    septa = [
        [arm[j] - normals(arm)[j] * 1.3, arm[j] + normals(arm)[j] * 1.3]
        for arm in arms
        for j in range(4, len(arm) - 2, 7)
    ]
    c.add(c.lines(septa, 0.5), 0.3, 0.22)
    return c


def enterobius(rng: Rng, k: float) -> Canvas:
    c = Canvas(rng, k, 31.0)
    rx, ry = rng.uniform(23, 27), rng.uniform(11.5, 13.5)
    outline = ellipse(rx, ry, 72)
    outline[:, 1] = np.where(outline[:, 1] > 0, outline[:, 1] * 0.55, outline[:, 1] * 1.1)  # one side is flat
    body = c.fill(outline)
    c.add(body, 0.7, (0.06, 0.06, 0.10))
    c.add(c.line(outline * 0.98, 0.8, True), 0.6, 0.36)
    c.add(c.line(outline * 0.87 + (0, -0.3), 0.5, True), 0.5, 0.25)
    larva = path(rng, rx * 1.35, 0.12, 30) + (0, -ry * 0.25)
    larva[:, 1] += 1.1 * np.sin(np.linspace(0, 2 * np.pi, 30))
    worm = c.blur(c.line(larva, ry * 0.62), 0.4)
    c.add(worm, 0.5, (0.13, 0.16, 0.24))
    c.add(worm * (c.noise(0.9) + c.noise(2.1)), 0.2, (0.05, 0.06, 0.07))
    c.add(c.blur(c.line(larva + (0, ry * 0.3), 0.4), 0.15) * body, 0.3, 0.16)
    return c


def schistosoma(rng: Rng, k: float) -> Canvas:
    c = Canvas(rng, k, 48.0)
    rx, ry = rng.uniform(31, 36), rng.uniform(13.5, 16)
    outline = ellipse(rx, ry, 96)
    pull = np.clip(outline[:, 0] / rx, 0, 1)
    outline[:, 1] *= 1 - 0.35 * pull**2
    tip = [(rx - 1.2, -2.0), (rx + rng.uniform(6, 8), rng.normal(0, 0.8)), (rx - 1.2, 2.0)]
    spine = c.fill(tip)
    body = c.fill(outline)
    c.add(body, 0.7, (0.08, 0.14, 0.28))
    c.add(spine, 0.8, (0.25, 0.30, 0.40))
    c.add(c.line(outline, 0.9, True), 0.6, (0.32, 0.36, 0.42))
    inner = c.blur(c.fill(outline * (0.8, 0.75) - (1.5, 0)), 0.5)
    c.add(inner, 0.3, (0.10, 0.15, 0.24))
    c.add(inner * (c.noise(1.2) + c.noise(3.4)), 0.2, (0.05, 0.065, 0.085))
    c.add(c.dots(in_disc(rng, 1.0, 60) * (rx * 0.7, ry * 0.6), rng.uniform(0.5, 1.2, 60)), 0.5, (0.10, 0.12, 0.16))
    return c


def trichomonas(rng: Rng, k: float) -> Canvas:
    c = Canvas(rng, k, 19.0)
    rx, ry = rng.uniform(6.8, 8.2), rng.uniform(4.8, 5.6)
    outline = blob(rng, rx, ry, 0.03)
    outline[:, 1] *= 1 + 0.35 * outline[:, 0] / rx  # pear: broad in front
    body = c.fill(outline)
    c.add(body, 0.6, (0.08, 0.07, 0.07))
    c.add(c.dome(body), 0.5, (0.06, 0.05, 0.05))
    c.add(body * c.noise(1.2), 0.12, 0.03)
    c.add(c.dots(in_disc(rng, ry * 0.75, 14), 0.45) * body, 0.3, 0.12)
    c.add(c.blur(c.fill(ellipse(2.0, 1.5), (rx * 0.42, 0)), 0.3), 0.6, 0.26)
    whips = []
    for spread_to in np.linspace(-0.75, 0.75, 4) + rng.normal(0, 0.08, 4):
        t = np.linspace(0, 1, 16)
        reach = rng.uniform(6.5, 8.5) * t
        whips.append(
            np.c_[
                rx * 0.93 + reach * np.cos(spread_to),
                reach * np.sin(spread_to) + 0.8 * np.sin(7 * t + rng.uniform(0, 6)) * t,
            ]
        )
    c.add(c.lines(whips, 0.45), 0.6, 0.22)
    c.add(c.lines([[(-rx * 0.3, 0), (-rx - rng.uniform(3, 4.5), rng.normal(0, 0.6))]], 0.6), 0.5, 0.22)
    t = np.linspace(0, 1, 24)
    membrane = np.c_[rx * (0.8 - 1.3 * t), -ry * (1.12 - 0.3 * t) + 0.75 * np.sin(22 * t)]
    c.add(c.line(membrane, 0.45), 0.5, 0.16)
    return c


DRAW = {
    "Bacteria": bacteria,
    "Yeast": yeast,
    "Enterobius vermicularis egg": enterobius,
    "Fungal hyphae": hyphae,
    "Schistosoma haematobium eggs": schistosoma,
    "Trichomonas vaginalis": trichomonas,
}
