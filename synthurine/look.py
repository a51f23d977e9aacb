"""How a field looks, in numbers that do not ask what is on it: its light, its noise, its edges.

The background is what remains of a field when all that is small is taken away. Noise is measured
where nothing lies, contrast on what can be seen well. Red cells are round, dark and of one size;
where a field shows enough of them, they tell the size of a pixel. Lengths are pixels; contrast is
the natural logarithm of the light against the background's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synthurine.optics import Array

EDGE = 0.03  # of each side is left out: frame grabbers leave black strips
COARSE = 96  # longer side in pixels of the picture of the background
FAINTEST = 0.05  # contrast from which on a pixel belongs to a particle
SURE = 5  # standard deviations of the noise that it needs besides
DEEP = 0.25  # contrast, at its darkest, of a particle that is seen well
SIZES = (5.0, 120.0)  # its diameter in pixels, least and most
ROUND = 0.8  # 4 pi area / perimeter^2 of a red cell; a square has 0.79, a circle 1
ENOUGH = 8  # red cells in a field that tells the size of a pixel
ONE_SIZE = 0.3  # the middle half of their diameters differ by less than this part
FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")  # that are decoded, whatever a file is called
USUAL_JPEG = 92  # quality, of a file that tells none
ANNEX_K = 3688  # the sum of the standard's table for brightness, which is that of quality 50

Pixels = NDArray[np.uint8]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Look:
    """The numbers of one field."""

    light: tuple[float, float, float]  # of the background, R, G, B in 0..1
    vignette: float  # loss of light in the corners, as a part of it
    uneven: float  # standard deviation of the background's light beside that, as a part of it
    noise: float  # standard deviation, as a part of the light
    grain: float  # correlation of the noise of neighbours
    grain_far: float  # and of pixels that are two apart
    dark: float  # contrast that 5 % of the particles' pixels stay below; NaN without particles
    bright: float  # and that 5 % go above
    rim: float  # contrast between neighbours at their sharpest edges (the highest 5 %)
    cell: float  # diameter of a red cell, with its rim; NaN: the field does not tell
    jpeg: int  # quality of the file, 1..100


def look(image: Pixels, jpeg: int = USUAL_JPEG) -> Look:
    """Measures a field, uint8 (H, W, 3) RGB."""
    cut = [round(EDGE * side) for side in image.shape[:2]]
    image = image[cut[0] : image.shape[0] - cut[0], cut[1] : image.shape[1] - cut[1]]
    empty = background(image)
    light = np.median(empty.reshape(-1, 3), axis=0)
    vignette, uneven = _unevenness(empty.mean(axis=2) / light.mean())
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    part = grey / np.maximum(cv2.cvtColor(empty, cv2.COLOR_RGB2GRAY), 1)
    seen = np.log(np.maximum(part, 0.02))
    smooth = np.abs(np.asarray(cv2.GaussianBlur(seen, (0, 0), 1.0)))
    threshold = max(FAINTEST, SURE * 1.48 * float(np.median(smooth)))
    things = (smooth > threshold).astype(np.uint8)
    noise = _noise(part, cv2.dilate(things, np.ones((15, 15), np.uint8)) == 0)
    round_ones, where = _particles(things, seen)
    contrast = (math.nan, math.nan, math.nan)
    if where.any():
        steps = np.hypot(cv2.Sobel(seen, cv2.CV_32F, 1, 0), cv2.Sobel(seen, cv2.CV_32F, 0, 1)) / 8
        dark, bright = np.quantile(seen[where], (0.05, 0.95))
        contrast = (float(dark), float(bright), float(np.quantile(steps[where], 0.95)))
    red, green, blue = (light / 255).tolist()
    return Look((red, green, blue), vignette, uneven, *noise, *contrast, _cell(round_ones), jpeg)


def read_rgb(path: str | Path) -> Pixels:
    """An image of 8 bits as (H, W, 3) RGB."""
    with Image.open(path, formats=FORMATS) as file:
        return np.asarray(file.convert("RGB"))


def look_at(path: str | Path, read: Callable[[str | Path], Pixels] = read_rgb) -> Look:
    """Measures an image file. Raises ValueError for one that cannot be read."""
    try:
        return look(read(path), quality(path))
    # ImportError: a library beside this one may have replaced Image.open by one that tries plugins
    except (OSError, ImportError) as error:
        raise ValueError(f"{path}: is no image that can be read ({error}); remove it") from error


def quality(path: str | Path) -> int:
    """The quality at which a JPEG file was stored, after its table for brightness.

    USUAL_JPEG for a file of another kind.
    """
    with Image.open(path, formats=FORMATS) as file:
        tables: Any = getattr(file, "quantization", None)
    if not tables:
        return USUAL_JPEG
    factor = sum(tables[0]) / ANNEX_K
    return int(np.clip(round(100 - 50 * factor if factor < 1 else 50 / factor), 1, 100))


def background(image: Pixels) -> Array:
    """The field without its particles, (H, W, 3) in 0..255."""
    height, width = image.shape[:2]
    factor = COARSE / max(height, width)
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    slow = cv2.GaussianBlur(cv2.medianBlur(small, 25).astype(np.float32), (0, 0), 3)
    return np.asarray(cv2.resize(slow, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def _unevenness(shade: Array) -> tuple[float, float]:
    """Vignette and uneven of the background's light (H, W), whose mean is about 1."""
    small = cv2.resize(shade, (COARSE, COARSE), interpolation=cv2.INTER_AREA).ravel()
    y, x = (np.mgrid[0:COARSE, 0:COARSE] / COARSE - 0.5).reshape(2, -1)
    terms = np.stack([np.ones_like(x), x, y, x**2 + y**2], axis=1)
    found, *_ = np.linalg.lstsq(terms, small, rcond=None)
    # what tilts the light is a vignette off the middle, or a drift: counted as drift
    rest = small - terms[:, [0, 3]] @ found[[0, 3]]
    return max(0.0, -float(found[3]) / 2), float(rest.std())


def _noise(part: Array, empty: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Standard deviation of the noise, and its correlation over one pixel and over two."""
    fine = part - np.asarray(cv2.GaussianBlur(part, (0, 0), 4))
    if not empty.any():
        empty = np.ones_like(empty)
    fine = fine - np.median(fine[empty])
    spread = 1.48 * float(np.median(np.abs(fine[empty]))) + 1e-4
    empty = empty & (np.abs(fine) < 4 * spread)  # without the faint dust
    variance = float((fine[empty] ** 2).mean()) + 1e-9
    together = []
    for far in (1, 2):
        products = []
        for plane, known in ((fine, empty), (fine.T, empty.T)):  # along rows, then along columns
            pairs = known[:, far:] & known[:, :-far]
            products.append((plane[:, far:] * plane[:, :-far])[pairs].mean())
        together.append(float(np.mean(products)) / variance)
    return float(np.sqrt(variance)), together[0], together[1]


def _particles(things: Pixels, seen: Array) -> tuple[Numbers, NDArray[np.bool_]]:
    """Diameters of the round particles that are seen well, and where all such particles are.

    things: (H, W), 1 where something is. seen: (H, W) contrast. The places, (H, W), include rims.
    """
    closed = cv2.morphologyEx(things, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    height, width = things.shape
    where = np.zeros_like(things)
    diameters = []
    for outline in outlines:
        left, top, wide, high = cv2.boundingRect(outline)
        cut = min(left, top, width - left - wide, height - top - high) <= 1  # by the field's edge
        area = cv2.contourArea(outline) + len(outline) / 2  # contours run through pixels' middles
        diameter = 2 * math.sqrt(area / math.pi)
        deep = float(seen[top : top + high, left : left + wide].min()) < -DEEP
        if cut or not deep or not SIZES[0] <= diameter <= SIZES[1]:
            continue
        cv2.drawContours(where, [outline], -1, 1, cv2.FILLED)
        perimeter = cv2.arcLength(cv2.convexHull(outline), True) + math.pi
        alike = max(wide, high) <= 1.3 * min(wide, high)
        if alike and 4 * math.pi * area / perimeter**2 >= ROUND:
            diameters.append(diameter)
    rims = cv2.dilate(where, np.ones((5, 5), np.uint8))
    return np.array(diameters), rims > 0


def _cell(diameters: Numbers) -> float:
    """The diameter of a red cell, where a field shows enough round particles of one size.

    Dust and bacteria are of one size at times, too. Then there are larger cells beside them, which
    nothing round in urine is beside a red cell: a white one is less than twice as wide.
    """
    if len(diameters) < ENOUGH:
        return math.nan
    low, middle, high = np.quantile(diameters, (0.25, 0.5, 0.75))
    larger = (diameters > 2.3 * middle).sum()
    if high - low > ONE_SIZE * middle or larger > max(1, 0.04 * len(diameters)):
        return math.nan
    return float(middle)
