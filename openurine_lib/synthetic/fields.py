"""One microscope field: particles laid on a sheet, seen through one laboratory's optics and camera.

The sheet adds up optical thickness P and optical density A. A bright field slightly out of focus shows
I = I0 exp(-A - z L(P)), L a difference of Gaussians: edges get a dark inner and a bright outer rim (the transport of
intensity, I ~ I0 (1 - z laplacian P), Teague 1983, doi:10.1364/JOSA.73.001434). Overlaps add up by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from openurine_lib.synthetic.canvas import Canvas
from openurine_lib.synthetic.particles import draw

FIELD_UM = 210.0  # width of a field: a red cell is 1/28 of it
VISIBLE = 0.5  # a particle is laid so that at least this share of its bounding rectangle is in the field
COVERED = 0.25  # a pixel belongs to a particle's box when it covers so much of it
TRIES = 14
OVERLAPPING = 0.12  # share of the particles that may lie over others

Um = NDArray[np.float64]
Window = tuple[slice, slice]
Box = tuple[str, float, float, float, float]


@dataclass(frozen=True)
class Field:
    """A drawn field: image (H, W, 3) uint8 RGB, boxes (class name, x1, y1, x2, y2) in pixels."""

    image: NDArray[np.uint8]
    boxes: list[Box]
    patient: str
    name: str
    split: str


@dataclass(frozen=True)
class Look:
    """A laboratory's microscope and camera; lengths in um, noise and brightness as fractions of white."""

    light: tuple[float, float, float]
    vignette: float
    uneven: float
    blur: float
    edges: float  # z: how strongly thickness shows
    noise: float
    zoom: float


LOOKS = (
    Look((0.84, 0.84, 0.80), 0.10, 0.04, 0.22, 0.62, 0.012, 1.00),  # neutral
    Look((0.88, 0.82, 0.67), 0.18, 0.06, 0.30, 0.52, 0.016, 0.95),  # warm halogen
    Look((0.74, 0.80, 0.86), 0.08, 0.05, 0.20, 0.72, 0.010, 1.04),  # blue daylight filter
    Look((0.76, 0.82, 0.72), 0.22, 0.08, 0.34, 0.58, 0.020, 1.00),  # greenish smartphone at the eyepiece
    Look((0.82, 0.76, 0.78), 0.14, 0.05, 0.26, 0.78, 0.014, 0.92),  # slightly pink
)


def lay(names: list[str], px: int, look: Look, rng: np.random.Generator) -> tuple[NDArray[np.uint8], list[Box]]:
    """Draws the named particles on a field of ``px`` pixels; a particle cut by the border is boxed where it is seen."""
    k = px / FIELD_UM * look.zoom
    span = px / k
    phase, absorb = np.zeros((px, px), np.float32), np.zeros((3, px, px), np.float32)
    drawn = [(name, draw(name, rng, k)) for name in names]
    drawn.sort(key=lambda item: -float(np.prod(item[1].high - item[1].low)))
    boxes: list[Box] = []
    taken = np.zeros((0, 4))
    for name, sheet in drawn:
        at, rectangle = _find_place(sheet, taken, span, rng)
        taken = np.r_[taken, [rectangle]]
        strength = rng.uniform(0.8, 1.15)
        here, there = _windows(sheet, at, k, px)
        focus = max(min(rng.exponential(0.2), 0.8) * k, 0.1)
        phase[here] += strength * cv2.GaussianBlur(sheet.phase, (0, 0), focus)[there]
        for field_plane, plane in zip(absorb, sheet.absorb, strict=True):
            field_plane[here] += strength * cv2.GaussianBlur(plane, (0, 0), focus)[there]
        boxes.append((name, *_box(sheet.mask[there], here)))
    return see(phase, absorb, k, look, rng), boxes


def see(
    phase: NDArray[np.float32], absorb: NDArray[np.float32], k: float, look: Look, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The picture of a sheet (H, W), (3, H, W) at ``k`` pixels/um: (H, W, 3) uint8."""
    px = phase.shape[0]
    rim = cv2.GaussianBlur(phase, (0, 0), max(0.28 * k, 0.4)) - cv2.GaussianBlur(phase, (0, 0), 1.15 * k)
    z = look.edges * rng.uniform(0.8, 1.2)
    shade, colour = _light(px, look, rng)
    sharp = np.exp(-absorb - z * rim) * shade * colour[:, None, None]  # (3, H, W)
    soft = max(look.blur * rng.uniform(0.8, 1.4) * k, 0.3)
    picture = cv2.merge([cv2.GaussianBlur(plane, (0, 0), soft) for plane in sharp])
    # the sensor's noise is per pixel, so it is the one thing that differs between field sizes
    noise = np.random.default_rng(int(rng.integers(2**32))).standard_normal((px, px, 3), np.float32)
    picture = picture + noise * look.noise * np.sqrt(np.maximum(picture, 0))
    return np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)


def _light(px: int, look: Look, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The empty field: shade (px, px), with vignetting, slow unevenness and out-of-focus debris; and colour (3,)."""
    y, x = np.mgrid[0:px, 0:px].astype(np.float32) / px - 0.5
    cx, cy = rng.normal(0, 0.08, 2)
    shade = 1 - look.vignette * 2 * ((x - cx) ** 2 + (y - cy) ** 2)
    slow = cv2.resize(rng.standard_normal((4, 4)).astype(np.float32), (px, px), interpolation=cv2.INTER_CUBIC)
    debris = cv2.resize(rng.standard_normal((40, 40)).astype(np.float32), (px, px), interpolation=cv2.INTER_CUBIC)
    shade = shade * (1 + look.uneven * 0.5 * slow + 0.006 * debris)
    colour = np.array(look.light) * rng.uniform(0.94, 1.06) * rng.normal(1, 0.012, 3)
    return shade.astype(np.float32), colour.astype(np.float32)


def _find_place(sheet: Canvas, taken: Um, span: float, rng: np.random.Generator) -> tuple[Um, Um]:
    """The sheet's origin, um: of some random places the first with little overlap, or the freest; its rectangle."""
    size, area = sheet.high - sheet.low, float(np.prod(sheet.high - sheet.low))
    best, best_overlap = None, np.inf
    allowed = 0.5 if rng.random() < OVERLAPPING else 0.08
    for _ in range(TRIES):
        at = rng.uniform(0, span, 2) - (sheet.low + sheet.high) / 2
        low, high = at + sheet.low, at + sheet.high
        seen = np.prod(np.minimum(high, span) - np.maximum(low, 0)) / area
        if seen < VISIBLE:
            continue
        both = np.clip(np.minimum(taken[:, 2:], high) - np.maximum(taken[:, :2], low), 0, None).prod(1)
        smaller = np.minimum((taken[:, 2:] - taken[:, :2]).prod(1), area)
        overlap = float((both / smaller).max(initial=0))
        if overlap < best_overlap:
            best, best_overlap = at, overlap
        if overlap < allowed:
            break
    if best is None:
        best = (
            np.clip(rng.uniform(0, span, 2), size / 2, np.maximum(span - size / 2, size / 2))
            - (sheet.low + sheet.high) / 2
        )
    return best, np.r_[best + sheet.low, best + sheet.high]


def _windows(sheet: Canvas, at: Um, k: float, px: int) -> tuple[Window, Window]:
    """The part of the field that the sheet covers, and that part of the sheet."""
    n = sheet.mask.shape[0]
    x, y = (np.round(at * k).astype(int) - n // 2).tolist()
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + n, px), min(y + n, px)
    return np.s_[y0:y1, x0:x1], np.s_[y0 - y : y1 - y, x0 - x : x1 - x]


def _box(mask: NDArray[np.float32], here: Window) -> tuple[float, float, float, float]:
    """Bounds of the covered pixels, in the field's pixels."""
    covered = mask >= COVERED
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    y, x = here[0].start, here[1].start
    return float(x + columns[0]), float(y + rows[0]), float(x + columns[-1] + 1), float(y + rows[-1] + 1)
