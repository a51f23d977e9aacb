"""Sperm, mucus and fat.

A sperm's head is 4-5.5 x 2.5-3.5 um, its tail about 45, its midpiece as long as the head (WHO
laboratory manual for human semen, 2010, by eqconline.org; labce.com).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from synthurine.particles.canvas import Canvas, Rng
from synthurine.particles.shapes import (
    Numbers,
    Points,
    band,
    blob,
    ellipse,
    farthest,
    in_disc,
    middle,
    normals,
    path,
    rays,
)


# --- fat --------------------------------------------------------------------------------------
def add_droplets(c: Canvas, at: ArrayLike, radii: ArrayLike) -> None:
    """Adds fat: spheres with a bright yellow-green core that send light away at their rims."""
    at = np.asarray(at, float).reshape(-1, 2)
    radii = np.asarray(radii, float)
    rim = c.dots(at, radii)
    core = c.blur(c.dots(at, np.maximum(radii * 0.58, radii - 0.95)), 0.18)
    c.add(rim, 0.7, (0.48, 0.48, 0.52))
    c.add(core, 0.6, (-0.50, -0.53, -0.40))


def _packed(candidates: Points, radii: Numbers, touch: float) -> tuple[Points, Numbers]:
    """Discs without much overlap: their places and radii, the largest first.

    Each lies on the first of the candidates where ``touch`` of its radius is clear of the others; a
    disc without such a place is left out.
    """
    free = np.full(len(candidates), np.inf)  # distance from each candidate to the nearest disc
    places = []
    placed = []
    for r in np.sort(radii)[::-1]:
        fitting = np.flatnonzero(free > touch * r)
        if len(fitting):
            place = candidates[fitting[0]]
            places.append(place)
            placed.append(r)
            distance = np.linalg.norm(candidates - place, axis=1) - touch * r
            np.minimum(free, distance, out=free)
    return np.array(places), np.array(placed)


def fat_droplets(rng: Rng, k: float) -> Canvas:
    """One droplet, a few of different size side by side, or a bunch of small ones."""
    kind = rng.random()
    if kind < 0.4:
        radii = rng.uniform(1.0, 5.0, 1)
    elif kind < 0.82:
        radii = rng.lognormal(0.6, 0.5, int(rng.integers(2, 6))).clip(0.6, 4.5)
    else:
        radii = rng.lognormal(0.1, 0.4, int(rng.integers(6, 14))).clip(0.5, 2.5)
    places = in_disc(rng, 2.6 * float(np.sqrt((radii**2).sum())), 250)
    places = places[np.argsort(np.linalg.norm(places, axis=1))]  # the innermost first
    at, radii = _packed(places, radii, rng.uniform(0.97, 1.1))
    at -= ((at - radii[:, None]).min(0) + (at + radii[:, None]).max(0)) / 2
    c = Canvas(rng, k, float((np.linalg.norm(at, axis=1) + radii).max()) + 1)
    add_droplets(c, at, radii)
    return c


def oval_fat_body(rng: Rng, k: float) -> Canvas:
    """A swollen tubular cell or macrophage, brownish, stuffed with droplets."""
    r = rng.uniform(7.6, 14.5)
    c = Canvas(rng, k, r * 1.12 + 1)
    deep = rng.uniform(0.6, 1.5)
    body = c.fill(blob(rng, r, r * rng.uniform(0.78, 1.0), 0.04))
    c.add(body, 0.5, np.multiply(deep, (0.09, 0.12, 0.19)))
    c.add(c.dome(body), 0.4, np.multiply(deep, (0.06, 0.08, 0.11)))
    places = in_disc(rng, r * 0.86, 500) * (1, 0.88)
    if rng.random() < 0.25:  # it still shows its nucleus
        nucleus = np.array([r * 0.45, 0])
        c.add(c.blur(c.fill(ellipse(r * 0.34, r * 0.3), nucleus), 0.3), 0.6, (0.20, 0.20, 0.16))
        c.add(c.dots(nucleus + rng.normal(0, r * 0.08, 2), r * 0.08), 0.4, 0.16)
        places = places[np.linalg.norm(places - nucleus, axis=1) > r * 0.38]
    size = rng.uniform(0.75, 1.3)
    spread = rng.uniform(0.15, 0.5)
    radii = rng.lognormal(np.log(size), spread, int(0.8 * (r / size) ** 2)).clip(0.4, 3.2)
    add_droplets(c, *_packed(places, radii, 1.0))
    return c


# --- sperm ------------------------------------------------------------------------------------
def sperm(rng: Rng, k: float) -> Canvas:
    """An oval head, its acrosome paler than its rear, a thick midpiece and a long thin tail."""
    long = rng.uniform(40, 54)  # of the tail
    heading = _tail_heading(rng)
    tail = np.cumsum(rays(heading), axis=0) * long / 70
    if rng.random() < 0.15:  # the neck is bent
        turn = heading[0] + rng.choice([-1, 1]) * rng.uniform(0.5, 1.2)
    else:
        turn = heading[0] + rng.normal(0, 0.08)
    rx = rng.uniform(2.0, 2.8)
    ry = rng.uniform(1.3, 1.75)
    if rng.random() < 0.15:  # head too large, too small or round
        rx = rx * rng.uniform(0.75, 1.3)
        ry = ry * rng.uniform(0.9, 1.2)
    cos = np.cos(turn)
    sin = np.sin(turn)
    rotation = np.array([[cos, sin], [-sin, cos]])
    outline = ellipse(rx, ry)
    outline[:, 1] *= 1 - 0.16 * outline[:, 0] / rx  # a little broader in front, at -x
    neck = tail[0] - np.array([cos, sin]) * rx * 0.92  # the head's place
    centre = middle(np.r_[tail, [neck]])
    tail = tail - centre
    neck = neck - centre
    c = Canvas(rng, k, farthest(tail) + 2 * rx + 1)
    head = c.fill(outline @ rotation, neck)
    c.add(c.dome(head), 1.1, (0.10, 0.10, 0.10))
    c.add(head, 0.5, 0.13)
    rear = outline * (0.52, 0.95) + (rx * 0.45, 0)  # darker than the acrosome
    c.add(c.blur(c.fill(rear @ rotation, neck), 0.25), 0.4, 0.16)
    c.add(c.line(tail[: int(70 * 5.5 / long)], 0.85), 0.5, 0.18)  # the midpiece
    if rng.random() < 0.08:  # a drop of cytoplasm left at the midpiece
        c.add(c.dots(tail[3:4], 1.2), 0.5, 0.06)
    c.add(c.line(tail[:50], 0.5), 0.18, 0.06)  # the tail grows thinner
    c.add(c.line(tail, 0.35), 0.45, 0.14)
    return c


def _tail_heading(rng: Rng) -> Numbers:
    """The heading (70,) along a sperm's tail, in radians."""
    t = np.linspace(0, 1, 70)
    heading = 0.25 * rng.normal() * np.sin(np.pi * t + rng.uniform(0, 6))
    kind = rng.random()
    if kind < 0.35:  # gently waved
        swing = rng.uniform(0.2, 0.5)
        waves = 2 * np.pi * rng.uniform(0.7, 1.4)
        heading += swing * np.sin(waves * t + rng.uniform(0, 6))
    elif kind < 0.6:  # beating
        swing = rng.uniform(0.5, 0.9)
        waves = 2 * np.pi * rng.uniform(1.6, 2.8)
        heading += swing * np.sin(waves * t**0.85 + rng.uniform(0, 6))
    elif kind < 0.75:  # bent, at the midpiece or further on
        swing = rng.choice([-1, 1]) * rng.uniform(0.8, 2.6)
        heading += swing / (1 + np.exp((rng.choice([0.12, 0.45]) - t) * 60))
    elif kind < 0.9:  # coiled at its end
        swing = rng.choice([-1, 1]) * rng.uniform(8, 15)
        heading += swing * np.clip(t - rng.uniform(0.35, 0.6), 0, 1) ** 1.2  # ever tighter
    return heading


# --- mucus ------------------------------------------------------------------------------------
def mucus(rng: Rng, k: float) -> Canvas:
    """Faint, wavy ribbons with fine streaks: a thread, a bundle of threads, or a broad sheet.

    They thin out or are frayed at the ends, and never have the parallel sides of a cast.
    """
    kind = rng.random()
    long = rng.uniform(60, 118)
    # the number of strands, and the breadth in um
    if kind < 0.5:  # a thread
        n = 5
        broad = rng.uniform(1.3, 2.6)
    elif kind < 0.8:  # a bundle
        n = 9
        broad = rng.uniform(2.5, 5)
    else:  # a sheet
        n = 14
        broad = 9.0
    wander = rng.uniform(0.3, 0.6) if n == 14 else rng.uniform(0.4, 0.85)
    axis = path(rng, long, wander, 70)
    across = normals(axis)
    t = np.linspace(0, 1, 70)
    thinning = np.clip(np.minimum(t, 1 - t) / rng.uniform(0.15, 0.45), 0, 1) ** 0.8
    width = broad * (0.15 + 0.85 * thinning) * (1 + 0.3 * _wave(rng, t))
    strands = []
    for lane in rng.uniform(-1, 1, n):
        away = lane * width + 0.3 * broad**0.6 * _wave(rng, t)  # from the axis
        fray = rng.normal(0, 1.5 * broad**0.5)
        away += fray * (np.clip(t - 0.75, 0, 1) + np.clip(0.25 - t, 0, 1)) ** 2 * 16
        first = rng.uniform(0, 0.45)
        last = rng.uniform(0.55, 1)
        if rng.random() < 0.3:  # it runs all along
            first = 0.0
            last = 1.0
        strand = axis + across * away[:, None]
        strands.append(strand[int(first * 69) : int(last * 69) + 1])
    c = Canvas(rng, k, farthest(np.r_[axis, np.concatenate(strands)]) + broad * 1.3 + 1)
    veil = c.blur(c.fill(band(axis, width)), 0.45)  # between the strands
    c.add(veil * (1 + 0.35 * c.noise(3.0)), 0.36, (0.022, 0.022, 0.027))
    c.add(c.blur(c.lines(strands[: n // 2], 0.7), 0.3), 0.2, 0.02)
    c.add(c.blur(c.lines(strands, 0.35), 0.12), 0.16, 0.03)
    return c


def _wave(rng: Rng, t: Numbers) -> Numbers:
    """One to three waves along a ribbon."""
    waves = 2 * np.pi * rng.uniform(1, 3)
    return np.sin(waves * t + rng.uniform(0, 6))


DRAW = {
    "Sperm": sperm,
    "Mucus": mucus,
    "Fat droplets": fat_droplets,
    "Oval fat bodies": oval_fat_body,
}
