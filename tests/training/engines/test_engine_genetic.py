"""The genetic engine: it breeds settings from the best ones and trains with the best of all.

The settings are scored on patients held out of training.
"""

import dataclasses

import numpy as np
import optuna
import pandas as pd
import pytest
import tiny

from openurine_lib.experiments.methods import method, profile
from openurine_lib.training.engines import genetic as engine
from openurine_lib.training.engines import ultralytics
from openurine_lib.training.trials import METRICS, SPACE
from openurine_lib.training.weights import read_weights

OWN = {name: profile("smoke").settings[name] for name in SPACE}


def limits(name):
    return SPACE[name].low, SPACE[name].high


def study(values):
    """A search with finished trials of these scores.

    The first trial has the profile's settings, the others have half of them.
    """
    made = optuna.create_study(direction="maximize")
    for i, value in enumerate(values):
        params = {k: v if i == 0 else float(np.clip(v / 2, *limits(k))) for k, v in OWN.items()}
        made.add_trial(optuna.trial.create_trial(params=params, distributions=SPACE, value=value))
    return made


def child(made, seed):
    made.sampler = engine.Mutation(seed)
    return made.ask(SPACE).params


def test_a_child_is_a_mutation_of_the_best():
    children = [child(study([0.9, 0.0, 0.0]), seed) for seed in range(20)]
    assert all(SPACE[k].low <= v <= SPACE[k].high for c in children for k, v in c.items())
    factors = np.array([c["box"] / OWN["box"] for c in children])  # far from the limits
    assert 0 < (factors == 1).mean() < 0.6, "a gene in five stays as it was"
    assert abs(factors.mean() - 1) < 0.15 and 0.1 < factors.std() < 0.3
    assert child(study([0.9, 0.0]), 3) == child(study([0.9, 0.0]), 3), (
        "chance is a function of the seed"
    )


def test_the_better_the_likelier_a_parent():
    halves = sum(child(study([0.9, 0.1]), seed)["box"] / OWN["box"] < 0.7 for seed in range(60))
    assert 0 < halves < 20, f"{halves} of 60 children of a parent with a tenth of the chance"


def test_search_holds_patients_out_and_the_best_settings_are_trained_on_all(tmp_path, monkeypatch):
    job = tiny.job(tmp_path, "single", "yolov5n-ga", epochs=2, search={"trials": 7, "epochs": 3})
    seen = {}

    def trials(search):
        seen.update(
            trial=search.job, validation=search.validation, truth=search.truth, count=search.trials
        )
        rows = [
            OWN | {"trial": i, "box": 5.0 + i} | dict.fromkeys(METRICS, m)
            for i, m in enumerate((0.1, 0.7, 0.3))
        ]
        return pd.DataFrame(rows).assign(epochs=3)

    monkeypatch.setattr(engine, "run_trials", trials)
    monkeypatch.setattr(ultralytics, "fit", lambda final: seen.update(final=final))
    engine.fit(job)
    trial, final = seen["trial"], seen["final"]
    assert seen["count"] == 7 and trial.epochs == 3 and trial.dir == job.dir / "search"
    assert not set(trial.images.group) & set(seen["validation"].group)
    assert set(trial.boxes.image) == set(trial.images.image) and set(seen["truth"].image) == set(
        seen["validation"].image
    )
    assert len(final.images) == 8 and final.epochs == 2 and final.arch == trial.arch == "yolov5n"
    assert (
        final.settings["box"] == 6.0
        and final.settings["lr0"] == OWN["lr0"]
        and "search" not in final.settings
    )
    assert final.meta["hyperparameters"]["box"] == 6.0
    with pytest.raises(ValueError, match="at least two patients"):
        engine.fit(dataclasses.replace(job, images=job.images.assign(group="one")))


def test_its_row_brings_the_searchs_budget_and_no_other_row_does():
    smoke = profile("smoke")
    assert smoke.settings_of(method("suhail2024"))["search"] == smoke.search
    assert smoke.settings_of(method("yolo12m")) == smoke.settings


@pytest.mark.slow
def test_searches_resumes_and_predicts(tmp_path, monkeypatch):
    whole, broken = (
        tiny.job(
            tmp_path / name,
            "single",
            "yolov5n-ga",
            epochs=1,
            search={"trials": 2, "epochs": 1},
            nbs=4,
        )
        for name in ("whole", "broken")
    )
    weights = engine.fit(whole)
    meta = read_weights(weights)["meta"]
    assert (
        meta["engine"] == "ultralytics"
        and meta["trials"] == 2
        and set(meta["hyperparameters"]) == set(SPACE)
    )
    fit, calls = ultralytics.fit, []

    def killed(job):
        calls.append(job.dir.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(job)

    monkeypatch.setattr(ultralytics, "fit", killed)
    with pytest.raises(KeyboardInterrupt):
        engine.fit(broken)
    engine.fit(broken)
    assert calls == ["trial0", "trial1", "trial1", "out"], "a finished trial was run again"
    states = [read_weights(job.dir / "weights.pt") for job in (whole, broken)]
    assert states[0]["meta"]["hyperparameters"] == states[1]["meta"]["hyperparameters"]
    assert all(v.equal(states[1]["state_dict"][k]) for k, v in states[0]["state_dict"].items())
    assert engine.detector(weights, 0.1, "cpu", 96).image_size == 96
