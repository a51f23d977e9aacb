"""What the libraries do behind one's back, and that it does not happen here."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import tiny
import torch
from ultralytics.utils import nms

from openurine_lib.experiments import search
from openurine_lib.inference import predict_image
from openurine_lib.model.heads import MultiHeadModel
from openurine_lib.model.loss import MultiHeadLoss
from openurine_lib.training import trials
from openurine_lib.training.engines import ultralytics as engine

ROOT = Path(__file__).resolve().parents[1]


def python(code: str, home: Path, **environment: str) -> str:
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("YOLO_", "OMP_", "OPENURINE_"))
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env=clean | {"HOME": str(home), "PYTHONPATH": str(ROOT)} | environment,
    )  # fmt: skip
    return done.stdout.strip()


def test_importing_the_package_imports_no_torch(tmp_path):
    code = "import sys, openurine_lib; print('torch' in sys.modules, 'ultralytics' in sys.modules)"
    assert python(code, tmp_path) == "False False"


def test_ultralytics_leaves_the_home_folder_alone_and_installs_nothing(tmp_path):
    code = "import openurine_lib.training.engines.ultralytics, ultralytics.utils as u; "
    code += "print(u.AUTOINSTALL, u.ONLINE)"
    assert python(code, tmp_path) == "False False"
    assert not list(tmp_path.iterdir())


def test_threads_asked_for_are_the_threads_used(tmp_path, monkeypatch):
    """Importing ultralytics sets one thread, and its trainer sets them again."""
    seen = []
    monkeypatch.setenv("OPENURINE_THREADS", "2")
    reseed = engine._reseed
    monkeypatch.setattr(
        engine, "_reseed", lambda trainer: (seen.append(torch.get_num_threads()), reseed(trainer))
    )
    before = torch.get_num_threads()
    try:
        engine.fit(tiny.job(tmp_path, epochs=1))
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {2}


def test_the_search_trains_the_multi_head_model(tmp_path, monkeypatch):
    """ultralytics' Tuner would silently train the stock model."""
    trained = []
    fit = engine.fit
    monkeypatch.setattr(engine, "fit", lambda job: trained.append(job) or fit(job))
    from openurine_lib import method, open_run

    run = open_run("synthetic", "smoke")
    rows = search.search(run, method("ours-yolo12m"), 0)
    asked = run.profile.search["trials"]
    assert len(rows) == len(trained) == asked and all(
        job.heads == "multi" and job.encoder for job in trained
    )
    table3 = run.profile.settings
    space = trials.space_of(run.dataset.taxonomy.heads)
    assert all(np.isclose(rows.loc[0, name], trials.value_of(table3, name)) for name in space), (
        "the first trial is the run's own"
    )
    for i, job in enumerate(trained):
        tried = rows.loc[i, [f"head_weights.{head}" for head in job.taxonomy.heads]]
        assert list(tried) == [job.settings["head_weights"][h] for h in job.taxonomy.heads]
    assert rows["head_weights.Casts"].nunique() == asked, "lambda is searched, too"
    assert rows[list(trials.METRICS)].notna().all().all()
    again = search.search(run, method("ours-yolo12m"), 0)
    assert again.equals(rows) and len(trained) == asked, "a second call trains nothing"


def test_search_holds_out_whole_patients():
    images = pd.DataFrame(
        {"image": [f"i{i}" for i in range(20)], "group": [f"p{i // 2}" for i in range(20)]}
    )
    split = trials.inner_split(images, 0)
    assert not set(split.train.group) & set(split.validation.group)
    assert len(split.train) + len(split.validation) == 20 and len(split.validation) == 4


def test_the_time_limit_of_nms_drops_no_image(tmp_path, monkeypatch):
    """Its limit leaves the rest of a batch without boxes; a CPU gets one slice at a time."""
    weights = engine.fit(tiny.job(tmp_path, epochs=1))
    detector = engine.detector(weights, 1e-6, "cpu", 96)
    image = np.random.default_rng(0).integers(0, 255, (160, 160, 3), dtype=np.uint8)
    usual = predict_image(detector, image, 96)
    now = iter(range(0, 10**9, 1000))
    monkeypatch.setattr(
        nms.time, "time", lambda: next(now)
    )  # every look at the clock is a thousand seconds later
    assert len(usual) and predict_image(detector, image, 96).equals(usual)


def test_the_training_model_and_its_loss_are_ours(tmp_path):
    job = tiny.job(tmp_path)
    model = engine._Frames.get_model(type("T", (), {"job": job})())
    model.args = engine.DetectionTrainer.__init__.__globals__["DEFAULT_CFG"]
    assert isinstance(model, MultiHeadModel) and isinstance(model.init_criterion(), MultiHeadLoss)
