"""Trials of hyperparameters: short trainings, scored on patients held out of the training part.

The search of Table 3 and Fig. 4 (``experiments.search``) and the bred settings of one compared
system (``engines.genetic``) run them, with different samplers.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import optuna
import pandas as pd
from optuna.distributions import FloatDistribution
from sklearn.model_selection import GroupShuffleSplit
from tqdm.auto import tqdm

from openurine_lib.evaluation.metrics import evaluate, summary
from openurine_lib.inference import CONFIDENCE, predict_fields
from openurine_lib.published import METRICS
from openurine_lib.training.job import TrainJob

#: name -> lowest and highest value: the ranges of ultralytics' own tuner, as the paper gives none
RANGES = {
    "lr0": (1e-4, 1e-1), "lrf": (1e-3, 1.0), "momentum": (0.7, 0.98), "weight_decay": (0.0, 1e-3),
    "warmup_epochs": (0.0, 5.0), "warmup_momentum": (0.0, 0.95),
    "box": (1.0, 20.0), "cls": (0.1, 4.0), "dfl": (0.4, 6.0),
    "hsv_h": (0.0, 0.1), "hsv_s": (0.0, 0.9), "hsv_v": (0.0, 0.9),
    "translate": (0.0, 0.9), "scale": (0.0, 0.95), "fliplr": (0.0, 1.0), "mosaic": (0.0, 1.0),
}  # fmt: skip
SPACE: dict[str, Any] = {
    name: FloatDistribution(low, high, log=name in ("lr0", "lrf"))  # rates differ by powers of ten
    for name, (low, high) in RANGES.items()
}
OBJECTIVE = "map50"
HALFWAY = "halfway"  # the objective after half of the epochs, by which a pruner judges
VALIDATION_SHARE = 0.2  # of the training part's patients


class Split(NamedTuple):
    """The training part of a fold, cut once more by patient."""

    train: pd.DataFrame
    validation: pd.DataFrame


def inner_split(images: pd.DataFrame, seed: int) -> Split:
    """Cuts a frame of images (columns image, group) by group; ValueError unless there are two."""
    if images.group.nunique() < 2:
        raise ValueError(
            "a search needs at least two patients (or slides) in the training part, to hold one out"
        )
    # by patient: fields of one are alike
    cut = GroupShuffleSplit(1, test_size=VALIDATION_SHARE, random_state=seed)
    train, validation = next(cut.split(images, groups=images.group))  # positions of rows
    return Split(images.iloc[train], images.iloc[validation])


def run_trials(
    job: TrainJob,
    engine: ModuleType,
    validation: pd.DataFrame,
    truth: pd.DataFrame,
    trials: int,
    sampler: Callable[[int], optuna.samplers.BaseSampler],
    pruner: optuna.pruners.BasePruner | None = None,
) -> pd.DataFrame:
    """Trains the job once a trial, each time with other settings; an interrupted call goes on.

    The job's settings are the first trial's, and its folder keeps the study. ``engine`` trains it.
    validation, truth: frames of the held-out images and of their boxes. sampler: makes, from a
    seed, what proposes the next settings. pruner: ends a trial after half of its epochs if it looks
    bad; left out, no trial is ended early. Returns one row a trial, in order: its number, the names
    of SPACE, epochs (that it was trained), METRICS in 0..1 and HALFWAY (empty without a pruner).
    """
    job.dir.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # one bar is enough
    storage = f"sqlite:///{job.dir / 'study.db'}"  # on disk, so that an interrupted search goes on
    study = optuna.create_study(
        storage=storage, study_name="search", direction="maximize", load_if_exists=True,
        pruner=pruner or optuna.pruners.NopPruner(),
    )  # fmt: skip
    # a trial that was under way when an earlier call was killed; it is done again
    for killed in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        study.tell(killed.number, state=optuna.trial.TrialState.FAIL)
    for n in tqdm(range(len(_ended(study)), trials), desc="search", unit="trial"):
        # seeded by the trial, so that an interrupted search goes on as it would have gone
        study.sampler = sampler(job.seed + n)
        # the job's own settings come first, even if a kill has taken them from the queue
        if n == 0 and not study.get_trials(states=[optuna.trial.TrialState.WAITING]):
            study.enqueue_trial({name: job.settings[name] for name in SPACE})
        trial = study.ask(SPACE)  # the sampler's proposal
        settings = job.settings | trial.params
        folder = job.dir / f"trial{n}"
        one = dataclasses.replace(job, settings=settings, dir=folder)
        half = job.epochs // 2 if pruner else 0
        pruned = False
        if half:
            part = dataclasses.replace(one, stop_after=half)
            scores = held_out_scores(engine, part, engine.fit(part), validation, truth)
            trial.set_user_attr(HALFWAY, scores[OBJECTIVE])
            trial.report(scores[OBJECTIVE], half)
            pruned = trial.should_prune()
        if not pruned:  # from the beginning, or from half of the way
            scores = held_out_scores(engine, one, engine.fit(one), validation, truth)
        # for the table; Optuna keeps the objective alone
        for name, value in scores.items():
            trial.set_user_attr(name, value)
        trial.set_user_attr("epochs", half if pruned else job.epochs)
        if pruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, scores[OBJECTIVE])
        shutil.rmtree(folder)  # weights of hundreds of trials are of no use
    columns = ["epochs", *METRICS]
    return pd.DataFrame(
        {
            "trial": i,
            **trial.params,
            **{name: trial.user_attrs[name] for name in columns},
            HALFWAY: trial.user_attrs.get(HALFWAY, float("nan")),
        }
        for i, trial in enumerate(_ended(study))
    )


def held_out_scores(
    engine: ModuleType,
    job: TrainJob,
    weights: Path,
    validation: pd.DataFrame,
    truth: pd.DataFrame,
    slicing: tuple[int | None, float] = (None, 0.0),
) -> dict[str, float]:
    """METRICS (0..1) of a job's weights on held-out images, at the size of the training.

    slicing: the side of a slice in pixels (None: whole images) and the overlap of two.
    """
    detector = engine.detector(weights, CONFIDENCE, job.device, job.imgsz)
    # halfway and at the end: two sets of predictions
    out = job.dir / f"predictions-{job.stop_after or job.epochs}.csv"
    found = predict_fields(detector, validation, *slicing, out)
    return summary(evaluate(truth, found, job.taxonomy.n, list(validation.image)))


def complete(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The trials of a study that were trained to their end, in order."""
    return study.get_trials(states=[optuna.trial.TrialState.COMPLETE])


def _ended(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The trials of a study that need no more training: complete or pruned, in order."""
    states = [optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED]
    return study.get_trials(states=states)


def was_pruned(trials: pd.DataFrame) -> pd.Series:
    """Which trials ended after half of the epochs (bool)."""
    return trials["epochs"] < trials["epochs"].max()


def best(trials: pd.DataFrame) -> pd.Series:
    """The trial with the highest objective (the first of equals) of those trained to the end."""
    return trials.loc[trials.loc[~was_pruned(trials), OBJECTIVE].idxmax()]
