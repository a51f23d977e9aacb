"""Crystals and other solids: their thickness, and how a thickness refracts the light.

A crystal is drawn by its thickness, because what it refracts follows from the slope of its faces.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import HalfspaceIntersection
from scipy.spatial.transform import Rotation

from synthurine.particles.canvas import Array, Canvas, Rng
from synthurine.particles.shapes import Points, ellipse, spin

Matrix = NDArray[np.float64]
STEEP = 2.2  # slope of the thickness at which half of the light is bent past the objective


def size(rng: Rng, low: float, middle: float, high: float) -> float:
    """A length in um: log-normal about ``middle``, within the limits."""
    return float(np.clip(middle * np.exp(rng.normal(0, np.log(high / low) / 5)), low, high))


def refract(c: Canvas, thick: Array, colour: ArrayLike = 0.0, dark: float = 0.6) -> None:
    """Adds a crystal of the thickness ``thick`` (N, N) in um.

    That is its phase; its own colour, full where it is thickest; and, up to ``dark``, the light
    that its sloping faces bend past the objective. Ridges and flat faces stay bright. The lamp is
    never quite straight, so that faces of the same slope differ.
    """
    soft = c.blur(thick, 0.16)
    peak = max(float(soft.max()), 0.3)
    c.add(soft, min(0.6, 3.0 / peak), np.divide(colour, peak))
    direction, lean = c.rng.uniform((0, 0.3), (2 * np.pi, 1.3))  # of the lamp
    dx = cv2.Sobel(soft, cv2.CV_32F, 1, 0, ksize=1, scale=c.px / 2)
    dy = cv2.Sobel(soft, cv2.CV_32F, 0, 1, ksize=1, scale=c.px / 2)
    lamp_x = np.float32(lean * np.cos(direction))
    lamp_y = np.float32(lean * np.sin(direction))
    # squared slope, as the lamp sees it
    bend = np.maximum(dx * (dx + lamp_x) + dy * (dy + lamp_y), 0)
    c.add(bend / (bend + np.float32(STEEP**2)), 0.0, dark)


def solid(
    c: Canvas, faces: ArrayLike, away: ArrayLike, turn: Matrix, at: ArrayLike = (0, 0)
) -> Array:
    """Thickness (N, N) of a convex crystal, turned in space, on a sheet that is not turned itself.

    faces: normals (F, 3) of its faces, of any length. away: distances (F,) of the faces from its
    middle, multiplied by those lengths. turn: rotation (3, 3).
    """
    normals = np.asarray(faces, float)
    norm = np.linalg.norm(normals, axis=1)
    normals = normals / norm[:, None]
    distance = np.asarray(away, float) / norm
    halfspaces = HalfspaceIntersection(np.c_[normals, -distance], np.zeros(3))
    tips = halfspaces.intersections @ turn.T  # the corners (C, 3)
    body = c.fill(cv2.convexHull(tips[:, :2].astype(np.float32))[:, 0], at)  # seen from above
    x, y = _grid(c, at)
    top = np.full(c.mask.shape, 1e3, np.float32)
    bottom = np.full(c.mask.shape, -1e3, np.float32)
    turned_normals = (normals @ turn.T).astype(np.float32)
    for (a, b, h), d in zip(turned_normals, distance.astype(np.float32), strict=True):
        # the height at which the plane a x + b y + h z = d lies over each pixel
        if h > 0.02:
            np.minimum(top, (d - a * x) / h - b / h * y, out=top)
        elif h < -0.02:
            np.maximum(bottom, (d - a * x) / h - b / h * y, out=bottom)
    return np.maximum(top - bottom, 0) * body


def euler(order: str, angles: ArrayLike) -> Matrix:
    """The rotation (3, 3) by those angles (radians) about the axes of ``order``."""
    return np.asarray(Rotation.from_euler(order, angles).as_matrix())


def turned(rng: Rng, tilt: float) -> Matrix:
    """The rotation (3, 3) to any side, with the upright axis leaning by ``tilt`` (radians)."""
    first = rng.uniform(0, 6.3)
    last = rng.uniform(0, 6.3)
    return euler("zxz", [first, tilt, last])


def ball(
    c: Canvas, a: float, b: float | None = None, at: ArrayLike = (0, 0), turn: float = 0.0
) -> Array:
    """Thickness of an ellipsoid, as thick as it is wide, on a sheet that is not turned itself.

    a, b: half its length and half its width in um; a sphere without ``b``. turn: in radians.
    """
    b = b or a
    shape = c.fill(spin(ellipse(a, b), turn), at)
    x, y = _grid(c, at)
    sin = np.float32(np.sin(turn))
    cos = np.float32(np.cos(turn))
    # squared half thickness, as a part of b
    inside = 1 - ((cos * x + sin * y) / a) ** 2 - ((cos * y - sin * x) / b) ** 2
    return np.asarray(2 * b * np.sqrt(np.maximum(inside, 0)) * shape, np.float32)


def plate(c: Canvas, outline: Points, thick: float, bevel: float) -> Array:
    """Thickness of a flat crystal: half of ``thick`` at its sides, all of it ``bevel`` um in."""
    shape = c.fill(outline)
    side = 2 * round(bevel * c.px / 2) + 1
    soft = cv2.blur(cv2.blur(shape, (side, side)), (side, side))  # 1/2 at the sides, 1 inside
    return np.asarray(soft * shape * np.float32(thick), np.float32)


def _grid(c: Canvas, at: ArrayLike) -> tuple[Array, Array]:
    """x (1, N) and y (N, 1) in um from ``at``, on a sheet that is not turned."""
    n = c.mask.shape[0]
    x, y = np.asarray(at, np.float32)
    axis = ((np.arange(n) + 0.5 - n / 2) / c.px).astype(np.float32)
    return axis[None] - x, axis[:, None] - y
