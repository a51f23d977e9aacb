"""Rows of Table 4 on real fields: small networks, 320 px, one slide-grouped fold, the same number of passes for each.

    python benchmarks/real_comparison.py --data /path/to/urised2k [--rows yolo12n li2020-retinanet ...]

Each row's network is the small one that the demo profile puts in its place; it starts from random weights and sees
every training field ``EPOCHS`` times (the paper's method: two slices of each, half as often, and before that the
unlabelled fields). So the rows are equal in fields seen, not in computing: parameters, GFLOPs and the time of the
training stand beside them. Slices are of the size that ``real_ablation.py`` chose on training slides. Everything is
kept; an interrupted call goes on. Beside each row's mAP50 stands its difference from the paper's method, with an
interval over the slides of the fold and Holm's p (``significance``). Writes docs/results/real_comparison.*
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path

from openurine_lib import files

os.environ.setdefault(
    "OPENURINE_THREADS", str(os.cpu_count() or 1)
)  # one training at a time, unless told otherwise

import pandas as pd
from matplotlib import pyplot as plt
from pairs import RESULTS
from real_ablation import IMGSZ, small

from openurine_lib import style
from openurine_lib.evaluation.metrics import METRICS, summary
from openurine_lib.experiments import provenance, significance, sizes, steps
from openurine_lib.experiments.methods import methods
from openurine_lib.experiments.run import Run

EPOCHS, FOLD, SLICE_PX = 6, 0, 480
SECONDS = "seconds.json"  # of a training that was not interrupted
ROWS = ["yolo12n", "yolov8m", "yolo11m", "liang2018-fasterrcnn", "liang2018-ssd", "li2020-retinanet",
        "efficientdet-d2", "rtdetrv2-l", "lyu2023", "wang2023", "komori2023", "ours-yolo12m"]  # fmt: skip


def main() -> None:
    o = _options()
    p = replace(small("real-comparison", (FOLD,), EPOCHS, SLICE_PX), ssl_epochs=EPOCHS // 3)
    run = Run(str(o.data.resolve()), p, o.seed)
    for name in o.rows:
        m = methods()[name]
        if not (run.train_dir(m, FOLD) / "weights.pt").exists():
            start = time.perf_counter()
            steps.ensure_weights(run, m, FOLD)
            files.write_json(
                run.train_dir(m, FOLD) / SECONDS, {"seconds": time.perf_counter() - start}
            )
        print(name, summary(steps.ensure_metrics(run, m, FOLD)), flush=True)
    tables(run, o.rows)


def tables(run: Run, rows: list[str]) -> None:
    """docs/results/real_comparison.csv, .json and .png from what is stored."""
    lines = []
    for name in rows:
        m = methods()[name]
        scores = summary(steps.ensure_metrics(run, m, FOLD))
        lines.append({"method": name, "row": m.answers[4], "network": run.profile.arch(m), "engine": m.engine,
                      "epochs": run.profile.epochs_of(m)} | {k: 100 * scores[k] for k in METRICS}
                     | {k: sizes.size_of_run(run, m).get(k) for k in ("params_m", "gflops")}
                     | json.loads((run.train_dir(m, FOLD) / SECONDS).read_text(encoding="utf-8")))  # fmt: skip
    compared = significance.table4_significance(run).set_index("method")[
        ["groups", "difference", "low", "high", "p_holm"]
    ]
    table = pd.DataFrame(lines).join(compared, on="method")
    with files.atomic_path(RESULTS / "real_comparison.csv") as temporary:
        table.round(3).to_csv(temporary, index=False)
    stamp = provenance.stamp(
        run, imgsz=IMGSZ, slice_px=SLICE_PX, passes=EPOCHS, ssl_epochs=run.profile.ssl_epochs
    )
    files.write_json(RESULTS / "real_comparison.json", stamp)
    style.use()
    table = table.sort_values("map50")
    figure, axis = plt.subplots(figsize=(style.PAGE, 0.2 * len(table) + 0.7))
    ours = table["row"].str.startswith("Our method")
    axis.barh(
        range(len(table)), table.map50, color=[style.HERE_COLOUR if x else "0.7" for x in ours]
    )
    axis.set_yticks(
        range(len(table)), [f"{r} ({n})" for r, n in zip(table["row"], table.network, strict=True)]
    )
    axis.set_xlabel("mAP50 on held-out slides (%)")
    axis.set_title(
        f"UriSed2K, one fold, {IMGSZ} px, {EPOCHS} passes, from random weights", fontsize=6
    )
    with files.atomic_path(RESULTS / "real_comparison.png") as temporary:
        figure.savefig(temporary, dpi=200)
    print(table.iloc[::-1].round(1).to_string(index=False))


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
