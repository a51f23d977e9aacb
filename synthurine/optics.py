"""Bright-field image formation: how thickness and absorption become light and dark, at any focus.

A thin object of phase phi and optical density a changes the intensity I0 of an empty field to

    I = I0 exp(-c),   c = a * h_A - 2 phi * h_P        (* is a convolution)

This is the weak object of Streibl, J. Opt. Soc. Am. A 2, 121 (1985), doi:10.1364/JOSAA.2.000121.
h_A and h_P are given by their transfer functions, which are overlaps of the source (the
condenser's aperture) with the objective's pupil; the pupil carries the phase of defocus. In focus
H_P is zero: an unstained cell is invisible. Closing the condenser or turning the focus makes it
appear, with a bright or a dark rim, depending on the side of focus. For stronger objects the
logarithm keeps the intensity positive, and overlapping particles multiply.
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
    """Two numerical apertures and the chromatic error of focus."""

    na: float = 0.65  # of the objective
    condenser: float = 0.30
    axial: float = 0.5  # um that red is focused above green, and blue below it


def contrast(phase: Array, absorb: Array, k: float, z: float, microscope: Microscope) -> Array:
    """c of the equation above, (3, H, W) for R, G, B.

    phase: (H, W), radians in green. absorb: (3, H, W), natural optical density. k: pixels/um.
    z: um of defocus. The sheets have to be empty for about ``rim_width(z, microscope)`` um along
    their sides, because the picture repeats there.
    """
    height, width = phase.shape
    fy = fft.fftfreq(height, 1 / k)
    fx = fft.rfftfreq(width, 1 / k)
    f = np.sqrt(fy[:, None] ** 2 + fx[None] ** 2).astype(np.float32)  # cycles/um, (H, W/2+1)
    spectrum = fft.rfft2(phase)
    out = np.empty_like(absorb)
    for channel, plane in enumerate(absorb):
        focus = round((z + (1 - channel) * microscope.axial) / STEP) * STEP
        top, h_a, h_p = _transfer(focus, channel, microscope.na, microscope.condenser)
        # linear interpolation in the table of the transfer functions
        place = f * ((RADII - 1) / top)
        index = np.minimum(place.astype(np.int32), RADII - 2)
        part = np.minimum(place - index, 1)
        seen_a = h_a[index] * (1 - part) + h_a[index + 1] * part
        seen_p = h_p[index] * (1 - part) + h_p[index + 1] * part
        image = fft.rfft2(plane) * seen_a - 2 * spectrum * seen_p
        out[channel] = fft.irfft2(image, s=(height, width))
    bright = out < 0
    out[bright] = -BRIGHTEST * np.tanh(-out[bright] / BRIGHTEST)
    return out


def rim_width(z: float, microscope: Microscope) -> float:
    """How far a particle's rims go beyond its edge, in um, at ``z`` um of defocus."""
    return 1.5 + abs(z) * (microscope.condenser + 0.25) / WATER * 1.5


@lru_cache(maxsize=4096)
def _transfer(z: float, channel: int, na: float, condenser: float) -> tuple[float, Array, Array]:
    """The highest frequency that passes, and (H_A, H_P) at RADII frequencies from 0 to it."""
    wavelength = WAVELENGTH[channel]
    top = (na + condenser) / wavelength
    pupil = na / wavelength
    source = condenser / wavelength
    # the source points: those of a square grid that lie in the condenser's aperture
    s = (np.arange(RAYS) - (RAYS - 1) / 2) / ((RAYS - 1) / 2) * source
    sx, sy = np.meshgrid(s, s)
    lit = sx**2 + sy**2 <= source**2
    sx = sx[lit]  # (S,)
    sy = sy[lit]
    f = np.linspace(0, top, RADII)[:, None]
    passes = (sx + f) ** 2 + sy**2 <= pupil**2  # (RADII, S)
    # the pupil's phase of defocus, paraxial
    delay = np.pi * wavelength / WATER * z * ((sx + f) ** 2 - sx**2)
    # the same thickness delays blue light by more radians than green
    scale = WAVELENGTH[1] / wavelength
    h_a = (passes * np.cos(delay)).mean(1)
    h_p = scale * (passes * np.sin(delay)).mean(1)
    return top, h_a.astype(np.float32), h_p.astype(np.float32)
