"""Hyperparameter search (Table 3, Fig. 4): short trainings on one fold's training part.

The paper says that each configuration was "evaluated on the validation split" and no more. Here the
validation patients are taken from the training part, so the test part is never looked at. Optuna's
TPE sampler proposes the settings, in the ranges of ultralytics' own tuner: the paper gives none.
"""

from __future__ import annotations

import optuna
import pandas as pd

from openurine_lib.experiments.methods import Method
from openurine_lib.experiments.run import Run
from openurine_lib.experiments.steps import ensure_encoder
from openurine_lib.speed.processor import device
from openurine_lib.training.engines import engine
from openurine_lib.training.job import TrainJob
from openurine_lib.training.trials import inner_split, run_trials


def search(run: Run, m: Method, fold: int) -> pd.DataFrame:
    """Runs the profile's number of trials, going on where an interrupted search stopped.

    The first trial is what the run trains with: Table 3, with the profile's changes. Returns one
    row a trial, in order: its number, the names of ``trials.SPACE``, the metrics in 0..1.
    """
    data, p = run.dataset, run.profile
    split = inner_split(data.train_images(fold, p.max_train_fields), run.seed)
    job = TrainJob(
        arch=p.arch(m),
        taxonomy=data.taxonomy,
        heads=m.heads,
        imgsz=p.pixels(m.imgsz),
        images=split.train,
        boxes=data.boxes_of(split.train),
        epochs=p.search["epochs"],
        settings=p.settings,
        seed=run.seed,
        dir=run.dir / "search" / m.id / f"fold{fold}",
        device=device(),
        encoder=ensure_encoder(run, p.arch(m), fold) if m.ssl else None,
    )
    truth = data.boxes_of(split.validation)
    return run_trials(job, engine(m.engine), split.validation, truth, p.search["trials"], _tpe)


def _tpe(seed: int) -> optuna.samplers.BaseSampler:
    # 10 trials at random before it models anything; multivariate: settings depend on each other
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=10, multivariate=True)
