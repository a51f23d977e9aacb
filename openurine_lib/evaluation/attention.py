"""Attention measured: do the maps of Fig. 5 lie on the particles, and do they come from training?

- **Energy**: the part of a map's heat inside the annotated boxes of its classes, over the part of
  the field that the boxes cover; 1 is what a map that knows nothing has. (The energy-based pointing
  game of Wang et al. 2020, https://doi.org/10.1109/CVPRW50498.2020.00020; here for all boxes of a
  head.)
- **Pointing game** (Zhang et al. 2018, https://doi.org/10.1007/s11263-017-1059-x): how often a
  map's maximum is in a box of its classes, without their tolerance of 15 pixels. Chance is again
  the area covered.
- **Sanity check** (Adebayo et al. 2018, https://arxiv.org/abs/1810.03292): weights are drawn anew,
  from the heads down, layer by layer. A map that stays as it was is a picture of the field and says
  nothing of the network.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from torch import nn
from tqdm.auto import tqdm

from openurine_lib.data.boxes import XYXY
from openurine_lib.data.images import read_rgb
from openurine_lib.evaluation.bootstrap import ratio_interval
from openurine_lib.evaluation.gradcam import SHOWN, Parts, Row, View, explain

ALL = "all particles"  # the map of all classes against all boxes
RESAMPLES = 2000
NUMBERS = ["area", "energy", "pointing", "others_area", "others_energy"]
MEASURED = ["part", "image", "group", "boxes", *NUMBERS]
SUMMARY = ["part", "fields", "groups", "boxes", "detected", "area", "energy"]
SUMMARY += ["ratio", "ratio_low", "ratio_high", "ratio_others"]
SUMMARY += ["pointing", "pointing_low", "pointing_high", "note"]


def heat_inside(heat: np.ndarray, boxes: pd.DataFrame) -> dict[str, float]:
    """Of a map (H, W): area (covered by the boxes), energy (heat inside) and pointing, each 0..1.

    boxes: [x1, y1, x2, y2] in the map's pixels. Of several equal maxima, pointing is the part that
    is inside. A map of zeros counts as a uniform one, so that all three are equal.
    """
    mask = np.zeros(heat.shape, bool)
    xyxy = boxes[XYXY].to_numpy(float)
    corners = np.hstack([np.floor(xyxy[:, :2]), np.ceil(xyxy[:, 2:])])  # whole pixels
    for left, top, right, bottom in corners.clip(0).astype(int):
        mask[top:bottom, left:right] = True
    area = float(mask.mean())
    total = float(heat.sum(dtype=float))  # in float64: many small numbers
    energy = float(heat[mask].sum(dtype=float)) / total if total > 0 else area
    return {"area": area, "energy": energy, "pointing": float(mask[heat == heat.max()].mean())}


def _with_all(explained: Parts) -> Parts:
    """The parts, and before them all their classes together."""
    return {ALL: sorted({c for classes in explained.values() for c in classes}), **explained}


def measure(
    model: nn.Module, images: pd.DataFrame, truth: pd.DataFrame, explained: Parts, view: View
) -> pd.DataFrame:
    """Measures every part's map, and that of all classes, on every field with its boxes: MEASURED.

    images: [image, path, group]; truth: their boxes. others_area, others_energy: of the same map in
    the boxes of all other classes, NaN where there are none. A head that looks at every particle
    alike has as much heat there.
    """
    parts = _with_all(explained)
    rows = []
    for field in tqdm(list(images.itertuples()), desc="maps of fields", unit="field"):
        on_field = truth[truth.image == field.image]
        present = [part for part in parts if on_field.cls.isin(parts[part]).any()]
        if not present:
            continue
        # (parts, H, W), of one forward pass
        heats = explain(model, read_rgb(field.path), view, [parts[part] for part in present])
        for part, heat in zip(present, heats, strict=True):
            of_part = on_field.cls.isin(parts[part])
            row = {"part": part, "image": field.image, "group": field.group}
            row |= {"boxes": of_part.sum(), **heat_inside(heat, on_field[of_part])}
            if not of_part.all():
                others = heat_inside(heat, on_field[~of_part])
                row |= {"others_area": others["area"], "others_energy": others["energy"]}
            rows.append(row)
    return pd.DataFrame(rows, columns=MEASURED).astype(dict.fromkeys(NUMBERS, float))


def summary(
    measured: pd.DataFrame, explained: Parts, predictions: pd.DataFrame, seed: int = 0
) -> pd.DataFrame:
    """A row for each part, all particles first, in percent: SUMMARY.

    area, energy and pointing are means over fields; ratio (energy over area) and ratio_others (in
    the boxes of other classes) are of the means. Intervals are 95 %, over groups. detected: stored
    ``predictions`` of the part, from confidence SHOWN on. A part without boxes keeps its row.
    """
    rows = []
    for part, classes in _with_all(explained).items():
        of_part = measured[measured.part == part]
        hits = predictions[(predictions.conf >= SHOWN) & predictions.cls.isin(classes)]
        detected = int(hits.image.isin(of_part.image).sum())
        row: dict[str, Any] = {"part": part, "fields": len(of_part)}
        row |= {"groups": of_part.group.nunique(), "boxes": int(of_part.boxes.sum())}
        row |= {"detected": detected, "note": "" if detected else f"never detected (from {SHOWN})"}
        if of_part.empty:
            row["note"] = "no box in the fields"
        else:
            row |= _means(of_part, seed)
        rows.append(row)
    return pd.DataFrame(rows, columns=SUMMARY)


def _means(measured: pd.DataFrame, seed: int) -> dict[str, float]:
    others = measured.dropna(subset="others_area")
    means = {"area": 100 * measured.area.mean(), "energy": 100 * measured.energy.mean()}
    if len(others):
        means["ratio_others"] = others.others_energy.sum() / others.others_area.sum()
    of_groups = measured.assign(fields=1.0).groupby("group")
    sums = of_groups[["area", "energy", "pointing", "fields"]].sum()
    ratios = {"ratio": (sums.energy, sums.area), "pointing": (100 * sums.pointing, sums.fields)}
    # of sums over all groups, so that groups of many fields count more
    for name, (part, whole) in ratios.items():
        means[name] = float(part.sum() / whole.sum())
        low, high = ratio_interval(part, whole, RESAMPLES, seed)
        means |= {f"{name}_low": low, f"{name}_high": high}
    return means


def sanity(
    model: nn.Module,
    rows: Sequence[Row],
    paths: Mapping[str, str],
    truth: pd.DataFrame,
    view: View,
    seed: int = 0,
    every: int = 1,
) -> pd.DataFrame:
    """The sanity check on each row's field: [part, depth, layer, spearman, ssim, ratio].

    depth: number of layers drawn anew, counted from the heads. every: a map is made after the
    heads, after each ``every``-th layer, and when all are drawn anew. spearman, ssim: likeness of
    the map to the trained one (a uniform map has a rank correlation of 0). ratio: its heat in the
    boxes over their area, as in ``summary``. Of a sliced field, the slice with the most boxes of
    the row is used. The model is left as it was.
    """
    model = copy.deepcopy(model)  # its weights will be drawn anew
    whole = replace(view, slice_px=None)  # a slice is explained at once
    cases = []
    found: list[tuple] = []
    for row in rows:
        if row.image is not None:
            image, boxes = _densest_slice(row, read_rgb(paths[row.image]), truth, view)
            trained = explain(model, image, whole, [row.classes])[0]
            cases.append((row, image, boxes, trained))
            found.append((row.name, 0, "trained", 1.0, 1.0, _ratio(trained, boxes)))

    layers: Any = model.model
    with_weights = [layer for layer in layers if any(p.numel() for p in layer.parameters())]
    from_heads = with_weights[::-1] if cases else []  # from the heads down
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay
        torch.manual_seed(seed)
        for depth, layer in enumerate(tqdm(from_heads, desc="layers drawn anew", unit="layer"), 1):
            for module in layer.modules():
                if hasattr(module, "reset_parameters"):
                    # as torch starts it; batch norm forgets its statistics
                    module.reset_parameters()
            if depth > 1 and depth % every and depth < len(from_heads):
                continue
            name = "heads" if layer is layers[-1] else str(layer.i)
            for row, image, boxes, trained in cases:
                heat = explain(model, image, whole, [row.classes])[0]
                # a uniform map has no ranks
                uniform = heat.min() == heat.max() or trained.min() == trained.max()
                rank = 0.0 if uniform else spearmanr(heat.ravel(), trained.ravel()).statistic
                likeness = structural_similarity(heat, trained, data_range=1)
                ratio = _ratio(heat, boxes)
                found.append((row.name, depth, name, float(rank), float(likeness), ratio))
    return pd.DataFrame(found, columns=["part", "depth", "layer", "spearman", "ssim", "ratio"])


def _ratio(heat: np.ndarray, boxes: pd.DataFrame) -> float:
    measures = heat_inside(heat, boxes)
    return measures["energy"] / measures["area"] if measures["area"] > 0 else float("nan")


def _densest_slice(
    row: Row, image: np.ndarray, truth: pd.DataFrame, view: View
) -> tuple[np.ndarray, pd.DataFrame]:
    """The slice with the most middles of the row's boxes, and these boxes in its pixels."""
    boxes = truth[(truth.image == row.image) & truth.cls.isin(row.classes)]
    x = (boxes.x1 + boxes.x2) / 2
    y = (boxes.y1 + boxes.y2) / 2
    x1, y1, x2, y2 = max(
        view.cuts(*image.shape[:2]),
        key=lambda cut: (x.between(cut[0], cut[2]) & y.between(cut[1], cut[3])).sum(),
    )
    return image[y1:y2, x1:x2], boxes.assign(**(boxes[XYXY] - [x1, y1, x1, y1]))
