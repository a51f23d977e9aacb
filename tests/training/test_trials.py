"""Trials of a search go on after a kill, and the first one has the run's own settings."""

import dataclasses
from types import SimpleNamespace

import optuna
import pytest
import tiny

from openurine_lib.experiments import search
from openurine_lib.training import trials
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
        return trials.run_trials(here, engine, split.validation, job.boxes, 3, sampler)

    whole = run("whole")
    undisturbed = settings[:]
    settings.clear()
    kills.append(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        run("broken")
    again = run("broken")
    assert settings == undisturbed and again.equals(whole)
    assert undisturbed[0] == {name: job.settings[name] for name in trials.SPACE}
    study = optuna.load_study(
        study_name="search", storage=f"sqlite:///{tmp_path / 'broken' / 'study.db'}"
    )
    left = study.get_trials(states=[optuna.trial.TrialState.RUNNING])
    assert not left, "a killed trial is still said to run"
    assert run("broken").equals(whole) and len(settings) == 3, "a finished search was run again"
