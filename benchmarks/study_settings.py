"""With which settings do the trainings of the profile ``study`` learn most?

    python benchmarks/study_settings.py --name steps --set batch=8 --set nbs=8

The settings were tried once, on training patients only. The training part of fold 0 is cut once
more by patient and a fifth is held out, so the fold's test part is never looked at. Each call
trains the plain detector with the profile's settings and the given changes, on whole fields or on
``--slices`` of every field, scores it on the held-out patients as it was trained, and adds a row to
``runs/study/settings.csv``. A training that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

import pandas as pd
import yaml

from openurine_lib import files, method, open_run
from openurine_lib.experiments.methods import Method
from openurine_lib.experiments.run import Run
from openurine_lib.training.engines import engine
from openurine_lib.training.job import TrainJob
from openurine_lib.training.slices import slices_of
from openurine_lib.training.trials import Split, held_out_scores, inner_split


def main() -> None:
    options = _options()
    run = open_run("synthetic", "study", 0)
    folder = run.dir / "settings" / options.name
    changes = dict(_pair(text) for text in options.set)
    split = inner_split(run.dataset.train_images(0), run.seed)
    job = training(run, method("yolo12n"), split, options.epochs, changes, folder)
    slicing: tuple[int | None, float] = (None, 0.0)
    if options.slices:
        slicing = run.slicing(method("yolo12m-sahi"))
        cut = slices_of(
            job.images, job.boxes, *slicing, options.slices, run.seed, folder / "slices"
        )
        job = dataclasses.replace(job, images=cut[0], boxes=cut[1])
    started = time.monotonic()
    weights = engine("ultralytics").fit(job)
    minutes = (time.monotonic() - started) / 60
    row: dict[str, object] = {
        "name": options.name,
        "changes": json.dumps(changes),
        "slices": options.slices,
        "slice_px": slicing[0],
        "epochs": options.epochs,
        "minutes": round(minutes, 1),
    }
    truth = run.dataset.boxes_of(split.validation)
    scores = held_out_scores(engine("ultralytics"), job, weights, split.validation, truth, slicing)
    row |= {metric: round(100 * value, 2) for metric, value in scores.items()}  # percent
    add_row(run.dir / "settings.csv", row)


def training(
    run: Run, m: Method, split: Split, epochs: int, changes: dict[str, object], folder: Path
) -> TrainJob:
    """The job of one setting: the profile's own, with the given changes."""
    return TrainJob(
        arch=run.profile.arch(m),
        taxonomy=run.dataset.taxonomy,
        heads=m.heads,
        imgsz=run.profile.pixels(m.imgsz),
        images=split.train,
        boxes=run.dataset.boxes_of(split.train),
        epochs=epochs,
        settings=run.profile.settings | changes,
        seed=run.seed,
        dir=folder,
        device="cpu",
    )


def add_row(path: Path, row: dict[str, object]) -> None:
    """Adds a row to the table of what was tried, and prints it."""
    before = pd.read_csv(path) if path.exists() else pd.DataFrame()
    with files.atomic_path(path) as temporary:
        pd.concat([before, pd.DataFrame([row])]).to_csv(temporary, index=False)
    print(row, flush=True)


def _pair(text: str) -> tuple[str, object]:
    name, value = text.split("=", 1)
    return name, yaml.safe_load(value)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", required=True, help="of the setting that is tried")
    parser.add_argument("--set", action="append", default=[], help="a change, as name=value")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--slices", type=int, default=0, help="of a field; 0: whole fields")
    return parser.parse_args()


if __name__ == "__main__":
    main()
