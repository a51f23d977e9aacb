"""The first epoch of a training, made again from the recorded seed."""

import dataclasses
from types import SimpleNamespace

import pandas as pd
import pytest
import tiny
import torch

from openurine_lib import method, open_run
from openurine_lib.experiments import replay
from openurine_lib.training.engines import ultralytics
from openurine_lib.training.pretraining import pretrain
from openurine_lib.training.weights import read_weights


def test_the_first_epoch_is_repeated_to_the_last_digit(tmp_path):
    job = tiny.job(tmp_path / "job", epochs=2)
    ultralytics.fit(job)
    again = dataclasses.replace(job, dir=tmp_path / "again", stop_after=1)
    ultralytics.fit(again)
    logs = [folder / "log.csv" for folder in (job.dir, again.dir)]
    losses = replay._beside(*logs)
    assert len(pd.read_csv(logs[1])) == 1
    assert (losses.earlier > 0).any() and (losses.here == losses.earlier).all()
    assert "equal to the last digit" in replay.in_words(losses)


def test_a_training_that_stopped_early_goes_on_to_the_same_weights(tmp_path):
    job = tiny.job(tmp_path / "whole", epochs=2, refresh_bn=True)
    whole = read_weights(ultralytics.fit(job))["state_dict"]
    part = dataclasses.replace(job, dir=tmp_path / "part", stop_after=1)
    halfway = read_weights(ultralytics.fit(part))["state_dict"]
    assert any(not torch.equal(halfway[name], whole[name]) for name in whole)
    end = read_weights(ultralytics.fit(dataclasses.replace(part, stop_after=None)))["state_dict"]
    assert all(torch.equal(end[name], whole[name]) for name in whole)
    assert not (part.dir / "state.pt").exists()


def test_the_first_epoch_of_a_pretraining_is_repeated_to_the_last_digit(tmp_path):
    images, _ = tiny.frames(tmp_path / "fields", 8)
    logs = []
    for name, stop_after in (("whole", None), ("again", 1)):
        out = tmp_path / name / "encoder.pt"
        pretrain("yolo12n", images, 64, 2, 0, out, "cpu", 32, stop_after)
        logs.append(out.with_name("log.csv"))
    losses = replay._beside(*logs)
    assert list(losses.part) == ["l1", "ssim"] and (losses.here == losses.earlier).all()
    assert not (tmp_path / "again" / "encoder.pt").exists()


@pytest.fixture
def earlier(tmp_path, monkeypatch):
    """A carried result whose log has two epochs."""
    folder = tmp_path / "carried"
    folder.mkdir()
    (folder / "log.csv").write_text("epoch,loss,box,cls\n1,3,1,2\n2,2,1,1\n")
    monkeypatch.setattr(replay.carried, "find", lambda *_: folder)


def test_a_carried_training_is_repeated_once_and_set_beside_its_log(tmp_path, earlier, monkeypatch):
    job = tiny.job(tmp_path / "job", epochs=2, refresh_bn=True)
    trained = []

    def fit(job):
        trained.append(job)
        job.dir.mkdir(parents=True)
        (job.dir / "log.csv").write_text("epoch,loss,box,cls\n1,3.5,1,2.5\n")

    monkeypatch.setattr(
        replay, "training_job", lambda run, m, fold, work: dataclasses.replace(job, dir=work)
    )
    monkeypatch.setattr(replay, "engine", lambda _: SimpleNamespace(fit=fit))
    run, ours = open_run("synthetic", "smoke"), method("ours-yolo12m")
    tables = [replay.of_training(run, ours, 0) for _ in range(2)]
    for table in tables:
        assert table.set_index("part")["relative"].to_dict() == {"box": 0, "cls": 0.25}
    (made,) = trained
    assert made.stop_after == 1 and made.settings["refresh_bn"] is False
    assert not made.dir.exists()


def test_a_carried_pretraining_is_repeated_once(earlier, monkeypatch):
    calls = []

    def pretrain(arch, fields, size, epochs, seed, out, device, crop, stop_after):
        calls.append((epochs, stop_after))
        out.parent.mkdir(parents=True)
        out.with_name("log.csv").write_text("epoch,loss,box,cls\n1,3,1,1\n")

    monkeypatch.setattr(replay, "pretrain", pretrain)
    run, ours = open_run("synthetic", "smoke"), method("ours-yolo12m")
    fields = SimpleNamespace(unlabelled_images=lambda *_: None)
    monkeypatch.setattr(type(run), "dataset", fields)
    for _ in range(2):
        table = replay.of_pretraining(run, ours, 0)
        assert table.set_index("part")["relative"].to_dict() == {"box": 0, "cls": -0.5}
    assert calls == [(run.profile.ssl_epochs, 1)]


def test_what_was_not_carried_is_not_repeated(monkeypatch):
    monkeypatch.setattr(replay.carried, "find", lambda *_: None)
    run, ours = open_run("synthetic", "smoke"), method("ours-yolo12m")
    assert replay.of_training(run, ours, 0) is None and replay.of_pretraining(run, ours, 0) is None


def test_a_difference_is_said_with_its_size():
    losses = pd.DataFrame({"part": ["box"], "earlier": [2.0], "here": [2.02]})
    assert "differ by 1.00% in sum, which is within the 2%" in replay.in_words(losses)
    assert "more than the 2%" in replay.in_words(losses.assign(here=2.5))
    assert "nothing to repeat" in replay.in_words(None)
