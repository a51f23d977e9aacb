"""Sperm, mucus and fat; artifacts are in a module of their own. A sperm's head is 4-5.5 x 2.5-3.5 um, its tail about
45, its midpiece as long as the head (WHO laboratory manual for human semen, 2010, by eqconline.org; labce.com)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from synthurine.particles.artifacts import artifact
from synthurine.particles.canvas import Canvas
from synthurine.particles.shapes import Points, blob, ellipse, in_disc, normals, path

Rng = np.random.Generator


def droplets(c: Canvas, at: ArrayLike, radii: ArrayLike) -> None:
    """Fat: spheres that gather light into a bright, yellow-green core, and at the rim send it out of the aperture."""
    at, radii = np.asarray(at, float).reshape(-1, 2), np.asarray(radii, float)
    rim = c.dots(at, radii)
    core = c.blur(c.dots(at, np.maximum(radii * 0.58, radii - 0.95)), 0.18)
    c.add(rim, 0.7, (0.48, 0.48, 0.52))
    c.add(core, 0.6, (-0.50, -0.53, -0.40))


def _packed(candidates: Points, radii: Points, touch: float) -> tuple[Points, Points]:
    """Lays discs, the largest first, each on the first place where ``touch`` of its radius is clear of the others."""
    free = np.full(len(candidates), np.inf)
    at, kept = [], []
    for r in np.sort(radii)[::-1]:
        open_places = np.flatnonzero(free > touch * r)
        if len(open_places):
            at.append(candidates[open_places[0]])
            kept.append(r)
            np.minimum(free, np.linalg.norm(candidates - at[-1], axis=1) - touch * r, out=free)
    return np.array(at), np.array(kept)


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
    places = places[np.argsort(np.linalg.norm(places, axis=1))]
    at, kept = _packed(places, radii, rng.uniform(0.97, 1.1))
    at -= ((at - kept[:, None]).min(0) + (at + kept[:, None]).max(0)) / 2
    c = Canvas(rng, k, float((np.linalg.norm(at, axis=1) + kept).max()) + 1)
    droplets(c, at, kept)
    return c


def oval_fat_body(rng: Rng, k: float) -> Canvas:
    """A swollen tubular cell or macrophage, brownish, stuffed with droplets; a few still show their nucleus."""
    r = rng.uniform(7.6, 14.5)
    c = Canvas(rng, k, r * 1.12 + 1)
    deep = rng.uniform(0.6, 1.5)
    body = c.fill(blob(rng, r, r * rng.uniform(0.78, 1.0), 0.04))
    c.add(body, 0.5, np.multiply(deep, (0.09, 0.12, 0.19)))
    c.add(c.dome(body), 0.4, np.multiply(deep, (0.06, 0.08, 0.11)))
    places = in_disc(rng, r * 0.86, 500) * (1, 0.88)
    if rng.random() < 0.25:
        nucleus = np.array([r * 0.45, 0])
        c.add(c.blur(c.fill(ellipse(r * 0.34, r * 0.3), nucleus), 0.3), 0.6, (0.20, 0.20, 0.16))
        c.add(c.dots(nucleus + rng.normal(0, r * 0.08, 2), r * 0.08), 0.4, 0.16)
        places = places[np.linalg.norm(places - nucleus, axis=1) > r * 0.38]
    size, spread = rng.uniform(0.75, 1.3), rng.uniform(0.15, 0.5)
    at, kept = _packed(
        places, rng.lognormal(np.log(size), spread, int(0.8 * (r / size) ** 2)).clip(0.4, 3.2), 1.0
    )
    droplets(c, at, kept)
    return c


def sperm(rng: Rng, k: float) -> Canvas:
    """An oval head, its acrosome paler than its rear, a thick midpiece and a long thin tail: waved, bent or coiled."""
    long, t = rng.uniform(40, 54), np.linspace(0, 1, 70)
    heading = 0.25 * rng.normal() * np.sin(np.pi * t + rng.uniform(0, 6))
    kind = rng.random()
    if kind < 0.35:  # gently waved
        heading += rng.uniform(0.2, 0.5) * np.sin(
            2 * np.pi * rng.uniform(0.7, 1.4) * t + rng.uniform(0, 6)
        )
    elif kind < 0.6:  # beating
        heading += rng.uniform(0.5, 0.9) * np.sin(
            2 * np.pi * rng.uniform(1.6, 2.8) * t**0.85 + rng.uniform(0, 6)
        )
    elif kind < 0.75:  # bent, at the midpiece or further on
        heading += (
            rng.choice([-1, 1])
            * rng.uniform(0.8, 2.6)
            / (1 + np.exp((rng.choice([0.12, 0.45]) - t) * 60))
        )
    elif kind < 0.9:  # coiled at its end
        heading += (
            rng.choice([-1, 1])
            * rng.uniform(8, 15)
            * np.clip(t - rng.uniform(0.35, 0.6), 0, 1) ** 1.2
        )
    tail = np.cumsum(np.c_[np.cos(heading), np.sin(heading)], axis=0) * long / 70
    turn = heading[0] + (
        rng.choice([-1, 1]) * rng.uniform(0.5, 1.2) if rng.random() < 0.15 else rng.normal(0, 0.08)
    )
    rx, ry = rng.uniform(2.0, 2.8), rng.uniform(1.3, 1.75)
    if rng.random() < 0.15:  # head too large, too small or round
        rx, ry = rx * rng.uniform(0.75, 1.3), ry * rng.uniform(0.9, 1.2)
    cos, sin = np.cos(turn), np.sin(turn)
    toward = np.array([[cos, sin], [-sin, cos]])
    outline = ellipse(rx, ry)
    outline[:, 1] *= 1 - 0.16 * outline[:, 0] / rx  # a little broader in front, at -x
    neck = tail[0] - np.array([cos, sin]) * rx * 0.92
    middle = (np.r_[tail, [neck]].min(0) + np.r_[tail, [neck]].max(0)) / 2
    tail, neck = tail - middle, neck - middle
    c = Canvas(rng, k, float(np.linalg.norm(tail, axis=1).max()) + 2 * rx + 1)
    head = c.fill(outline @ toward, neck)
    c.add(c.dome(head), 1.1, (0.10, 0.10, 0.10))
    c.add(head, 0.5, 0.13)
    rear = c.blur(c.fill((outline * (0.52, 0.95) + (rx * 0.45, 0)) @ toward, neck), 0.25)
    c.add(rear, 0.4, 0.16)
    c.add(c.line(tail[: int(70 * 5.5 / long)], 0.85), 0.5, 0.18)
    if rng.random() < 0.08:  # a drop of cytoplasm left at the midpiece
        c.add(c.dots(tail[3:4], 1.2), 0.5, 0.06)
    c.add(c.line(tail[:50], 0.5), 0.18, 0.06)
    c.add(c.line(tail, 0.35), 0.45, 0.14)
    return c


def mucus(rng: Rng, k: float) -> Canvas:
    """Faint, wavy ribbons with fine lengthwise streaks, thinning out or frayed at the ends, never with the parallel
    sides of a cast: a thread, a bundle of threads, or a broad sheet."""
    kind, long = rng.random(), rng.uniform(60, 118)
    n, broad = (
        (5, rng.uniform(1.3, 2.6))
        if kind < 0.5
        else (9, rng.uniform(2.5, 5))
        if kind < 0.8
        else (14, 9.0)
    )
    axis = path(rng, long, rng.uniform(0.3, 0.6) if n == 14 else rng.uniform(0.4, 0.85), 70)
    across, t = normals(axis), np.linspace(0, 1, 70)
    ends = np.clip(np.minimum(t, 1 - t) / rng.uniform(0.15, 0.45), 0, 1) ** 0.8
    width = (
        broad
        * (0.15 + 0.85 * ends)
        * (1 + 0.3 * np.sin(2 * np.pi * rng.uniform(1, 3) * t + rng.uniform(0, 6)))
    )
    strands = []
    for lane in rng.uniform(-1, 1, n):
        off = lane * width + 0.3 * broad**0.6 * np.sin(
            2 * np.pi * rng.uniform(1, 3) * t + rng.uniform(0, 6)
        )
        off += (
            rng.normal(0, 1.5 * broad**0.5)
            * (np.clip(t - 0.75, 0, 1) + np.clip(0.25 - t, 0, 1)) ** 2
            * 16
        )
        first, last = rng.uniform(0, 0.45), rng.uniform(0.55, 1)
        if rng.random() < 0.3:
            first, last = 0.0, 1.0
        strands.append((axis + across * off[:, None])[int(first * 69) : int(last * 69) + 1])
    c = Canvas(
        rng,
        k,
        float(np.linalg.norm(np.r_[axis, np.concatenate(strands)], axis=1).max()) + broad * 1.3 + 1,
    )
    edge = across * width[:, None]
    veil = c.blur(c.fill(np.r_[axis + edge, (axis - edge)[::-1]]), 0.45)
    c.add(veil * (1 + 0.35 * c.noise(3.0)), 0.36, (0.022, 0.022, 0.027))
    c.add(c.blur(c.lines(strands[: n // 2], 0.7), 0.3), 0.2, 0.02)
    c.add(c.blur(c.lines(strands, 0.35), 0.12), 0.16, 0.03)
    return c


DRAW = {
    "Sperm": sperm,
    "Mucus": mucus,
    "Fat droplets": fat_droplets,
    "Oval fat bodies": oval_fat_body,
    "Artifact": artifact,
}
