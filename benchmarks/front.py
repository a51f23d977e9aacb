"""Accuracy against time: ways to look at a field with the detector that comes with the project.

    python benchmarks/front.py

The paper looks at a field in slices. Other ways, with the same weights: other overlaps, slices and
the whole field together, the whole field in one pass at several scales. Each is scored on drawn
fields of patients that nothing has seen, drawn with another seed than the study's: CHOSEN_ON, on
which the recommended way was chosen, and SCORED_ON. The time is a field's, with all cores, and
stands beside that of stock sahi with the paper's network at the paper's size, which is not trained:
it has a time, but no accuracy.

Writes docs/results/front.csv, docs/front.svg and the pair ``recommended_field`` of docs/benchmarks.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pairs
import pandas as pd
import sliced
import torch
from matplotlib import pyplot as plt
from sahi.predict import get_sliced_prediction
from tqdm.auto import tqdm

import synthurine
from openurine_lib import default_weights, style
from openurine_lib.clinical import validation
from openurine_lib.data.boxes import XYXY
from openurine_lib.data.dataset import prepare
from openurine_lib.data.images import read_rgb
from openurine_lib.evaluation.metrics import evaluate, summary
from openurine_lib.experiments.methods import profile
from openurine_lib.inference import CONFIDENCE, MATCH_THRESHOLD, OVERLAP, predict_image
from openurine_lib.speed.processor import use_cores
from openurine_lib.training.engines.ultralytics import detector
from openurine_lib.training.weights import read_weights

CHOSEN_ON, SCORED_ON = 11, 12  # seeds; the study's fields have seed 0
FIELDS = {"fields": 120, "unlabelled": 0, "cohort": 0, "patients": 60}
PAPER_SLICE, PAPER_PX = 640, 960  # a slice of the paper, and the size at which its network sees it
RECOMMENDED = "whole, at the slices' scale"
TIMED = 20  # fields


class Way(NamedTuple):
    """How a field is looked at."""

    slices: bool
    overlap: float = OVERLAP
    scale: float | None = None  # of a pass over the whole field, in that of a slice; None: no pass


WAYS = {
    "slices (the paper's way)": Way(True),
    "slices, overlap 0.1": Way(True, 0.1),
    "slices and the whole field": Way(True, scale=1.0),
    "whole, at 0.7 of the slices' scale": Way(False, scale=0.7),
    "whole, at 0.8 of the slices' scale": Way(False, scale=0.8),
    RECOMMENDED: Way(False, scale=1.0),
    "whole, at 1.2 of the slices' scale": Way(False, scale=1.2),
}


def main() -> None:
    weights = default_weights.path()
    slice_px = validation.read(weights)["slice_px"]
    network = detector(weights, CONFIDENCE, "cpu", read_weights(weights)["meta"]["imgsz"])
    rows: dict[str, dict[str, Any]] = {name: {"way": name} for name in WAYS}
    for seed, column in ((CHOSEN_ON, "chosen_on"), (SCORED_ON, "scored_on")):
        with tempfile.TemporaryDirectory() as folder:
            spec = profile("study").synthetic | FIELDS
            drawn = synthurine.write(Path(folder) / "drawn", spec, seed)
            data = prepare(drawn, Path(folder) / "prepared", seed)
            fields = {i.image: read_rgb(i.path) for i in data.images.itertuples()}
            for name, way in WAYS.items():
                look = looking(network, way, slice_px)
                parts = [
                    look(pixels).assign(image=image)
                    for image, pixels in tqdm(fields.items(), desc=name, leave=False)
                ]
                found = pd.concat(parts, ignore_index=True)
                scores = summary(evaluate(data.boxes, found, data.taxonomy.n, list(fields)))
                rows[name] |= {f"{m}_{column}": 100 * scores[m] for m in ("map50", "map50_95")}
    pixels = list(fields.values())[:TIMED]
    for name, way in WAYS.items():
        rows[name]["ms"] = 1000 * seconds(looking(network, way, slice_px), pixels)
    table = pd.DataFrame(rows.values())
    table.round(2).to_csv(pairs.ROOT / "docs" / "results" / "front.csv", index=False)
    print(table.round(1).to_string())
    ours = looking(network, WAYS[RECOMMENDED], slice_px)
    with tempfile.TemporaryDirectory() as folder:
        stock = by_sahi(Path(folder))
        against = (
            f"stock sahi, yolo12m, {pixels[0].shape[0]} px field in slices of {PAPER_SLICE} px "
            f"seen at {PAPER_PX}; the carried yolo12n sees the field whole"
        )
        few = pixels[:2]
        pairs.compare(
            "recommended_field", against, lambda: seconds(stock, few), lambda: seconds(ours, few)
        )
        figure = plot(table, 1000 * seconds(stock, few))
    figure.savefig(pairs.ROOT / "docs" / "front.svg")


def looking(network: Any, way: Way, slice_px: int) -> Callable[[Any], pd.DataFrame]:
    """What finds the boxes of a field (H, W, 3) in that way."""

    def look(image: Any) -> pd.DataFrame:
        parts = []
        if way.slices:
            parts.append(predict_image(network, image, slice_px, way.overlap))
        if way.scale is not None:
            # a smaller scale is that of larger slices
            parts.append(predict_image(network, image, round(slice_px / way.scale), at_once=True))
        return parts[0] if len(parts) == 1 else merged(pd.concat(parts, ignore_index=True))

    return look


def merged(boxes: pd.DataFrame) -> pd.DataFrame:
    """Boxes of two passes after non-maximum suppression within each class."""
    from torchvision.ops import batched_nms

    corners = torch.tensor(boxes[XYXY].to_numpy(), dtype=torch.float32)
    scores = torch.tensor(boxes["conf"].to_numpy(), dtype=torch.float32)
    kept = batched_nms(corners, scores, torch.tensor(boxes["cls"].to_numpy()), MATCH_THRESHOLD)
    return boxes.iloc[kept.numpy()]


def by_sahi(folder: Path) -> Callable[[Any], Any]:
    """Stock sahi on a stock yolo12m, as the paper sets both."""
    model = sliced.stock_model("yolo12m", folder, PAPER_PX)
    side = PAPER_SLICE

    def look(image: Any) -> Any:
        torch.set_num_threads(1)  # what importing ultralytics leaves a user with
        return get_sliced_prediction(
            image, model, side, side, OVERLAP, OVERLAP, perform_standard_pred=False, verbose=0
        )

    return look


def seconds(look: Callable[[Any], Any], fields: list[Any]) -> float:
    """The median time of a field, warmed up."""
    look(fields[0])
    times = []
    for field in fields:
        use_cores()
        start = time.perf_counter()
        look(field)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def plot(table: pd.DataFrame, stock_ms: float) -> plt.Figure:
    """mAP50 against milliseconds a field; the recommended way stands out."""
    style.use()
    fig, ax = plt.subplots(figsize=style.size(0.7 * style.PAGE, 0.6))
    for row in table.itertuples():
        best = row.way == RECOMMENDED
        colour = style.HERE_COLOUR if best else style.SERIES["teal"]
        ax.plot(row.ms, row.map50_scored_on, "D" if best else "o", color=colour)
        ax.annotate(row.way, (row.ms, row.map50_scored_on), (5, 3), textcoords="offset points")
    ax.axvline(stock_ms, color=style.PAPER_COLOUR, linestyle="--")
    ax.annotate(
        "stock sahi with the\npaper's network (untrained)",
        (stock_ms, table["map50_scored_on"].min()),
        (-4, 0),
        textcoords="offset points",
        ha="right",
    )
    ax.set(xscale="log", xlabel="milliseconds a field, two cores", ylabel="mAP50 (%)")
    ax.set_title(
        "One small detector, ways to look: drawn fields that nothing was chosen on", fontsize=6
    )
    return fig


if __name__ == "__main__":
    main()
