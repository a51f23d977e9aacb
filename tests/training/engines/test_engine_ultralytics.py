"""The ultralytics engine: it learns, starts from the encoder and resumes exactly.

It refuses weights that do not fit.
"""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import tiny
import torch

from openurine_lib.evaluation.metrics import evaluate, summary
from openurine_lib.inference import predict_fields, predict_image, read_rgb
from openurine_lib.model import autoencoder
from openurine_lib.speed import processor
from openurine_lib.training import pretraining
from openurine_lib.training.engines import ultralytics as engine
from openurine_lib.training.weights import WeightsError, check_taxonomy
from openurine_lib.ways import Way

LEARN = {
    "optimizer": "AdamW",
    "lr0": 0.002,
    "momentum": 0.9,
    "nbs": 4,
    "mosaic": 0.0,
    "warmup_epochs": 1.0,
}


class Kill(BaseException):
    pass


def state(job):
    return engine.read_weights(job.dir / "weights.pt")["state_dict"]


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def kill_after(monkeypatch, epoch):
    save = engine._Frames.save_model

    def save_and_die(self):
        save(self)
        if self.epoch == epoch:
            raise Kill

    monkeypatch.setattr(engine._Frames, "save_model", save_and_die)


def read_by(workers, monkeypatch):
    """As on a GPU, processes of their own read and augment the fields; a processor has none."""
    get_dataloader = engine._Frames.get_dataloader

    def with_workers(self, *given, **more):
        self.args.workers = workers
        return get_dataloader(self, *given, **more)

    monkeypatch.setattr(engine._Frames, "get_dataloader", with_workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_training_ends_with_the_weights_of_an_undisturbed_one(
    tmp_path, monkeypatch, workers
):
    read_by(workers, monkeypatch)
    whole, broken, again = (
        tiny.job(tmp_path / name, nbs=4) for name in ("whole", "broken", "again")
    )
    engine.fit(whole)
    engine.fit(again)
    assert equal(state(whole), state(again)), "two runs with one seed differ"
    with monkeypatch.context() as patch, pytest.raises(Kill):
        kill_after(patch, 0)
        engine.fit(broken)
    assert (broken.dir / "state.pt").exists() and not (broken.dir / "weights.pt").exists()
    engine.fit(broken)
    assert equal(state(whole), state(broken))
    logs = [(j.dir / "log.csv").read_bytes() for j in (whole, broken)]
    assert logs[0] == logs[1] and not (broken.dir / "state.pt").exists()


def test_yolo26s_losses_go_on_with_the_weights_that_they_had(tmp_path, monkeypatch):
    """Its two branches change weight from epoch to epoch, which no checkpoint of it holds."""
    whole, broken = (
        tiny.job(tmp_path / name, "single", "yolo26n", 3, 4, nbs=4) for name in ("whole", "broken")
    )
    engine.fit(whole)
    with monkeypatch.context() as patch, pytest.raises(Kill):
        kill_after(patch, 0)
        engine.fit(broken)
    engine.fit(broken)
    assert equal(state(whole), state(broken))
    boxes = predict_image(
        engine.detector(broken.dir / "weights.pt", 1e-6, "cpu", 96),
        read_rgb(broken.images.path[0]).repeat(2, 0).repeat(2, 1),
        None,
    )
    assert len(boxes) and boxes[["x2", "y2"]].max().min() > 96, "in the network's pixels"


def test_a_checkpoint_of_other_settings_is_not_resumed_from(tmp_path, monkeypatch):
    job = tiny.job(tmp_path / "a", nbs=4)
    with monkeypatch.context() as patch, pytest.raises(Kill):
        kill_after(patch, 1)
        engine.fit(job)
    other = dataclasses.replace(job, seed=1)
    engine.fit(other)
    fresh = dataclasses.replace(tiny.job(tmp_path / "b", nbs=4), seed=1)
    engine.fit(fresh)
    assert equal(state(other), state(fresh)) and len(pd.read_csv(job.dir / "log.csv")) == 3


@pytest.mark.parametrize("arch", ["yolo12n", "yolov8n"])
def test_training_starts_from_the_encoder(tmp_path, arch):
    """The trap: the trainer throws away weights that were put into a YOLO by hand.

    The test looks at the weights as the trainer starts.
    """
    images, _ = tiny.frames(tmp_path / "unlabelled", 8)
    encoder = pretraining.pretrain(arch, images, 64, 1, 0, tmp_path / "ssl" / "encoder.pt")
    job = tiny.job(tmp_path, arch=arch, epochs=1, encoder=encoder)
    seen = {}

    class Look(engine._trainer(job)):
        def _setup_train(self):
            super()._setup_train()
            seen.update({k: v.clone() for k, v in self.model.state_dict().items()})
            raise Kill

    with pytest.raises(Kill):
        overrides = {
            "model": f"{arch}.yaml", "data": "frames", "imgsz": 96, "epochs": 1, "device": "cpu",
            "project": str(job.dir), "name": "u", "pretrained": False, "plots": False,
        }  # fmt: skip
        Look(overrides=overrides).train()
    pretrained = engine.read_weights(encoder)["state_dict"]
    assert len(pretrained) > 100 and all(torch.equal(seen[k], v) for k, v in pretrained.items())
    untrained = autoencoder.Autoencoder(arch).encoder_state()
    assert any(not torch.equal(seen[k], v) for k, v in untrained.items())


def test_an_encoder_of_another_backbone_is_refused(tmp_path):
    images, _ = tiny.frames(tmp_path / "unlabelled", 4)
    encoder = pretraining.pretrain("yolov8n", images, 64, 1, 0, tmp_path / "encoder.pt")
    with pytest.raises(WeightsError, match=r"encoder.pt is the encoder of yolov8n"):
        engine.fit(tiny.job(tmp_path, encoder=encoder))


def test_test_fold_is_not_validated_while_training(tmp_path):
    job = tiny.job(tmp_path, epochs=1)
    engine.fit(job)
    assert not list(job.dir.rglob("best.pt"))
    log = pd.read_csv(job.dir / "log.csv")
    assert {"Cells/box", "Crystals/cls", "Crystals/dfl", "loss", "lr"} <= set(log) and not any(
        "metrics" in c for c in log
    )


@pytest.mark.parametrize(
    ("arch", "heads"),
    [
        pytest.param("yolo12n", "single", marks=pytest.mark.thorough),
        pytest.param("yolo12n", "multi", marks=pytest.mark.more),
        pytest.param("yolo26n", "single", marks=pytest.mark.thorough),
        pytest.param("rtdetr-n", "single", marks=pytest.mark.thorough),
    ],
)
def test_overfits_a_few_fields(tmp_path, arch, heads):
    """A detector from scratch learns eight fields by heart.

    So losses, labels and coordinates are right.
    """
    job = tiny.job(
        tmp_path, heads, arch, epochs=100, hsv_s=0.0, hsv_v=0.0, scale=0.1, fliplr=0.0, **LEARN
    )
    weights = engine.fit(job)
    log = pd.read_csv(job.dir / "log.csv")
    assert log.loss.iloc[-1] < log.loss.iloc[0] / 2
    predictions = predict_fields(
        engine.detector(weights, 0.001, "cpu", 96), job.images, None, 0.0, tmp_path / "p.csv"
    )
    assert summary(evaluate(job.boxes, predictions, 3, list(job.images.image)))["map50"] > 0.5


def test_weights_hold_tensors_and_plain_data_only(tmp_path):
    job = tiny.job(tmp_path, epochs=1)
    weights = engine.fit(job)
    content = torch.load(weights, weights_only=True)
    assert (
        content["meta"]["classes"] == ["disc", "square", "bar"]
        and content["meta"]["heads"] == "multi"
    )
    model = engine.load_model(weights)
    assert not model.training and equal(dict(model.state_dict()), content["state_dict"])


def test_bad_weights_are_refused_with_a_name(tmp_path):
    with pytest.raises(WeightsError, match="nowhere.pt does not exist"):
        engine.load_model(tmp_path / "nowhere.pt")
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(WeightsError, match="text.pt is not a weights file"):
        engine.load_model(tmp_path / "text.pt")
    torch.save(tiny.TAXONOMY, tmp_path / "code.pt")  # a pickled object of ours: still code
    with pytest.raises(WeightsError, match="code.pt is not a weights file"):
        engine.load_model(tmp_path / "code.pt")


def test_weights_of_another_taxonomy_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="was trained on 2 classes"):
        check_taxonomy({"classes": ["a", "b"]}, tiny.TAXONOMY, tmp_path / "weights.pt")


def test_labels_are_written_in_the_librarys_units(tmp_path):
    job = tiny.job(tmp_path)
    listing = engine.write_fields(job, tmp_path / "fields")
    first = np.loadtxt(tmp_path / "fields" / "labels" / "000000.txt")
    mine = job.boxes[job.boxes.image == "field0"].iloc[0]
    cls, x, y, w, h = first[0]
    assert cls == mine.cls and np.allclose(
        [x - w / 2, y - h / 2, x + w / 2, y + h / 2],
        mine[["x1", "y1", "x2", "y2"]].astype(float) / 96,
        atol=1e-5,
    )
    assert len(listing.read_text().split()) == 8


def test_the_moving_average_of_the_weights_is_kept(tmp_path, monkeypatch):
    """Not the last weights: the average is what ultralytics validates and keeps, too."""
    job = tiny.job(tmp_path, epochs=2, refresh_bn=False)
    ends = {}
    write = engine._Frames.final_eval

    def look(self):
        for name, model in (("last", self.model), ("average", self.ema.ema)):
            ends[name] = {k: v.float().clone() for k, v in model.state_dict().items()}
        write(self)

    monkeypatch.setattr(engine._Frames, "final_eval", look)
    engine.fit(job)
    kept = {k: v.float() for k, v in state(job).items()}
    assert equal(kept, ends["average"]) and not equal(kept, ends["last"])


@pytest.mark.parametrize(
    ("device", "gpu", "units", "expected"),
    [("cpu", True, True, False), ("cuda:0", True, True, "bf16"), ("0,1", True, False, False),
     ("mps", False, False, False)],
)  # fmt: skip
def test_mixed_precision_never_asks_for_the_check_that_downloads(
    monkeypatch, device, gpu, units, expected
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: units)
    assert processor.gpu_precision(device) == expected


def test_the_library_does_not_check_the_precision_that_is_asked_of_it(tmp_path, monkeypatch):
    """On a GPU the check would ask for a network of the library's own."""

    def check(model):
        raise AssertionError("the check downloads a network")

    monkeypatch.setattr("ultralytics.engine.trainer.check_amp", check)
    engine.fit(tiny.job(tmp_path, nbs=4, epochs=1))


def test_a_batch_that_the_memory_cannot_hold_is_halved_and_recorded(tmp_path, monkeypatch):
    job = tiny.job(tmp_path, nbs=4, epochs=2)
    batch = job.settings["batch"]
    preprocess = engine.DetectionTrainer.preprocess_batch

    def small_gpu(self, given):
        if len(given["img"]) > batch // 2:
            raise RuntimeError("CUDA out of memory")
        return preprocess(self, given)

    monkeypatch.setattr(engine.DetectionTrainer, "preprocess_batch", small_gpu)
    engine.fit(job)
    assert engine.read_weights(job.dir / "weights.pt")["meta"]["batch"] == batch // 2
    assert pd.read_csv(job.dir / "log.csv").epoch.tolist() == [1, 2]


def test_a_batch_that_fitted_is_not_recorded_as_another(tmp_path):
    job = tiny.job(tmp_path, nbs=4, epochs=1)
    engine.fit(job)
    assert "batch" not in engine.read_weights(job.dir / "weights.pt")["meta"]


def test_a_field_at_once_is_seen_by_both_adapters_at_the_same_size(tmp_path):
    """The processor's, and the one that is the library's own (as on a GPU)."""
    weights = engine.fit(tiny.job(tmp_path, epochs=1))
    image = np.random.default_rng(0).integers(0, 255, (96, 160, 3), np.uint8)
    found = [
        predict_image(
            engine.detector(weights, 0.001, "cpu", 64, exact), image, 80, way=Way(at_once=True)
        )
        for exact in (False, True)
    ]
    alone = predict_image(engine.detector(weights, 0.001, "cpu", 128, True), image, None)
    assert len(alone) and len(found[0])
    pd.testing.assert_frame_equal(found[1].head(50), alone.head(50))
    best = [frame[["x1", "y1", "x2", "y2"]].iloc[0].to_numpy(float) for frame in (found[0], alone)]
    assert np.allclose(*best, atol=4)  # bfloat16
