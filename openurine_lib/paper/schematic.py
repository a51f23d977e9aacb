"""Fig. 3 of the paper, drawn from the live networks: the picture cannot differ from the code."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from torch import Tensor

from openurine_lib import style
from openurine_lib.model.autoencoder import Autoencoder
from openurine_lib.paper.layer_table import layer_table

# All lengths are inches. A row is a stride, a column a part of the network (here its centre).
ROW = 0.56
COLUMNS = {"image": 0.42, "backbone": 1.4, "up": 2.25, "down": 3.7, "F": 5.6, "heads": 6.47}
# the encoder is the backbone
COLOURS = {"backbone": style.SERIES["indigo"], "neck": style.SERIES["teal"]}
COLOURS |= {"encoder": COLOURS["backbone"], "decoder": style.SERIES["sand"]}
SIGNS = {"Upsample": "↑", "Concat": "c"}  # layers without weights
HANDED_OVER = "the encoder (dark) is the backbone:\nthe detector starts from its weights"
KEY = "↑ cells halved in size\nc one map behind the other\nnumbers: channels of the output"
TITLE: dict[str, Any] = {"fontsize": 7.5, "weight": "bold"}
NOTE: dict[str, Any] = {"fontsize": 5.5, "color": "0.25"}
Point = tuple[float, float]
Box = FancyBboxPatch | Rectangle


def fig3(model: Any, x: Tensor, network: Autoencoder | None = None, banner: str = "") -> Figure:
    """A detector with several heads (Fig. 3B) and, above its neck, its autoencoder (Fig. 3A).

    model: from ``build_model(..., heads="multi")``, of YOLOv8 or YOLOv12. x: a batch (B, 3, H, W)
    in 0..1; its first image is shown. network: the autoencoder whose encoder is the backbone.
    banner: the line that says on which data the picture was made.
    """
    style.use()
    figure, axes = plt.subplots(figsize=(style.PAGE, 6.7 * ROW))
    axes.set(xlim=(0, style.PAGE), ylim=(-5.3 * ROW, 1.3 * ROW), aspect="equal")
    axes.axis("off")
    layers = layer_table(model, x)
    levels = model.model[-1].f  # numbers of the layers that the heads read; the finest first
    places = _places(layers, levels[0])
    boxes: dict[int, Box] = {-1: _image(axes, x, (COLUMNS["image"], 0.04), 0.8)}
    axes.text(0.02, 0.49, f"a field $X$, {x.shape[-1]} × {x.shape[-2]} px", **NOTE)
    for power, stride in enumerate((2, 4, 8, 16, 32), start=1):
        text = f"stride {stride}\n{x.shape[-1] // stride} × {x.shape[-2] // stride} cells"
        axes.text(0.02, -ROW * power, text, va="center", **NOTE)
    for i, layer in layers.iterrows():
        sign = SIGNS.get(layer.block)
        text = sign or f"{layer.block} {layer.output[1]}"
        colour = "white" if sign else COLOURS[layer.part]
        boxes[i] = _box(axes, places[i], text, colour, 0.17 if sign else 0.72)
        for source in layer.fed_by:
            _arrow(axes, boxes[source], boxes[i])
    for part, left, y in (("backbone", 1.04, 0.62), ("neck", 2.16, -2.3 * ROW)):
        _title(axes, left, y, part.title(), layers.parameters[layers.part == part].sum())
    axes.text(2.95, -2.3 * ROW, KEY, va="center", **NOTE)
    _heads(axes, model, {boxes[i]: layers.output[i] for i in levels})
    figure.suptitle(banner, fontsize=5, color="0.35")
    if network is not None:
        _autoencoder(axes, network, x)
    return figure


def _places(layers: pd.DataFrame, finest: int) -> dict[int, Point]:
    """The centre of each layer: the backbone, the neck up to its finest level, the neck down."""
    places: dict[int, Point] = {}
    for i, layer in layers.iterrows():
        x = COLUMNS["backbone" if layer.part == "backbone" else "up" if i <= finest else "down"]
        # a layer that changes the stride stands between the rows of both
        before = layers.stride.get(layer.fed_by[0], 1)
        y = -ROW * np.log2(before * layer.stride) / 2
        if (x, y) in places.values():
            x += 0.6 if layers.block[i - 1] in SIGNS else 0.85
        places[i] = (x, y)
    return places


def _heads(axes: Axes, model: Any, levels: dict[Box, tuple[int, ...]]) -> None:
    """The bar F that gathers the levels of the neck, and a box a head."""
    head = model.model[-1]
    count = sum(p.numel() for p in head.parameters())
    _title(axes, 5.9, 0.62, f"{len(head.classes)} heads", count)
    bar = _box(axes, (COLUMNS["F"], -1.24), "$F$", "white", 0.2, 3.25)
    for level, shape in levels.items():
        y = _arrow(axes, level, bar, flat="start")
        axes.text(5.47, y + 0.03, " × ".join(map(str, shape[1:])), ha="right", **NOTE)
    for k, (name, ids) in enumerate(head.classes.items()):
        plural = "es" * (len(ids) > 1)
        text = f"{name}\n{len(ids)} class{plural}, λ = {model.lambdas[name]:g}"
        place = (COLUMNS["heads"], 0.17 - 0.565 * k)
        box = _box(axes, place, text, style.HEAD_COLOURS[name], 1.14, high=0.42)
        _arrow(axes, bar, box, flat="end")


def _autoencoder(axes: Axes, network: Autoencoder, x: Tensor) -> None:
    """The hourglass: a bar for each layer with weights, the higher the larger its map."""
    layers = layer_table(network, x)
    layers = layers[(layers.parameters > 0) & (layers.block != "BatchNorm2d")]
    _title(axes, 2.16, 0.62, "Pretraining, on fields without labels", layers.parameters.sum())
    before = _image(axes, x, (2.37, -0.05), 0.42)
    for k, layer in enumerate(layers.itertuples()):
        place, high = (2.85 + 0.1 * k, -0.05), 0.74 - 0.12 * np.log2(layer.stride)
        bar = _box(axes, place, "", COLOURS[layer.part], 0.07, high)
        if k == 0:
            _arrow(axes, before, bar)
    after = _box(axes, (bar.get_x() + 0.5, -0.05), r"$\hat{X}$", "white", 0.42, 0.42)
    _arrow(axes, bar, after)
    axes.text(bar.get_x() + 0.29, -0.6, "loss:\nL1 + (1 − SSIM)", va="center", **NOTE)
    axes.text(2.82, -0.6, HANDED_OVER, va="center", **NOTE)
    dashed = {"arrowstyle": "-|>", "linestyle": "--", "linewidth": 0.6}
    axes.annotate("", (COLUMNS["backbone"] + 0.38, -0.6), (2.78, -0.6), arrowprops=dashed)


def _title(axes: Axes, x: float, y: float, text: str, parameters: int) -> None:
    axes.text(x, y, text, **TITLE)
    axes.text(x, y - 0.13, f"{parameters / 1e6:.1f} M parameters", **NOTE)


def _image(axes: Axes, x: Tensor, centre: Point, side: float) -> Box:
    left, low = centre[0] - side / 2, centre[1] - side / 2
    pixels = x[0].permute(1, 2, 0).clamp(0, 1).cpu().numpy()  # (H, W, 3)
    axes.imshow(pixels, extent=(left, left + side, low, low + side), aspect="auto")
    frame = Rectangle((left, low), side, side, fill=False, color="0.25")
    axes.add_patch(frame)
    return frame


def _box(axes: Axes, centre: Point, text: str, colour: str, wide: float, high: float = 0.19) -> Box:
    corner = (centre[0] - wide / 2, centre[1] - high / 2)
    patch = FancyBboxPatch(corner, wide, high, "round,pad=0,rounding_size=0.03")
    patch.set(facecolor=colour, edgecolor="0.25" if colour == "white" else colour)
    # black letters on light colours (the weights are the eye's for red, green and blue)
    ink = "white" if np.dot(to_rgb(colour), (0.299, 0.587, 0.114)) < 0.53 else "black"
    axes.text(*centre, text, color=ink, fontsize=6, ha="center", va="center")
    axes.add_patch(patch)
    return patch


def _arrow(axes: Axes, start: Box, end: Box, flat: str = "") -> float:
    """From centre to centre, cut off at the edges; ``flat`` at the height of start or end."""
    (x1, y1), (x2, y2) = (
        (p.get_x() + p.get_width() / 2, p.get_y() + p.get_height() / 2) for p in (start, end)
    )
    y1, y2 = {"": (y1, y2), "start": (y1, y1), "end": (y2, y2)}[flat]
    look: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 4, "color": "0.35"}
    look |= {"patchA": start, "patchB": end, "shrinkA": 0, "shrinkB": 0, "zorder": 0.5}
    axes.add_patch(FancyArrowPatch((x1, y1), (x2, y2), linewidth=0.6, **look))
    return y1
