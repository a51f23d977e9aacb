"""How jobs share the GPUs of a machine; nothing of it needs one."""

import argparse
import contextlib
import os

import job
import pytest
import reproduce

from openurine_lib import open_run
from openurine_lib.speed import processor

LOCAL = reproduce.PROFILES / "local"


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setenv("OPENURINE_GPUS", "2")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def taken(stack, locks, monkeypatch):
    """The GPU that one more job gets; it keeps it until the stack is left."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)  # each job is a process of its own
    stack.enter_context(job._gpu(locks))
    return os.environ["CUDA_VISIBLE_DEVICES"]


def test_each_job_has_a_gpu_for_itself(two_gpus, tmp_path, monkeypatch):
    with contextlib.ExitStack() as stack:
        assert [taken(stack, tmp_path, monkeypatch) for _ in range(2)] == ["0", "1"]
        monkeypatch.setattr(job.time, "sleep", waited)
        with pytest.raises(TimeoutError):
            taken(stack, tmp_path, monkeypatch)
    with contextlib.ExitStack() as stack:
        assert taken(stack, tmp_path, monkeypatch) == "0", "it was given back"


def waited(seconds):
    raise TimeoutError("no GPU was free")


def test_several_jobs_share_a_gpu_evenly(two_gpus, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENURINE_PER_GPU", "2")
    with contextlib.ExitStack() as stack:
        asked = [taken(stack, tmp_path, monkeypatch) for _ in range(4)]
    assert asked == ["0", "1", "0", "1"]


@pytest.mark.parametrize(
    ("gpus", "per_gpu", "cores", "loaders"),
    [(1, 1, 16, 8), (2, 1, 4, 8), (1, 8, 16, 2), (2, 4, 16, 2), (1, 10, 4, 1), (1, 2, 64, 8)],
)
def test_trainings_that_share_a_machine_share_its_cores(monkeypatch, gpus, per_gpu, cores, loaders):
    """Alone, a training has ultralytics' eight processes that read fields."""
    monkeypatch.setenv("OPENURINE_GPUS", str(gpus))
    monkeypatch.setenv("OPENURINE_PER_GPU", str(per_gpu))
    monkeypatch.setattr(processor.os, "cpu_count", lambda: cores)
    assert processor.loaders() == loaders


@pytest.mark.parametrize(("gpus", "per_gpu", "places"), [(0, 8, None), (1, 1, 1), (2, 4, 8)])
def test_snakemake_counts_places_on_gpus(gpus, per_gpu, places):
    options = argparse.Namespace(
        gpus=gpus, per_gpu=per_gpu, rows=None, folds=None, workers=None, jobs=8, workflow=LOCAL
    )
    command = reproduce._snakemake(open_run("synthetic", "smoke"), options, "all")
    assert (f"gpu={places}" in command) == (places is not None)
    assert ("--resources" in command) == (places is not None)
    environment = reproduce._environment(options)
    assert environment["OPENURINE_PER_GPU"] == str(per_gpu)
