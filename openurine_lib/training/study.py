"""An Optuna study that several processes work on at once, and who has which of its trials.

The study is a journal, a file that every process appends to (Optuna's ``JournalStorage``). Its
heartbeat exists for databases only, so a lock says who lives: each process (*worker*) holds the
lock ``worker<k>/lock`` for as long as it runs, and the operating system frees it at any end of the
process. The rule:

- A trial that is under way carries the number of its worker. If that worker's lock is free, it is
  dead: the trial is marked as failed, and its settings wait to be trained again.
- The next worker that asks for a trial gets those that wait first. It finds the checkpoint of the
  dead one, in the folder of the same trial.
- Trials are numbered by their place: 0 to n - 1, and a repeated one keeps its place. The place
  seeds the sampler, so a search that was killed goes on as it would have gone.

On a network file system the locks must be seen by all machines (NFS since version 3, for example).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import optuna
from filelock import FileLock, Timeout
from optuna.distributions import FloatDistribution
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage
from optuna.trial import FrozenTrial, Trial, TrialState

JOURNAL = "study.log"
# attributes of a trial
PLACE = "place"
WORKER = "worker"

Sampler = Callable[[int], optuna.samplers.BaseSampler]  # made from a seed


def open_study(folder: Path, pruner: optuna.pruners.BasePruner | None = None) -> optuna.Study:
    """The study in a folder, begun if it is not there; it is maximised."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.resolve() / JOURNAL
    lock = JournalFileOpenLock(str(path))
    with FileLock(folder / "study.lock"):  # two may want to begin it
        _cut_torn_line(path, lock)
        return optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(path), lock)),
            study_name="search",
            direction="maximize",
            load_if_exists=True,
            pruner=pruner or optuna.pruners.NopPruner(),
        )


def _cut_torn_line(path: Path, lock: JournalFileOpenLock) -> None:
    """Removes a last line that a full disk or a power cut left without its end.

    Optuna would append to it, and could read nothing after it.
    """
    lock.acquire()
    try:
        if path.exists():
            with path.open("rb+") as file:
                file.truncate(file.read().rfind(b"\n") + 1)
    finally:
        lock.release()


@contextlib.contextmanager
def at_work(folder: Path, worker: int) -> Iterator[None]:
    """Within it, this process is the worker of that number; it waits while another one is."""
    place = folder / f"worker{worker}"
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / "lock"):
        yield


def _lives(folder: Path, worker: int) -> bool:
    try:
        with FileLock(folder / f"worker{worker}" / "lock", timeout=0):
            return False
    except Timeout:
        return True


class Plan(NamedTuple):
    """What a search tries."""

    trials: int  # how many places there are
    space: dict[str, FloatDistribution]
    first: dict[str, float]  # the settings of place 0, a value for each name of the space
    sampler: Sampler  # proposes those of the other places
    seed: int  # plus the place: the sampler's


def next_trial(study: optuna.Study, folder: Path, worker: int, plan: Plan) -> Trial | None:
    """The next trial for a worker, with its settings; None if none is left to begin."""
    with FileLock(folder / "study.lock"):  # one worker asks at a time
        _fail_those_of_the_dead(study, folder, worker, plan)
        waiting = study.get_trials(states=[TrialState.WAITING])
        begun = {place_of(t) for t in study.get_trials() if PLACE in t.user_attrs}
        if not begun:
            _enqueue(study, plan, plan.first, 0)
            place = 0
        elif waiting:
            place = place_of(waiting[0])  # Optuna takes the first that waits, too
        elif len(begun) < plan.trials:
            place = len(begun)
        else:
            return None
        study.sampler = plan.sampler(plan.seed + place)
        trial = study.ask(dict(plan.space))
        trial.set_user_attr(PLACE, place)
        trial.set_user_attr(WORKER, worker)
        return trial


def _fail_those_of_the_dead(study: optuna.Study, folder: Path, worker: int, plan: Plan) -> None:
    """Fails what nobody is at, of this worker too: it asks, so it has none under way."""
    dead = []
    for trial in under_way(study):
        owner = trial.user_attrs.get(WORKER)  # None: its process was killed while it asked
        if owner in (None, worker) or not _lives(folder, owner):
            dead.append(trial)
    # again: one may have told its result and gone home in between
    still = {trial.number for trial in under_way(study)}
    for trial in dead:
        if trial.number not in still:
            continue
        # first this: after a kill between the two it is failed by the next one that asks
        if PLACE in trial.user_attrs:
            _enqueue(study, plan, trial.params, place_of(trial))
        study.tell(trial.number, state=TrialState.FAIL)


def _enqueue(study: optuna.Study, plan: Plan, params: dict[str, float], place: int) -> None:
    waiting = study.get_trials(states=[TrialState.WAITING])
    if place in map(place_of, waiting):
        return
    study.add_trial(
        optuna.create_trial(
            state=TrialState.WAITING,
            params=params,
            distributions=dict(plan.space),
            user_attrs={PLACE: place},
        )
    )


def place_of(trial: FrozenTrial | Trial) -> int:
    """Which of the search's trials it is, from 0 on; one that is made again keeps it."""
    return trial.user_attrs[PLACE]


def under_way(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that some worker is at, or was at when it died."""
    return study.get_trials(states=[TrialState.RUNNING])


def ended(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that need no more training, complete or pruned, by place."""
    return sorted(study.get_trials(states=[TrialState.COMPLETE, TrialState.PRUNED]), key=place_of)


def minutes(study: optuna.Study) -> float:
    """What these trials took, each by its own clock: also those of a call that was killed later."""
    durations = (trial.duration for trial in ended(study))
    return sum(duration.total_seconds() for duration in durations if duration) / 60


def workers(study: optuna.Study) -> set[int]:
    """The numbers of the processes that made these trials."""
    return {trial.user_attrs[WORKER] for trial in ended(study)}
