"""Bright-field image formation: how thickness and absorption become light and dark, at any focus.

A thin object of phase phi and optical density a changes the intensity I0 of an empty field to

    I = I0 exp(-c),   c = a * h_A - 2 phi * h_P        (* convolution; weak object, Streibl, J. Opt. Soc. Am. A 2, 121
                                                         (1985), doi:10.1364/JOSAA.2.000121)

h_A and h_P are given by their transfer functions, overlaps of the source (the condenser's aperture) with the
objective's pupil, which carries the phase of defocus. In focus H_P is zero: an unstained cell is invisible, and
closing the condenser or turning the focus makes it appear, with a bright or a dark rim by the side of focus. Beyond
the weak object the logarithm keeps the intensity positive, and overlapping particles multiply.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Array = NDArray[np.float32]
WAVELENGTH = (0.61, 0.54, 0.465)  # um in air: R, G, B
WATER = 1.335  # refractive index of urine
BRIGHTEST = 0.40  # a particle gathers at most exp(this) times the light of the empty field
STEP = 0.25  # um: focus is rounded to it, so that transfer functions can be kept
RAYS = 21  # source points across the condenser's aperture
RADII = 96  # frequencies at which a transfer function is computed


@dataclass(frozen=True)
class Microscope:
    """``na``, ``condenser``: numerical apertures of objective and condenser. ``axial``: chromatic error of focus, um
    (red is focused so much above green, blue so much below)."""

    na: float = 0.65
    condenser: float = 0.30
    axial: float = 0.5


def contrast(phase: Array, absorb: Array, k: float, z: float, microscope: Microscope) -> Array:
    """c of the equation above, (3, H, W) for R, G, B.

    phase: (H, W), radians in green. absorb: (3, H, W), natural optical density. k: pixels/um. z: um of defocus. The
    sheets have to be empty for about ``reach(z, microscope)`` um along their sides; the picture repeats there.
    """
    height, width = phase.shape
    fy, fx = fft.fftfreq(height, 1 / k), fft.rfftfreq(width, 1 / k)
    f = np.sqrt(fy[:, None] ** 2 + fx[None] ** 2).astype(np.float32)  # cycles/um
    spectrum = fft.rfft2(phase)
    out = np.empty_like(absorb)
    for channel, plane in enumerate(absorb):
        at = round((z + (1 - channel) * microscope.axial) / STEP) * STEP
        top, h_a, h_p = _transfer(at, channel, microscope.na, microscope.condenser)
        where = f * ((RADII - 1) / top)
        index = np.minimum(where.astype(np.int32), RADII - 2)
        part = np.minimum(where - index, 1)
        seen_a = h_a[index] * (1 - part) + h_a[index + 1] * part
        seen_p = h_p[index] * (1 - part) + h_p[index + 1] * part
        out[channel] = fft.irfft2(
            fft.rfft2(plane) * seen_a - 2 * spectrum * seen_p, s=(height, width)
        )
    bright = out < 0
    out[bright] = -BRIGHTEST * np.tanh(-out[bright] / BRIGHTEST)
    return out


def reach(z: float, microscope: Microscope) -> float:
    """How far, um, a particle's rims go beyond its edge."""
    return 1.5 + abs(z) * (microscope.condenser + 0.25) / WATER * 1.5


@lru_cache(maxsize=4096)
def _transfer(z: float, channel: int, na: float, condenser: float) -> tuple[float, Array, Array]:
    """The highest frequency that passes, and (H_A, H_P) at RADII frequencies from 0 to it."""
    wavelength = WAVELENGTH[channel]
    top = (na + condenser) / wavelength
    edge, source = na / wavelength, condenser / wavelength
    s = (np.arange(RAYS) - (RAYS - 1) / 2) / ((RAYS - 1) / 2) * source
    sx, sy = np.meshgrid(s, s)
    lit = sx**2 + sy**2 <= source**2
    sx, sy = sx[lit], sy[lit]  # (S,)
    f = np.linspace(0, top, RADII)[:, None]
    passes = (sx + f) ** 2 + sy**2 <= edge**2
    delay = (
        np.pi * wavelength / WATER * z * ((sx + f) ** 2 - sx**2)
    )  # the pupil's phase of defocus, paraxial
    scale = (
        WAVELENGTH[1] / wavelength
    )  # the same thickness delays blue light by more radians than green
    h_a = (passes * np.cos(delay)).mean(1)
    h_p = scale * (passes * np.sin(delay)).mean(1)
    return top, h_a.astype(np.float32), h_p.astype(np.float32)
