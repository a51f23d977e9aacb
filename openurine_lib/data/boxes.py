"""Boxes as four columns of a frame, in pixels of the original image, and room around them.

A drawn box is as tight as its particle. An annotator leaves some room, how much differs from one to
the next, and without a label nobody knows. Around a small particle that decides whether two boxes
match: a tight box and one of twice its area have an IoU of 0.5. A box half way between the two, of
``ROOM`` more on each side, has an IoU of 0.71 with both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

XYXY = ["x1", "y1", "x2", "y2"]  # left, top, right, bottom
MARGIN = 0.15  # of a particle's longer side, on each side of it in a cut-out
ROOM = (2**0.25 - 1) / 2  # of a box's width and height, on each side: a box of 1.41 times the area


def area(boxes: pd.DataFrame) -> pd.Series:
    """Area of each box, square pixels."""
    return (boxes["x2"] - boxes["x1"]) * (boxes["y2"] - boxes["y1"])


def with_room(boxes: pd.DataFrame, share: float) -> pd.DataFrame:
    """The boxes with that share of their width on the left and right, and of their height above
    and below; they may then leave the image."""
    x, y = share * (boxes["x2"] - boxes["x1"]), share * (boxes["y2"] - boxes["y1"])
    return boxes.assign(
        x1=boxes["x1"] - x, y1=boxes["y1"] - y, x2=boxes["x2"] + x, y2=boxes["y2"] + y
    )


def square_around(corners: Sequence[float], width: int, height: int) -> tuple[int, int, int]:
    """(left, top, side) of the square around a box with a margin, moved into the image."""
    x1, y1, x2, y2 = corners
    longer = max(x2 - x1, y2 - y1)
    # + 2: a pixel of margin on each side even of the smallest
    side = int(min(longer * (1 + 2 * MARGIN) + 2, width, height))
    left = np.clip((x1 + x2 - side) / 2, 0, width - side)  # moved inside, not cut off
    top = np.clip((y1 + y2 - side) / 2, 0, height - side)
    return int(left), int(top), side


def centres_in(boxes: pd.DataFrame, square: tuple[int, int, int]) -> int:
    """How many boxes have their centre in the square (left, top, side)."""
    left, top, side = square
    x = (boxes["x1"] + boxes["x2"]) / 2
    y = (boxes["y1"] + boxes["y2"]) / 2
    return int((x.between(left, left + side) & y.between(top, top + side)).sum())
