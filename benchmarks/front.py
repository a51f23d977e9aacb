"""Accuracy against time: ways to look at a field with the detector that comes with the project.

    python benchmarks/front.py              # drawn fields
    python benchmarks/front.py FOLDER       # and labelled real ones, as for make reproduce DATA=

The paper looks at a field in slices. Other ways, with the same weights: slices without finds at a
cut, slices and the whole field together, the whole field in one pass at several scales, two looks
that are fused (what ``openurine predict`` does). Each is scored on drawn fields of patients that
nothing has seen, drawn with another seed than the study's. Real fields are those of a fold's test
part; the mean is over the classes that both sets have. The time is a field's, with all cores, and
stands beside that of stock sahi with the paper's network at the paper's size, which is not trained:
it has a time, but no accuracy.

Writes docs/results/front.csv, docs/front.svg and the pair ``recommended_field`` of docs/benchmarks.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
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
from openurine_lib import default_weights, open_run, style
from openurine_lib.clinical import validation
from openurine_lib.clinical.drawn_to_real import MEAN, scores, with_usual_room
from openurine_lib.data.box_tensors import suppressed
from openurine_lib.data.dataset import prepare
from openurine_lib.data.images import read_rgb
from openurine_lib.evaluation.metrics import evaluate, summary
from openurine_lib.evaluation.shared_classes import renamed
from openurine_lib.experiments.latency import pareto_front
from openurine_lib.experiments.methods import profile
from openurine_lib.inference import CONFIDENCE, OVERLAP, predict_image
from openurine_lib.laboratory.predicting import open_detector
from openurine_lib.looking import MATCH_THRESHOLD
from openurine_lib.speed.processor import use_cores
from openurine_lib.ways import SLICES, Way

SEED = 12  # the study's fields have seed 0; the way of one pass was chosen on those of seed 11
FIELDS = {"fields": 80, "unlabelled": 0, "cohort": 0, "patients": 40}
PAPER_SLICE, PAPER_PX = 640, 960  # a slice of the paper, and the size at which its network sees it
DEFAULT = "two looks, without finds at a cut (the default)"  # of ``openurine predict``
TIMED = 20  # fields
FOLD = 0  # of real fields, whose test part is scored

Looking = Callable[[Any], pd.DataFrame]  # a field (H, W, 3) -> boxes


class Passes(NamedTuple):
    """Over slices, over the whole field, or both."""

    slices: Way | None  # None: no pass over slices
    scale: float | None = None  # of a pass over the whole field, in that of a slice; None: no pass
    looks: int = 1  # at the whole field


UNCUT = Way(uncut=True)
WAYS = {
    "slices (the paper's way)": Passes(SLICES),
    "slices, without finds at a cut": Passes(UNCUT),
    "slices and the whole field": Passes(SLICES, scale=1.0),
    "whole, at 0.7 of the slices' scale": Passes(None, scale=0.7),
    "whole, at 0.8 of the slices' scale": Passes(None, scale=0.8),
    "whole, at the slices' scale": Passes(None, scale=1.0),
    "whole, at 1.2 of the slices' scale": Passes(None, scale=1.2),
    "two looks, in slices": Passes(replace(SLICES, looks=2)),
    "two looks, each whole": Passes(None, scale=1.0, looks=2),
    DEFAULT: Passes(replace(UNCUT, looks=2)),
}


def main() -> None:
    weights = default_weights.path()
    slice_px = validation.read(weights)["slice_px"]
    network, classes, _ = open_detector(weights, CONFIDENCE)
    looks = {name: looking(network, way, slice_px) for name, way in WAYS.items()}
    rows: dict[str, dict[str, Any]] = {name: {"way": name} for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        drawn = synthurine.write(Path(folder) / "drawn", profile("study").synthetic | FIELDS, SEED)
        data = prepare(drawn, Path(folder) / "prepared", SEED)
        fields = {i.image: read_rgb(i.path) for i in data.images.itertuples()}
    for name, look in looks.items():
        of_way = evaluate(data.boxes, on_all(fields, look, name), data.taxonomy.n, list(fields))
        scores_of_way = summary(of_way)
        rows[name] |= {m: 100 * scores_of_way[m] for m in ("map50", "map50_95")}
    real: dict[str, Any] = {}
    if sys.argv[1:]:
        run = open_run(sys.argv[1], "study")
        test = run.test_images(FOLD)
        real = {i.image: read_rgb(i.path) for i in test.itertuples()}
        for name, look in looks.items():
            found = renamed(on_all(real, look, name), run.dataset.taxonomy, classes)
            of_classes = scores(run, test, with_usual_room(found, weights))
            _, _, ap50, ap30 = next(line for line in of_classes if line[0] == MEAN)
            rows[name] |= {"real_ap50": ap50, "real_ap30": ap30}
    pixels = list(fields.values())[:TIMED]
    for name, look in looks.items():
        rows[name]["ms"] = 1000 * seconds(look, pixels)
        if real:
            rows[name]["real_ms"] = 1000 * seconds(look, list(real.values())[:TIMED])
    table = pd.DataFrame(rows.values())
    table.round(2).to_csv(pairs.ROOT / "docs" / "results" / "front.csv", index=False)
    print(table.round(1).to_string())
    with tempfile.TemporaryDirectory() as folder:
        stock = by_sahi(Path(folder))
        against = (
            f"stock sahi, yolo12m, {pixels[0].shape[0]} px field in slices of {PAPER_SLICE} px "
            f"seen at {PAPER_PX}; the carried yolo12n looks twice"
        )
        few = pixels[:2]
        pairs.compare(
            "recommended_field",
            against,
            lambda: seconds(stock, few),
            lambda: seconds(looks[DEFAULT], few),
        )
        figure = plot(table, 1000 * seconds(stock, few))
    figure.savefig(pairs.ROOT / "docs" / "front.svg")


def on_all(fields: Mapping[str, Any], look: Looking, name: str) -> pd.DataFrame:
    """The boxes of all fields: [image, cls, conf, x1, y1, x2, y2]."""
    parts = [
        look(pixels).assign(image=image)
        for image, pixels in tqdm(fields.items(), desc=name, leave=False)
    ]
    return pd.concat(parts, ignore_index=True)


def looking(network: Any, passes: Passes, slice_px: int) -> Looking:
    """What finds the boxes of a field (H, W, 3) in that way."""

    def look(image: Any) -> pd.DataFrame:
        parts = []
        if passes.slices:
            parts.append(predict_image(network, image, slice_px, way=passes.slices))
        if passes.scale is not None:
            # a smaller scale is that of larger slices
            side = round(slice_px / passes.scale)
            whole = Way(at_once=True, looks=passes.looks)
            parts.append(predict_image(network, image, side, way=whole))
        if len(parts) == 1:
            return parts[0]
        return suppressed(pd.concat(parts, ignore_index=True), MATCH_THRESHOLD)

    return look


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
    """Accuracy against milliseconds a field, drawn and real.

    A line joins the front: ways than which none is both quicker and better. The default stands out.
    """
    style.use()
    panels = {"drawn fields: mAP50 (%)": ("ms", "map50")}
    if "real_ms" in table:
        panels["real fields: mean AP50 of the shared classes (%)"] = ("real_ms", "real_ap50")
    fig, axes = plt.subplots(
        1, len(panels), figsize=style.size(style.PAGE, 0.5), squeeze=False, layout="constrained"
    )
    for ax, (label, (ms, accuracy)) in zip(axes[0], panels.items(), strict=True):
        best = table[pareto_front(table[ms], table[accuracy])].sort_values(ms)
        ax.plot(best[ms], best[accuracy], color="0.7", linewidth=0.8, zorder=0)
        for number, row in enumerate(table.to_dict("records"), 1):
            usual = row["way"] == DEFAULT
            colour = style.HERE_COLOUR if usual else style.SERIES["teal"]
            at = (row[ms], row[accuracy])
            name = f"{number}  {row['way']}"
            ax.plot(*at, "D" if usual else "o", color=colour, label=name, linestyle="none")
            beside = (4, -9) if usual else (4, 3)
            ax.annotate(str(number), at, beside, textcoords="offset points", fontsize=6)
        ax.set(xscale="log", xlabel="milliseconds a field, two cores", ylabel=label)
    drawn = axes[0, 0]
    drawn.axvline(stock_ms, color=style.PAPER_COLOUR, linestyle="--")
    drawn.annotate(
        "stock sahi with the\npaper's network\n(not trained)",
        (stock_ms, table["map50"].mean()),
        (-4, 0),
        textcoords="offset points",
        ha="right",
        fontsize=5,
    )
    handles, names = drawn.get_legend_handles_labels()
    fig.legend(handles, names, loc="outside lower center", ncols=3, fontsize=5)
    fig.suptitle("The detector that comes with the project: ways to look at a field", fontsize=7)
    return fig


if __name__ == "__main__":
    main()
