"""Laboratories: each its own microscope, lamp, camera and habits, as in the paper ("different microscope models and
various smartphone cameras"). What a camera does to the light: sensor noise, demosaicking, white balance, tone,
sharpening, JPEG."""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib import resources

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from synthurine.optics import Array, Microscope, contrast


@dataclass(frozen=True)
class Laboratory:
    """One entry of ``config/laboratories.yaml``, which says what each number is."""

    microscope: Microscope
    light: tuple[float, float, float]
    vignette: float
    uneven: float
    focus: float
    dirt: float
    blur: float
    fringe: float
    noise: float
    tone: float
    sharpen: float
    jpeg: int
    zoom: float


SETTINGS = [f.name for f in fields(Laboratory)][2:]  # those that are one number each


def _laboratories() -> tuple[Laboratory, ...]:
    entries = yaml.safe_load(
        (resources.files("openurine_lib") / "config/laboratories.yaml").read_text(encoding="utf-8")
    )
    return tuple(
        Laboratory(Microscope(**e["microscope"]), tuple(e["light"]), **{k: e[k] for k in SETTINGS})
        for e in entries
    )


LABORATORIES = _laboratories()


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
    light = (shade * (1 + lab.uneven * 0.5 * slow[..., 0]))[..., None] * (
        1 + lab.uneven * 0.5 * slow[..., 1:]
    )
    phase, absorb = np.zeros((n, n), np.float32), np.zeros((3, n, n), np.float32)
    coarse = k * n / px  # pixels/um
    for _ in range(int(rng.poisson(lab.dirt * (px / k / 300) ** 2))):
        at = rng.uniform(0, n, 2)
        speck = (x * n + n / 2 - at[0]) ** 2 + (y * n + n / 2 - at[1]) ** 2 < (
            rng.uniform(1, 6) * coarse
        ) ** 2
        absorb += np.float32(rng.uniform(0.3, 1.5)) * speck
        phase += np.float32(rng.uniform(0, 2)) * speck
    rings = contrast(
        phase, absorb, coarse, float(rng.choice([-1, 1]) * rng.uniform(18, 60)), lab.microscope
    )
    rings *= 0.5
    planes = [cv2.resize(plane, (px, px), interpolation=cv2.INTER_CUBIC) for plane in rings]
    picture = cv2.resize(
        (light * colour).astype(np.float32), (px, px), interpolation=cv2.INTER_LINEAR
    )
    return np.stack(planes), picture


def photograph(
    c: Array, light: Array, lab: Laboratory, rng: np.random.Generator
) -> NDArray[np.uint8]:
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
