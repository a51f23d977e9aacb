"""A field that is seen twice: in longer slices, and mirrored in shorter ones; the finds are fused.

A detector makes other mistakes at each look. Weighted boxes fusion takes overlapping boxes of one
class for one particle (https://doi.org/10.1016/j.imavis.2021.104117): corners and confidence become
means over the looks, and what one look alone has found keeps half of its confidence. The longer
slices make particles smaller and the shorter ones larger than usual, each by a third of an octave.
A detector that asks for a contrast sees the field brought to it at the first look, and as it is at
the second: real fields want the one, long particles that fill a field the other.
The choice was made on training slides; docs/measured.md says what a second look gains and costs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from openurine_lib.contrast import brought_to
from openurine_lib.data.boxes import XYXY

SAME = 0.55  # IoU from which two boxes are one particle, as in the article
LEAST = 0.001  # confidence below which a box is left out


@dataclass(frozen=True)
class Look:
    """One of the looks at a field."""

    share: float  # the side of a slice, as a multiple of the usual one
    mirrored: bool  # upside down
    levelled: bool  # brought to the contrast that the detector asks for

    def field(self, image: np.ndarray, contrast: float = 0.0) -> np.ndarray:
        """The field (H, W, 3) as it is shown to a detector that asks for that contrast."""
        shown = brought_to(image, contrast) if self.levelled else image
        return np.ascontiguousarray(shown[::-1]) if self.mirrored else shown

    def back(self, boxes: pd.DataFrame, height: int) -> pd.DataFrame:
        """Boxes that were found on ``field``, in the pixels of the image, which is so high."""
        if not self.mirrored:
            return boxes
        return boxes.assign(y1=height - boxes["y2"], y2=height - boxes["y1"])


LOOKS = (
    Look(2 ** (1 / 3), mirrored=False, levelled=True),
    Look(2 ** (-1 / 3), mirrored=True, levelled=False),
)


def shown_from(conf: float, looks: int) -> float:
    """The confidence from which a detector must show boxes if those from ``conf`` on are wanted.

    A find counts in the mean of two looks, however unsure one of them is.
    """
    return conf if looks == 1 else LEAST


def seen_twice(
    find: Callable[[np.ndarray, int | None], pd.DataFrame],
    image: np.ndarray,
    slice_px: int | None,
    contrast: float = 0.0,
) -> pd.DataFrame:
    """What LOOKS find together: [cls, conf, x1, y1, x2, y2], in pixels of the image.

    find: (field, side of a slice) -> boxes of one look. image: (H, W, 3). slice_px: the usual side;
    None for whole fields, which both looks see at one size. contrast: that the detector asks for.
    """
    height, width = image.shape[:2]
    found = []
    for look in LOOKS:
        side = slice_px and round(slice_px * look.share)
        found.append(look.back(find(look.field(image, contrast), side), height))
    return fused(found, width, height)


def fused(
    found: Sequence[pd.DataFrame], width: int, height: int, same: float = SAME, least: float = LEAST
) -> pd.DataFrame:
    """The boxes of several looks, or detectors, as one set: [cls, conf, x1, y1, x2, y2].

    found: of each, with the same columns, in pixels of the image. A box that one of n has found
    keeps 1/n of its confidence. same: IoU from which boxes of a class are one particle. least:
    boxes of less confidence are left out.
    """
    from ensemble_boxes import weighted_boxes_fusion  # here, since its numba takes seconds to load

    size = np.array([width, height, width, height])
    corners, confidences, classes = weighted_boxes_fusion(
        [(boxes[XYXY].to_numpy(float) / size).clip(0, 1) for boxes in found],
        [boxes["conf"].to_numpy(float) for boxes in found],
        [boxes["cls"].to_numpy(int) for boxes in found],
        iou_thr=same,
        skip_box_thr=least,
    )
    out = pd.DataFrame(corners * size, columns=XYXY)
    out.insert(0, "conf", confidences)
    out.insert(0, "cls", np.asarray(classes).astype(int))
    return out
