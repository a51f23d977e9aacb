"""Maps of six heads over a field: pytorch-grad-cam as it comes, against ``gradcam.explain``.

The library makes a map for each head by a pass of its own, whose gradient runs through all heads
and all layers. ``explain`` makes one pass for all heads, and sees each slice upright and turned,
which the library does not. yolo12n, six heads, four slices of 448 px, all cores.
"""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pairs
import torch
from pytorch_grad_cam import GradCAM
from torch import Tensor, nn

from openurine_lib.data.taxonomy import load
from openurine_lib.evaluation.gradcam import TOP, View, explain, neck_outputs
from openurine_lib.model.build import build_model
from openurine_lib.speed.processor import use_cores

SIDE = 448  # of a slice and of the input, in pixels
OVERLAP = 0.25


class Decoded(nn.Module):
    """The detector with one output, as pytorch-grad-cam wants it: (B, 4 + nc, A)."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Any:
        return self.model(x)[0]


def best_scores(classes: Sequence[int], output: Tensor) -> Tensor:
    """The target of Fig. 5, from a slice's decoded output (4 + nc, A)."""
    return output[[4 + c for c in classes]].amax(0).topk(TOP).values.sum()


def main() -> None:
    use_cores()
    taxonomy = load("openurine")
    torch.manual_seed(0)
    model = build_model("yolo12n", taxonomy, "multi").eval()
    whole = round(SIDE * (2 - OVERLAP))  # two slices a side
    field = np.random.default_rng(0).integers(0, 256, (whole, whole, 3), dtype=np.uint8)
    view = View(SIDE, SIDE, OVERLAP)
    slices = [field[y1:y2, x1:x2] for x1, y1, x2, y2 in view.cuts(whole, whole)]
    x = torch.from_numpy(np.stack(slices).transpose(0, 3, 1, 2).copy()).float() / 255
    heads = list(taxonomy.heads.values())

    def theirs() -> None:
        model.model[-1].shape = None  # no grids of the other's pass
        with GradCAM(Decoded(model), neck_outputs(model)) as cam:
            for classes in heads:
                cam(x, [functools.partial(best_scores, classes)] * len(x))

    def ours() -> None:
        explain(model, field, view, heads)

    def seconds(make_maps: Callable[[], None]) -> float:
        start = time.perf_counter()
        make_maps()
        return time.perf_counter() - start

    ours()  # the first pass is slower, and does not count
    setting = f"yolo12n, six heads, {len(slices)} slices of {SIDE} px"
    pairs.compare(
        "grad_cam",
        f"pytorch-grad-cam, a pass for each head, {setting}",
        lambda: seconds(theirs),
        lambda: seconds(ours),
    )


if __name__ == "__main__":
    main()
