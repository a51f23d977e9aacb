"""Trials of hyperparameters: short trainings, scored on patients held out of the training part.

The search of Table 3 and Fig. 4 (``experiments.search``) and the bred settings of one compared
system (``engines.genetic``) run them, with different samplers.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import optuna
import pandas as pd
from optuna.distributions import FloatDistribution
from tqdm.auto import tqdm

from openurine_lib.config import read_config
from openurine_lib.evaluation.metrics import evaluate, summary
from openurine_lib.inference import CONFIDENCE, predict_fields
from openurine_lib.published import METRICS
from openurine_lib.training import study as shared
from openurine_lib.training.job import TrainJob

_FILE = read_config("search_space.yaml")
LAMBDA = "head_weights"  # a setting for each head: head_weights.Casts
SPACE = {
    name: FloatDistribution(low, high, log=name in _FILE["logarithmic"])
    for name, (low, high) in _FILE["ranges"].items()
}
OBJECTIVE = "map50"
HALFWAY = "halfway"  # the objective after half of the epochs, by which a pruner judges
VALIDATION_SHARE = 0.2  # of the training part's patients
POLL = 1.0  # seconds between two looks at the trials of other processes


def space_of(heads: Iterable[str] = ()) -> dict[str, FloatDistribution]:
    """SPACE, and for each of the heads its lambda (Eq. 1), as ``head_weights.<head>``."""
    low, high = _FILE[LAMBDA]
    span = FloatDistribution(low, high, log=LAMBDA in _FILE["logarithmic"])
    return SPACE | {f"{LAMBDA}.{head}": span for head in heads}


def space_in(trials: pd.DataFrame) -> dict[str, FloatDistribution]:
    """The space of a table that ``run_trials`` gave."""
    names = (name.partition(".") for name in trials.columns)
    return space_of(head for setting, _, head in names if setting == LAMBDA)


def value_of(settings: dict[str, Any], name: str) -> float:
    """A setting by its name in a space; a head without a lambda has 1, as in the loss."""
    setting, _, head = name.partition(".")
    return float(settings[setting].get(head, 1.0) if head else settings[setting])


def changed(settings: dict[str, Any], params: dict[str, float]) -> dict[str, Any]:
    """The settings with a trial's in place of theirs."""
    plain = {name: value for name, value in params.items() if "." not in name}
    heads = {name.partition(".")[2]: value for name, value in params.items() if "." in name}
    if not heads:
        return settings | plain
    return settings | plain | {LAMBDA: settings[LAMBDA] | heads}


class Split(NamedTuple):
    """The training part of a fold, cut once more by patient."""

    train: pd.DataFrame
    validation: pd.DataFrame


def inner_split(images: pd.DataFrame, seed: int) -> Split:
    """Cuts a frame of images (columns image, group) by group; ValueError unless there are two."""
    # slow to load, and the figures of a search, which load this module, need none of it
    from sklearn.model_selection import GroupShuffleSplit

    if images.group.nunique() < 2:
        raise ValueError(
            "a search needs at least two patients (or slides) in the training part, to hold one out"
        )
    # by patient: fields of one are alike
    cut = GroupShuffleSplit(1, test_size=VALIDATION_SHARE, random_state=seed)
    train, validation = next(cut.split(images, groups=images.group))  # positions of rows
    return Split(images.iloc[train], images.iloc[validation])


class Search(NamedTuple):
    """What every process of a search is given."""

    job: TrainJob  # trained once a trial; its settings are the first trial's
    engine: ModuleType  # which trains it
    validation: pd.DataFrame  # the held-out images
    truth: pd.DataFrame  # their boxes
    trials: int
    sampler: shared.Sampler  # makes, from a seed, what proposes the next settings
    # ends a trial after half of its epochs if it looks bad; None: no trial is ended early
    pruner: optuna.pruners.BasePruner | None = None

    @property
    def plan(self) -> shared.Plan:
        """The trials to be made. Lambda is varied where there are heads for it."""
        space = space_of(self.job.taxonomy.heads if self.job.heads == "multi" else ())
        first = {name: value_of(self.job.settings, name) for name in space}
        return shared.Plan(self.trials, space, first, self.sampler, self.job.seed)


def work(search: Search, worker: int = 0, wait: bool = False) -> optuna.Study:
    """Makes trials until none is left to begin, as the worker of that number.

    Several processes may do so at once, each with a number of its own; ``job.dir`` holds the study
    that they share (``training.study`` says how). An interrupted call goes on when it is repeated.
    wait: until the others have ended theirs; one that dies leaves its trial to this call. Returns
    the study.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # one bar is enough
    folder, plan = search.job.dir, search.plan
    study = shared.open_study(folder, search.pruner)
    bar = tqdm(total=search.trials, desc="search", unit="trial")
    with shared.at_work(folder, worker), bar:
        while True:
            bar.update(len(shared.ended(study)) - bar.n)  # those of others, too
            if trial := shared.next_trial(study, folder, worker, plan):
                _make(search, study, trial)
            elif wait and shared.under_way(study):
                time.sleep(POLL)
            else:
                return study


def _make(search: Search, study: optuna.Study, trial: optuna.Trial) -> None:
    """Trains and scores one trial, and tells the study."""
    job, engine, scored_on = search.job, search.engine, (search.validation, search.truth)
    folder = job.dir / f"trial{shared.place_of(trial)}"
    one = dataclasses.replace(job, settings=changed(job.settings, trial.params), dir=folder)
    half = job.epochs // 2 if search.pruner else 0
    pruned = False
    if half:
        part = dataclasses.replace(one, stop_after=half)
        scores = held_out_scores(engine, part, engine.fit(part), *scored_on)
        trial.set_user_attr(HALFWAY, scores[OBJECTIVE])
        trial.report(scores[OBJECTIVE], half)
        pruned = trial.should_prune()
    if not pruned:  # from the beginning, or from half of the way
        scores = held_out_scores(engine, one, engine.fit(one), *scored_on)
    # for the table; Optuna keeps the objective alone
    for name, value in scores.items():
        trial.set_user_attr(name, value)
    trial.set_user_attr("epochs", half if pruned else job.epochs)
    if pruned:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    else:
        study.tell(trial, scores[OBJECTIVE])
    shutil.rmtree(folder)  # weights of hundreds of trials are of no use


def run_trials(search: Search) -> pd.DataFrame:
    """Makes what is left of the trials, and waits for those of other workers.

    Returns one row a trial, in order: its number, its settings (``space_in``), epochs (that it was
    trained), METRICS in 0..1 and HALFWAY (empty without a pruner).
    """
    return table(work(search, wait=True))


def table(study: optuna.Study) -> pd.DataFrame:
    """The trials of a study that have ended, as ``run_trials`` returns them."""
    columns = ["epochs", *METRICS]
    return pd.DataFrame(
        {
            "trial": shared.place_of(trial),
            **trial.params,  # in the order of the space
            **{name: trial.user_attrs[name] for name in columns},
            HALFWAY: trial.user_attrs.get(HALFWAY, float("nan")),
        }
        for trial in shared.ended(study)
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


def was_pruned(trials: pd.DataFrame) -> pd.Series:
    """Which trials ended after half of the epochs (bool)."""
    return trials["epochs"] < trials["epochs"].max()


def best(trials: pd.DataFrame) -> pd.Series:
    """The trial with the highest objective (the first of equals) of those trained to the end."""
    return trials.loc[trials.loc[~was_pruned(trials), OBJECTIVE].idxmax()]
