"""A training that is killed outright goes on with the same optimizer.

Several processes train one network. No test here can run CUDA and NCCL: the processes are two on a
CPU, over gloo. Everything else is what runs on GPUs: the script that ultralytics writes, torch's
launcher, our trainer made again in each process, checkpoint and resume.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import tiny
import torch
import two_processes
from ultralytics.engine import trainer as library

from openurine_lib.speed import processor
from openurine_lib.training.engines import ultralytics as engine
from openurine_lib.training.weights import read_weights

HERE = Path(__file__).resolve().parents[1]
KILLED = """
import os, signal, sys
from pathlib import Path
import tiny
from openurine_lib.training.engines import ultralytics as engine
save = engine._Frames.save_metrics
def die(self, metrics):
    if self.epoch == 1:  # the epoch is done, its checkpoint is not yet written
        os.kill(os.getpid(), signal.SIGKILL)
    save(self, metrics)
engine._Frames.save_metrics = die
engine.fit(tiny.job(Path(sys.argv[1]), nbs=4, optimizer="SGD", lr0=0.01))
"""


def keep_states(monkeypatch):
    """Every checkpoint that is written from now on."""
    kept, save = [], engine._Frames.save_model

    def save_and_keep(self):
        save(self)
        kept.append(torch.load(self.checkpoint.path, weights_only=True))

    monkeypatch.setattr(engine._Frames, "save_model", save_and_keep)
    return kept


def same(a, b):
    """Whether two nests of dicts, lists, tensors and numbers are equal, to the bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_after_sigkill_optimizer_average_and_weights_are_those_of_an_undisturbed_training(
    tmp_path, monkeypatch
):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])}
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "broken")], env=environment)
    assert done.returncode == -signal.SIGKILL
    whole, broken = (
        tiny.job(tmp_path / n, nbs=4, optimizer="SGD", lr0=0.01) for n in ("whole", "broken")
    )
    assert (broken.dir / "state.pt").exists() and not (broken.dir / "weights.pt").exists()
    states = keep_states(monkeypatch)
    engine.fit(whole)
    undisturbed, states[:] = states.copy(), []
    engine.fit(broken)
    assert len(undisturbed) == 3 and len(states) == 2  # the first epoch was not trained again
    for one, other in zip(undisturbed[1:], states, strict=True):
        momenta = [s["momentum_buffer"] for s in one["optimizer"]["state"].values()]
        assert len(momenta) > 100 and sum(m.abs().sum() > 0 for m in momenta) > 100
        assert same(one["optimizer"], other["optimizer"]) and one["updates"] == other["updates"] > 0
        assert (
            same(one["ema"], other["ema"])
            and same(one["model"], other["model"])
            and one["rows"] == other["rows"]
        )
    assert same(*(read_weights(j.dir / "weights.pt")["state_dict"] for j in (whole, broken)))


def test_a_training_killed_after_its_last_epoch_trains_no_further(tmp_path, monkeypatch):
    whole, broken = (
        tiny.job(tmp_path / n, nbs=4, epochs=2, close_mosaic=1) for n in ("whole", "broken")
    )
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(engine, "update_bn", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
        engine.fit(broken)
    states = keep_states(monkeypatch)
    engine.fit(broken)
    assert not states and len(pd.read_csv(broken.dir / "log.csv")) == 2
    engine.fit(whole)
    assert same(*(read_weights(j.dir / "weights.pt")["state_dict"] for j in (whole, broken)))


@pytest.mark.slow
def test_two_processes_train_one_network_and_go_on_after_a_kill(tmp_path, monkeypatch):
    two_processes.patch(monkeypatch.setattr)
    command = library.generate_ddp_command

    def on_cpu(trainer):
        arguments, file = command(trainer)
        return [*arguments[:-1], str(HERE / "two_processes.py"), file], file

    monkeypatch.setattr(library, "generate_ddp_command", on_cpu)
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    whole, broken = (tiny.job(tmp_path / name, nbs=4, epochs=2) for name in ("whole", "broken"))
    engine.fit(whole)
    ranks = [torch.load(whole.dir / f"rank{i}.pt", weights_only=True) for i in (0, 1)]
    learned = [k for k in ranks[0] if k.endswith((".weight", ".bias"))]
    assert all(
        torch.equal(ranks[0][k], ranks[1][k]) for k in learned
    )  # the gradients were shared ...
    statistics = [k for k in ranks[0] if k.endswith("running_mean")]
    assert any(
        not torch.equal(ranks[0][k], ranks[1][k]) for k in statistics
    )  # ... of different fields
    assert len(pd.read_csv(whole.dir / "log.csv")) == 2 and not (whole.dir / "state.pt").exists()
    assert engine.load_model(whole.dir / "weights.pt").model[-1].nc == 3

    monkeypatch.setenv("DIE_IN_EPOCH", "1")
    with pytest.raises(subprocess.CalledProcessError):
        engine.fit(broken)
    assert (broken.dir / "state.pt").exists() and not (broken.dir / "weights.pt").exists()
    monkeypatch.delenv("DIE_IN_EPOCH")
    engine.fit(broken)
    assert same(*(read_weights(j.dir / "weights.pt")["state_dict"] for j in (whole, broken)))


def test_the_librarys_processes_can_make_our_trainer(tmp_path):
    """They get the pickled class and the arguments; a trainer that needed more would fail there."""
    from ultralytics.utils.dist import ddp_cleanup, generate_ddp_file
    from ultralytics.utils.patches import torch_load

    job = tiny.job(tmp_path)
    overrides = {
        "model": "yolo12n.yaml",
        "data": "frames",
        "imgsz": 96,
        "device": "cpu",
        "project": str(job.dir),
    }
    trainer = engine._trainer(job)(overrides=overrides)
    file = generate_ddp_file(trainer)
    try:
        code = Path(file).read_text()
        assert 'state["trainer"](cfg=cfg, overrides=state["args"]' in code
        state = torch_load(Path(file).with_suffix(".pt"), map_location="cpu")
        again = state["trainer"](overrides=state["args"], _callbacks=state["callbacks"])
        assert again.job.signature() == job.signature() and again.job.images.equals(job.images)
        assert isinstance(again, engine._Frames) and again.data["nc"] == 3
    finally:
        ddp_cleanup(trainer, file)


@pytest.mark.parametrize(
    ("asked", "one"), [("0,1", "cuda:0"), ("1", "cuda:1"), ("cuda:1", "cuda:1"), ("cpu", "cpu")]
)
def test_what_runs_on_one_device_gets_the_first(monkeypatch, asked, one):
    monkeypatch.setenv("OPENURINE_DEVICE", asked)
    assert processor.devices() == asked and processor.device() == one
