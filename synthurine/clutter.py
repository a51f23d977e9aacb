"""What a field has besides particles in some laboratories: mottle, lines, the edge of a coverslip.

Nothing of it is labelled. A detector that has never seen it takes it for particles.
"""

from __future__ import annotations

import cv2
import numpy as np

from synthurine.optics import Array

MOTTLE_UM = (0.8, 6.0)  # the grain of a mottled background
LINE_UM = (0.4, 2.5)  # the width of a scratch or a ruled line
LINE_DEPTH = (0.08, 0.7)  # its contrast
EDGE_UM = (2.0, 12.0)  # over which the light changes at a coverslip's edge
EDGE_STEP = (0.06, 0.35)  # by how much, as a contrast


def mottle(px: int, k: float, rng: np.random.Generator) -> Array:
    """A grainy pattern of mean 0 and standard deviation 1, (px, px). k: pixels/um."""
    grain = float(rng.uniform(*MOTTLE_UM)) * k  # pixels
    # drawn as coarse as it is: a small picture, enlarged
    side = max(8, min(px, round(2 * px / max(grain, 1))))
    pattern = rng.standard_normal((side, side)).astype(np.float32)
    pattern = np.asarray(cv2.GaussianBlur(pattern, (0, 0), 1.0), np.float32)
    pattern = np.asarray(cv2.resize(pattern, (px, px), interpolation=cv2.INTER_CUBIC), np.float32)
    return (pattern - pattern.mean()) / pattern.std()


def lines(px: int, k: float, mean: float, rng: np.random.Generator) -> Array:
    """Scratches and ruled lines as contrast, (px, px): dark or bright, across the field.

    mean: how many there are, in the mean of many fields. A ruled chamber shows several that are
    parallel, a scratch lies alone.
    """
    c = np.zeros((px, px), np.float32)
    for _ in range(int(rng.poisson(mean))):
        across = _across(px, k, rng.uniform(0, np.pi))
        width = rng.uniform(*LINE_UM)
        depth = rng.choice([-0.6, 1.0]) * rng.uniform(*LINE_DEPTH)
        at = rng.uniform(across.min(), across.max())
        for number in range(int(rng.choice([1, 1, 2, 3]))):
            away = across - np.float32(at + number * 5 * width)
            # a groove: its rims are of the other sign
            groove = np.exp(-((away / width) ** 2)) - 0.5 * np.exp(-((away / (2 * width)) ** 2))
            c += np.float32(depth) * groove
    return c


def edge(px: int, k: float, rng: np.random.Generator) -> Array:
    """The edge of a coverslip as contrast, (px, px): a step in the light along a line."""
    across = _across(px, k, rng.uniform(0, 2 * np.pi))
    at = rng.uniform(*np.quantile(across, (0.05, 0.95)))
    step = rng.uniform(*EDGE_STEP)
    return np.float32(step) / (1 + np.exp(-(across - np.float32(at)) / rng.uniform(*EDGE_UM)))


def _across(px: int, k: float, angle: float) -> Array:
    """How far each pixel lies in the direction of the angle, um, (px, px)."""
    y, x = np.mgrid[0:px, 0:px].astype(np.float32) / k
    return x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
