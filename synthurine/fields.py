"""One microscope field: particles on a slide, each at its own depth, seen by one laboratory.

The rules of labelling:

- A box holds the particle's own mask, as far as it lies in the field.
- At least half of a labelled particle's bounding rectangle lies in the field.
- A labelled particle can be seen: the root mean square of its contrast over its mask is at least
  VISIBLE. As on a real slide, every field also holds particles that are too faint or too far out of
  focus for that; these have no box.

Nothing is hidden: in transmitted light, what overlaps adds up. Particles keep apart as far as there
is room, except for the share OVERLAPPING of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from synthurine.laboratories import LABORATORIES, Laboratory, background, photograph
from synthurine.optics import Array, contrast, rim_width
from synthurine.particles.canvas import Canvas, Rng
from synthurine.particles.classes import draw

VISIBLE = 0.05  # natural units of contrast: the labelling threshold
FAINT = 0.08  # particles without a box, as a part of those with one
IN_FIELD = 0.5  # part of its bounding rectangle that a particle has in the field
COVERED = 0.25  # a pixel belongs to a particle's box when this part of it is covered
TRIES = 14  # places that are tried for a particle
OVERLAPPING = 0.12  # share of the particles that may lie over others
GATHERED = 0.4  # share of the tried places that lie in a thicket
FOCUS_OF_FIELD = 1.2  # um: spread of the focus from field to field
FOCUS_SPREAD = 0.9  # um: spread of the depth from particle to particle
SPECKS = 60  # of debris in a field of 300 um, at most 1 um wide
MARGIN = 0.15  # of a particle's longer side, around it in the picture of a single particle

Um = NDArray[np.float64]
Window = tuple[slice, slice]
Box = tuple[str, float, float, float, float]


@dataclass(frozen=True)
class Field:
    """A drawn field and what is known of it."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    boxes: list[Box]  # (class name, x1, y1, x2, y2) in pixels
    patient: str
    name: str
    split: str  # labelled | unlabelled | cohort
    um_per_px: float
    jpeg: int  # the camera's quality


def lay(
    names: Sequence[str], px: int, um_per_px: float, lab: Laboratory, rng: Rng
) -> tuple[NDArray[np.uint8], list[Box]]:
    """Draws a field with the named particles: image (px, px, 3) RGB and the particles' boxes.

    A few more particles of the same classes are too faint for a box.
    """
    c, light, boxes = _laid(names, px, um_per_px, lab, rng)
    return photograph(c, light, lab, rng), boxes


def _laid(
    names: Sequence[str], px: int, um_per_px: float, lab: Laboratory, rng: Rng
) -> tuple[Array, Array, list[Box]]:
    """What lies on the slide: contrast (3, px, px), light (px, px, 3), and the boxes."""
    k = 1 / um_per_px  # pixels/um
    span = px * um_per_px  # um
    c, light = background(px, k, lab, rng)  # contrast (3, px, px), light (px, px, 3)
    focus = lab.focus + rng.normal(0, FOCUS_OF_FIELD)
    _add_debris(c, k, focus, lab, rng)
    faint = rng.choice(list(names), rng.poisson(FAINT * len(names))).tolist() if names else []
    particles = [
        (name, draw(name, rng, k), i < len(names)) for i, name in enumerate([*names, *faint])
    ]
    # the largest first, while there is room for them
    particles.sort(key=lambda particle: -float(np.prod(particle[1].high - particle[1].low)))
    thickets = rng.uniform(0, span, (3, 2))
    occupied = np.zeros((0, 4))  # rectangles x1, y1, x2, y2 in um
    boxes: list[Box] = []
    for name, sheet, labelled in particles:
        at, rectangle = _find_place(sheet, occupied, thickets, span, rng)
        occupied = np.concatenate([occupied, rectangle[None]])
        if labelled:
            z = focus + rng.normal(0, FOCUS_SPREAD)
        else:
            z = rng.choice([-1, 1]) * rng.uniform(7, 14)
        seen, mask, origin = _see(sheet, k, z, lab)
        on_field, on_sheet = _windows(mask.shape, origin, at * k, px)
        visibility = np.sqrt((seen[:, mask >= min(COVERED, mask.max())] ** 2).mean())
        strength = rng.uniform(0.8, 1.15)
        if labelled:
            strength = max(strength, VISIBLE / visibility)
            boxes.append((name, *_box(mask[on_sheet], on_field)))
        else:
            strength = min(strength, rng.uniform(0.4, 0.9) * VISIBLE / visibility)
        c[:, *on_field] += np.float32(strength) * seen[:, *on_sheet]
    return c, light, boxes


def simulated(name: str, seed: int) -> NDArray[np.uint8]:
    """A whole particle of that class (side, side, 3), in the middle of its surroundings.

    The seed also chooses the laboratory.
    """
    lab = LABORATORIES[seed % len(LABORATORIES)]
    for attempt in range(50):
        # most particles lie whole on a small field; long casts do not
        px = 500 if attempt < 3 else 1200
        rng = np.random.default_rng([seed, attempt])
        c, light, boxes = _laid([name], px, 0.2, lab, rng)
        whole = [box for box in boxes if min(box[1:]) > 0 and max(box[1:]) < px]
        if whole:
            break
    image = photograph(c, light, lab, rng)
    _, x1, y1, x2, y2 = (whole or boxes)[0]
    side = int(min(max(x2 - x1, y2 - y1) * (1 + 2 * MARGIN) + 2, px))
    left = int(np.clip((x1 + x2 - side) / 2, 0, px - side))
    top = int(np.clip((y1 + y2 - side) / 2, 0, px - side))
    return image[top : top + side, left : left + side]


def _see(sheet: Canvas, k: float, z: float, lab: Laboratory) -> tuple[Array, Array, Um]:
    """The particle's contrast (3, h, w) and mask (h, w), with room for its rims.

    The third result is the place of the particle's origin in them, (x, y) in pixels.
    """
    n = sheet.mask.shape[0]
    # the part of the sheet that holds the particle, and a pixel around it; x, y
    low = np.maximum(np.floor(sheet.low * k).astype(int) + n // 2 - 1, 0)
    high = np.minimum(np.ceil(sheet.high * k).astype(int) + n // 2 + 1, n)
    width, height = (high - low).tolist()
    part = np.s_[low[1] : high[1], low[0] : high[0]]
    room = math.ceil(rim_width(z, lab.microscope) * k)
    inner = np.s_[room : room + height, room : room + width]
    # the Fourier transform is fast for some sizes only
    shape = [fft.next_fast_len(side + 2 * room, real=True) for side in (height, width)]
    mask = np.zeros(shape, np.float32)
    phase = np.zeros(shape, np.float32)
    absorb = np.zeros((3, *shape), np.float32)
    mask[inner] = sheet.mask[part]
    phase[inner] = sheet.phase[part]
    absorb[:, *inner] = sheet.absorb[:, *part]
    return contrast(phase, absorb, k, z, lab.microscope), mask, n // 2 - low + room


def _add_debris(c: Array, k: float, focus: float, lab: Laboratory, rng: Rng) -> None:
    """Adds specks too small to be told apart: eight kinds, each drawn once and strewn at random."""
    px = c.shape[1]
    n = fft.next_fast_len(math.ceil(12 * k), real=True)  # side of a kind's sheet in pixels
    y, x = np.mgrid[0:n, 0:n] - n / 2
    kinds = []
    for _ in range(8):
        grains = rng.normal(0, 0.25, (3, 2)) * k
        sizes = rng.uniform(0.15, 0.5, 3) * k
        speck = sum(
            np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * size**2))
            for at, size in zip(grains, sizes, strict=True)
        )
        speck = np.minimum(speck, 1).astype(np.float32)
        absorb = np.float32(rng.uniform(0.03, 0.2)) * np.stack([speck] * 3)
        z = focus + rng.normal(0, 3)
        phase = np.float32(rng.uniform(0.1, 0.7)) * speck
        kinds.append(contrast(phase, absorb, k, z, lab.microscope))
    amount = SPECKS * rng.gamma(1.5) / 1.5  # fields are clean or dirty
    for _ in range(int(rng.poisson(amount * (px / k / 300) ** 2))):
        kind = kinds[int(rng.integers(8))]
        middle = np.array([n // 2, n // 2])
        on_field, on_sheet = _windows(kind.shape[1:], middle, rng.uniform(0, px, 2), px)
        c[:, *on_field] += np.float32(rng.uniform(0.4, 1)) * kind[:, *on_sheet]


def _find_place(sheet: Canvas, occupied: Um, thickets: Um, span: float, rng: Rng) -> tuple[Um, Um]:
    """A place for the sheet's origin, (x, y) in um, and the rectangle that the particle covers.

    Of some random places, the first with little overlap is taken, or else the freest. Particles
    gather: a part of the places lies about one of the field's ``thickets`` (P, 2).
    """
    size = sheet.high - sheet.low
    area = float(np.prod(size))
    place = None
    least_overlap = np.inf
    allowed = 0.5 if rng.random() < OVERLAPPING else 0.08
    for _ in range(TRIES):
        at = rng.uniform(0, span, 2)  # of the rectangle's middle
        if len(thickets) and rng.random() < GATHERED:
            at = thickets[rng.integers(len(thickets))] + rng.normal(0, 0.09 * span, 2)
        low = at - size / 2
        high = at + size / 2
        in_field = np.prod(np.minimum(high, span) - np.maximum(low, 0)) / area
        if in_field < IN_FIELD or (high < 0).any() or (low > span).any():
            continue
        overlap = _overlap(low, high, area, occupied)
        if overlap < least_overlap:
            place = at
            least_overlap = overlap
        if overlap < allowed:
            break
    if place is None:  # a particle as large as the field lies whole in it, or in its middle
        half = np.minimum(size, span) / 2
        place = np.clip(rng.uniform(0, span, 2), half, span - half)
    origin = place - (sheet.low + sheet.high) / 2
    return origin, np.concatenate([place - size / 2, place + size / 2])


def _overlap(low: Um, high: Um, area: float, occupied: Um) -> float:
    """The largest part that a rectangle and one of (P, 4) share, of the smaller of the two."""
    sides = np.minimum(occupied[:, 2:], high) - np.maximum(occupied[:, :2], low)  # (P, 2)
    common = np.clip(sides, 0, None).prod(1)
    smaller = np.minimum((occupied[:, 2:] - occupied[:, :2]).prod(1), area)
    return float((common / smaller).max(initial=0))


def _windows(shape: tuple[int, ...], origin: Um, at: Um, px: int) -> tuple[Window, Window]:
    """The part of the field that a sheet covers, and the part of the sheet that is in the field.

    shape: of the sheet (H, W). origin: a place on the sheet, (x, y) in pixels, that comes to lie at
    ``at`` on the field.
    """
    left, top = (np.round(at).astype(int) - origin).tolist()
    x0 = max(left, 0)
    y0 = max(top, 0)
    x1 = min(left + shape[1], px)
    y1 = min(top + shape[0], px)
    return np.s_[y0:y1, x0:x1], np.s_[y0 - top : y1 - top, x0 - left : x1 - left]


def _box(mask: Array, window: Window) -> tuple[float, float, float, float]:
    """Bounds of the covered pixels, in the field's pixels.

    A speck smaller than a pixel is boxed by the pixel that it covers most.
    """
    covered = mask >= min(COVERED, float(mask.max()))
    rows = np.flatnonzero(covered.any(1)) + window[0].start
    columns = np.flatnonzero(covered.any(0)) + window[1].start
    return (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
