"""A transparent sheet with one particle: how thick it is, what it absorbs, and where it is.

Lengths are micrometres. The random numbers do not depend on the pixel size, so a coarse sheet
shows the same particle. Everything drawn counts as particle: the mask, and so the box, is the union
of all shapes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Rng = np.random.Generator
Array = NDArray[np.float32]
MIN_PX_PER_UM = 6.0  # shapes are drawn at this or finer, then averaged down to the field's pixels
SHIFT = 4  # cv2's fixed-point bits for sub-pixel coordinates


class Canvas:
    """A square sheet of ``radius`` um around the particle's origin, at ``k`` pixels/um.

    ``phase`` (N, N) is optical thickness (1 is about that of a blood cell), ``absorb`` (3, N, N)
    optical density in R, G, B, ``mask`` (N, N) coverage in 0..1. N counts fine pixels until
    ``finish``. ``low`` and ``high`` are the corners (x, y) in um of what is drawn. What is drawn is
    turned by ``angle`` (radians), a random one if None.
    """

    def __init__(self, rng: Rng, k: float, radius: float, angle: float | None = None) -> None:
        self.rng = rng
        self.radius = radius
        self.fine = max(1, math.ceil(MIN_PX_PER_UM / k))  # fine pixels a pixel
        self.px = k * self.fine  # fine pixels/um
        self.angle = float(rng.uniform(0, 2 * np.pi)) if angle is None else angle
        size = 2 * math.ceil(radius * k) * self.fine
        self.phase: Array = np.zeros((size, size), np.float32)
        self.absorb: Array = np.zeros((3, size, size), np.float32)
        self.mask: Array = np.zeros((size, size), np.float32)
        self.low = np.full(2, np.inf)
        self.high = np.full(2, -np.inf)

    # --- shapes: each joins the particle's mask and returns its own coverage (N, N) -------------
    def fill(self, points: ArrayLike, at: ArrayLike = (0, 0)) -> Array:
        """A filled polygon of ``points`` (P, 2)."""
        sheet = np.zeros(self.mask.shape, np.uint8)
        cv2.fillPoly(sheet, [self._fixed(points, at)], 255, cv2.LINE_AA, SHIFT)
        return self._join(sheet)

    def line(
        self, points: ArrayLike, width: float, closed: bool = False, at: ArrayLike = (0, 0)
    ) -> Array:
        """A polyline of ``width`` um through ``points`` (P, 2)."""
        return self.lines([points], width, closed, at)

    def lines(
        self, many: Sequence[ArrayLike], width: float, closed: bool = False, at: ArrayLike = (0, 0)
    ) -> Array:
        """Several polylines at once."""
        sheet = np.zeros(self.mask.shape, np.uint8)
        thick = max(1, round(width * self.px))
        for points in many:
            fixed = self._fixed(points, at, width / 2)
            cv2.polylines(sheet, [fixed], closed, 255, thick, cv2.LINE_AA, SHIFT)
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
        place = self._turn(np.asarray([at], float))[0]
        half = other.mask.shape[0] // 2
        size = self.mask.shape[0]
        left, top = (np.round(place * self.px).astype(int) + size // 2 - half).tolist()
        x0 = max(0, left)
        y0 = max(0, top)
        x1 = min(size, left + 2 * half)
        y1 = min(size, top + 2 * half)
        on_sheet = np.s_[y0:y1, x0:x1]
        part = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]  # of the other sheet
        self.phase[on_sheet] += other.phase[part]
        self.absorb[:, *on_sheet] += other.absorb[:, *part]
        # covered by either; thicknesses add up
        self.mask[on_sheet] = np.maximum(self.mask[on_sheet], other.mask[part])
        self.low = np.minimum(self.low, place + other.low)
        self.high = np.maximum(self.high, place + other.high)

    # --- what a shape is made of ----------------------------------------------------------------
    def add(self, shape: Array, phase: float = 0.0, absorb: ArrayLike = 0.0) -> None:
        """Adds optical thickness and optical density (one number, or R, G, B) over a shape."""
        if phase:
            self.phase += phase * shape
        densities = np.asarray(absorb, np.float32)
        if densities.ndim == 0:  # alike in all colours
            if densities:
                self.absorb += densities * shape
            return
        for plane, density in zip(self.absorb, densities, strict=True):
            if density:
                plane += density * shape

    def dome(self, shape: Array) -> Array:
        """0 at the shape's edge, 1 at its innermost point, like half an ellipsoid."""
        # fine pixels to the edge
        depth = cv2.distanceTransform((shape > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
        depth = np.asarray(np.minimum(depth / max(float(depth.max()), 1.0), 1.0), np.float32)
        return np.sqrt(1 - (1 - depth) ** 2) * shape

    def blur(self, shape: Array, um: float) -> Array:
        """The shape, blurred by a Gaussian of standard deviation ``um``."""
        return np.asarray(cv2.GaussianBlur(shape, (0, 0), um * self.px), np.float32)

    def noise(self, cell: float) -> Array:
        """Smooth noise (N, N) of about unit variance whose grains are ``cell`` um wide."""
        n = max(4, math.ceil(2 * self.radius / cell))
        grid = self.rng.standard_normal((n, n)).astype(np.float32)
        smooth = cv2.resize(grid, self.mask.shape, interpolation=cv2.INTER_CUBIC)
        return np.asarray(smooth, np.float32)

    def finish(self) -> Canvas:
        """Averages the fine pixels down to the field's; the particle is then ready to be laid."""
        if self.fine > 1:
            side = self.mask.shape[0] // self.fine
            self.phase = _smaller(self.phase, side)
            self.absorb = np.stack([_smaller(plane, side) for plane in self.absorb])
            self.mask = _smaller(self.mask, side)
        return self

    def _turn(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        cos = math.cos(self.angle)
        sin = math.sin(self.angle)
        return points @ np.array([[cos, sin], [-sin, cos]])

    def _fixed(
        self, points: ArrayLike, at: ArrayLike, margin: float | NDArray[np.float64] = 0.0
    ) -> NDArray[np.int32]:
        """The points in cv2's fixed-point pixels; the sheet's bounds grow by them and a margin."""
        um = self._turn(np.asarray(points, float).reshape(-1, 2) + np.asarray(at, float))
        if len(um):
            self.low = np.minimum(self.low, (um - margin).min(0))
            self.high = np.maximum(self.high, (um + margin).max(0))
        pixels = um * self.px + self.mask.shape[0] / 2 - 0.5  # the origin is the sheet's middle
        return np.round(pixels * 2**SHIFT).astype(np.int32)

    def _join(self, sheet: NDArray[np.uint8]) -> Array:
        shape = np.divide(sheet, 255, dtype=np.float32)
        np.maximum(self.mask, shape, out=self.mask)
        return shape


def _smaller(sheet: Array, side: int) -> Array:
    return np.asarray(cv2.resize(sheet, (side, side), interpolation=cv2.INTER_AREA), np.float32)


Draw = Callable[[Rng, float], Canvas]  # (random numbers, pixels/um) -> a particle
