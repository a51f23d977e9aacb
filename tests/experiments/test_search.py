"""A search that was made earlier is shown in place of one, and only where it is the same search."""

import dataclasses
import shutil
import time
from types import SimpleNamespace

import carry
import pandas as pd
import pytest

from openurine_lib import method, open_run
from openurine_lib.experiments import carried, made_from, search
from openurine_lib.experiments.run import first_record
from openurine_lib.training import trials

ROW = method("yolo12m-sahi-multi")  # six heads, and no encoder to be pretrained first


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """The smoke profile's data set, drawn once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENURINE_ROOT", str(tmp_path_factory.mktemp("source")))
        run = open_run("synthetic", "smoke")
        run.dataset  # noqa: B018 (it is prepared)
        return run.dir / "dataset"


@pytest.fixture
def made(monkeypatch):
    """The trials that are trained; the score is the weight of the box loss."""
    trained = []

    def fit(job):
        job.dir.mkdir(parents=True, exist_ok=True)
        trained.append(job.dir.name)
        return job.dir / "weights.pt"

    monkeypatch.setattr(search, "engine", lambda name: SimpleNamespace(fit=fit))
    monkeypatch.setattr(
        trials, "held_out_scores",
        lambda engine, job, *rest: dict.fromkeys(trials.METRICS, job.settings["box"] / 20),
    )  # fmt: skip
    return trained


@pytest.fixture
def machine(dataset, tmp_path, monkeypatch):
    """A run on another machine that has the data set, and what is carried."""
    monkeypatch.setattr(carried, "store", lambda: tmp_path / "carried")
    monkeypatch.delenv(carried.SWITCH, raising=False)

    def opened(name):
        monkeypatch.setenv("OPENURINE_ROOT", str(tmp_path / name))
        run = open_run("synthetic", "smoke")
        if not run.dir.exists():
            shutil.copytree(dataset, run.dir / "dataset")
        return run

    return opened


@pytest.fixture
def packed(machine, made):
    """The table of a search that was made and packed on another machine."""
    run = machine("there")
    table = search.search(run, ROW, 0)
    assert len(made) == run.profile.search["trials"] and not search.origin(run, ROW, 0)
    carry.carry_search(run, ROW, 0)
    assert sorted(f.name for f in carried.folder_of(run, "search", ROW, 0).iterdir()) == [
        carried.RECORD, carried.TRIALS,
    ]  # fmt: skip
    made.clear()
    return table


def test_a_carried_search_takes_the_place_of_one_and_says_so(machine, made, packed):
    run = machine("here")
    assert "trained earlier" not in run.banner()
    pd.testing.assert_frame_equal(search.search(run, ROW, 0), packed, check_exact=True)
    search.work(run, ROW, 0, worker=1)
    assert not made, "trials were made"
    record = carried.record_of(carried.folder_of(run, "search", ROW, 0))
    assert search.origin(run, ROW, 0) == carried.in_short(record)
    assert search.origin(run, ROW, 0).startswith("trained earlier: 20")
    assert "trained earlier" in run.banner()


def test_without_what_is_carried_the_search_is_made_anew_and_then_stays(
    machine, made, packed, monkeypatch
):
    run = machine("here")
    search.search(run, ROW, 0)
    monkeypatch.setenv(carried.SWITCH, "0")
    assert search.search(run, ROW, 0).equals(packed) and len(made) == len(packed)
    assert not search.origin(run, ROW, 0) and "trained earlier" not in run.banner()
    monkeypatch.delenv(carried.SWITCH)
    search.search(run, ROW, 0)
    assert not search.origin(run, ROW, 0) and len(made) == len(packed), "it made way"


def test_a_search_of_other_code_gives_way_to_a_carried_one(machine, made, packed):
    run = machine("there")
    folder = run.search_dir(ROW, 0)
    files_made_from = folder / made_from.RECORD
    files_made_from.write_text('{"code": "other"}')
    assert search.search(run, ROW, 0).equals(packed)
    assert search.origin(run, ROW, 0) and not made


@pytest.mark.parametrize("change", ["trials", "pruner", "space", "seed", "settings"])
def test_a_carried_search_is_for_the_same_search_alone(machine, packed, monkeypatch, change):
    run = machine("here")
    assert carried.to_search(run, ROW, 0)
    p = run.profile
    folder = carried.folder_of(run, "search", ROW, 0)
    if change == "trials":
        p = dataclasses.replace(p, search=p.search | {"trials": 4})
    elif change == "pruner":
        p = dataclasses.replace(p, search_pruner="median")
    elif change == "settings":
        p = dataclasses.replace(p, train=p.train | {"box": 6.0})
    elif change == "space":
        monkeypatch.setattr(carried, "read_config", lambda name: {})
    other = dataclasses.replace(run, profile=p, seed=int(change == "seed"))
    if change == "seed":
        shutil.copytree(run.dir, other.dir)
        monkeypatch.setattr(carried, "folder_of", lambda *_: folder)
    assert carried.to_search(other, ROW, 0) is None


def test_how_many_share_the_search_makes_it_no_other_one(machine, packed):
    run = machine("here")
    several = dataclasses.replace(run.profile, search_workers=7)
    assert carried.to_search(dataclasses.replace(run, profile=several), ROW, 0)


def test_an_unfinished_search_is_shown_as_far_as_it_came_and_goes_on(machine, made, monkeypatch):
    run = machine("there")
    score = trials.held_out_scores

    def interrupted(*given):
        if len(made) == 2:
            raise KeyboardInterrupt
        return score(*given)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trials, "held_out_scores", interrupted)
        search.search(run, ROW, 0)
    carry.carry_search(run, ROW, 0)
    whole = search.search(run, ROW, 0)
    made.clear()

    here = machine("here")
    shown = search.search(here, ROW, 0)
    pd.testing.assert_frame_equal(shown, whole[:1], check_exact=True)
    assert search.origin(here, ROW, 0) and not made
    search.go_on(here, ROW, 0)
    with pytest.raises(FileNotFoundError, match="were made here"):
        search.go_on(here, ROW, 0)
    pd.testing.assert_frame_equal(search.search(here, ROW, 0), whole, check_exact=True)
    assert not search.origin(here, ROW, 0) and len(made) == len(whole) - 1

    carry.carry_search(run, ROW, 0)  # it is whole now
    with pytest.raises(FileNotFoundError, match="no unfinished search"):
        search.go_on(machine("elsewhere"), ROW, 0)


def test_the_record_counts_the_trials_of_a_worker_that_was_killed(machine, made, monkeypatch):
    run = machine("here")
    trained = trials.held_out_scores

    def slowly(*given):
        time.sleep(0.3)
        return trained(*given)

    monkeypatch.setattr(trials, "held_out_scores", slowly)
    search.work(run, ROW, 0, worker=1)
    folder = run.search_dir(ROW, 0)
    (folder / "worker1" / carried.TRAINED).unlink()  # it made all trials, and left no record
    assert len(search.search(run, ROW, 0)) == len(made) == run.profile.search["trials"]
    whole = first_record([folder / carried.TRAINED])
    assert whole["processes"] == 1
    assert 0.3 * len(made) <= 60 * whole["minutes"] < 60


def test_a_pruner_that_nobody_knows_is_named(machine, made):
    run = machine("here")
    unknown = dataclasses.replace(run.profile, search_pruner="hyperband")
    with pytest.raises(ValueError, match="profiles.yaml: no search_pruner 'hyperband'; .*median"):
        search.search(dataclasses.replace(run, profile=unknown), ROW, 0)
    assert not made
