"""Laboratories: each has its own microscope, lamp, camera and habits.

The paper's images come from "different microscope models and various smartphone cameras". What a
camera does to the light: sensor noise, demosaicking, white balance, tone, sharpening, JPEG.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from synthurine import clutter
from synthurine.files import read_config, write_text
from synthurine.optics import Array, Microscope, contrast

COARSE = 192  # side in pixels of the grid on which an empty field is made: all of it is smooth


@dataclass(frozen=True)
class Laboratory:
    """One entry of ``config/laboratories.yaml``; the file says what each number means."""

    about: str
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
    radius: float = 1.4
    mottle: float = 0.0
    lines: float = 0.0
    edge: float = 0.0


def _laboratory(entry: dict[str, Any]) -> Laboratory:
    microscope = Microscope(**entry["microscope"])
    return Laboratory(**entry | {"microscope": microscope, "light": tuple(entry["light"])})


def described(labs: Sequence[Laboratory]) -> list[dict[str, Any]]:
    """The laboratories as a YAML file lists them."""
    return [asdict(lab) | {"light": list(lab.light)} for lab in labs]


def write_laboratories(path: str | Path, labs: Sequence[Laboratory], um_per_px: float) -> None:
    """Writes laboratories to a YAML file that a person can read, edit, and draw with again."""
    content = {"um_per_px": um_per_px, "laboratories": described(labs)}
    write_text(path, yaml.safe_dump(content, sort_keys=False))


def read_laboratories(path: str | Path) -> tuple[tuple[Laboratory, ...], float]:
    """The laboratories of a YAML file, and the usual size of a pixel there in um.

    The file is one of ``write_laboratories``, perhaps edited since. Raises ValueError for another.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        labs = tuple(_laboratory(entry) for entry in content["laboratories"])
        um = float(content["um_per_px"])
        if not labs or not 0 < um < math.inf:
            raise ValueError("it lists none, or their pixels have no size")
    except (TypeError, KeyError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise ValueError(
            f"{path}: does not describe laboratories ({error}); "
            "give the laboratories.yaml that was left beside drawn fields, or a folder of images"
        ) from error
    return labs, um


LABORATORIES = tuple(_laboratory(entry) for entry in read_config("laboratories.yaml"))


def background(px: int, k: float, lab: Laboratory, rng: np.random.Generator) -> tuple[Array, Array]:
    """The empty field: contrast (3, px, px) of dirt out of focus, and light (px, px, 3) in 0..1.

    px: side of the field in pixels. k: pixels/um.
    """
    light = _light(lab, rng)
    y, x = np.mgrid[0:COARSE, 0:COARSE].astype(np.float32) / COARSE - 0.5
    phase = np.zeros((COARSE, COARSE), np.float32)
    absorb = np.zeros((3, COARSE, COARSE), np.float32)
    coarse_k = k * COARSE / px  # pixels/um of the coarse grid
    for _ in range(int(rng.poisson(lab.dirt * (px / k / 300) ** 2))):
        at = rng.uniform(0, COARSE, 2)
        dx = x * COARSE + COARSE / 2 - at[0]
        dy = y * COARSE + COARSE / 2 - at[1]
        speck = dx**2 + dy**2 < (rng.uniform(1, 6) * coarse_k) ** 2
        absorb += np.float32(rng.uniform(0.3, 1.5)) * speck
        phase += np.float32(rng.uniform(0, 2)) * speck
    z = float(rng.choice([-1, 1]) * rng.uniform(18, 60))  # um: on the lamp or on the eyepiece
    rings = contrast(phase, absorb, coarse_k, z, lab.microscope)
    rings *= 0.5
    planes = [cv2.resize(plane, (px, px), interpolation=cv2.INTER_CUBIC) for plane in rings]
    c = np.stack(planes)
    light = np.asarray(cv2.resize(light, (px, px), interpolation=cv2.INTER_LINEAR), np.float32)
    # nothing is drawn of what a laboratory has not, so its fields do not depend on what others have
    if lab.mottle:
        light *= 1 + np.float32(lab.mottle) * clutter.mottle(px, k, rng)[..., None]
    if lab.lines:
        c += clutter.lines(px, k, lab.lines, rng)
    if lab.edge and rng.random() < lab.edge:
        c += clutter.edge(px, k, rng)
    return c, light


def _light(lab: Laboratory, rng: np.random.Generator) -> Array:
    """The lamp's light (COARSE, COARSE, 3): darker to the corners, drifting, coloured."""
    y, x = np.mgrid[0:COARSE, 0:COARSE].astype(np.float32) / COARSE - 0.5
    middle_x, middle_y = rng.normal(0, 0.1, 2)
    shade = 1 - lab.vignette * 2 * ((x - middle_x) ** 2 + (y - middle_y) ** 2)
    drift = rng.standard_normal((4, 4, 4)).astype(np.float32)  # brightness, then R, G, B
    drift[..., 1:] *= 0.25  # brightness drifts more than colour
    slow = cv2.resize(drift, (COARSE, COARSE), interpolation=cv2.INTER_CUBIC)
    brightness = shade * (1 + lab.uneven * 0.5 * slow[..., 0])
    tint = 1 + lab.uneven * 0.5 * slow[..., 1:]
    colour = np.array(lab.light) * rng.uniform(0.94, 1.05) * rng.normal(1, 0.012, 3)
    return (brightness[..., None] * tint * colour).astype(np.float32)


def photograph(
    c: Array, light: Array, lab: Laboratory, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The camera's picture (H, W, 3) RGB of a specimen in that light. Overwrites ``c``.

    c: the specimen's contrast (3, H, W). light: (H, W, 3) in 0..1.
    """
    px = c.shape[1]
    cv2.exp(-c, c)  # from contrast to the part of the light that arrives
    for channel, sign in ((0, 1), (2, -1)):  # red and blue are magnified unlike green
        scale = 1 + sign * lab.fringe
        if scale != 1:
            shift = (1 - scale) * px / 2
            move = np.array([[scale, 0, shift], [0, scale, shift]], np.float32)
            c[channel] = cv2.warpAffine(c[channel], move, (px, px), borderMode=cv2.BORDER_REPLICATE)
    picture = np.asarray(cv2.multiply(cv2.merge(list(c)), light), np.float32)
    # the sensor's noise is one number a pixel, so it alone differs between field sizes in pixels
    noise_rng = np.random.default_rng(int(rng.integers(2**32)))
    grain = noise_rng.standard_normal((px, px, 3), np.float32)
    picture += grain * (cv2.sqrt(picture) * np.float32(lab.noise))
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), max(lab.blur, 0.3)), np.float32)
    if lab.tone != 1:
        white = float(max(lab.light))
        picture = np.asarray(cv2.pow(np.maximum(picture, 0) / white, lab.tone) * white, np.float32)
    if lab.sharpen:  # unsharp mask
        blurred = cv2.GaussianBlur(picture, (0, 0), lab.radius)
        cv2.addWeighted(picture, 1 + lab.sharpen, blurred, -lab.sharpen, 0, picture)
    return cv2.convertScaleAbs(np.maximum(picture, 0), alpha=255)
