"""What Avci et al. 2023 do to a field before detection: super-resolution, Wiener filter, wavelets.

Their abstract names the steps (self-similarity based single-image super-resolution, a denoising
Wiener filter, a discrete wavelet transform) and none of their settings. Here: doubling by local
self-examples, the adaptive Wiener filter over 3 x 3 pixels, and soft thresholding of the wavelet
coefficients (BayesShrink), with the libraries' defaults.
"""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
import pywt  # noqa: F401  (denoise_wavelet would look for it only when it is called)
import torch
from scipy.signal import wiener
from skimage.restoration import denoise_wavelet
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2.functional import resize

WIENER = 3  # pixels
NEAR = 1  # how far away, in pixels of the small image, an example is looked for
PATCH = 3  # pixels


def restored(rgb: np.ndarray, imgsz: int) -> np.ndarray:
    """The field brought to ``imgsz`` (longer side), doubled and denoised. uint8 (H, W, 3)."""
    pixels = torch.from_numpy(rgb).permute(2, 0, 1).float() / 255  # (3, H, W)
    image = doubled(resize(pixels, None, max_size=imgsz, antialias=False)).numpy()  # (3, 2H, 2W)
    clean = np.stack([_denoised(channel) for channel in image])
    # (H, W, 3)
    return (clean.clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)


def _denoised(channel: np.ndarray) -> np.ndarray:
    """One channel, float (H, W)."""
    if np.ptp(channel) == 0:
        return channel  # no noise; both libraries would divide by a variance of zero
    padded = np.pad(channel, WIENER, mode="reflect")  # beyond the edge, scipy sees black
    # scipy divides by local variances before it looks whether they are zero
    with np.errstate(divide="ignore", invalid="ignore"):
        smooth = wiener(padded, WIENER)[WIENER:-WIENER, WIENER:-WIENER]
    return denoise_wavelet(smooth)


def doubled(image: Tensor) -> Tensor:
    """Super-resolution from the image itself: float (3, H, W) in 0..1 -> (3, 2H, 2W).

    A bicubic enlargement lacks detail. For each of its pixels, the most similar patch of the small
    image, smoothed alike, is looked for around the same place. What the smoothing took away there
    is added (local self-examples, Freedman and Fattal 2011,
    https://doi.org/10.1145/1944846.1944852).
    """
    height, width = image.shape[1:]
    small = image[None]  # (1, 3, H, W)
    resized = partial(F.interpolate, mode="bicubic", align_corners=False)
    large = resized(small, scale_factor=2)  # (1, 3, 2H, 2W)
    half = resized(small, scale_factor=0.5, antialias=True)  # (1, 3, H/2, W/2)
    smooth = resized(half, size=(height, width))  # (1, 3, H, W), as soft as ``large`` is
    # what ``smooth`` lacks; padded, as examples are looked for across the edge, too
    detail = F.pad(small - smooth, (NEAR,) * 4, mode="replicate")
    # of the large image's pixels, (9, H, 2, W, 2): four of them lie in a pixel of the small one
    wanted = _patches(large.mean(1, keepdim=True)).view(PATCH**2, height, 2, width, 2)
    # of the small image's pixels, (9, H + 2, W + 2)
    examples = _patches(F.pad(smooth.mean(1, keepdim=True), (NEAR,) * 4, mode="replicate"))
    best = torch.full((height, 2, width, 2), torch.inf)  # distance to the best example so far
    added = torch.zeros(3, height, 2, width, 2)  # the detail at that example
    # the nearest first, as the first of equals is taken
    shifts = product(range(2 * NEAR + 1), repeat=2)
    for dy, dx in sorted(shifts, key=lambda shift: sum(abs(d - NEAR) for d in shift)):
        rows = slice(dy, dy + height)
        columns = slice(dx, dx + width)
        example = examples[:, rows, None, columns, None]  # (9, H, 1, W, 1)
        unlike = (wanted - example).square().sum(0)  # (H, 2, W, 2)
        found = detail[0, :, rows, None, columns, None]  # (3, H, 1, W, 1)
        added = torch.where(unlike < best, found, added)  # (3, H, 2, W, 2)
        best = torch.minimum(unlike, best)
    return (large[0] + added.reshape(3, 2 * height, 2 * width)).clamp(0, 1)


def _patches(gray: Tensor) -> Tensor:
    """(1, 1, H, W) -> (9, H, W): the pixels around every pixel."""
    padded = F.pad(gray, (PATCH // 2,) * 4, mode="replicate")
    return F.unfold(padded, PATCH).view(PATCH**2, *gray.shape[2:])
