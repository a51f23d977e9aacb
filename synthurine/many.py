"""Laboratories at random: a detector that has seen many cameras is not surprised by the next one.

The eight laboratories of ``config/laboratories.yaml`` are kinds that exist. A detector that learned
from them alone takes what is particular to them for a part of the particles. Here every number of a
laboratory is drawn by itself, in the ranges of ``config/ranges.yaml``, so that no combination of
them stands for anything: domain randomization (Tobin et al. 2017, doi:10.1109/IROS.2017.8202133).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from synthurine.files import read_config
from synthurine.laboratories import Laboratory
from synthurine.optics import Microscope

RANGES = read_config("ranges.yaml")
# numbers of a laboratory that are drawn as they are; the others need more than a range
PLAIN = ("vignette", "uneven", "focus", "dirt", "blur", "fringe", "noise", "tone", "sharpen",
         "radius")  # fmt: skip
SOMETIMES = ("mottle", "lines", "edge")
OPENEST = 0.8  # of the objective's aperture: a condenser that is open as far as is of use


def laboratories_at_random(n: int, seed: int = 0) -> tuple[Laboratory, ...]:
    """So many laboratories, the same ones for the same seed. Raises ValueError for none."""
    if n < 1:
        raise ValueError(f"{n} laboratories: at least one is needed")
    return tuple(_drawn(i, np.random.default_rng([seed, i])) for i in range(n))


def _drawn(number: int, rng: np.random.Generator) -> Laboratory:
    weak = rng.random() < RANGES["weak"]["share"]
    optics = RANGES["microscope"]
    na = _within((RANGES["weak"] if weak else optics)["na"], rng)
    condenser = min(_within(optics["condenser"], rng), OPENEST * na)
    microscope = Microscope(na, round(condenser, 3), _within(optics["axial"], rng))
    brightness = _within(RANGES["brightness"], rng)
    red, green, blue = (min(brightness * _within(RANGES["tint"], rng), 0.98) for _ in range(3))
    numbers: dict[str, Any] = {name: _within(RANGES[name], rng) for name in PLAIN}
    for name in SOMETIMES:
        has_it = rng.random() < RANGES[name]["share"]
        numbers[name] = _within(RANGES[name]["range"], rng) if has_it else 0.0
    return Laboratory(
        about=f"at random, number {number + 1}{', a weak objective' if weak else ''}",
        microscope=microscope,
        light=(round(red, 3), round(green, 3), round(blue, 3)),
        jpeg=int(rng.integers(RANGES["jpeg"][0], RANGES["jpeg"][1] + 1)),
        zoom=_within((RANGES["weak"] if weak else RANGES)["zoom"], rng),
        **numbers,
    )


def _within(ends: Sequence[float], rng: np.random.Generator) -> float:
    low, high = ends
    return round(float(rng.uniform(low, high)), 4)
