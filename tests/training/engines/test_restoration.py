"""Super-resolution, Wiener filter and wavelets before the detector (Avci et al. 2023)."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from openurine_lib.training.engines.restoration import doubled, restored


@pytest.fixture
def field():
    """Discs and a bar with sharp edges: float (128, 128, 3) in 0..1."""
    yy, xx = np.mgrid[:128, :128]
    pixels = np.full((128, 128, 3), 0.8, np.float32)
    for y, x, r, colour in (
        (30, 40, 17, (0.5, 0.2, 0.2)),
        (80, 90, 25, (0.2, 0.5, 0.2)),
        (95, 30, 12, (0.2, 0.2, 0.5)),
    ):
        pixels[(yy - y) ** 2 + (xx - x) ** 2 < r * r] = colour
    pixels[60:70, 5:60] = 0.3
    return pixels


def test_doubling_brings_back_more_of_the_edges_than_bicubic_enlargement(field):
    truth = torch.from_numpy(field).permute(2, 0, 1)
    small = F.interpolate(truth[None], scale_factor=0.5, mode="area")[0]
    bicubic = F.interpolate(small[None], scale_factor=2, mode="bicubic", align_corners=False)[
        0
    ].clamp(0, 1)
    found = doubled(small)
    assert found.shape == truth.shape
    assert (found - truth).square().mean() < 0.7 * (bicubic - truth).square().mean()


def test_nothing_moves(field):
    """The centre of mass of a disc stays where it is.

    So the boxes of the field hold for what the detector sees.
    """
    rgb = (field * 255).astype(np.uint8)
    found = restored(rgb, 128)
    assert found.shape == (256, 256, 3) and found.dtype == np.uint8
    for image, scale in ((rgb, 1), (found, 2)):
        ys, xs = np.nonzero(
            image[..., 0][50 * scale :, 62 * scale :] < 120
        )  # the green disc, centre (90, 80)
        assert (xs.mean() + 0.5) / scale + 62 == pytest.approx(90.5, abs=0.3)
        assert (ys.mean() + 0.5) / scale + 50 == pytest.approx(80.5, abs=0.3)


def test_noise_falls_and_edges_stay(field):
    noise = np.random.default_rng(0).normal(0, 0.04, field.shape)
    noisy = ((field + noise).clip(0, 1) * 255).astype(np.uint8)
    found = restored(noisy, 128)
    assert found[4:30, 200:250].std() < 0.8 * noisy[2:15, 100:125].std()
    bar = found[118:150, 60].mean(-1)  # across the bar's upper edge, at row 120
    assert bar[0] > 180 and bar[10] < 110


@pytest.mark.parametrize(
    ("size", "imgsz", "seen"), [((90, 301), 96, (56, 192)), ((33, 17), 33, (66, 34))]
)
def test_any_size_and_flat_fields(size, imgsz, seen):
    assert restored(np.zeros((*size, 3), np.uint8), imgsz).shape == (*seen, 3)
    assert np.unique(restored(np.full((*size, 3), 200, np.uint8), imgsz)).tolist() == [200]
