"""Predictions in a few bytes a box: what ``carried`` stores, and reads back to a 16-bit step."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from openurine_lib.data.boxes import XYXY

LIMIT = 300  # boxes a field, as one forward pass gives at most
STEPS = 65535  # a coordinate or a confidence is stored as a 16-bit share of its range


def pack(boxes: pd.DataFrame, images: pd.DataFrame, limit: int = LIMIT) -> bytes:
    """Predictions [image, cls, conf, x1, y1, x2, y2] as a compressed npz of a few bytes a box.

    The arrays ``names``, ``sides`` (the longer side, pixels) and ``counts`` (of boxes) have one
    entry an image. In the same order follow all boxes: ``cls`` (N,), ``conf`` (2, N), of which 1 is
    STEPS, and ``xywh`` (2, 4, N), left, top, width and height, of which the side is STEPS. These
    two are stored byte by byte, the higher bytes first: they compress well apart from the lower.
    """
    ranked = boxes.sort_values("conf", ascending=False, kind="stable")
    best = ranked.groupby("image", sort=False).head(limit)
    by_image = dict(tuple(best.groupby("image", sort=False)))
    parts = [by_image.get(name, boxes.iloc[:0]) for name in images["image"]]
    sides = images[["width", "height"]].max(axis=1).to_numpy(float)
    counts = np.array([len(part) for part in parts])
    together = pd.concat(parts)
    corners = together[XYXY].to_numpy(float)  # (N, 4)
    shares = corners / np.repeat(sides, counts)[:, None]
    steps = np.round(shares.T * STEPS).clip(0, STEPS).astype(np.uint16)  # (4, N)
    steps[2:] -= steps[:2]  # from the right lower corner to width and height
    content = io.BytesIO()
    np.savez_compressed(
        content,
        names=images["image"].to_numpy(str),
        sides=sides,
        counts=counts,
        cls=together["cls"].to_numpy(np.uint8),
        conf=_bytes(np.round(together["conf"].to_numpy(float) * STEPS).astype(np.uint16)),
        xywh=_bytes(steps),
    )
    return content.getvalue()


def unpack(path: Path) -> pd.DataFrame:
    """What ``pack`` was given, to a 16-bit step: [image, cls, conf, x1, y1, x2, y2] in pixels."""
    with np.load(path, allow_pickle=False) as stored:
        counts, sides = stored["counts"], stored["sides"]
        if "xyxy" in stored:  # a file from before 0.3, of two bytes a number
            conf, steps = stored["conf"], stored["xyxy"]
        else:
            conf, xywh = _numbers(stored["conf"]), _numbers(stored["xywh"])
            steps = np.concatenate((xywh[:2], xywh[:2] + xywh[2:])).T  # (N, 4)
        corners = steps / STEPS * np.repeat(sides, counts)[:, None]
        columns: dict[str, Any] = {
            "image": np.repeat(stored["names"], counts),
            "cls": stored["cls"].astype(int),
            "conf": conf / STEPS,
        }
    return pd.DataFrame(columns).join(pd.DataFrame(corners, columns=XYXY))


def _bytes(numbers: np.ndarray) -> np.ndarray:
    """uint16 (...) -> its higher and its lower bytes, uint8 (2, ...)."""
    return np.stack((numbers >> 8, numbers & 255)).astype(np.uint8)


def _numbers(stored: np.ndarray) -> np.ndarray:
    """What ``_bytes`` was given."""
    high, low = stored.astype(np.uint16)
    return high * 256 + low
