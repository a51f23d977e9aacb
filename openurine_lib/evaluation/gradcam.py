"""Fig. 5: what in a field speaks for each head, by Grad-CAM (https://doi.org/10.1109/ICCV.2017.74).

The paper gives neither layers nor target. Here the layers are the neck's outputs, which feed the
heads, and the target is the sum of the best scores of a head's classes. Three choices make the map
one of the field, and put it where the particles are:

- A field is seen as the detector sees it when it predicts: in slices where the method has slices.
  At another size, the particles would not be those that the detector has learned.
- Slices share the weights of the channels, and levels are added in units of score per pixel. By
  itself pytorch-grad-cam stretches the map of every slice and level to 0..1: an empty slice would
  glow like a full one.
- Every slice is seen upright and turned by 180 degrees, and the two maps are averaged. The strided
  convolutions of these networks look at the upper left corner of a cell rather than at its middle,
  and training undoes that only in part: a map made in one direction lay up to half a cell (4 of 8
  pixels of the input) below the particles.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from pytorch_grad_cam import GradCAM
from sahi.slicing import get_slice_bboxes
from torch import nn
from ultralytics.data.augment import LetterBox

from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.evaluation.metrics import ByImage, matches, surest_first

Parts = Mapping[str, Sequence[int]]  # what has a map of its own: name -> class ids
TOP = 100  # anchors of a slice whose scores are summed
PAPER_ROWS = ("Amorphous", "Epithelial cells")  # the rows of Fig. 5: a class and a component
AT_ONCE = 2 * 640**2  # pixels in one pass: a graph of all slices would take gigabytes
SHOWN = 0.25  # confidence from which a predicted box is drawn


class NotExplainable(ValueError):
    """A network without feature maps that feed the heads (RT-DETR), or without the class."""


@dataclass(frozen=True)
class View:
    """How a field is seen: as the detector sees it when it predicts."""

    imgsz: int  # pixels to which the longer side of a slice (or of the field) is brought
    slice_px: int | None = None  # side of a slice in the field's pixels; None: the field as a whole
    overlap: float = 0.25  # of neighbouring slices, as a part of their side

    def cuts(self, height: int, width: int) -> list[list[int]]:
        """The slices of a field: [x1, y1, x2, y2] each, all of one size."""
        side = self.slice_px
        if not side:
            return [[0, 0, width, height]]
        return get_slice_bboxes(height, width, side, side, False, self.overlap, self.overlap)


@dataclass(frozen=True)
class Row:
    """A map of the figure: what is explained, and the field that the rule has chosen for it."""

    name: str
    classes: tuple[int, ...]
    image: str | None  # id of the field; None: no test field has a box of the classes
    boxes: int = 0  # of the classes, by the annotators, on that field
    found: int = 0  # boxes of the classes that the detector draws there
    matched: int = 0  # found boxes that lie on an annotated one of their own


def parts(model: nn.Module, taxonomy: Taxonomy) -> dict[str, tuple[int, ...]]:
    """What has a map, name -> class ids: each head, or each class of a single-head detector."""
    head: Any = model.model[-1]  # type: ignore[index]
    single: dict[str, tuple[int, ...]] = {name: (i,) for i, name in enumerate(taxonomy.classes)}
    return dict(getattr(head, "classes", {})) or single


def paper_parts(taxonomy: Taxonomy) -> dict[str, tuple[int, ...]]:
    """The two rows of the paper's figure, as far as the taxonomy has them."""
    amorphous, epithelial = PAPER_ROWS
    ids = {amorphous: (), epithelial: taxonomy.components.get(epithelial, ())}
    if taxonomy.knows(amorphous):
        ids[amorphous] = (taxonomy.id(amorphous),)
    return {name: classes for name, classes in ids.items() if classes}


def choose(
    explained: Parts, images: pd.DataFrame, truth: pd.DataFrame, predictions: pd.DataFrame
) -> list[Row]:
    """For each part the test field with the most annotated boxes of its classes.

    Fields in which the detector finds one of them go before those in which it finds none. Of equal
    ones it is the first by name. images, truth: the test fields and their boxes; predictions: boxes
    with their confidence, which count from SHOWN on. A part without any box keeps its row, with no
    field.
    """
    rows = []
    truth_on = ByImage(truth)
    found_on = ByImage(predictions[predictions.conf >= SHOWN])
    for name, classes in explained.items():
        fields = []
        for image in sorted(images.image):
            annotated = truth_on[image][truth_on[image].cls.isin(classes)]
            found = found_on[image][found_on[image].cls.isin(classes)]
            # the evaluator's matching, whichever of the part's classes a box is given
            of_part = (annotated.assign(cls=0), surest_first(found).assign(cls=0))
            matched = int(matches(*of_part)[:, 0].sum())  # at IoU 0.5
            if len(annotated):
                counts = (len(annotated), len(found), matched)
                fields.append(Row(name, tuple(classes), image, *counts))
        # max takes the first of equals
        best = max(fields, key=lambda row: (row.matched > 0, row.boxes), default=None)
        rows.append(best or Row(name, tuple(classes), None))
    return rows


def neck_outputs(model: nn.Module) -> list[nn.Module]:
    """The layers whose outputs feed the heads, finest first."""
    layers: Any = model.model
    head = layers[-1]
    if not isinstance(head.f, list) or not hasattr(head, "stride"):
        raise NotExplainable(
            f"{type(head).__name__} has no feature pyramid to look at; use a YOLO detector"
        )
    return [layers[i] for i in head.f]  # head.f: numbers of the layers that feed it


def explain(
    model: nn.Module, image: np.ndarray, view: View, explained: Sequence[Sequence[int]]
) -> np.ndarray:
    """Grad-CAM of several groups of classes, over a field: float32 (len(explained), H, W) in 0..1.

    model: an ultralytics detector, single- or multi-head, in evaluation mode; it is left as it was.
    image: uint8 (H, W, 3) RGB. A map is ReLU(sum_c w_c A_c) / its maximum, and nothing is
    subtracted; it is 0 everywhere if nothing speaks for the classes. Raises NotExplainable.
    """
    cuts = view.cuts(*image.shape[:2])
    # not centred: padding is right and below, so a slice's pixels need no offset
    fit: Any = LetterBox((view.imgsz, view.imgsz), auto=True, stride=32, center=False)
    slices = np.stack([fit(image=image[y1:y2, x1:x2]) for x1, y1, x2, y2 in cuts])  # (S, h, w, 3)
    x = torch.from_numpy(slices.transpose(0, 3, 1, 2).copy())
    x = x.to(next(model.parameters()).device).float() / 255
    x = torch.cat((x, x.flip(2, 3)))  # (2S, 3, h, w), upright and turned
    layers = neck_outputs(model)
    wanted = {c for classes in explained for c in classes}
    with _heads_of(model, wanted), _gradients_from(model, layers), _FieldCAM(model, layers) as cam:
        maps = cam.maps(x, explained)  # of each group, for each level: (2S, h_l, w_l)
    scale = (view.imgsz, x.shape[2])
    # (groups, H, W)
    heats = np.stack([sum(_in_field(level, cuts, *scale) for level in levels) for levels in maps])
    highest = heats.max((1, 2), keepdims=True)
    # tiny: an empty map stays 0, and is not 0 / 0
    return heats / np.maximum(highest, np.finfo(np.float32).tiny)


def _in_field(maps: np.ndarray, cuts: list[list[int]], imgsz: int, input_height: int) -> np.ndarray:
    """A level's maps (2S, h_l, w_l) in the field's pixels (H, W); the mean where slices overlap."""
    upright, turned = np.split(maps, 2)  # (S, h_l, w_l) each
    stride = input_height / maps.shape[1]
    both = (upright + turned[:, ::-1, ::-1]) / 2 / stride**2  # score per cell -> score per pixel
    height = max(y2 for _, _, _, y2 in cuts)
    width = max(x2 for _, _, x2, _ in cuts)
    total, count = np.zeros((2, height, width), np.float32)  # (H, W) each
    for heat, (x1, y1, x2, y2) in zip(both, cuts, strict=True):
        scale = imgsz / max(x2 - x1, y2 - y1) / stride  # cells in a pixel of the field
        # a cell's value lies at its middle, OpenCV's at whole coordinates
        middle = scale / 2 - 0.5
        to_cells = np.array([[scale, 0, middle], [0, scale, middle]])
        how: dict[str, Any] = {
            # to_cells leads from the field to the cells
            "flags": cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            "borderMode": cv2.BORDER_REPLICATE,
        }
        total[y1:y2, x1:x2] += cv2.warpAffine(heat, to_cells, (x2 - x1, y2 - y1), **how)
        count[y1:y2, x1:x2] += 1
    return total / count


class _FieldCAM(GradCAM):
    """Grad-CAM with one forward pass for all groups, and one weight a channel for all slices."""

    def maps(self, x: torch.Tensor, explained: Sequence[Sequence[int]]) -> list[list[np.ndarray]]:
        """x (2S, 3, h, w) -> for each group of classes the maps of the layers, (2S, h_l, w_l)."""
        hooks = self.activations_and_grads
        activations: list[list[np.ndarray]] = []
        gradients: list[list[list[np.ndarray]]] = [[] for _ in explained]
        at_once = max(1, AT_ONCE // x[0, 0].numel())  # slices
        for part in x.split(at_once):  # the channels' weights need but the sum of the gradients
            raw = hooks(part)[1]  # beside the decoded boxes
            activations.append([a.float().numpy() for a in hooks.activations])  # (., C, h_l, w_l)
            for classes, of_group in zip(explained, gradients, strict=True):
                hooks.gradients = []  # those of the group before
                # the next group uses the graph, too
                best_scores(self.model.model[-1], raw, classes).backward(retain_graph=True)
                of_group.append([g.float().sum(0, keepdim=True).numpy() for g in hooks.gradients])
        whole = [np.concatenate(level) for level in zip(*activations, strict=True)]
        maps = []
        for of_group in gradients:
            levels = []
            for activation, parts in zip(whole, zip(*of_group, strict=True), strict=True):
                of_field = sum(parts) / len(x)  # (1, C, h_l, w_l)
                heat = self.get_cam_image(x, None, [], activation, of_field)  # sum_c w_c A_c
                levels.append(np.maximum(heat, 0))  # ReLU
            maps.append(levels)
        return maps


def best_scores(head: Any, raw: Any, classes: Sequence[int]) -> torch.Tensor:
    """Grad-CAM's target: of each slice the TOP best scores of the classes, summed over all slices.

    head, raw: a detector's last layer, and its raw output. The scores are taken from there, since
    a gradient that came through the decoded boxes would run, as zero, through all other heads.
    """
    if not classes or max(classes) >= head.nc:
        raise NotExplainable(f"no class {list(classes)} in a detector of {head.nc} classes")
    best = head.class_scores(raw, classes)  # (B, A)
    return best.topk(min(TOP, best.shape[1])).values.sum()


@contextmanager
def _heads_of(model: nn.Module, classes: Collection[int]) -> Iterator[None]:
    """Within, only those of several heads are computed that have one of the classes."""
    head: Any = model.model[-1]  # type: ignore[index]
    several = getattr(head, "heads", {})
    having = {name: several[name] for name in several if {*head.classes[name]} & {*classes}}
    if having:  # none has them: `best_scores` says so
        head.heads = nn.ModuleDict(having)
    try:
        yield
    finally:
        if several:
            head.heads = several


@contextmanager
def _gradients_from(model: nn.Module, layers: Sequence[nn.Module]) -> Iterator[None]:
    """Gradients from the first of the layers on; what comes before saves its time and memory."""
    first = min(layers, key=lambda layer: layer.i)  # type: ignore[arg-type, return-value]
    trainable = {p: p.requires_grad for p in model.parameters()}
    head: Any = model.model[-1]  # type: ignore[index]
    # A prediction leaves grids behind as "inference tensors", which cannot be part of a gradient.
    head.shape = None
    # the graph begins here: what comes before needs no gradient
    hook = first.register_forward_hook(
        lambda module, inputs, output: output.detach().requires_grad_()
    )
    model.requires_grad_(False)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        hook.remove()
        for parameter, before in trainable.items():
            parameter.requires_grad_(before)
        head.shape = None
