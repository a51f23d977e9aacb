"""Hyperparameter search (Table 3, Fig. 4): short trainings on one fold's training part.

The paper says that each configuration was "evaluated on the validation split" and no more. Here the
validation patients are taken from the training part, so the test part is never looked at. Optuna's
TPE sampler proposes the settings, in the ranges of ``config/search_space.yaml``: the paper gives
none. Several processes may share the trials. A search that the repository carries is taken in place
of one, as trainings are (``carried``).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import optuna
import pandas as pd

from openurine_lib.experiments import carried, made_from
from openurine_lib.experiments.methods import Method
from openurine_lib.experiments.run import Run, first_record
from openurine_lib.experiments.steps import ensure_encoder, on_record
from openurine_lib.files import atomic_path, write_json
from openurine_lib.speed.processor import device
from openurine_lib.training import study, trials
from openurine_lib.training.engines import engine
from openurine_lib.training.job import TrainJob
from openurine_lib.training.trials import Split, inner_split

PRUNERS = {
    # ends a trial that is, halfway, below the median of those that went the whole way, of which
    # there must be eight
    "median": optuna.pruners.MedianPruner(n_startup_trials=8)
}


def split_of(run: Run, fold: int) -> Split:
    """What the trials train on, and what they are scored on: fields of the fold's training part,
    at most as many as the profile's ``search.fields`` says, cut by patient."""
    p = run.profile
    return inner_split(
        run.dataset.train_images(fold, p.search.get("fields", p.max_train_fields)), run.seed
    )


def pruner(name: str | None) -> optuna.pruners.BasePruner | None:
    """What ends trials early, by its name in a profile (``search_pruner``); ValueError if none."""
    if name is not None and name not in PRUNERS:
        known = ", ".join(PRUNERS)
        raise ValueError(f"profiles.yaml: no search_pruner {name!r}; there is: {known}")
    return PRUNERS[name] if name else None


def work(run: Run, m: Method, fold: int, worker: int) -> None:
    """Makes trials of the profile's search until none is left to begin, beside other workers.

    worker: a number from 0 on that no other process at this search has. What the trials gave is
    returned by ``search``.
    """
    if _ready(run, m, fold) is None:
        with on_record(run, run.search_dir(m, fold) / f"worker{worker}"):
            trials.work(_search(run, m, fold), worker)


def search(run: Run, m: Method, fold: int) -> pd.DataFrame:
    """The profile's search: carried, stored, or made now, going on where it was interrupted.

    The first trial is what the run trains with: Table 3, with the profile's changes. Returns one
    row a trial, in order: its number, the names of ``trials.space_of`` the heads, the epochs that
    it was given, the metrics in 0..1 and the objective after half of the epochs.
    """
    out = run.search_dir(m, fold) / carried.TRIALS
    if earlier := _ready(run, m, fold):
        carried.restore_search(earlier, out)
    if not out.exists():
        with on_record(run, out.parent / "worker0"):
            table = trials.run_trials(_search(run, m, fold))
        write_json(out.parent / carried.TRAINED, record(run, m, fold))
        with atomic_path(out) as temporary:
            table.to_csv(temporary, index=False)
    return pd.read_csv(out, float_precision="round_trip")


def so_far(run: Run, m: Method, fold: int) -> pd.DataFrame:
    """The trials of a search that have ended here, as ``search`` returns them; none is made."""
    return trials.table(_study(run, m, fold))


def go_on(run: Run, m: Method, fold: int) -> None:
    """Puts the journal of an unfinished carried search into the run.

    From then on the search is the run's own, and the next call makes the trials that are left.
    Raises FileNotFoundError if none is carried, and if the run has made trials of its own.
    """
    earlier = carried.to_search(run, m, fold)
    if earlier is None or not (earlier / study.JOURNAL).exists():
        raise FileNotFoundError(
            f"no unfinished search of {m.id}, fold {fold}, is carried; or trials were made here, in"
            f" {run.search_dir(m, fold)}, and are kept"
        )
    if m.ssl:
        ensure_encoder(run, m, fold)
    folder = run.search_dir(m, fold)
    mine = folder / "worker0"  # by it, a search that is made here is told from a carried one
    mine.mkdir(parents=True, exist_ok=True)
    made_from.keep_or_clear(folder, made_from.ingredients(run, "search", m, fold))
    mine.mkdir(exist_ok=True)  # it may have been cleared
    with atomic_path(folder / study.JOURNAL) as temporary:
        shutil.copyfile(earlier / study.JOURNAL, temporary)


def origin(run: Run, m: Method, fold: int) -> str:
    """When, where and how long a search that came with the repository was made; else empty."""
    earlier = first_record([run.search_dir(m, fold) / carried.RECORD])
    return carried.in_short(earlier) if earlier else ""


def _study(run: Run, m: Method, fold: int) -> optuna.Study:
    return study.open_study(run.search_dir(m, fold), pruner(run.profile.search_pruner))


def _ready(run: Run, m: Method, fold: int) -> Path | None:
    """Clears what was made from something else; returns the carried search that holds, if any."""
    if carried.to_search(run, m, fold) is None and m.ssl:
        ensure_encoder(run, m, fold)  # it is an ingredient
    made_from.check(run, "search", m, fold)
    return carried.to_search(run, m, fold)


def _search(run: Run, m: Method, fold: int) -> trials.Search:
    data, p = run.dataset, run.profile
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
        encoder=ensure_encoder(run, m, fold) if m.ssl else None,
    )
    truth = data.boxes_of(split.validation)
    ends_early = pruner(p.search_pruner)
    return trials.Search(
        job, engine(m.engine), split.validation, truth, p.search["trials"], _tpe, ends_early
    )


def record(run: Run, m: Method, fold: int) -> dict[str, Any]:
    """The record of a search that was made here: its last process's, with all trials' minutes.

    Raises ValueError if no process has left one, which each does at its end.
    """
    files = run.search_dir(m, fold).glob(f"worker*/{carried.TRAINED}")
    last = max((first_record([file]) for file in files), key=lambda one: one["time"])
    made = _study(run, m, fold)
    return last | {"minutes": round(study.minutes(made), 2), "processes": len(study.workers(made))}


def _tpe(seed: int) -> optuna.samplers.BaseSampler:
    # 10 trials at random before it models anything; multivariate: settings depend on each other;
    # constant_liar: workers do not try one place together (of no effect for one worker)
    return optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=10, multivariate=True, constant_liar=True
    )
