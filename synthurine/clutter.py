"""What a field has besides particles in some laboratories: mottle, lines, an edge, grains.

Nothing of it is labelled. A detector that has never seen it takes it for particles.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from scipy import fft

from synthurine.optics import Array, Microscope, contrast, rim_width

MOTTLE_UM = (0.8, 6.0)  # the grain of a mottled background
LINE_UM = (0.4, 2.5)  # the width of a scratch or a ruled line
LINE_DEPTH = (0.08, 0.7)  # its contrast
EDGE_UM = (2.0, 12.0)  # over which the light changes at a coverslip's edge
EDGE_STEP = (0.06, 0.35)  # by how much, as a contrast
GRAIN_UM = (0.5, 2.2)  # the radius of a grain: half of a red cell's at most
GRAIN_FOCUS = 3.0  # um, standard deviation about the particles' focus
DROPS = 0.5  # share of the grains that bend light; the others take it
TWINS = 0.2  # share of the grains that are two


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


def grains(
    px: int, k: float, mean: float, focus: float, microscope: Microscope, rng: np.random.Generator
) -> Array:
    """Drops, dust and crumbs as contrast, (3, px, px): sharp, and half as wide as a red cell.

    k: pixels/um. mean: how many there are in a field of 300 um, in the mean of many fields. focus:
    of the particles, um. A drop bends the light as a small lens does: it has a dark ring and a
    bright middle, or the other way round. Dust is dark.
    """
    margin = math.ceil(40 * k)  # a grain may lie across the field's side
    c = np.zeros((3, px + 2 * margin, px + 2 * margin), np.float32)
    amount = mean * rng.gamma(1.5) / 1.5  # fields are clean or dirty
    for _ in range(int(rng.poisson(amount * (px / k / 300) ** 2))):
        seen = _grain(k, focus + rng.normal(0, GRAIN_FOCUS), microscope, rng)
        side = seen.shape[1]
        x, y = (rng.uniform(0, px, 2) + margin - side / 2).astype(int)
        c[:, y : y + side, x : x + side] += seen
    return c[:, margin:-margin, margin:-margin]


def _grain(k: float, z: float, microscope: Microscope, rng: np.random.Generator) -> Array:
    """One grain, or two that touch, (3, n, n), with room for their rims. z: um of defocus."""
    radius = rng.uniform(*GRAIN_UM)
    angle = rng.uniform(0, np.pi)
    room = min(6 * radius + 2 * rim_width(z, microscope), 75.0)  # um
    n = fft.next_fast_len(math.ceil(room * k), real=True)
    y, x = (np.mgrid[0:n, 0:n].astype(np.float32) - n / 2) / k
    u = x * np.cos(angle) + y * np.sin(angle)
    v = (y * np.cos(angle) - x * np.sin(angle)) / rng.uniform(0.6, 1.0)
    middles = [-0.9 * radius, 0.9 * radius] if rng.random() < TWINS else [0.0]
    # a ball's thickness, as a share of its diameter
    thick = sum(np.sqrt(np.maximum(1 - ((u - m) ** 2 + v**2) / radius**2, 0)) for m in middles)
    thick = np.asarray(thick, np.float32)
    if rng.random() < DROPS:
        phase, depth = rng.choice([-0.5, 1.0]) * rng.uniform(0.8, 4.0), rng.uniform(0, 0.2)
    else:
        phase, depth = rng.uniform(0, 1.0), rng.uniform(0.4, 2.0)
    tint = rng.uniform(0.8, 1.0, (3, 1, 1)).astype(np.float32)
    absorb = np.float32(depth) * tint * thick
    return contrast(np.float32(phase) * thick, absorb, k, z, microscope)


def _across(px: int, k: float, angle: float) -> Array:
    """How far each pixel lies in the direction of the angle, um, (px, px)."""
    y, x = np.mgrid[0:px, 0:px].astype(np.float32) / k
    return x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
