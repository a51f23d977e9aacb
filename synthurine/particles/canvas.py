"""A transparent sheet on which one particle is drawn: its optical thickness, its absorption, and where it is.

Lengths are micrometres and random numbers do not depend on the pixel size, so a coarse sheet shows the same particle.
Everything drawn counts as particle: the mask, and so the box, is the union of all shapes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]
MIN_PX_PER_UM = 6.0  # shapes are drawn at this or finer, then averaged down to the field's pixels
SHIFT = 4  # cv2's fixed-point bits for sub-pixel coordinates


class Canvas:
    """A square sheet of ``radius`` um around the particle's origin, at ``k`` pixels/um, turned by a random angle.

    ``phase`` (N, N) is optical thickness (1 is about a blood cell), ``absorb`` (3, N, N) optical density in R, G, B,
    ``mask`` (N, N) coverage in 0..1; N is fine pixels until ``finish``.
    """

    def __init__(
        self, rng: np.random.Generator, k: float, radius: float, angle: float | None = None
    ) -> None:
        self.rng, self.k, self.radius = rng, k, radius
        self.fine = max(1, math.ceil(MIN_PX_PER_UM / k))
        self.px = k * self.fine
        size = 2 * math.ceil(radius * k) * self.fine
        self.angle = float(rng.uniform(0, 2 * np.pi)) if angle is None else angle
        self.phase: Array = np.zeros((size, size), np.float32)
        self.absorb: Array = np.zeros((3, size, size), np.float32)
        self.mask: Array = np.zeros((size, size), np.float32)
        self.low, self.high = np.full(2, np.inf), np.full(2, -np.inf)

    # --- shapes: each returns its coverage (N, N) and joins the particle's mask --------------------------------------
    def fill(self, points: ArrayLike, at: ArrayLike = (0, 0)) -> Array:
        """A filled polygon of ``points`` (P, 2)."""
        sheet = np.zeros(self.mask.shape, np.uint8)
        cv2.fillPoly(sheet, [self._fixed(points, at)], 255, cv2.LINE_AA, SHIFT)
        return self._join(sheet)

    def line(
        self, points: ArrayLike, width: float, closed: bool = False, at: ArrayLike = (0, 0)
    ) -> Array:
        """A polyline of ``width`` um through ``points`` (P, 2)."""
        sheet = np.zeros(self.mask.shape, np.uint8)
        thick = max(1, round(width * self.px))
        cv2.polylines(
            sheet, [self._fixed(points, at, width / 2)], closed, 255, thick, cv2.LINE_AA, SHIFT
        )
        return self._join(sheet)

    def lines(self, many: Sequence[ArrayLike], width: float) -> Array:
        """Several polylines at once."""
        sheet = np.zeros(self.mask.shape, np.uint8)
        thick = max(1, round(width * self.px))
        for points in many:
            cv2.polylines(
                sheet,
                [self._fixed(points, (0, 0), width / 2)],
                False,
                255,
                thick,
                cv2.LINE_AA,
                SHIFT,
            )
        return self._join(sheet)

    def dots(self, points: ArrayLike, radii: ArrayLike) -> Array:
        """Filled discs at ``points`` (P, 2) of ``radii`` (P,) or one radius."""
        points = np.asarray(points, float).reshape(-1, 2)
        radii = np.broadcast_to(np.asarray(radii, float), len(points))
        sheet = np.zeros(self.mask.shape, np.uint8)
        fixed = self._fixed(points, (0, 0), radii[:, None])
        for (x, y), r in zip(fixed.tolist(), radii.tolist(), strict=True):
            cv2.circle(sheet, (x, y), round(r * self.px * 2**SHIFT), 255, -1, cv2.LINE_AA, SHIFT)
        return self._join(sheet)

    def stamp(self, other: Canvas, at: ArrayLike) -> None:
        """Lays another particle's sheet on this one, its origin at ``at``."""
        x, y = np.round(self._place(np.asarray([at], float))[0] * self.px).astype(int)
        half, size = other.mask.shape[0] // 2, self.mask.shape[0]
        centre = size // 2
        x0, y0 = max(0, centre + x - half), max(0, centre + y - half)
        x1, y1 = min(size, centre + x + half), min(size, centre + y + half)
        ox, oy = x0 - (centre + x - half), y0 - (centre + y - half)
        here = np.s_[y0:y1, x0:x1]
        there = np.s_[oy : oy + y1 - y0, ox : ox + x1 - x0]
        self.phase[here] += other.phase[there]
        self.absorb[:, *here] += other.absorb[:, *there]
        self.mask[here] = np.maximum(self.mask[here], other.mask[there])
        turned = self._place(np.asarray([at], float))[0]
        self.low = np.minimum(self.low, turned + other.low)
        self.high = np.maximum(self.high, turned + other.high)

    # --- what a shape is made of -------------------------------------------------------------------------------------
    def add(self, shape: Array, phase: float = 0.0, absorb: ArrayLike = 0.0) -> None:
        """Adds optical thickness and optical density (one number, or R, G, B) over a shape."""
        if phase:
            self.phase += phase * shape
        for plane, density in zip(
            self.absorb, np.broadcast_to(np.asarray(absorb, np.float32), 3), strict=True
        ):
            if density:
                plane += density * shape

    def dome(self, shape: Array) -> Array:
        """0 at the shape's edge, 1 at its innermost point, like half an ellipsoid."""
        depth = cv2.distanceTransform((shape > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
        depth = np.asarray(np.minimum(depth / max(float(depth.max()), 1.0), 1.0), np.float32)
        return np.sqrt(1 - (1 - depth) ** 2) * shape

    def blur(self, shape: Array, um: float) -> Array:
        return np.asarray(cv2.GaussianBlur(shape, (0, 0), um * self.px), np.float32)

    def noise(self, cell: float) -> Array:
        """Smooth noise of unit variance (about) whose grains are ``cell`` um wide."""
        n = max(4, math.ceil(2 * self.radius / cell))
        grid = self.rng.standard_normal((n, n)).astype(np.float32)
        return np.asarray(
            cv2.resize(grid, self.mask.shape, interpolation=cv2.INTER_CUBIC), np.float32
        )

    def finish(self) -> Canvas:
        """Averages the fine pixels down to the field's, ready to be laid down."""
        if self.fine > 1:
            size = (self.mask.shape[0] // self.fine,) * 2
            self.phase = _smaller(self.phase, size)
            self.absorb = np.stack([_smaller(plane, size) for plane in self.absorb])
            self.mask = _smaller(self.mask, size)
        return self

    def _place(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        c, s = math.cos(self.angle), math.sin(self.angle)
        return points @ np.array([[c, s], [-s, c]])

    def _fixed(
        self, points: ArrayLike, at: ArrayLike, margin: float | NDArray[np.float64] = 0.0
    ) -> NDArray[np.int32]:
        um = self._place(np.asarray(points, float).reshape(-1, 2) + np.asarray(at, float))
        if len(um):
            self.low = np.minimum(self.low, (um - margin).min(0))
            self.high = np.maximum(self.high, (um + margin).max(0))
        pixels = um * self.px + self.mask.shape[0] / 2 - 0.5
        return np.round(pixels * 2**SHIFT).astype(np.int32)

    def _join(self, sheet: NDArray[np.uint8]) -> Array:
        shape = sheet.astype(np.float32) / np.float32(255)
        np.maximum(self.mask, shape, out=self.mask)
        return shape


def _smaller(sheet: Array, size: tuple[int, int]) -> Array:
    return np.asarray(cv2.resize(sheet, size, interpolation=cv2.INTER_AREA), np.float32)


Draw = Callable[[np.random.Generator, float], Canvas]  # (random numbers, pixels/um) -> a particle
