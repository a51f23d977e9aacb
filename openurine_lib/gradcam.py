"""Fig. 5: predicted boxes beside the Grad-CAM map of what the detector looked at (https://doi.org/10.1109/ICCV.2017.74).

The paper gives neither layers nor target. Here: the neck's outputs, which feed the heads (their maps are averaged), and
as target the sum of the best scores of the chosen classes. The map is of the whole field at the size of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.image import show_cam_on_image
from torch import nn
from ultralytics.data.augment import LetterBox

from openurine_lib import style
from openurine_lib.draw import boxes_on
from openurine_lib.inference import read_rgb
from openurine_lib.taxonomy import Taxonomy

TOP = 100  # anchors whose scores are summed
PAPER_ROWS = ("Amorphous", "Epithelial cells")  # the rows of Fig. 5: a class and a component


class NotExplainable(ValueError):
    """A network without a neck of feature maps that feeds the heads (RT-DETR), or a class that it does not have."""


@dataclass(frozen=True)
class Row:
    """One row of the figure."""

    name: str
    classes: tuple[int, ...]
    image: str  # id of the field
    boxes: int  # of the classes, by the annotators, on that field


def choose(taxonomy: Taxonomy, images: pd.DataFrame, truth: pd.DataFrame, metrics: pd.DataFrame) -> list[Row]:
    """The figure's two rows, by a rule: for each, the test field with the most annotated boxes of it.

    Amorphous and Epithelial cells as in the paper, as far as taxonomy and test fields have them; else, in their place,
    the clinical components with the best mean AP50. Equal fields: the first by name.
    images, truth: the test fields and their boxes; metrics: per class [cls, ap50].
    """
    ap50 = metrics.set_index("cls").ap50
    parts = dict(taxonomy.components)
    if taxonomy.knows(PAPER_ROWS[0]):
        parts[PAPER_ROWS[0]] = (taxonomy.id(PAPER_ROWS[0]),)
    others = sorted((p for p in parts if p not in PAPER_ROWS), key=lambda p: -ap50.reindex(parts[p]).fillna(0).mean())
    rows: list[Row] = []
    for name in (*PAPER_ROWS, *others):
        counts = truth[truth.cls.isin(parts.get(name, ())) & truth.image.isin(images.image)].groupby("image").size()
        if len(counts) and len(rows) < len(PAPER_ROWS):
            best = counts[counts == counts.max()].index.min()
            rows.append(Row(name, parts[name], best, int(counts[best])))
    return rows


def neck_outputs(model: nn.Module) -> list[nn.Module]:
    """The layers whose outputs feed the heads, finest first."""
    layers: Any = model.model
    head = layers[-1]
    if not isinstance(head.f, list) or not hasattr(head, "stride"):
        raise NotExplainable(f"{type(head).__name__} has no feature pyramid to look at; use a YOLO detector")
    return [layers[i] for i in head.f]


def explain(
    model: nn.Module,
    image: np.ndarray,
    imgsz: int,
    classes: Sequence[int],
    target_layers: list[nn.Module] | None = None,
) -> np.ndarray:
    """Grad-CAM of the classes (a head's: ``taxonomy.heads[head]``): float (H, W) in 0..1 over the image's pixels.

    model: an ultralytics detector, single- or multi-head, in evaluation mode; it is left as it was. image: uint8
    (H, W, 3) RGB; its longer side is brought to imgsz. target_layers: the neck's outputs if None.
    """
    height, width = image.shape[:2]
    boxed: Any = LetterBox((imgsz, imgsz), auto=True, stride=32, center=False)(image=image)
    device = next(model.parameters()).device
    x = torch.from_numpy(boxed.transpose(2, 0, 1).copy())[None].float().to(device) / 255  # (1, 3, h, w)
    # grids that a prediction has left behind are "inference tensors", which cannot take part in a gradient
    head: Any = model.model[-1]  # type: ignore[index]
    head.shape = None
    layers = target_layers or neck_outputs(model)
    with torch.inference_mode(False), torch.enable_grad(), GradCAM(_Output(model), layers) as cam:
        heat = cam(x.requires_grad_(), [_BestScores(classes)])[0]  # (h, w)
    model.zero_grad(set_to_none=True)
    head.shape = None
    scale = imgsz / max(height, width)
    heat = heat[: round(height * scale), : round(width * scale)]  # without the border
    heat = cv2.resize(heat - heat.min(), (width, height), interpolation=cv2.INTER_LINEAR)
    return heat / max(heat.max(), 1e-12)


class _Output(nn.Module):
    """The detector's decoded output (B, 4+nc, A) alone, without the raw one that it gives beside it."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.model(x)
        return y[0] if isinstance(y, tuple) else y


class _BestScores:
    """Grad-CAM's target: the sum of the TOP best scores of the classes over all anchors."""

    def __init__(self, classes: Sequence[int]):
        self.rows = [4 + c for c in classes]

    def __call__(self, output: torch.Tensor) -> torch.Tensor:
        if not self.rows or max(self.rows) >= len(output):
            raise NotExplainable(f"no class {[r - 4 for r in self.rows]} in a detector of {len(output) - 4} classes")
        best = output[self.rows].amax(0)  # (A,)
        return best.topk(min(TOP, len(best))).values.sum()


def side_by_side(
    rows: Sequence[Row], paths: dict[str, str], predictions: pd.DataFrame, heats: Sequence[np.ndarray],
    taxonomy: Taxonomy, face: str, conf: float = 0.25,
) -> Figure:  # fmt: skip
    """Fig. 5: a row a class or component; left its field with the predicted boxes, right the heat map over the field.

    paths: field id -> file; predictions: of the stored ones those of at least ``conf`` are drawn; heats: as rows.
    """
    fig, axes = plt.subplots(len(rows), 2, figsize=style.size(style.PAGE, len(rows) / 2), squeeze=False)
    for (left, right), row, heat in zip(axes, rows, heats, strict=True):
        image = read_rgb(paths[row.image])
        shown = predictions[(predictions.image == row.image) & (predictions.conf >= conf)]
        own = int(shown.cls.isin(row.classes).sum())
        left.imshow(boxes_on(image, shown, taxonomy))
        left.set_title(f"{row.name}: {own} predicted (confidence from {conf}), {row.boxes} annotated", fontsize=6)
        right.imshow(show_cam_on_image(np.float32(image) / 255, heat, use_rgb=True, colormap=cv2.COLORMAP_JET))
        right.set_title(f"Grad-CAM, {row.name}", fontsize=6)
    for ax in axes.flat:
        ax.set_axis_off()
    fig.suptitle(face, fontsize=5)
    return fig


def inside(heat: np.ndarray, truth: pd.DataFrame, row: Row) -> float:
    """Mean heat inside the row's annotated boxes over the mean heat of the field; 1 for a map that tells nothing."""
    mask = np.zeros(heat.shape, bool)
    for box in truth[(truth.image == row.image) & truth.cls.isin(row.classes)].itertuples():
        mask[int(box.y1) : int(np.ceil(box.y2)), int(box.x1) : int(np.ceil(box.x2))] = True
    return float(heat[mask].mean() / heat.mean()) if mask.any() and heat.any() else float("nan")
