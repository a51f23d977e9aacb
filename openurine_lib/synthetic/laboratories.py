"""Laboratories: each its own microscope, lamp, camera and habits, as in the paper ("different microscope models and
various smartphone cameras"). What a camera does to the light: sensor noise, demosaicking, white balance, tone,
sharpening, JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from openurine_lib.synthetic.optics import Array, Microscope, contrast


@dataclass(frozen=True)
class Laboratory:
    """Light and noise are fractions of white, lengths um of the specimen unless it says pixels."""

    microscope: Microscope
    light: tuple[float, float, float]  # the empty field as the camera renders it, R, G, B
    vignette: float  # loss of light in the corners
    uneven: float  # slow drift of brightness and of colour over the field
    focus: float  # where the technologist likes to focus: above (+) or below (-) the cells, um
    dirt: float  # specks on lamp, condenser and eyepiece in 300 x 300 um: far out of focus, so rings and soft discs
    blur: float  # lens and demosaicking, pixels
    fringe: float  # lateral chromatic error: red and blue are larger or smaller than green by this part
    noise: float
    tone: float  # exponent of the tone curve: above 1 is a harder picture
    sharpen: float  # unsharp mask: how much of the detail is added again
    jpeg: int  # quality
    zoom: float  # of the pixel size that was asked for


LABORATORIES = (
    # C-mount on a new microscope, LED
    Laboratory(Microscope(0.65, 0.30, 0.3), (0.84, 0.85, 0.83),
               0.06, 0.03, 1.6, 1, 0.5, 0.0002, 0.014, 1.0, 0.3, 94, 1.0),
    # smartphone held to the eyepiece, halogen lamp
    Laboratory(Microscope(0.65, 0.24, 0.7), (0.88, 0.82, 0.68),
               0.22, 0.06, 2.2, 3, 0.7, 0.0012, 0.020, 1.1, 0.9, 86, 0.95),
    # C-mount, blue daylight filter, condenser half closed
    Laboratory(Microscope(0.65, 0.20, 0.5), (0.74, 0.80, 0.86),
               0.08, 0.04, -1.8, 2, 0.6, 0.0004, 0.012, 1.0, 0.4, 92, 1.05),
    # smartphone on an adapter, greenish
    Laboratory(Microscope(0.60, 0.26, 0.9), (0.76, 0.82, 0.70),
               0.20, 0.07, 2.6, 4, 0.9, 0.0016, 0.024, 0.95, 1.1, 82, 1.0),
    # old microscope, low-resolution camera, pale and grey
    Laboratory(Microscope(0.55, 0.22, 0.8), (0.72, 0.72, 0.72),
               0.14, 0.05, -2.4, 4, 1.1, 0.0008, 0.018, 0.85, 0.2, 88, 0.92),
    # C-mount, warm and a little pink, open condenser: little contrast
    Laboratory(Microscope(0.70, 0.36, 0.4), (0.86, 0.78, 0.79),
               0.10, 0.04, 2.0, 1, 0.5, 0.0003, 0.013, 1.15, 0.5, 93, 1.03),
    # C-mount video camera, condenser closed, far from focus: thick dark rims, bright middles, much sharpening
    Laboratory(Microscope(0.65, 0.13, 0.6), (0.70, 0.72, 0.64),
               0.05, 0.03, 4.0, 1, 0.8, 0.0006, 0.026, 1.25, 1.6, 76, 1.0),
    # the same kind of camera, bluish light, focus on the other side
    Laboratory(Microscope(0.65, 0.16, 0.6), (0.80, 0.84, 0.88),
               0.05, 0.03, -2.6, 1, 0.7, 0.0006, 0.022, 1.2, 1.4, 78, 1.0),
)  # fmt: skip


def background(px: int, k: float, lab: Laboratory, rng: np.random.Generator) -> tuple[Array, Array]:
    """The empty field: contrast (3, px, px) of dirt far out of focus, and light (px, px, 3) in 0..1.

    All of it is smooth, so it is made on a coarse grid, whatever the pixels.
    """
    n = 192
    y, x = np.mgrid[0:n, 0:n].astype(np.float32) / n - 0.5
    cx, cy = rng.normal(0, 0.1, 2)
    shade = 1 - lab.vignette * 2 * ((x - cx) ** 2 + (y - cy) ** 2)
    drift = rng.standard_normal((4, 4, 4)).astype(np.float32)
    drift[..., 1:] *= 0.25  # brightness drifts more than colour
    slow = cv2.resize(drift, (n, n), interpolation=cv2.INTER_CUBIC)
    colour = np.array(lab.light) * rng.uniform(0.94, 1.05) * rng.normal(1, 0.012, 3)
    light = (shade * (1 + lab.uneven * 0.5 * slow[..., 0]))[..., None] * (1 + lab.uneven * 0.5 * slow[..., 1:])
    phase, absorb = np.zeros((n, n), np.float32), np.zeros((3, n, n), np.float32)
    coarse = k * n / px  # pixels/um
    for _ in range(int(rng.poisson(lab.dirt * (px / k / 300) ** 2))):
        at = rng.uniform(0, n, 2)
        speck = (x * n + n / 2 - at[0]) ** 2 + (y * n + n / 2 - at[1]) ** 2 < (rng.uniform(1, 6) * coarse) ** 2
        absorb += np.float32(rng.uniform(0.3, 1.5)) * speck
        phase += np.float32(rng.uniform(0, 2)) * speck
    rings = contrast(phase, absorb, coarse, float(rng.choice([-1, 1]) * rng.uniform(18, 60)), lab.microscope)
    rings *= 0.5
    planes = [cv2.resize(plane, (px, px), interpolation=cv2.INTER_CUBIC) for plane in rings]
    picture = cv2.resize((light * colour).astype(np.float32), (px, px), interpolation=cv2.INTER_LINEAR)
    return np.stack(planes), picture


def photograph(c: Array, light: Array, lab: Laboratory, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The camera's picture (H, W, 3) RGB of a specimen of contrast c (3, H, W) in that light (H, W, 3)."""
    px = c.shape[1]
    cv2.exp(-c, c)
    for channel, sign in ((0, 1), (2, -1)):
        if (s := 1 + sign * lab.fringe) != 1:
            move = np.array([[s, 0, (1 - s) * px / 2], [0, s, (1 - s) * px / 2]], np.float32)
            c[channel] = cv2.warpAffine(c[channel], move, (px, px), borderMode=cv2.BORDER_REPLICATE)
    picture = np.asarray(cv2.multiply(cv2.merge(list(c)), light), np.float32)
    # the sensor's noise is per pixel, so it is the one thing that differs between field sizes
    grain = np.random.default_rng(int(rng.integers(2**32))).standard_normal((px, px, 3), np.float32)
    picture += grain * (cv2.sqrt(picture) * np.float32(lab.noise))
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), max(lab.blur, 0.3)), np.float32)
    if lab.tone != 1:
        white = float(max(lab.light))
        picture = np.asarray(cv2.pow(np.maximum(picture, 0) / white, lab.tone) * white, np.float32)
    if lab.sharpen:
        picture += lab.sharpen * (picture - cv2.GaussianBlur(picture, (0, 0), 1.4))
    return cv2.convertScaleAbs(np.maximum(picture, 0), alpha=255)
