"""One microscope field: particles laid on a slide at their own depths, seen through one laboratory's optics and camera.

The rules of labelling:

- a box is the bounds of the particle's own mask, as far as it is in the field;
- of a labelled particle at least half of its bounding rectangle is in the field;
- a labelled particle shows: the root mean square of its contrast over its mask is at least VISIBLE. Others, too faint
  or too far out of focus for that, lie in every field as on a real slide, and have no box.

Nothing is hidden: in transmitted light what overlaps adds up. Small particles keep out of one another's way, as far as
there is room, except for one in eight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from synthurine.laboratories import Laboratory, background, photograph
from synthurine.optics import Array, contrast, reach
from synthurine.particles.canvas import Canvas
from synthurine.particles.classes import draw

VISIBLE = 0.05  # natural units of contrast: the labelling threshold
FAINT = 0.08  # particles without a box, as a part of those with one
IN_FIELD = 0.5
COVERED = 0.25  # a pixel belongs to a particle's box when it covers so much of it
TRIES = 14
OVERLAPPING = 0.12  # share of the particles that may lie over others
GATHERED = 0.4
FOCUS_OF_FIELD, FOCUS_SPREAD = (
    1.2,
    0.9,
)  # um: from field to field, and of depth from particle to particle
SPECKS = 60  # of debris in a field of 300 um, at most 1 um wide

Um = NDArray[np.float64]
Window = tuple[slice, slice]
Box = tuple[str, float, float, float, float]


@dataclass(frozen=True)
class Field:
    """A drawn field: image (H, W, 3) uint8 RGB, boxes (class name, x1, y1, x2, y2) in pixels, and what is known of
    it."""

    image: NDArray[np.uint8]
    boxes: list[Box]
    patient: str
    name: str
    split: str
    um_per_px: float
    jpeg: int  # the camera's quality


def lay(
    names: Sequence[str], px: int, um_per_px: float, lab: Laboratory, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], list[Box]]:
    """Draws the named particles on a field of ``px`` pixels; and some of their kind that are too faint for a box."""
    k = 1 / um_per_px
    span = px * um_per_px
    c, light = background(px, k, lab, rng)
    focus = lab.focus + rng.normal(0, FOCUS_OF_FIELD)
    _debris(c, k, focus, lab, rng)
    faint = rng.choice(list(names), rng.poisson(FAINT * len(names))).tolist() if names else []
    drawn = [(name, draw(name, rng, k), i < len(names)) for i, name in enumerate([*names, *faint])]
    drawn.sort(key=lambda item: -float(np.prod(item[1].high - item[1].low)))
    near = rng.uniform(0, span, (3, 2))
    boxes: list[Box] = []
    taken = np.zeros((0, 4))
    for name, sheet, labelled in drawn:
        at, rectangle = _find_place(sheet, taken, near, span, rng)
        taken = np.r_[taken, [rectangle]]
        z = (
            focus + rng.normal(0, FOCUS_SPREAD)
            if labelled
            else rng.choice([-1, 1]) * rng.uniform(7, 14)
        )
        seen, mask, origin = _seen(sheet, k, z, lab)
        here, there = _windows(mask.shape, origin, at * k, px)
        visibility = np.sqrt((seen[:, mask >= min(COVERED, mask.max())] ** 2).mean())
        strength = rng.uniform(0.8, 1.15)
        if labelled:
            strength = max(strength, VISIBLE / visibility)
            boxes.append((name, *_box(mask[there], here)))
        else:
            strength = min(strength, rng.uniform(0.4, 0.9) * VISIBLE / visibility)
        c[:, *here] += np.float32(strength) * seen[:, *there]
    return photograph(c, light, lab, rng), boxes


def _seen(
    sheet: Canvas, k: float, z: float, lab: Laboratory
) -> tuple[Array, Array, tuple[int, int]]:
    """The particle's contrast (3, h, w) and mask (h, w), with room for its rims, and its origin in them (x, y)."""
    n = sheet.mask.shape[0]
    low = np.maximum(np.floor(sheet.low * k).astype(int) + n // 2 - 1, 0)
    high = np.minimum(np.ceil(sheet.high * k).astype(int) + n // 2 + 1, n)
    room = int(np.ceil(reach(z, lab.microscope) * k))
    wide, tall = (fft.next_fast_len(int(side), real=True) for side in high - low + 2 * room)
    part = np.s_[low[1] : high[1], low[0] : high[0]]
    inner = np.s_[room : room + high[1] - low[1], room : room + high[0] - low[0]]
    padded = np.zeros((5, tall, wide), np.float32)
    padded[0][inner], padded[1][inner] = sheet.mask[part], sheet.phase[part]
    padded[2:, *inner] = sheet.absorb[:, *part]
    x, y = (n // 2 - low + room).tolist()
    return contrast(padded[1], padded[2:], k, z, lab.microscope), padded[0], (x, y)


def _debris(c: Array, k: float, focus: float, lab: Laboratory, rng: np.random.Generator) -> None:
    """Specks too small to be told, as in any sediment: a few kinds, drawn once, strewn at random."""
    px = c.shape[1]
    n = fft.next_fast_len(int(np.ceil(12 * k)), real=True)
    y, x = np.mgrid[0:n, 0:n] - n / 2
    kinds = []
    for _ in range(8):
        at, size = rng.normal(0, 0.25, (3, 2)) * k, rng.uniform(0.15, 0.5, 3) * k
        speck = sum(
            np.exp(-((x - a[0]) ** 2 + (y - a[1]) ** 2) / (2 * s**2))
            for a, s in zip(at, size, strict=True)
        )
        speck = np.minimum(speck, 1).astype(np.float32)
        absorb = np.float32(rng.uniform(0.03, 0.2)) * np.stack([speck] * 3)
        z = focus + rng.normal(0, 3)
        kinds.append(
            contrast(np.float32(rng.uniform(0.1, 0.7)) * speck, absorb, k, z, lab.microscope)
        )
    for _ in range(int(rng.poisson(SPECKS * rng.gamma(1.5) / 1.5 * (px / k / 300) ** 2))):
        kind = kinds[int(rng.integers(8))]
        here, there = _windows(kind.shape[1:], (n // 2, n // 2), rng.uniform(0, px, 2), px)
        c[:, *here] += np.float32(rng.uniform(0.4, 1)) * kind[:, *there]


def _find_place(
    sheet: Canvas, taken: Um, near: Um, span: float, rng: np.random.Generator
) -> tuple[Um, Um]:
    """The sheet's origin, um: of some random places the first with little overlap, or the freest; its rectangle.

    Particles gather: two places in five are tried about one of ``near`` (P, 2), the field's thickets.
    """
    size, area = sheet.high - sheet.low, float(np.prod(sheet.high - sheet.low))
    middle = (sheet.low + sheet.high) / 2
    best, best_overlap = None, np.inf
    allowed = 0.5 if rng.random() < OVERLAPPING else 0.08
    for _ in range(TRIES):
        at = rng.uniform(0, span, 2)
        if len(near) and rng.random() < GATHERED:
            at = near[rng.integers(len(near))] + rng.normal(0, 0.09 * span, 2)
        low, high = at - size / 2, at + size / 2
        if (
            np.prod(np.minimum(high, span) - np.maximum(low, 0)) / area < IN_FIELD
            or (high < 0).any()
            or (low > span).any()
        ):
            continue
        both = np.clip(
            np.minimum(taken[:, 2:], high) - np.maximum(taken[:, :2], low), 0, None
        ).prod(1)
        smaller = np.minimum((taken[:, 2:] - taken[:, :2]).prod(1), area)
        overlap = float((both / smaller).max(initial=0))
        if overlap < best_overlap:
            best, best_overlap = at, overlap
        if overlap < allowed:
            break
    if best is None:  # a particle as large as the field: whole, or in its middle
        best = np.clip(
            rng.uniform(0, span, 2), np.minimum(size, span) / 2, span - np.minimum(size, span) / 2
        )
    return best - middle, np.r_[best - size / 2, best + size / 2]


def _windows(
    shape: tuple[int, ...], origin: tuple[int, int], at: Um, px: int
) -> tuple[Window, Window]:
    """The part of the field that a sheet covers whose ``origin`` (x, y) lies at ``at`` pixels, and that part of the
    sheet."""
    x, y = (np.round(at).astype(int) - origin).tolist()
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + shape[1], px), min(y + shape[0], px)
    return np.s_[y0:y1, x0:x1], np.s_[y0 - y : y1 - y, x0 - x : x1 - x]


def _box(mask: Array, here: Window) -> tuple[float, float, float, float]:
    """Bounds of the covered pixels, in the field's pixels. A speck below a pixel is boxed by its darkest pixel."""
    covered = mask >= min(COVERED, float(mask.max()))
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    y, x = here[0].start, here[1].start
    return (
        float(x + columns[0]),
        float(y + rows[0]),
        float(x + columns[-1] + 1),
        float(y + rows[-1] + 1),
    )
