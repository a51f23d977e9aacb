"""TODO"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass

import optuna
import pandas as pd
from sklearn.model_selection import GroupShuffleSplit
from tqdm.auto import tqdm

from openurine_lib.evaluation.metrics import evaluate, summary
from openurine_lib.inference import CONFIDENCE, predict_fields
from openurine_lib.training.engines import engine
from openurine_lib.training.job import TrainJob

#: name -> (low, high, logarithmic)
SPACE = {
    "lr0": (1e-4, 1e-1, True), "lrf": (1e-3, 1.0, True),
    "momentum": (0.7, 0.98, False), "weight_decay": (0.0, 1e-3, False),
    "warmup_epochs": (0.0, 5.0, False), "warmup_momentum": (0.0, 0.95, False),
    "box": (1.0, 20.0, False), "cls": (0.1, 4.0, False), "dfl": (0.4, 6.0, False),
    "hsv_h": (0.0, 0.1, False), "hsv_s": (0.0, 0.9, False), "hsv_v": (0.0, 0.9, False),
    "translate": (0.0, 0.9, False), "scale": (0.0, 0.95, False),
    "fliplr": (0.0, 1.0, False), "mosaic": (0.0, 1.0, False),
}  # fmt: skip


METRICS = ("precision", "recall", "map50", "map50_95")


OBJECTIVE = "map50"


VALIDATION_SHARE = 0.2  # of the training part's patients


@dataclass(frozen=True)
class Split:
    """The training part of a fold, cut once more by patient."""

    train: pd.DataFrame
    validation: pd.DataFrame


def inner_split(images: pd.DataFrame, seed: int) -> Split:
    """Cuts frames of images (columns image, group) by group. Raises ValueError with fewer than two groups."""
    if images.group.nunique() < 2:
        raise ValueError(
            "a search needs at least two patients (or slides) in the training part, to hold one out"
        )
    cut = GroupShuffleSplit(1, test_size=VALIDATION_SHARE, random_state=seed)
    train, validation = next(cut.split(images, groups=images.group))
    return Split(images.iloc[train], images.iloc[validation])


def run_trials(
    job: TrainJob,
    engine_name: str,
    validation: pd.DataFrame,
    truth: pd.DataFrame,
    trials: int,
    sampler: Callable[[int], optuna.samplers.BaseSampler],
) -> pd.DataFrame:
    """Trains the job once a trial, each with settings of its own, and scores it on ``validation``; resumes.

    job: its images are without the validation patients, its settings are the first trial's, its folder keeps the
    study. validation, truth: frames of images and of their boxes. sampler: makes what proposes the next settings, from
    a seed. Returns what ``search`` returns.
    """
    job.dir.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=f"sqlite:///{job.dir / 'study.db'}",
        study_name="search",
        direction="maximize",
        load_if_exists=True,
    )
    for n in tqdm(range(len(_complete(study)), trials), desc="search", unit="trial"):
        # seeded by the trial, so that an interrupted search goes on as it would have gone
        study.sampler = sampler(job.seed + n)
        if n == 0:
            study.enqueue_trial({k: job.settings[k] for k in SPACE}, skip_if_exists=True)
        trial = study.ask()
        values = {
            k: trial.suggest_float(k, low, high, log=log) for k, (low, high, log) in SPACE.items()
        }
        one = dataclasses.replace(job, settings=job.settings | values, dir=job.dir / f"trial{n}")
        scores = _score(one, engine_name, validation, truth)
        for name, value in scores.items():
            trial.set_user_attr(name, value)
        study.tell(trial, scores[OBJECTIVE])
        shutil.rmtree(one.dir)  # weights of hundreds of trials are of no use
    return _frame(study)


def _complete(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(states=[optuna.trial.TrialState.COMPLETE])


def _frame(study: optuna.Study) -> pd.DataFrame:
    rows = [
        {"trial": i, **t.params, **{k: t.user_attrs[k] for k in METRICS}}
        for i, t in enumerate(_complete(study))
    ]
    return pd.DataFrame(rows)


def _score(
    job: TrainJob, engine_name: str, validation: pd.DataFrame, truth: pd.DataFrame
) -> dict[str, float]:
    """Trains one configuration and scores it on the held-out patients, whole fields at the training size."""
    weights = engine(engine_name).fit(job)
    detector = engine(engine_name).detector(weights, CONFIDENCE, job.device, job.imgsz)
    predictions = predict_fields(detector, validation, None, 0.0, job.dir / "predictions.csv")
    return summary(evaluate(truth, predictions, job.taxonomy.n, list(validation.image)))


def best(trials: pd.DataFrame) -> pd.Series:
    """The trial with the highest objective (the first of equals)."""
    return trials.loc[trials[OBJECTIVE].idxmax()]
