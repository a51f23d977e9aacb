"""Attention measured, not only shown: do the maps of Fig. 5 lie on the particles, and do they come from the training?

- **Energy**: the part of a map's heat inside the annotated boxes of its classes, over the part of the field that the
  boxes cover; 1 is what a map that knows nothing has. (The energy-based pointing game of Wang et al. 2020,
  https://doi.org/10.1109/CVPRW50498.2020.00020; here of all boxes of a head.)
- **Pointing game** (Zhang et al. 2018, https://doi.org/10.1007/s11263-017-1059-x): how often a map's maximum is in a
  box of its classes, without their tolerance of 15 pixels; chance is again the area covered.
- **Sanity check** (Adebayo et al. 2018, https://arxiv.org/abs/1810.03292): weights are drawn anew, from the heads down,
  layer by layer; a map that stays as it was is a picture of the field and says nothing of the network.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from sahi.slicing import get_slice_bboxes
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from torch import nn
from tqdm.auto import tqdm

from openurine_lib import style
from openurine_lib.data.images import read_rgb
from openurine_lib.evaluation.bootstrap import MIN_GROUPS, draws, interval
from openurine_lib.evaluation.gradcam import Row, explain

ALL = "all particles"  # the map of all classes against all boxes
RESAMPLES = 2000
LEAST = 0.2  # where the axis of ratios ends
SHOWN = 0.25  # confidence from which a predicted box counts as a detection


def inside(heat: np.ndarray, boxes: pd.DataFrame) -> dict[str, float]:
    """Of one map (H, W): area (covered by the boxes), energy (of the heat inside) and pointing, each 0..1.

    boxes: [x1, y1, x2, y2] in the map's pixels. Of several equal maxima pointing is the part inside; a map of zeros
    counts as a uniform one, so that all three are equal.
    """
    mask = np.zeros(heat.shape, bool)
    for x1, y1, x2, y2 in boxes[["x1", "y1", "x2", "y2"]].to_numpy(float):
        mask[
            max(int(y1), 0) : max(int(np.ceil(y2)), 0), max(int(x1), 0) : max(int(np.ceil(x2)), 0)
        ] = True
    area, total = float(mask.mean()), float(heat.sum(dtype=float))
    energy = float(heat[mask].sum(dtype=float)) / total if total > 0 else area
    return {"area": area, "energy": energy, "pointing": float(mask[heat == heat.max()].mean())}


def measure(
    model: nn.Module, images: pd.DataFrame, truth: pd.DataFrame, explained: Mapping[str, Sequence[int]], imgsz: int,
    slice_px: int | None = None, overlap: float = 0.25,
) -> pd.DataFrame:  # fmt: skip
    """Every part's map on every field that has boxes of it: [part, image, group, boxes, area, energy, pointing,
    others_area, others_energy].

    images: [image, path, group]; truth: their boxes; explained: name -> class ids (``gradcam.parts``), to which all
    classes together are added; the rest as in ``gradcam.explain``. others: the same map in the boxes of all other
    classes, NaN where there are none: a head that looks at every particle alike has as much heat there.
    """
    wanted = {ALL: sorted({c for classes in explained.values() for c in classes})} | dict(explained)
    found = []
    for field in tqdm(list(images.itertuples()), desc="maps of fields", unit="field"):
        own = truth[truth.image == field.image]
        boxes = {part: own[own.cls.isin(classes)] for part, classes in wanted.items()}
        there = [part for part in wanted if len(boxes[part])]
        if not there:
            continue
        heats = explain(
            model, read_rgb(field.path), imgsz, [wanted[part] for part in there], slice_px, overlap
        )
        for part, heat in zip(there, heats, strict=True):
            about = {
                "part": part,
                "image": field.image,
                "group": field.group,
                "boxes": len(boxes[part]),
            }
            rest = own[~own.cls.isin(wanted[part])]
            others = {
                f"others_{k}": v if len(rest) else float("nan")
                for k, v in inside(heat, rest).items()
            }
            found.append(about | inside(heat, boxes[part]) | others)
    columns = [
        "part",
        "image",
        "group",
        "boxes",
        "area",
        "energy",
        "pointing",
        "others_area",
        "others_energy",
    ]
    return pd.DataFrame(found, columns=columns).astype({c: float for c in columns[4:]})


def summary(
    measured: pd.DataFrame,
    explained: Mapping[str, Sequence[int]],
    predictions: pd.DataFrame,
    seed: int = 0,
) -> pd.DataFrame:
    """A row a part, all particles first; percent, and the ratio of energy to area, with 95% intervals over groups.

    Means are over fields, ratio and ratio_others are of the means. predictions: the stored boxes, for ``detected``: how
    many of the part have a confidence of 0.25 or more on its fields. A part without boxes keeps its row.
    """
    wanted = {ALL: sorted({c for classes in explained.values() for c in classes})} | dict(explained)
    lines = []
    for part, classes in wanted.items():
        m = measured[measured.part == part]
        hits = predictions[(predictions.conf >= SHOWN) & predictions.cls.isin(classes)]
        detected = int(hits.image.isin(m.image).sum())
        line: dict[str, Any] = {"part": part, "fields": len(m), "groups": m.group.nunique()}
        line |= {"boxes": int(m.boxes.sum()), "detected": detected}
        if len(m):
            sums = m.assign(one=1.0).groupby("group")[["area", "energy", "pointing", "one"]].sum()
            area, energy, pointing, fields = sums.to_numpy(float).T  # a number a group
            line |= {"area": 100 * m.area.mean(), "energy": 100 * m.energy.mean()}
            line |= _with_interval("ratio", energy, area, seed)
            rest = m.dropna(subset="others_area")
            line |= {
                "ratio_others": rest.others_energy.sum() / rest.others_area.sum()
                if len(rest)
                else float("nan")
            }
            line |= _with_interval("pointing", 100 * pointing, fields, seed)
        note = (
            "no box in the fields"
            if not len(m)
            else ""
            if detected
            else f"never detected (from {SHOWN})"
        )
        lines.append(line | {"note": note})
    numbers = ["area", "energy", "ratio", "ratio_low", "ratio_high", "ratio_others"]
    numbers += ["pointing", "pointing_low", "pointing_high"]
    return pd.DataFrame(
        lines, columns=["part", "fields", "groups", "boxes", "detected", *numbers, "note"]
    )


def _with_interval(name: str, above: np.ndarray, below: np.ndarray, seed: int) -> dict[str, float]:
    """sum(above) / sum(below) and its percentile interval, groups drawn anew; none for fewer than five groups."""
    low = high = float("nan")
    if len(above) >= MIN_GROUPS:
        times = draws(len(above), RESAMPLES, seed)
        low, high = map(float, interval(times @ above / (times @ below)))
    return {name: float(above.sum() / below.sum()), f"{name}_low": low, f"{name}_high": high}


def sanity(
    model: nn.Module, rows: Sequence[Row], paths: Mapping[str, str], truth: pd.DataFrame, imgsz: int,
    slice_px: int | None = None, overlap: float = 0.25, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """The sanity check on each row's field: [part, depth, layer, spearman, ssim, ratio].

    spearman, ssim: of the map with the trained one. ratio: its heat in the boxes over their area, as in ``summary``, so
    that one sees what an untrained network has. depth: layers drawn anew so far, counted from the heads (0: none). Of a
    field the slice with the most boxes of the row is used. The model itself is left as it was. A map of one value
    everywhere has a rank correlation of 0.
    """
    cases = [
        (row, *_densest(row, paths, truth, slice_px, overlap))
        for row in rows
        if row.image is not None
    ]
    model = copy.deepcopy(model)
    layers: Any = model.model
    known = [explain(model, image, imgsz, [row.classes])[0] for row, image, _ in cases]
    found = [
        (row.name, 0, "trained", 1.0, 1.0, _ratio(h, b))
        for (row, _, b), h in zip(cases, known, strict=True)
    ]
    deep = [layer for layer in reversed(list(layers)) if any(p.numel() for p in layer.parameters())]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for depth, layer in enumerate(
            tqdm(deep if cases else [], desc="layers drawn anew", unit="layer"), 1
        ):
            for module in layer.modules():
                if hasattr(module, "reset_parameters"):
                    module.reset_parameters()  # as torch starts it; batch norm forgets its statistics
            for (row, image, boxes), trained in zip(cases, known, strict=True):
                heat = explain(model, image, imgsz, [row.classes])[0]
                flat = heat.min() == heat.max() or trained.min() == trained.max()
                rank = 0.0 if flat else float(spearmanr(heat.ravel(), trained.ravel()).statistic)
                alike = float(structural_similarity(heat, trained, data_range=1))
                name = "heads" if layer is layers[-1] else str(layer.i)
                found.append((row.name, depth, name, rank, alike, _ratio(heat, boxes)))
    return pd.DataFrame(found, columns=["part", "depth", "layer", "spearman", "ssim", "ratio"])


def _ratio(heat: np.ndarray, boxes: pd.DataFrame) -> float:
    found = inside(heat, boxes)
    return found["energy"] / found["area"] if found["area"] > 0 else float("nan")


def _densest(
    row: Row, paths: Mapping[str, str], truth: pd.DataFrame, slice_px: int | None, overlap: float
) -> tuple[np.ndarray, pd.DataFrame]:
    """The slice of the row's field with the most middles of its boxes (the whole field where nothing is sliced), and
    the boxes in its pixels."""
    image = read_rgb(paths[str(row.image)])
    own = truth[(truth.image == row.image) & truth.cls.isin(row.classes)]
    if not slice_px:
        return image, own
    x, y = (own.x1 + own.x2) / 2, (own.y1 + own.y2) / 2
    cuts = get_slice_bboxes(
        image.shape[0], image.shape[1], slice_px, slice_px, False, overlap, overlap
    )
    x1, y1, x2, y2 = max(cuts, key=lambda c: (x.between(c[0], c[2]) & y.between(c[1], c[3])).sum())
    return image[y1:y2, x1:x2], own.assign(
        x1=own.x1 - x1, x2=own.x2 - x1, y1=own.y1 - y1, y2=own.y2 - y1
    )


def plot(table: pd.DataFrame, checked: pd.DataFrame, face: str) -> Figure:
    """Energy against area, the pointing game, and the sanity check; table: of ``summary``, checked: of ``sanity``."""
    fig, (left, middle, right) = plt.subplots(
        1, 3, figsize=style.size(style.PAGE, 0.34), gridspec_kw={"width_ratios": [1, 0.8, 1.1]}
    )
    places, colours = np.arange(len(table)), [colour_of(part) for part in table.part]
    for ax in (left, middle):
        ax.set_yticks(places, table.part if ax is left else [])
        ax.set_ylim(len(table) - 0.4, -0.6)
    far = 1.3 * np.nanmax([4, *table.ratio, *table.ratio_others, *table.ratio_high])
    for y, (r, colour) in enumerate(zip(table.itertuples(), colours, strict=True)):
        if not r.fields:
            left.text(1.1, y, r.note, va="center", fontsize=5.5)
            continue
        left.plot([r.ratio_low, r.ratio_high], [y, y], color=colour)
        left.plot(max(r.ratio, LEAST), y, "o", color=colour, markersize=5)
        left.plot(
            max(r.ratio_others, LEAST),
            y,
            "o",
            markerfacecolor="white",
            markeredgecolor=colour,
            markersize=4,
        )
        left.text(far, y, f"{r.energy:.1f} on {r.area:.1f} %", va="center", fontsize=5.5)
        middle.barh(y, r.pointing, height=0.5, color=colour)
        middle.plot([r.pointing_low, r.pointing_high], [y, y], color="0.2", linewidth=0.8)
        middle.plot(r.area, y, "|", color="black", markersize=10, markeredgewidth=1.2)
        middle.text(104, y, f"{r.fields}", va="center", fontsize=5.5)
    left.text(far, -0.6, "heat on area", va="bottom", fontsize=5.5)
    left.axvline(1, color="0.6", linewidth=0.6)
    left.set(xscale="log", xlim=(LEAST, far), title="Heat inside the boxes",
             xlabel="times that of a blind map\n(open: in the boxes of the other classes)")  # fmt: skip
    left.set_xticks([t for t in (0.5, 1, 2, 5, 10, 20, 50, 100) if t < far], minor=False)
    left.minorticks_off()
    left.xaxis.set_major_formatter("{x:g}")
    middle.text(104, -0.6, "fields", va="bottom", fontsize=5.5)
    middle.set(
        title="Pointing game",
        xlim=(0, 100),
        xlabel="% of fields whose maximum is in a box\n(tick: by chance)",
    )
    for part, one in checked.groupby("part", sort=False):
        right.plot(one.depth, one.spearman, color=colour_of(str(part)), linewidth=0.6, alpha=0.7)
    if len(checked):
        mean = checked.groupby("depth")[["spearman", "ssim"]].mean()
        right.plot(mean.index, mean.spearman, "o-", color="black", label="rank correlation, mean")
        right.plot(
            mean.index, mean.ssim, "s--", color="black", markerfacecolor="white", label="SSIM, mean"
        )
        right.set_xticks(
            mean.index, checked.drop_duplicates("depth").layer, rotation=90, fontsize=5
        )
        right.legend(loc="lower center", bbox_to_anchor=(0.5, 0.98), ncols=2)
    right.axhline(0, color="0.6", linewidth=0.5)
    right.set_title("Sanity check", pad=14)
    right.set(
        xlabel="weights drawn anew,\nfrom the heads down to this layer",
        ylabel="likeness to the trained map",
    )
    fig.suptitle(face, fontsize=5)
    return fig


def colour_of(part: str) -> str:
    """A head's own colour; grey for what is no head."""
    return style.HEAD_COLOURS.get(part, "0.45")
