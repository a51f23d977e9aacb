"""The boxes of a frame as tensors, and what non-maximum suppression leaves of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torchvision.ops import batched_nms

from openurine_lib.data.boxes import XYXY


def corners(boxes: pd.DataFrame) -> torch.Tensor:
    """Boxes of a frame as a tensor (N, 4), xyxy in pixels."""
    # a copy, as torch wants to be able to write; (0, 4) where there are no boxes
    return torch.from_numpy(boxes[XYXY].to_numpy(dtype=np.float32, copy=True).reshape(-1, 4))


def classes_of(boxes: pd.DataFrame) -> torch.Tensor:
    """Class ids of a frame as a tensor (N,)."""
    return torch.from_numpy(boxes["cls"].to_numpy(dtype=np.int64, copy=True))


def suppressed(boxes: pd.DataFrame, iou: float) -> pd.DataFrame:
    """The boxes that overlap with no surer one of their class by that IoU, the surest first."""
    sure = torch.from_numpy(boxes["conf"].to_numpy(dtype=np.float32, copy=True))
    kept = batched_nms(corners(boxes), sure, classes_of(boxes), iou)
    return boxes.iloc[kept.numpy()]
