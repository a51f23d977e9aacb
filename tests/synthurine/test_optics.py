"""Image formation: what is seen of thin and of absorbing objects, in and out of focus."""

import numpy as np

from synthurine.optics import Microscope, contrast


def test_a_transparent_cell_shows_out_of_focus_only_and_turns_with_the_focus():
    y, x = np.mgrid[-64:64, -64:64] / 8.0
    cell = (np.hypot(x, y) < 3.5).astype(np.float32)
    clear = np.zeros((3, 128, 128), np.float32)
    at = {z: contrast(cell, clear, 8.0, z, Microscope(axial=0.0)) for z in (-2.0, 0.0, 2.0)}
    assert np.abs(at[0.0]).max() < 1e-3 < 0.1 < np.abs(at[2.0]).max()
    dark = {
        z: np.maximum(c, 0) for z, c in at.items()
    }  # the bright side is limited, so only the dark one is compared
    assert np.corrcoef(dark[2.0].ravel(), np.maximum(-at[-2.0], 0).ravel())[0, 1] > 0.9


def test_an_absorbing_disc_keeps_its_density_and_blurs_with_focus():
    y, x = np.mgrid[-64:64, -64:64] / 8.0
    disc = np.stack([(np.hypot(x, y) < 4).astype(np.float32) * 0.5] * 3)
    none = np.zeros((128, 128), np.float32)
    sharp, soft = (contrast(none, disc, 8.0, z, Microscope(axial=0.0)) for z in (0.0, 6.0))
    assert abs(sharp[1, 64, 64] - 0.5) < 0.02
    assert np.isclose(sharp.sum(), disc.sum(), rtol=0.02) and np.isclose(
        soft.sum(), disc.sum(), rtol=0.05
    )
    assert np.abs(np.diff(soft[1, 64])).max() < 0.7 * np.abs(np.diff(sharp[1, 64])).max()


def test_colours_come_to_focus_at_different_depths():
    y, x = np.mgrid[-64:64, -64:64] / 8.0
    cell = (np.hypot(x, y) < 3.5).astype(np.float32)
    red, _, blue = contrast(
        cell, np.zeros((3, 128, 128), np.float32), 8.0, 0.0, Microscope(axial=0.8)
    )
    assert np.corrcoef(red.ravel(), blue.ravel())[0, 1] < -0.5  # focused above and below
