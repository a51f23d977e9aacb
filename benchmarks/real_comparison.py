"""Rows of Table 4 on real fields: small networks, one fold, the same number of passes for each.

    python benchmarks/real_comparison.py --data /path/to/urised2k [--rows yolo12n lyu2023 ...]

Each row trains the small network that the demo profile puts in its place, at 320 px, on one fold of
a split by slide. It starts from random weights and sees every training field ``EPOCHS`` times. The
paper's method sees two slices of each field, half as often, and before that the unlabelled fields.
So the rows are equal in fields seen, but not in computing. Parameters, GFLOPs and the time of the
training stand beside them. The slices have the size that ``real_ablation.py`` chose on training
slides.

Every result is stored, and an interrupted call goes on. Beside each row's mAP50 stands its
difference from the paper's method, with an interval over the slides of the fold and Holm's p
(``experiments.significance``). Writes docs/results/real_comparison.*
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

# one training runs at a time, so it gets all cores unless the user says otherwise
os.environ.setdefault("OPENURINE_THREADS", str(os.cpu_count() or 1))

import pandas as pd
from matplotlib import pyplot as plt
from pairs import RESULTS
from real_ablation import IMGSZ, small

from openurine_lib import files, style
from openurine_lib.evaluation.metrics import METRICS, summary
from openurine_lib.experiments import provenance, significance, sizes, steps
from openurine_lib.experiments.methods import methods
from openurine_lib.experiments.run import Run

EPOCHS = 6
FOLD = 0
SLICE_PX = 480
SECONDS = "seconds.json"  # of a training that was not interrupted
ROWS = [
    *("yolo12n", "yolov8m", "yolo11m", "liang2018-fasterrcnn", "liang2018-ssd", "li2020-retinanet"),
    *("efficientdet-d2", "rtdetrv2-l", "lyu2023", "wang2023", "komori2023", "ours-yolo12m"),
]


def main() -> None:
    options = _options()
    p = replace(small("real-comparison", (FOLD,), EPOCHS, SLICE_PX), ssl_epochs=EPOCHS // 3)
    run = Run(str(options.data.resolve()), p, options.seed)
    for name in options.rows:
        m = methods()[name]
        folder = run.train_dir(m, FOLD)
        if not (folder / "weights.pt").exists():
            start = time.perf_counter()
            steps.ensure_weights(run, m, FOLD)
            files.write_json(folder / SECONDS, {"seconds": time.perf_counter() - start})
        print(name, summary(steps.ensure_metrics(run, m, FOLD)), flush=True)
    tables(run, options.rows)


def tables(run: Run, rows: list[str]) -> None:
    """docs/results/real_comparison.csv, .json and .png from what is stored."""
    table = pd.DataFrame([_line(run, name) for name in rows])
    compared = significance.table4_significance(run).set_index("method")
    columns = ["groups", "difference", "low", "high", "p_holm"]
    table = table.join(compared[columns], on="method")
    with files.atomic_path(RESULTS / "real_comparison.csv") as temporary:
        table.round(3).to_csv(temporary, index=False)
    stamp = provenance.stamp(
        run, imgsz=IMGSZ, slice_px=SLICE_PX, passes=EPOCHS, ssl_epochs=run.profile.ssl_epochs
    )
    files.write_json(RESULTS / "real_comparison.json", stamp)
    table = table.sort_values("map50")
    _plot(table)
    print(table.iloc[::-1].round(1).to_string(index=False))


def _line(run: Run, name: str) -> dict[str, Any]:
    """A row's network, scores (percent), size, and the seconds of its training."""
    m = methods()[name]
    scores = summary(steps.ensure_metrics(run, m, FOLD))
    size = sizes.size_of_run(run, m)
    seconds = json.loads((run.train_dir(m, FOLD) / SECONDS).read_text(encoding="utf-8"))
    line = {
        "method": name,
        "row": m.answers[4],
        "network": run.profile.arch(m),
        "engine": m.engine,
        "epochs": run.profile.epochs_of(m),
    }
    line |= {k: 100 * scores[k] for k in METRICS}
    line |= {k: size.get(k) for k in ("params_m", "gflops")}
    return line | seconds


def _plot(table: pd.DataFrame) -> None:
    """mAP50 of the rows of the sorted table."""
    style.use()
    figure, axis = plt.subplots(figsize=(style.PAGE, 0.2 * len(table) + 0.7))
    ours = table["row"].str.startswith("Our method")
    colours = [style.HERE_COLOUR if x else "0.7" for x in ours]
    axis.barh(range(len(table)), table.map50, color=colours)
    labels = [f"{r} ({n})" for r, n in zip(table["row"], table.network, strict=True)]
    axis.set_yticks(range(len(table)), labels)
    axis.set_xlabel("mAP50 on held-out slides (%)")
    axis.set_title(
        f"UriSed2K, one fold, {IMGSZ} px, {EPOCHS} passes, from random weights", fontsize=6
    )
    with files.atomic_path(RESULTS / "real_comparison.png") as temporary:
        figure.savefig(temporary, dpi=200)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", nargs="*", choices=ROWS, default=ROWS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
