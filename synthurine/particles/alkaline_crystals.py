"""How a crystal is drawn: by its thickness, for what it refracts follows from the slope of its faces. And the crystals
of alkaline urine, with the amorphous ones of any. Sizes, where it gives them, after the WHO's Manual of basic
techniques for a health laboratory, 2nd ed. (2003), pp. 246-247."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import HalfspaceIntersection
from scipy.spatial.transform import Rotation

from synthurine.particles.canvas import Array, Canvas
from synthurine.particles.shapes import Points, blob, ellipse, huddle, in_disc

Rng = np.random.Generator
Matrix = NDArray[np.float64]
STEEP = 2.2  # slope of the thickness at which half of the light is bent past the objective


def refract(c: Canvas, thick: Array, colour: ArrayLike = 0.0, dark: float = 0.6) -> None:
    """Adds a crystal of that thickness (N, N) um: its phase, its own colour at the thickest, and, up to ``dark``, the
    light that sloping faces bend past the objective. Ridges and flat faces stay bright. The lamp is never quite
    straight, so that faces of the same slope differ."""
    soft = c.blur(thick, 0.16)
    peak = max(float(soft.max()), 0.3)
    c.add(soft, min(0.6, 3.0 / peak), np.divide(colour, peak))
    turn, lean = c.rng.uniform((0, 0.3), (2 * np.pi, 1.3))
    x, y = (cv2.Sobel(soft, cv2.CV_32F, 1 - i, i, ksize=1, scale=c.px / 2) for i in (0, 1))
    bend = np.maximum(
        x * (x + np.float32(lean * np.cos(turn))) + y * (y + np.float32(lean * np.sin(turn))), 0
    )
    c.add(bend / (bend + np.float32(STEEP**2)), 0.0, dark)


def solid(
    c: Canvas, faces: ArrayLike, away: ArrayLike, turn: Matrix, at: ArrayLike = (0, 0)
) -> Array:
    """Thickness of the convex crystal whose faces have those normals (F, 3) and distances (F,), turned in space; on a
    sheet that is not turned itself."""
    normals = np.asarray(faces, float)
    norm = np.linalg.norm(normals, axis=1)
    normals, reach = normals / norm[:, None], np.asarray(away, float) / norm
    tips = HalfspaceIntersection(np.c_[normals, -reach], np.zeros(3)).intersections @ turn.T
    body = c.fill(cv2.convexHull(tips[:, :2].astype(np.float32))[:, 0], at)
    x, y = _grid(c, at)
    n = c.mask.shape[0]
    top, bottom = np.full((n, n), 1e3, np.float32), np.full((n, n), -1e3, np.float32)
    for (a, b, h), d in zip(
        (normals @ turn.T).astype(np.float32), reach.astype(np.float32), strict=True
    ):
        if h > 0.02:
            np.minimum(top, (d - a * x) / h - b / h * y, out=top)
        elif h < -0.02:
            np.maximum(bottom, (d - a * x) / h - b / h * y, out=bottom)
    return np.maximum(top - bottom, 0) * body


def turned(rng: Rng, tilt: float) -> Matrix:
    """Any way round, its upright axis leaning by ``tilt`` (radians)."""
    return np.asarray(
        Rotation.from_euler("zxz", [rng.uniform(0, 6.3), tilt, rng.uniform(0, 6.3)]).as_matrix()
    )


def _grid(c: Canvas, at: ArrayLike) -> tuple[Array, Array]:
    """x (1, N) and y (N, 1) in um from ``at``, on a sheet that is not turned."""
    n, (x, y) = c.mask.shape[0], np.asarray(at, np.float32)
    axis = ((np.arange(n) + 0.5 - n / 2) / c.px).astype(np.float32)
    return axis[None] - x, axis[:, None] - y


def ball(
    c: Canvas, a: float, b: float | None = None, at: ArrayLike = (0, 0), turn: float = 0.0
) -> Array:
    """Thickness of a sphere, or of an ellipsoid as thick as it is wide, on a sheet that is not turned."""
    b = b or a
    shape = c.fill(spin(ellipse(a, b), turn), at)
    (x, y), s, o = _grid(c, at), np.float32(np.sin(turn)), np.float32(np.cos(turn))
    inside = 1 - ((o * x + s * y) / a) ** 2 - ((o * y - s * x) / b) ** 2
    return np.asarray(2 * b * np.sqrt(np.maximum(inside, 0)) * shape, np.float32)


def plate(c: Canvas, outline: Points, thick: float, bevel: float) -> Array:
    """Thickness of a flat crystal, half of it at its sides and all of it ``bevel`` um further in."""
    shape = c.fill(outline)
    box = (2 * round(bevel * c.px / 2) + 1,) * 2
    return np.asarray(cv2.blur(cv2.blur(shape, box), box) * shape * np.float32(thick), np.float32)


def spin(points: ArrayLike, angle: float, at: ArrayLike = (0, 0)) -> Points:
    s, o = np.sin(angle), np.cos(angle)
    return np.asarray(points, float) @ np.array([[o, s], [-s, o]]) + np.asarray(at, float)


def size(rng: Rng, low: float, middle: float, high: float) -> float:
    """A length: log-normal about ``middle``, within the limits."""
    return float(np.clip(middle * np.exp(rng.normal(0, np.log(high / low) / 5)), low, high))


def amorphous(rng: Rng, k: float) -> Canvas:
    """Sand of no form: urates yellowish or pinkish, phosphates grey; a sheet, a clump, or drawn out like a cast."""
    urates = rng.random() < 0.5
    a = size(rng, 11, 28, 60) / 2
    b = a * (rng.uniform(0.22, 0.4) if rng.random() < 0.25 else rng.uniform(0.55, 0.95))
    c = Canvas(rng, k, a + 1.5)
    n = int(np.clip(a * b * rng.uniform(3.5, 6.5), 180, 1400))
    heaps = in_disc(rng, 0.8, 14)
    weight = rng.gamma(2.0, 1.0, 14)
    at = heaps[rng.choice(14, n, p=weight / weight.sum())] + rng.normal(
        0, rng.uniform(0.14, 0.26), (n, 2)
    )
    far = np.hypot(*at.T)
    at *= np.where(far > 0.97, rng.uniform(0.5, 0.97, n) / np.maximum(far, 0.1), 1)[:, None] * (
        a,
        b,
    )
    tint = np.array(
        [(0.20, 0.28, 0.44), (0.16, 0.32, 0.36)][int(rng.integers(2))]
        if urates
        else (0.27, 0.26, 0.26)
    )
    tint *= rng.uniform(0.7, 1.3)
    radii = rng.uniform(0.15, 0.36, n) * rng.uniform(0.85, 1.3)
    for part in np.array_split(np.arange(n), 3):
        c.add(c.blur(c.dots(at[part], radii[part]), 0.1), 0.6, tint * 1.3)
    return c


def triple_phosphate(rng: Rng, k: float) -> Canvas:
    """Coffin lids, seen from above or from the side, long prisms; while they dissolve, an X or the leaves of a fern."""
    a = size(rng, 20, 40, 70) / 2
    kind = rng.random()
    if kind < 0.18:
        return _fern(rng, k, a)
    c = Canvas(rng, k, a * 1.2 + 1.5, 0.0)
    b = a * (rng.uniform(0.36, 0.7) if kind < 0.85 else rng.uniform(0.2, 0.32))
    (side, end), wall, chop = rng.uniform(0.6, 1.3, 2), 0.15 * b, rng.uniform(0.1, 0.5)
    flat = wall + side * b * (
        rng.uniform(0.4, 0.75) if rng.random() < 0.3 else 1.0
    )  # a roof, or its top cut off
    faces = [(0, 0, -1), (0, 0, 1), (0, 1, 0), (0, -1, 0), (1, 0, 0), (-1, 0, 0)]
    away = [0.3 * b, flat, b, b, a, a]
    faces += [(0, side, 1), (0, -side, 1), (end, 0, 1), (-end, 0, 1)]
    away += [side * b + wall, side * b + wall, end * a + wall, end * a + wall]
    faces += [(x, y, 0) for x in (1, -1) for y in (1, -1)]
    away += [a + b * (1 - chop)] * 4
    lies = [
        rng.normal(0, 0.15) if rng.random() < 0.7 else rng.uniform(0.7, 1.6),
        rng.normal(0, 0.08),
    ]
    thick = solid(
        c,
        faces,
        away,
        np.asarray(Rotation.from_euler("xyz", [*lies, rng.uniform(0, 6.3)]).as_matrix()),
    )
    refract(c, thick, 0.01, rng.uniform(0.8, 1.2))
    return c


def _fern(rng: Rng, k: float, a: float) -> Canvas:
    """Two to six feathered blades from one point: two pairs of them are the X."""
    c = Canvas(rng, k, a + 1.5)
    turns = [0.0, np.pi, 0.0, np.pi] + np.array((1, -1, -1, 1)) * rng.uniform(0.4, 0.75)
    if rng.random() < 0.5:
        n = int(rng.integers(3, 7))
        turns = np.arange(n) * 2 * np.pi / n + rng.normal(0, 0.15, n)
    ribs, barbs = [], []
    for turn in turns:
        long, lean = a * rng.uniform(0.75, 1), rng.uniform(0.6, 1.0)
        ribs.append(spin([(0, 0), (long, 0)], turn))
        for x in np.arange(0.06, 0.97, 1.5 / long):
            reach = long * 0.3 * np.sin(np.pi * x**0.7) ** 0.8 * rng.uniform(0.75, 1.1)
            tip = min(x * long + reach * np.cos(lean), long)
            barbs += [spin([(x * long, 0), (tip, s * reach * np.sin(lean))], turn) for s in (-1, 1)]
    refract(c, c.lines(barbs, 0.6) + c.lines(ribs, 0.9), 0.03, 0.8)
    return c


def ammonium_biurate(rng: Rng, k: float) -> Canvas:
    """Brown spheres with radial and ring-shaped striae: one to three smooth ones, or a thorn apple with spicules."""
    r = size(rng, 8, 15, 26) / 2
    brown = np.array((0.36, 0.78, 1.3)) * rng.uniform(0.7, 1.25)
    thorny = rng.random() < 0.65
    c = Canvas(rng, k, r * (2.4 if thorny else 3.2) + 1, 0.0)
    n = 1 if thorny or rng.random() < 0.5 else int(rng.integers(2, 4))
    thick, rays, rings = np.zeros_like(c.phase), [], []
    for at in huddle(rng, 1.8 * r, n):
        own = r * (rng.uniform(0.75, 1) if n > 1 else 1)
        thick = np.maximum(thick, ball(c, own, own * rng.uniform(0.94, 1), at))
        spokes = rng.uniform((0, 0.1, 0.5), (6.3, 0.5, 0.97), (24, 3))
        rays += [spin([(own * u, 0), (own * v, 0)], t, at) for t, u, v in spokes]
        rings += [
            np.r_[e, e[:1]]
            for e in (ellipse(own * f, own * f) + at for f in rng.uniform(0.4, 0.9, 2))
        ]
    c.add(c.blur(c.lines(rays, 0.3), 0.1), 0.2, brown * 0.25)
    c.add(c.blur(c.lines(rings, 0.35), 0.15), 0.2, brown * 0.15)
    if thorny:
        m = int(rng.integers(3, 14))
        horns = np.zeros_like(thick)
        for turn in rng.uniform(0, 6.3) + np.arange(m) * 2 * np.pi / m + rng.normal(0, 0.22, m):
            reach, half, bow = (
                r * rng.uniform(0.3, 1.15),
                r * rng.uniform(0.12, 0.26),
                rng.normal(0, 0.3),
            )
            x = np.linspace(0, 1, 8)
            axis, wide = np.c_[r * 0.85 + x * reach, bow * reach * x**2], half * (1 - x) ** 0.8
            horn = np.r_[axis + np.c_[0 * x, wide], (axis - np.c_[0 * x, wide])[::-1]]
            horns = np.maximum(horns, c.fill(spin(horn, turn)))
        c.add(horns * (thick == 0), 0.0, brown * 0.4)
        thick = np.maximum(thick, c.blur(horns, 0.03 * r) * np.float32(0.35 * r))
    refract(c, thick, brown, 0.5)
    return c


def calcium_phosphate(rng: Rng, k: float) -> Canvas:
    """Stars of wedge-shaped prisms, sheaves of needles, a single wedge, or a thin plate, granular and of no form."""
    a = size(rng, 18, 34, 64) / 2
    kind = rng.random()
    c = Canvas(rng, k, a * 1.4 + 1.5)
    thick = np.zeros_like(c.phase)
    if kind < 0.16:
        edge = blob(rng, a, a * rng.uniform(0.55, 0.9), 0.18, 9, 16)
        refract(c, plate(c, edge, 0.6, 0.3) * np.maximum(1 + 0.35 * c.noise(1.1), 0.1), 0.05, 0.6)
        return c
    if kind < 0.4:
        fan, n = rng.uniform(0.25, 0.6), int(rng.integers(12, 26))
        needles = [
            spin([(0, 0), (2 * a * rng.uniform(0.55, 1), 0)], t, (-a, 0))
            for t in rng.normal(0, fan / 2, n)
        ]
        thick += c.lines(needles, rng.uniform(0.5, 0.9))
    else:
        n = int(rng.integers(1, 3)) if kind < 0.5 else int(rng.integers(7, 16))
        spread = rng.uniform(1.2, 2.2) if rng.random() < 0.3 else 2 * np.pi
        for turn in np.arange(n) * spread / n + rng.normal(0, 0.18, n):
            long = a * (rng.uniform(0.6, 1.0) if n > 2 else 1)
            wide, cut = long * rng.uniform(0.1, 0.2), rng.uniform(-0.2, 0.2)
            wedge = np.array(
                [
                    (0, 0.15 * wide),
                    (0, -0.15 * wide),
                    (long * (1 + cut), -wide),
                    (long * (1 - cut), wide),
                ]
            )
            thick += plate(c, spin(wedge - (0 if n > 2 else long / 2, 0), turn), 1.4, 0.5)
    refract(c, np.minimum(thick, 4), 0.02, 0.65)
    return c


def calcium_carbonate(rng: Rng, k: float) -> Canvas:
    """Small bright grains: spheres, dumbbells, fours in a cross, and clumps."""
    r = size(rng, 1.2, 1.9, 3.4)
    n = int(rng.choice([1, 2, 4, int(rng.integers(5, 12))], p=[0.2, 0.42, 0.2, 0.18]))
    c = Canvas(rng, k, r * (2.5 if n < 5 else 6.5) + 1, 0.0)
    near, turn = r * rng.uniform(0.75, 1.0), rng.uniform(0, 6.3)
    at = {1: [(0.0, 0.0)], 2: [(-near, 0.0), (near, 0.0)]}
    at[4] = [*at[2], (0.0, near), (0.0, -near)]
    thick = np.zeros_like(c.phase)
    for p in spin(at[n], turn) if n < 5 else huddle(rng, 1.8 * r, n):
        own = r * (rng.uniform(0.9, 1.05) if n < 5 else rng.uniform(0.6, 1.1))
        thick = np.maximum(thick, ball(c, own, own * rng.uniform(0.85, 1), p, turn))
    refract(c, thick, (0.08, 0.10, 0.16), 0.9)
    return c


DRAW = {
    "Amorphous": amorphous,
    "Triple phosphate": triple_phosphate,
    "Ammonium biurat": ammonium_biurate,
    "Calcium phosphate": calcium_phosphate,
    "Calcium carbonate": calcium_carbonate,
}
