"""How a field looks, in five numbers, and whether that is far from what a detector was trained on.

A detector that meets a photograph, a dark field or one out of focus finds little, and that looks
like a clean sample. So the range of each number over training fields is kept with the weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np

MOST_FIELDS = 200  # of a training part that are measured, evenly spread over it
MIDDLE = (0.025, 0.975)  # quantiles: a set may hold a few odd fields
# A number is far outside if it lies beyond the range of the training fields by more than this part
# of the range's width, or by LEAST of its upper end if that is more (all fields may be alike). That
# part of a wide range may reach down to zero, where nothing is seen; so a number below HALF of the
# lower end is far outside, too. Of 150 real fields (UriSed2K) one was outside the range of drawn
# ones from a hundred laboratories; the four pictures in tests/no_micrographs.py are.
BEYOND, LEAST, HALF = 0.25, 0.1, 0.5
COLOUR = "colour"  # the number that may well be zero: a camera without colours
NEAR = 12  # grey values
FLAT = 1.0  # grey values: added to the contrast, so that an empty field has a focus


def measured(pixels: np.ndarray, scale: float = 1.0) -> dict[str, float]:
    """A field's brightness, contrast, focus, colour and background.

    pixels: uint8 (H, W, 3) RGB. scale: by how much the network sees it enlarged, or made smaller.

    - ``brightness``: the median of the grey values, 0 to 255: the background of a bright field;
    - ``contrast``: their standard deviation;
    - ``focus``: the standard deviation of the Laplacian (after a blur of one pixel, which takes
      the camera's noise), as a part of the contrast (after Pertuz et al. 2013,
      doi:10.1016/j.patcog.2012.11.011, LAP4);
    - ``colour``: the mean difference of a pixel's strongest and weakest channel, 0 to 255;
    - ``background``: the share of pixels within NEAR grey values of the median. Most of a bright
      field is background; of a photograph it is not.
    """
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    seen = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=way)
    grey = cv2.cvtColor(seen, cv2.COLOR_RGB2GRAY)
    edges = cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), 1), cv2.CV_32F)
    contrast, middle = float(grey.std()), float(np.median(grey))
    return {
        "brightness": middle,
        "contrast": contrast,
        "focus": float(edges.std()) / (contrast + FLAT),
        COLOUR: float((seen.max(axis=2) - seen.min(axis=2)).mean()),
        "background": float((np.abs(grey - middle) <= NEAR).mean()),
    }


def ranges(fields: Iterable[Mapping[str, float]]) -> dict[str, list[float]]:
    """The ends of the MIDDLE of each number over some fields (``measured``)."""
    rows = list(fields)
    names = rows[0] if rows else {}
    return {n: [float(q) for q in np.quantile([r[n] for r in rows], MIDDLE)] for n in names}


def spread(fields: Sequence[str]) -> list[str]:
    """At most MOST_FIELDS of the fields, evenly spread."""
    step = max(1, -(-len(fields) // MOST_FIELDS))  # rounded up
    return list(fields[::step])


def far_outside(field: Mapping[str, float], known: Mapping[str, Sequence[float]]) -> list[str]:
    """The names of a field's numbers that lie far outside the known ranges (BEYOND, LEAST)."""
    found = []
    for name, (low, high) in known.items():
        margin = max(BEYOND * (high - low), LEAST * high)
        lowest = low - margin if name == COLOUR else max(low - margin, HALF * low)
        if not lowest <= field[name] <= high + margin:
            found.append(name)
    return found
