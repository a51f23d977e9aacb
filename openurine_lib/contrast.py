"""A field's contrast, brought to a usual one before a detector looks at it.

Cameras differ in contrast more than in anything else that a detector minds: one sharpens and
hardens its pictures, the next shows cells that can hardly be seen. The contrast of a field is the
root mean square of what differs from its own background (the field without all that is small). It
is multiplied so that every field has the same, as in global contrast normalization (Goodfellow,
Bengio and Courville 2016, Deep Learning, section 12.2.1.1), but for the background, which stays.
"""

from __future__ import annotations

import cv2
import numpy as np

from synthurine.look import EDGE, background

LEAST, MOST = 0.4, 2.5  # factors: an empty field's noise is not made into particles


def brought_to(image: np.ndarray, contrast: float) -> np.ndarray:
    """The field, uint8 (H, W, 3) RGB, with that contrast in grey levels, if the factors allow.

    0 leaves it as it is.
    """
    if not contrast:
        return image
    empty = background(image)
    difference = image - empty
    top, left = (round(EDGE * side) for side in image.shape[:2])  # frame grabbers leave strips
    inner = difference[top : image.shape[0] - top, left : image.shape[1] - left]
    now = float(np.sqrt(np.mean(np.square(inner))))
    factor = np.clip(contrast / max(now, 1e-6), LEAST, MOST)
    return cv2.convertScaleAbs(np.maximum(empty + factor * difference, 0))
