"""Hyperparameter search (Table 3, Fig. 4): short trainings on one fold's training part.

The paper says that each configuration was "evaluated on the validation split" and no more. Here the
validation patients are taken from the training part, so the test part is never looked at. Optuna's
TPE sampler proposes the settings, in the ranges of ultralytics' own tuner: the paper gives none.
"""

from __future__ import annotations

import optuna
import pandas as pd

from openurine_lib.experiments import carried, made_from
from openurine_lib.experiments.methods import Method
from openurine_lib.experiments.run import Run
from openurine_lib.experiments.steps import ensure_encoder, on_record
from openurine_lib.files import atomic_path
from openurine_lib.speed.processor import device
from openurine_lib.training.engines import engine
from openurine_lib.training.job import TrainJob
from openurine_lib.training.trials import Split, inner_split, run_trials

TRIALS = "trials.csv"  # of a finished search, in its folder
# ends a trial that is, halfway, below the median of those that went the whole way, of which there
# must be eight
PRUNER = optuna.pruners.MedianPruner(n_startup_trials=8)


def split_of(run: Run, fold: int) -> Split:
    """What the trials train on, and what they are scored on: fields of the fold's training part,
    at most as many as the profile's ``search.fields`` says, cut by patient."""
    p = run.profile
    return inner_split(
        run.dataset.train_images(fold, p.search.get("fields", p.max_train_fields)), run.seed
    )


def search(run: Run, m: Method, fold: int) -> pd.DataFrame:
    """Runs the profile's number of trials, going on where an interrupted search stopped.

    The first trial is what the run trains with: Table 3, with the profile's changes. Returns one
    row a trial, in order: its number, the names of ``trials.SPACE``, the epochs that it was given,
    the metrics in 0..1 and the objective after half of the epochs.
    """
    if earlier := carried.find(run, "search", m, fold):
        return pd.read_csv(earlier / TRIALS)
    data, p = run.dataset, run.profile
    encoder = ensure_encoder(run, m, fold) if m.ssl else None
    made_from.check(run, "search", m, fold)
    split = split_of(run, fold)
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
        dir=run.search_dir(m, fold),
        device=device(),
        encoder=encoder,
    )
    truth = data.boxes_of(split.validation)
    with on_record(run, job.dir):
        trials = run_trials(
            job, engine(m.engine), split.validation, truth, p.search["trials"], _tpe, PRUNER
        )
    with atomic_path(job.dir / TRIALS) as temporary:
        trials.to_csv(temporary, index=False)
    return trials


def _tpe(seed: int) -> optuna.samplers.BaseSampler:
    # 10 trials at random before it models anything; multivariate: settings depend on each other
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=10, multivariate=True)
