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
    foci = [round((z + (1 - channel) * microscope.axial) / STEP) * STEP for channel in range(3)]
    tables = [
        _transfer(focus, channel, microscope.na, microscope.condenser)
        for channel, focus in enumerate(foci)
    ]
    # All colours at once: most sheets are so small that a call costs more than what it computes.
    # Linear interpolation in the tables of the transfer functions, which lie one after another.
    h_a = np.concatenate([table[1] for table in tables])
    h_p = np.concatenate([table[2] for table in tables])
    finest = np.array([(RADII - 1) / table[0] for table in tables], np.float32)
    place = f * finest[:, None, None]  # (3, H, W/2+1)
    index = np.minimum(place.astype(np.intp), RADII - 2)
    after = np.minimum(place - index.astype(np.float32), 1)
    before = 1 - after
    index += np.arange(0, 3 * RADII, RADII)[:, None, None]
    seen_a = h_a[index] * before
    seen_p = h_p[index] * before
    index += 1
    seen_a += h_a[index] * after
    seen_p += h_p[index] * after
    spectra = fft.rfft2(np.concatenate([absorb, phase[None]]))  # (4, H, W/2+1)
    images = spectra[:3] * seen_a - 2 * spectra[3] * seen_p
    out = np.asarray(fft.irfft2(images, s=(height, width), overwrite_x=True), np.float32)
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
