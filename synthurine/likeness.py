"""Laboratories like a folder's: what the simulator learns from fields that nobody has labelled.

At most FIELDS of them are measured (``look``). Those that look alike were taken by one camera; each
camera becomes a laboratory. Its light is copied. Aperture, focus, tone, sharpening, blur and noise
cannot be read off a picture, so fields are drawn with one guess after another, measured by the same
function, and the guess whose fields look most alike is kept. Focus above and below the cells may
look alike, so some of these numbers are not the camera's own; the pictures are like its pictures.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from tqdm.auto import tqdm

from synthurine.fields import lay
from synthurine.laboratories import Laboratory
from synthurine.look import Look, Pixels, look, look_at, read_rgb
from synthurine.optics import Microscope
from synthurine.spec import LEAST, spec_for

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
FIELDS = 60  # that are measured
CAMERAS = 8  # at most
UNLIKE = 6.0  # distance (Ward's) from which on fields are of two cameras
USUAL_UM = 0.2857  # micrometres a pixel where nothing tells: 240 um in 840 px
RED_CELL = 7.0  # um: the middle of the drawn ones
RIM = 5.0  # pixels that ``look`` adds to its diameter; both measured on drawn fields
TWO_POWERS = 2.2  # cells so many times smaller than most are seen through a weaker objective
LOW_POWER = 0.6  # um a pixel, from which on the objective is a 10x
OBJECTIVES = (0.65, 0.25)  # numerical apertures of a 40x and of a 10x
DRAWN_PX = 256  # side of the fields that are drawn to compare
DRAWN = ["RBC"] * 7 + ["WBC"] * 3 + ["Calcium oxalate"] * 3  # on them
GUESSES = (14, 20)  # at first from all that there is, then near the best one
#: Numbers of ``Look`` that are compared: what counts as a difference of one
SCALES = {"grain": 0.08, "grain_far": 0.08, "dark": 0.2, "bright": 0.06, "rim": 0.35}
RATIOS = ("dark", "rim")  # compared by their logarithms
LIGHT = 0.03  # of the light, likewise, where fields are grouped by cameras
NOISE = 0.2  # of the noise's logarithm
UNEVEN = 2.0  # a laboratory's ``uneven`` against what is measured, as drawn fields show
CONDENSERS = (0.13, 0.16, 0.2, 0.24, 0.3, 0.36)
#: What else is guessed: lowest and highest
GUESSED = {"focus": (-4.5, 4.5), "tone": (0.8, 1.4), "sharpen": (0.0, 3.5), "blur": (0.3, 1.5),
           "radius": (0.7, 1.8)}  # fmt: skip


def images_in(folder: str | Path) -> list[Path]:
    """The image files of a folder and of those in it. Raises ValueError if there is none."""
    found = [f for f in sorted(Path(folder).rglob("*")) if f.suffix.lower() in SUFFIXES]
    if not found:
        raise ValueError(f"{folder}: no image to learn a camera from; give a folder of fields")
    return found


def spec_like(um_per_px: float, fields: int, field_px: int) -> dict[str, int]:
    """The spec of a data set with pixels of that size; fields are wide enough for a cast."""
    px = max(field_px, math.ceil(LEAST["field_um"] / um_per_px))
    return spec_for(fields) | {"field_px": px, "field_um": round(px * um_per_px)}


def laboratories_like(
    paths: Sequence[str | Path],
    um_per_px: float | None = None,
    seed: int = 0,
    read: Callable[[str | Path], Pixels] = read_rgb,
) -> tuple[tuple[Laboratory, ...], float]:
    """The laboratories of some unlabelled fields, and the usual size of their pixels in um.

    Args:
        paths: image files.
        um_per_px: the size of a pixel, if it is known of them; else it is told by their red cells,
            and where there are none it is USUAL_UM.
        read: gives the pixels of a file, uint8 (H, W, 3) RGB.

    Raises ValueError for a file that cannot be read.
    """
    step = -(-len(paths) // FIELDS)  # rounded up
    bar = tqdm(list(paths)[::step], desc="measuring fields", unit="field")
    looks = [look_at(path, read) for path in bar]
    seen_by: list[tuple[list[Look], float, str]] = []  # fields, um a pixel, how it is known
    usual = um_per_px or usual_scale(looks)
    for group in cameras(looks):
        powers = [(usual, "given")] if um_per_px else scales(group, usual)
        seen_by += [(group, um, told) for um, told in powers]
    labs = []
    bar = tqdm(seen_by, desc="guessing cameras", unit="camera")
    for number, (group, um, told) in enumerate(bar, start=1):
        about = f"camera {number}: {len(group)} fields measured; {um:.3g} um a pixel ({told})"
        labs.append(fitted(group, um, usual / um, about, np.random.default_rng([seed, number])))
    return tuple(labs), usual


def cameras(looks: Sequence[Look]) -> list[list[Look]]:
    """The fields that were taken by one camera together, the largest group first."""
    if len(looks) == 1:
        return [list(looks)]
    numbers = np.array([
        [*(np.array(seen.light) / LIGHT), math.log(seen.noise) / NOISE,
         seen.grain / SCALES["grain"], seen.grain_far / SCALES["grain_far"]]
        for seen in looks
    ])  # fmt: skip
    tree = linkage(numbers, "ward")
    which = fcluster(tree, UNLIKE, "distance")
    if which.max() > CAMERAS:
        which = fcluster(tree, CAMERAS, "maxclust")
    groups = [[looks[i] for i in np.flatnonzero(which == n).tolist()] for n in np.unique(which)]
    return sorted(groups, key=len, reverse=True)


def usual_scale(looks: Sequence[Look]) -> float:
    """The size of a pixel in um in most fields that show enough red cells; else USUAL_UM."""
    cells = [seen.cell for seen in looks if not math.isnan(seen.cell)]
    return _um(cells) if cells else USUAL_UM


def scales(group: Sequence[Look], usual: float) -> list[tuple[float, str]]:
    """The sizes of a pixel in one camera's fields, um, and how they are known.

    A camera may have looked through two objectives: its red cells are then of two sizes.
    """
    cells = [seen.cell for seen in group if not math.isnan(seen.cell)]
    border = TWO_POWERS * usual
    weak = [cell for cell in cells if _um([cell]) > border]
    strong = [cell for cell in cells if _um([cell]) <= border]
    found = []
    if strong or not weak:
        found.append((usual, "by the red cells of all fields" if strong else "as most fields"))
    if weak:
        found.append((_um(weak), "by small red cells, as a weaker objective shows them"))
    return found


def _um(cells: Sequence[float]) -> float:
    """Micrometres a pixel, from the diameters of red cells in pixels."""
    return RED_CELL / max(float(np.median(cells)) - RIM, 1.0)


def fitted(
    group: Sequence[Look], um: float, zoom: float, about: str, rng: np.random.Generator
) -> Laboratory:
    """The laboratory whose drawn fields look most like the group's.

    um: micrometres a pixel. zoom: of the laboratory, against the data set's usual pixel.
    """
    aim = middle(group)
    # one seed for all: guesses are compared on the same particles and the same noise
    particles = int(rng.integers(2**32))
    best = None
    least = math.inf
    for number in range(sum(GUESSES)):
        near = best if number >= GUESSES[0] else None
        values, condenser, noise = _guess(rng, near)
        na = OBJECTIVES[um > LOW_POWER]
        lab = Laboratory(
            about=about, microscope=Microscope(na, min(condenser, 0.8 * na)),
            light=_before_tone(aim, values["tone"]), vignette=round(aim["vignette"], 3),
            uneven=round(UNEVEN * aim["uneven"], 3), dirt=2, fringe=0.0005,
            noise=noise or 1.5 * aim["noise"], jpeg=round(aim["jpeg"]), zoom=round(zoom, 4),
            **values,
        )  # fmt: skip
        lab, seen = _with_noise(lab, aim["noise"], um, particles)
        off = distance(aim, seen)
        if off < least:
            best, least = lab, off
    assert best is not None  # a distance is a finite number
    return best


def _guess(
    rng: np.random.Generator, near: Laboratory | None
) -> tuple[dict[str, float], float, float | None]:
    """The numbers GUESSED, the condenser's aperture, and the noise: anywhere, or near another's."""
    condenser = float(rng.choice(CONDENSERS))
    if near is None:
        values = {name: rng.uniform(*ends) for name, ends in GUESSED.items()}
        return {name: round(value, 3) for name, value in values.items()}, condenser, None
    values = {}
    for name, (low, high) in GUESSED.items():
        value = getattr(near, name) + 0.12 * (high - low) * rng.standard_normal()
        values[name] = round(float(np.clip(value, low, high)), 3)
    return values, near.microscope.condenser if rng.random() < 0.6 else condenser, near.noise


def middle(group: Sequence[Look]) -> dict[str, float]:
    """The median of each number over some fields; light as red, green, blue."""
    rows = [dataclasses.asdict(seen) for seen in group]
    red, green, blue = np.median([seen.light for seen in group], axis=0).tolist()
    numbers = {
        name: np.array([row[name] for row in rows], float) for name in rows[0] if name != "light"
    }
    medians = {
        name: float(np.nanmedian(v)) if not np.isnan(v).all() else math.nan
        for name, v in numbers.items()
    }
    return {"red": red, "green": green, "blue": blue} | medians


def distance(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """How unlike two looks (``middle``) are, but for noise and light; NaN does not count."""
    parts = []
    for name, scale in SCALES.items():
        a, b = one[name], other[name]
        if name in RATIOS:
            a, b = math.log(abs(a) + 1e-3), math.log(abs(b) + 1e-3)
        if not math.isnan(a - b):
            parts.append(((a - b) / scale) ** 2)
    return float(np.mean(parts))


def _before_tone(aim: Mapping[str, float], tone: float) -> tuple[float, float, float]:
    """The light that the camera's tone curve turns into the colour that is seen."""
    seen = np.array([aim["red"], aim["green"], aim["blue"]])
    red, green, blue = (seen.max() * (seen / seen.max()) ** (1 / tone)).round(4).tolist()
    return red, green, blue


def _with_noise(
    lab: Laboratory, noise: float, um: float, seed: int
) -> tuple[Laboratory, dict[str, float]]:
    """The laboratory with so much noise that its fields show ``noise``, and how they look."""
    seen = look(_drawn(lab, um, seed), lab.jpeg)
    for _ in range(2):
        factor = float(np.clip(noise / seen.noise, 0.2, 5))
        if abs(math.log(factor)) < 0.1:
            break
        lab = dataclasses.replace(lab, noise=round(lab.noise * factor, 4))
        seen = look(_drawn(lab, um, seed), lab.jpeg)
    return lab, middle([seen])


def _drawn(lab: Laboratory, um: float, seed: int) -> Pixels:
    """A small field of that laboratory as it would be read from its file."""
    image, _ = lay(DRAWN, DRAWN_PX, um, lab, np.random.default_rng(seed))
    setting = [cv2.IMWRITE_JPEG_QUALITY, lab.jpeg]
    _, stored = cv2.imencode(".jpg", image[..., ::-1], setting)
    read = cv2.imdecode(stored, cv2.IMREAD_COLOR)
    return np.ascontiguousarray(np.asarray(read, np.uint8)[..., ::-1])
