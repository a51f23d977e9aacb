"""How a field looks, in four numbers, and whether that is far from what a detector was trained on.

A detector that meets a photograph, a dark field or one out of focus finds little, and that looks
like a clean sample. So the range of each number over training fields is kept with the weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np

MOST_FIELDS = 200  # of a training part that are measured, evenly spread over it
# A number is far outside if it lies beyond the range of the training fields by more than this part
# of the range's width. On 790 drawn fields all are inside; see docs/measured.md for real ones.
BEYOND = 0.25
FLAT = 1.0  # grey values: added to the contrast, so that an empty field has a focus


def measured(pixels: np.ndarray, scale: float = 1.0) -> dict[str, float]:
    """A field's brightness, contrast, focus and colour.

    pixels: uint8 (H, W, 3) RGB. scale: by how much the network sees it enlarged, or made smaller.

    - ``brightness``: the median of the grey values, 0 to 255: the background of a bright field;
    - ``contrast``: their standard deviation;
    - ``focus``: the standard deviation of the Laplacian (after a blur of one pixel, which takes
      the camera's noise), as a part of the contrast (after Pertuz et al. 2013,
      doi:10.1016/j.patcog.2012.11.011, LAP4);
    - ``colour``: the mean difference of a pixel's strongest and weakest channel, 0 to 255.
    """
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    seen = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=way)
    grey = cv2.cvtColor(seen, cv2.COLOR_RGB2GRAY)
    edges = cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), 1), cv2.CV_32F)
    contrast = float(grey.std())
    return {
        "brightness": float(np.median(grey)),
        "contrast": contrast,
        "focus": float(edges.std()) / (contrast + FLAT),
        "colour": float((seen.max(axis=2) - seen.min(axis=2)).mean()),
    }


def ranges(fields: Iterable[Mapping[str, float]]) -> dict[str, list[float]]:
    """The least and the greatest value of each number over some fields (``measured``)."""
    rows = list(fields)
    names = rows[0] if rows else {}
    return {name: [min(r[name] for r in rows), max(r[name] for r in rows)] for name in names}


def spread(fields: Sequence[str]) -> list[str]:
    """At most MOST_FIELDS of the fields, evenly spread."""
    step = max(1, -(-len(fields) // MOST_FIELDS))  # rounded up
    return list(fields[::step])


def far_outside(field: Mapping[str, float], known: Mapping[str, Sequence[float]]) -> list[str]:
    """The numbers of a field that lie far outside the known ranges (by BEYOND), by name."""
    found = []
    for name, (low, high) in known.items():
        margin = BEYOND * (high - low)
        if not low - margin <= field[name] <= high + margin:
            found.append(name)
    return found
