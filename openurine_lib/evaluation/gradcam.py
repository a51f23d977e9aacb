"""Fig. 5: what in a field speaks for each head, by Grad-CAM (https://doi.org/10.1109/ICCV.2017.74).

The paper gives neither layers nor target. Here: the neck's outputs, which feed the heads, and as target the sum of the
best scores of a head's classes. Three choices make the map one of the field, and put it where the particles are:

- A field is seen as the detector sees it when it predicts: in slices where the method has slices. Particles of another
  size than those of training would tell of another task.
- Slices share the weights of the channels, and levels are added in units of score a pixel. By itself pytorch-grad-cam
  stretches the map of every slice and level to 0..1: an empty slice would glow like a full one.
- Every slice is seen upright and turned by 180 degrees, and the two maps are averaged. The strided convolutions of
  these networks look at the upper left corner of a cell rather than at its middle, and training undoes that in part:
  a map made in one direction lay up to half a cell (4 of 8 pixels of the input) below the particles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from pytorch_grad_cam import GradCAM
from sahi.slicing import get_slice_bboxes
from torch import nn
from ultralytics.data.augment import LetterBox

from openurine_lib import style
from openurine_lib.data.images import read_rgb
from openurine_lib.data.taxonomy import Taxonomy

TOP = 100  # anchors of a slice whose scores are summed
PAPER_ROWS = ("Amorphous", "Epithelial cells")  # the rows of Fig. 5: a class and a component


class NotExplainable(ValueError):
    """A network without a neck of feature maps that feeds the heads (RT-DETR), or a class that it does not have."""


@dataclass(frozen=True)
class Row:
    """A map of the figure: what is explained, and the field that the rule has chosen for it."""

    name: str
    classes: tuple[int, ...]
    image: str | None  # id of the field; None: no test field has a box of the classes
    boxes: int  # of the classes, by the annotators, on that field


def parts(model: nn.Module, taxonomy: Taxonomy) -> dict[str, tuple[int, ...]]:
    """What has a map of its own: the heads of a multi-head detector, the classes of a single-head one. Name -> ids."""
    head: Any = model.model[-1]  # type: ignore[index]
    return dict(getattr(head, "classes", {})) or {
        name: (i,) for i, name in enumerate(taxonomy.classes)
    }


def papers(taxonomy: Taxonomy) -> dict[str, tuple[int, ...]]:
    """The two rows of the paper's figure, as far as the taxonomy has them."""
    found = {name: taxonomy.components.get(name, ()) for name in PAPER_ROWS}
    found[PAPER_ROWS[0]] = (taxonomy.id(PAPER_ROWS[0]),) if taxonomy.knows(PAPER_ROWS[0]) else ()
    return {name: ids for name, ids in found.items() if ids}


def choose(
    explained: Mapping[str, Sequence[int]], images: pd.DataFrame, truth: pd.DataFrame
) -> list[Row]:
    """For each part the test field with the most annotated boxes of its classes; of equal ones the first by name.

    images, truth: the test fields and boxes. A part without any box keeps its row, with no field.
    """
    rows = []
    for name, classes in explained.items():
        counts = (
            truth[truth.cls.isin(classes) & truth.image.isin(images.image)].groupby("image").size()
        )
        best = counts[counts == counts.max()].index.min() if len(counts) else None
        rows.append(Row(name, tuple(classes), best, int(counts.max()) if len(counts) else 0))
    return rows


def neck_outputs(model: nn.Module) -> list[nn.Module]:
    """The layers whose outputs feed the heads, finest first."""
    layers: Any = model.model
    head = layers[-1]
    if not isinstance(head.f, list) or not hasattr(head, "stride"):
        raise NotExplainable(
            f"{type(head).__name__} has no feature pyramid to look at; use a YOLO detector"
        )
    return [layers[i] for i in head.f]


def explain(
    model: nn.Module,
    image: np.ndarray,
    imgsz: int,
    explained: Sequence[Sequence[int]],
    slice_px: int | None = None,
    overlap: float = 0.25,
    target_layers: list[nn.Module] | None = None,
) -> np.ndarray:
    """Grad-CAM of several groups of classes: float32 (len(explained), H, W) in 0..1 over the image's pixels.

    model: an ultralytics detector, single- or multi-head, in evaluation mode; it is left as it was. image: uint8
    (H, W, 3) RGB. imgsz: what the longer side of the image, or of a slice of ``slice_px`` of its pixels, is brought to.
    target_layers: the neck's outputs if None. A map is ReLU(sum_c w_c A_c) / its maximum, nothing subtracted; it is 0
    everywhere where nothing speaks for the classes. Raises NotExplainable.
    """
    height, width = image.shape[:2]
    cuts = [[0, 0, width, height]]
    if slice_px:
        cuts = get_slice_bboxes(height, width, slice_px, slice_px, False, overlap, overlap)
    fit: Any = LetterBox((imgsz, imgsz), auto=True, stride=32, center=False)
    slices = np.stack([fit(image=image[y1:y2, x1:x2]) for x1, y1, x2, y2 in cuts])  # (S, h, w, 3)
    x = (
        torch.from_numpy(slices.transpose(0, 3, 1, 2).copy())
        .to(next(model.parameters()).device)
        .float()
        / 255
    )
    x = torch.cat((x, x.flip(2, 3)))  # (2S, 3, h, w)
    layers = target_layers or neck_outputs(model)
    with _from_neck_on(model, layers), _FieldCAM(_Output(model), layers) as cam:
        levels = cam.levels(
            x, [_BestScores(classes) for classes in explained]
        )  # [target][level] (2S, h_l, w_l)
    heats = np.stack(
        [sum(_join(level, cuts, imgsz, x.shape[2:]) for level in of_one) for of_one in levels]
    )
    return heats / np.maximum(heats.max((1, 2), keepdims=True), np.finfo(np.float32).tiny)


def _join(maps: np.ndarray, cuts: list[list[int]], imgsz: int, boxed: Sequence[int]) -> np.ndarray:
    """A level's maps (2S, h_l, w_l), upright and turned, in the field's pixels (H, W); the mean where slices overlap.

    A cell of stride s stands for the input's pixels i s to (i+1) s, and its value lies in the middle of them. boxed:
    (h, w) of the input, with the border at right and below, which falls away.
    """
    upright, turned = np.split(maps, 2)
    stride = boxed[0] / maps.shape[1]
    both = (upright + turned[:, ::-1, ::-1]) / 2 / stride**2  # score a cell -> score a pixel
    height, width = max(c[3] for c in cuts), max(c[2] for c in cuts)
    total, count = np.zeros((2, height, width), np.float32)
    for one, (x1, y1, x2, y2) in zip(
        both, cuts, strict=True
    ):  # slices have one size: sahi moves the last ones inwards
        f = imgsz / max(x2 - x1, y2 - y1) / stride  # cells a pixel of the field
        to_cells = np.array([[f, 0, f / 2 - 0.5], [0, f, f / 2 - 0.5]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        total[y1:y2, x1:x2] += cv2.warpAffine(
            one, to_cells, (x2 - x1, y2 - y1), None, flags, cv2.BORDER_REPLICATE
        )
        count[y1:y2, x1:x2] += 1
    return total / count


class _FieldCAM(GradCAM):
    """Grad-CAM with one forward pass for all targets, and one weight a channel for all slices of the field."""

    def levels(self, x: torch.Tensor, targets: Sequence[Any]) -> list[list[np.ndarray]]:
        """x (B, 3, h, w) -> for each target the maps of the layers, each (B, h_l, w_l)."""
        hooks = self.activations_and_grads
        outputs = hooks(x)  # (B, 4+nc, A)
        activations = [a.float().numpy() for a in hooks.activations]
        found = []
        for target in targets:
            hooks.gradients = []
            sum(target(output) for output in outputs).backward(retain_graph=True)
            field = [
                g.mean(0, keepdim=True).float().numpy() for g in hooks.gradients
            ]  # (1, C, h_l, w_l)
            maps = [
                self.get_cam_image(x, None, [], a, g)
                for a, g in zip(activations, field, strict=True)
            ]
            found.append([np.maximum(m, 0) for m in maps])
        return found


@contextmanager
def _from_neck_on(model: nn.Module, layers: Sequence[nn.Module]) -> Iterator[None]:
    """Gradients from the first of the layers on; what comes before runs without, which saves its time and memory."""
    first = min(layers, key=lambda layer: layer.i)  # type: ignore[arg-type, return-value]
    trained = {p: p.requires_grad for p in model.parameters()}
    head: Any = model.model[-1]  # type: ignore[index]
    # grids that a prediction has left behind are "inference tensors", which cannot take part in a gradient
    head.shape = None
    hook = first.register_forward_hook(
        lambda module, inputs, output: output.detach().requires_grad_()
    )
    model.requires_grad_(False)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        hook.remove()
        for p, was in trained.items():
            p.requires_grad_(was)
        head.shape = None


class _Output(nn.Module):
    """The detector's decoded output (B, 4+nc, A) alone, without the raw one that it gives beside it."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.model(x)
        return y[0] if isinstance(y, tuple) else y


class _BestScores:
    """Grad-CAM's target: the sum of the TOP best scores of the classes over all anchors of a slice."""

    def __init__(self, classes: Sequence[int]):
        self.rows = [4 + c for c in classes]

    def __call__(self, output: torch.Tensor) -> torch.Tensor:
        if not self.rows or max(self.rows) >= len(output):
            raise NotExplainable(
                f"no class {[r - 4 for r in self.rows]} in a detector of {len(output) - 4} classes"
            )
        best = output[self.rows].amax(0)  # (A,)
        return best.topk(min(TOP, len(best))).values.sum()


def plot(
    rows: Sequence[Row], paths: Mapping[str, str], truth: pd.DataFrame, predictions: pd.DataFrame,
    heats: Sequence[np.ndarray | None], taxonomy: Taxonomy, face: str, conf: float = 0.25,
) -> Figure:  # fmt: skip
    """Fig. 5: for each row its field with the boxes of its classes, and beside it the map over the field.

    paths: field id -> file; truth, predictions: boxes; predicted ones are drawn from ``conf`` on; heats: as rows (None
    where a row has no field; the figure names such rows).
    """
    shown = [
        (row, heat)
        for row, heat in zip(rows, heats, strict=True)
        if row.image is not None and heat is not None
    ]
    fields = [read_rgb(paths[str(row.image)]) for row, _ in shown]
    down = max(1, -(-len(shown) // 2))
    tall = max((f.shape[0] / f.shape[1] for f in fields), default=0.2)
    fig, axes = plt.subplots(
        down,
        4,
        figsize=style.size(style.PAGE, (0.23 * tall + 0.03) * down + 0.03),
        squeeze=False,
        layout="constrained",
    )
    for ax in axes.flat:
        ax.set_axis_off()
    for (row, heat), field, (left, right) in zip(shown, fields, axes.reshape(-1, 2), strict=False):
        annotated, found = (
            b[(b.image == row.image) & b.cls.isin(row.classes)] for b in (truth, predictions)
        )
        found = found[found.conf >= conf]
        left.imshow(field)
        _outline(left, annotated, "black", 0.5)
        for head, boxes in found.groupby(found.cls.map(taxonomy.head_of)):
            _outline(left, boxes, style.HEAD_COLOURS[str(head)], 0.9)
        left.set_title(
            f"{row.name}: {row.boxes} annotated, {len(found)} found", fontsize=6, loc="left"
        )
        right.imshow(cv2.cvtColor(field, cv2.COLOR_RGB2GRAY), cmap="gray")
        seen = right.imshow(heat, vmin=0, vmax=1, alpha=0.8)
        _outline(right, annotated, "white", 0.4)
    if shown:
        bar = fig.colorbar(seen, ax=axes, shrink=0.6, aspect=40, pad=0.01, ticks=[0, 1])
        bar.set_label("Grad-CAM, of the map's maximum", fontsize=6)
    without = [row.name for row in rows if row.image is None]
    note = f"no box in the test fields: {', '.join(without)}. " if without else ""
    text = f"black: annotated; coloured by head: predicted, confidence from {conf}. {note}"
    fig.suptitle(f"{text}\n{face}", fontsize=5)
    return fig


def _outline(ax: Axes, boxes: pd.DataFrame, colour: str, width: float) -> None:
    corners = boxes[["x1", "y1", "x2", "y2"]].to_numpy(float)
    frames = [Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1) for x1, y1, x2, y2 in corners]
    ax.add_collection(PatchCollection(frames, facecolor="none", edgecolor=colour, linewidth=width))
