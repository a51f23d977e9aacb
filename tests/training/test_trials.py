"""Trials of a search go on after a kill, and the first one has the run's own settings."""

import dataclasses
from types import SimpleNamespace

import optuna
import pytest
import tiny

from openurine_lib.experiments import search
from openurine_lib.training import study, trials
from openurine_lib.training.engines import genetic

SAMPLERS = {"the search of Fig. 4": search._tpe, "the bred settings": genetic.Mutation}


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
@pytest.mark.parametrize("killed", [0, 1], ids=["first trial", "second trial"])
def test_a_search_killed_in_a_trial_ends_as_an_undisturbed_one(
    tmp_path, monkeypatch, sampler, killed
):
    settings = []  # of each training
    kills = []

    def fit(job):
        job.dir.mkdir(parents=True, exist_ok=True)
        if job.dir.name == f"trial{killed}" and kills:
            raise kills.pop()
        settings.append({name: job.settings[name] for name in trials.SPACE})
        return job.dir / "weights.pt"

    # the better, the larger the weight of the box loss
    monkeypatch.setattr(
        trials, "held_out_scores",
        lambda engine, job, *rest: dict.fromkeys(trials.METRICS, job.settings["box"] / 20),
    )  # fmt: skip
    job = tiny.job(tmp_path, "single")
    split = trials.inner_split(job.images, 0)

    def run(folder):
        here = dataclasses.replace(job, dir=tmp_path / folder)
        engine = SimpleNamespace(fit=fit)
        return trials.run_trials(
            trials.Search(here, engine, split.validation, job.boxes, 3, sampler)
        )

    whole = run("whole")
    undisturbed = settings[:]
    settings.clear()
    kills.append(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        run("broken")
    again = run("broken")
    assert settings == undisturbed and again.equals(whole)
    assert undisturbed[0] == {name: job.settings[name] for name in trials.SPACE}
    left = study.under_way(study.open_study(tmp_path / "broken"))
    assert not left, "a killed trial is still said to run"
    assert run("broken").equals(whole) and len(settings) == 3, "a finished search was run again"


def test_a_trial_that_looks_bad_halfway_is_stopped_there_and_the_others_go_on(
    tmp_path, monkeypatch
):
    """The larger the weight of the box loss, the better; what is pruned is trained for half."""
    trained = []  # (trial, epochs) of each call of the engine

    def fit(job):
        job.dir.mkdir(parents=True, exist_ok=True)
        trained.append((job.dir.name, job.stop_after or job.epochs))
        return job.dir / "weights.pt"

    def scores(engine, job, *rest):
        share = (job.stop_after or job.epochs) / job.epochs
        return dict.fromkeys(trials.METRICS, share * job.settings["box"] / 20)

    monkeypatch.setattr(trials, "held_out_scores", scores)
    job = dataclasses.replace(tiny.job(tmp_path, "single"), epochs=4)
    split = trials.inner_split(job.images, 0)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=2)
    here = dataclasses.replace(job, dir=tmp_path / "search")

    def run():
        engine = SimpleNamespace(fit=fit)
        return trials.run_trials(
            trials.Search(here, engine, split.validation, job.boxes, 8, search._tpe, pruner)
        )

    table = run()
    assert len(table) == 8 and set(table.epochs) == {2, 4}, "some pruned, some not"
    assert table.halfway.tolist() == pytest.approx((table.box / 40).tolist())
    for i, row in table.iterrows():
        before = table.halfway[:i][table.epochs[:i] == 4]
        bad = len(before) >= 2 and row.halfway < before.median()
        assert (row.epochs == 2) == bad, i
        assert row.map50 == pytest.approx(row.halfway if bad else 2 * row.halfway)
        calls = [epochs for name, epochs in trained if name == f"trial{i}"]
        assert calls == ([2] if bad else [2, 4])
    assert trials.best(table).epochs == 4
    calls = len(trained)
    assert run().equals(table) and len(trained) == calls, "a pruned trial was run again"
