"""Hyperparameter search (Table 3, Fig. 4): short trainings, scored on patients held out of the training part.

The paper says that each configuration was "evaluated on the validation split" and no more. Here the validation
patients are taken from the fold's training part, so the test part is never looked at. The sampler is Optuna's TPE; the
ranges are those of ultralytics' own tuner, since the paper gives none.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from sklearn.model_selection import GroupShuffleSplit
from tqdm.auto import tqdm

from openurine_lib.engines import TrainJob, engine
from openurine_lib.evaluate import evaluate, summary
from openurine_lib.inference import CONFIDENCE, predict_fields
from openurine_lib.jobs import device, ensure_encoder
from openurine_lib.methods import Method
from openurine_lib.run import Run

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
        raise ValueError("a search needs at least two patients (or slides) in the training part, to hold one out")
    cut = GroupShuffleSplit(1, test_size=VALIDATION_SHARE, random_state=seed)
    train, validation = next(cut.split(images, groups=images.group))
    return Split(images.iloc[train], images.iloc[validation])


def search(run: Run, m: Method, fold: int) -> pd.DataFrame:
    """Runs the profile's number of trials, going on where an interrupted search stopped.

    The first trial is what the run trains with: Table 3, with the profile's changes. Returns one row a trial, in order:
    number, SPACE's names, METRICS in 0..1.
    """
    folder = run.dir / "search" / m.id / f"fold{fold}"
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=f"sqlite:///{folder / 'study.db'}", study_name=run.name, direction="maximize", load_if_exists=True
    )
    trials, split = (
        run.profile.search["trials"],
        inner_split(run.dataset.train_images(fold, run.profile.max_train_fields), run.seed),
    )
    table3 = run.profile.settings
    for n in tqdm(range(len(_complete(study)), trials), desc="search", unit="trial"):
        # seeded by the trial, so that an interrupted search goes on as it would have gone
        study.sampler = optuna.samplers.TPESampler(seed=run.seed + n, n_startup_trials=10, multivariate=True)
        if n == 0:
            study.enqueue_trial({k: table3[k] for k in SPACE}, skip_if_exists=True)
        trial = study.ask()
        values = {k: trial.suggest_float(k, low, high, log=log) for k, (low, high, log) in SPACE.items()}
        scores = _score(run, m, fold, split, table3 | values, folder / f"trial{n}")
        for name, value in scores.items():
            trial.set_user_attr(name, value)
        study.tell(trial, scores[OBJECTIVE])
        shutil.rmtree(folder / f"trial{n}")  # weights of hundreds of trials are of no use
    return _frame(study)


def _complete(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(states=[optuna.trial.TrialState.COMPLETE])


def _frame(study: optuna.Study) -> pd.DataFrame:
    rows = [{"trial": i, **t.params, **{k: t.user_attrs[k] for k in METRICS}} for i, t in enumerate(_complete(study))]
    return pd.DataFrame(rows)


def _score(run: Run, m: Method, fold: int, split: Split, settings: dict[str, Any], folder: Path) -> dict[str, float]:
    """Trains one configuration and scores it on the held-out patients, whole fields at the training size."""
    data, p = run.dataset, run.profile
    job = TrainJob(
        arch=p.arch(m),
        taxonomy=data.taxonomy,
        heads=m.heads,
        imgsz=p.pixels(m.imgsz),
        images=split.train,
        boxes=data.boxes_of(split.train),
        epochs=p.search["epochs"],
        settings=settings,
        seed=run.seed,
        dir=folder,
        device=device(),
        encoder=ensure_encoder(run, p.arch(m), fold) if m.ssl else None,
    )
    weights = engine(m.engine).fit(job)
    detector = engine(m.engine).detector(weights, CONFIDENCE, device(), job.imgsz)
    predictions = predict_fields(detector, split.validation, None, 0.0, folder / "predictions.csv")
    truth = data.boxes_of(split.validation)
    return summary(evaluate(truth, predictions, data.taxonomy.n, list(split.validation.image)))


def best(trials: pd.DataFrame) -> pd.Series:
    """The trial with the highest objective (the first of equals)."""
    return trials.loc[trials[OBJECTIVE].idxmax()]
