"""Several processes share the trials of a search, and one of them may be killed.

The trainings are replaced by a pause, and the score by a function of the settings.
"""

import dataclasses
import multiprocessing
import os
import signal
import time
from types import SimpleNamespace

import optuna
import pytest
import tiny

from openurine_lib.experiments.search import _tpe
from openurine_lib.training import study, trials

FORK = multiprocessing.get_context("fork")  # the replaced functions go along
METRICS = list(trials.METRICS)


def score(settings):
    """The best has a large weight of the box loss and casts that count little."""
    return settings["box"] / 40 + 0.1 / settings["head_weights"].get("Cells", 1.0)


@pytest.fixture
def search(tmp_path, monkeypatch):
    """Makes a search of n trials in a folder; ``fit`` is called instead of a training."""
    monkeypatch.setattr(trials, "POLL", 0.01)
    monkeypatch.setattr(
        trials, "held_out_scores",
        lambda engine, job, *rest: dict.fromkeys(METRICS, score(job.settings)),
    )  # fmt: skip
    job = tiny.job(tmp_path, "multi")
    held_out = trials.inner_split(job.images, 0).validation

    def make(folder, n, fit=lambda job: None, pruner=None):
        def leave_a_checkpoint(job):
            job.dir.mkdir(parents=True, exist_ok=True)
            with (tmp_path / f"{folder}.log").open("a") as log:
                log.write(f"{os.getpid()} {job.dir.name} {job.settings['box']!r}\n")
            fit(job)
            (job.dir / "checkpoint").touch()
            return job.dir / "weights.pt"

        here = dataclasses.replace(job, dir=tmp_path / folder)
        engine = SimpleNamespace(fit=leave_a_checkpoint)
        return trials.Search(here, engine, held_out, job.boxes, n, _tpe, pruner)

    return make


def calls(search):
    """(process, trial, box) of each training, in order."""
    log = search.job.dir.with_name(f"{search.job.dir.name}.log")
    return [line.split() for line in log.read_text().splitlines()]


def started(search, worker):
    process = FORK.Process(target=trials.work, args=(search, worker))
    process.start()
    return process


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


def test_one_worker_makes_the_trials_of_a_plain_search_of_optuna(search):
    """Also after the first ten, where TPE models what it has seen."""
    shared = search("shared", 14)
    table = trials.run_trials(shared)
    plain = optuna.create_study(direction="maximize")
    plan = shared.plan
    plain.enqueue_trial(plan.first)
    for i in range(14):
        plain.sampler = optuna.samplers.TPESampler(seed=i, n_startup_trials=10, multivariate=True)
        trial = plain.ask(dict(plan.space))
        plain.tell(trial, score(trials.changed(shared.job.settings, trial.params)))
    for i, trial in enumerate(plain.trials):
        assert table.loc[i, list(plan.space)].to_dict() == trial.params, i
    assert trials.best(table).trial == plain.best_trial.number


def test_two_workers_share_the_trials_and_find_the_same_best(search):
    """Of at most ten trials: these are drawn without a look at the others."""
    alone = trials.run_trials(search("alone", 8))
    both = search("both", 8, fit=lambda job: time.sleep(0.1))
    workers = [started(both, 1), started(both, 2)]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    made = calls(both)
    assert sorted(name for _, name, _ in made) == [f"trial{i}" for i in range(8)], "each once"
    assert {int(process) for process, *_ in made} == {worker.pid for worker in workers}
    table = trials.run_trials(both)
    assert len(calls(both)) == 8, "the one that collects them trained something"
    assert table.equals(alone) and trials.best(table).equals(trials.best(alone))
    assert not list(both.job.dir.glob("trial*")), "weights are left"


def test_the_trial_of_a_killed_worker_is_failed_and_made_again_by_another_one(search):
    undisturbed = trials.run_trials(search("whole", 4))
    gate = search("gate", 4).job.dir

    def fit(job):
        if not gate.exists():
            (job.dir / "begun").touch()
            time.sleep(600)

    broken = search("broken", 4, fit)
    victim = started(broken, 1)
    wait_for((broken.job.dir / "trial0" / "begun").exists)
    gate.mkdir()
    # while it lives its trial is left to it
    trials.work(broken, 2)
    assert [name for _, name, _ in calls(broken)] == ["trial0", "trial1", "trial2", "trial3"]
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    assert len(study.under_way(study.open_study(broken.job.dir))) == 1
    table = trials.run_trials(broken)
    first, *_, again = calls(broken)
    assert first[1:] == again[1:] and first[0] != again[0], "the same trial, the same settings"
    assert table.equals(undisturbed)
    states = [t.state.name for t in study.open_study(broken.job.dir).trials]
    assert states == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert trials.run_trials(broken).equals(table) and len(calls(broken)) == 5


def test_who_collects_the_trials_waits_for_a_living_worker(search):
    slow = search("slow", 2, fit=lambda job: time.sleep(1.0))
    worker = started(slow, 1)
    wait_for((slow.job.dir / "trial0").exists)
    table = trials.run_trials(slow)
    worker.join()
    assert len(table) == 2 and len(calls(slow)) == 2


KILLS = [(optuna.Study, "add_trial", 0)]
KILLS += [(optuna.Study, name, n) for name in ("ask", "tell") for n in (0, 1, 2)]
KILLS += [(optuna.trial.Trial, "set_user_attr", n) for n in (0, 1, 2, 9)]
# in the middle of asking: so many settings are on record
KILLS += [(optuna.trial.Trial, "_suggest", n) for n in (1, 20)]


@pytest.mark.parametrize(("place", "name", "after"), KILLS)
def test_a_kill_while_a_trial_is_asked_for_or_told_loses_none(search, place, name, after):
    undisturbed = trials.run_trials(search("whole", 3))
    broken = search("broken", 3)
    with tiny.killed_after(after, place, name):
        trials.run_trials(broken)
    assert trials.run_trials(broken).equals(undisturbed)


def test_a_line_that_a_full_disk_cut_off_does_not_end_the_search(search):
    undisturbed = trials.run_trials(search("whole", 3))
    broken = search("broken", 3)
    with tiny.killed_after(2, optuna.Study, "ask"):
        trials.run_trials(broken)
    with (broken.job.dir / study.JOURNAL).open("a") as journal:
        journal.write('{"op_code":5,"worker_id":"')
    assert trials.run_trials(broken).equals(undisturbed)


def test_lambda_is_searched_where_there_are_heads_and_only_there(search):
    seen = []
    several = search("several", 5, fit=lambda job: seen.append(job.settings))
    table = trials.run_trials(several)
    names = [f"head_weights.{head}" for head in several.job.taxonomy.heads]
    assert names == ["head_weights.Cells", "head_weights.Crystals"]
    own = several.job.settings["head_weights"]
    for i, settings in enumerate(seen):
        tried = settings["head_weights"]
        assert tried == own | {n.partition(".")[2]: table.loc[i, n] for n in names}
    assert table.loc[0, names].tolist() == [own["Cells"], own["Crystals"]]
    for name in names:
        assert table[name].nunique() == 5 and table[name].between(0.25, 4).all()
    assert set(trials.space_in(table)) == set(several.plan.space) == {*trials.SPACE, *names}
    single = several._replace(job=dataclasses.replace(several.job, heads="single"))
    assert single.plan.space == trials.SPACE
