"""What was found by trying the libraries, where it concerns the detector (others: test_traps)."""

import pickle

import numpy as np
import pytest
import tiny
import torch
from ultralytics.nn.modules.conv import Conv
from ultralytics.utils.checks import check_imgsz

from openurine_lib import looking, profile
from openurine_lib.inference import predict_image
from openurine_lib.model import autoencoder
from openurine_lib.model.build import backbone_depth, build_model
from openurine_lib.model.heads import MultiHeadModel
from openurine_lib.speed import layers
from openurine_lib.training import pretraining
from openurine_lib.training.engines import ultralytics as engine

IMAGE = np.random.default_rng(0).integers(0, 255, (200, 160, 3), np.uint8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    job = tiny.job(tmp_path_factory.mktemp("job"), epochs=3, nbs=4, lrf=0.1)
    return job, engine.fit(job)


def test_the_six_head_model_is_pickled_traced_and_loaded_like_any_other():
    model = MultiHeadModel("yolo12n", {"Cells": (0, 2), "Casts": (1,)}).eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        y = model(image)[0]
        assert torch.equal(pickle.loads(pickle.dumps(model)).eval()(image)[0], y)
        model.model[-1].export = True
        traced = torch.jit.trace(model, image)
        model.model[-1].export = False
        assert torch.allclose(traced(image), y, atol=1e-4)
    names, head = (
        list(model.state_dict()),
        {k: v.clone() for k, v in model.model[-1].state_dict().items()},
    )
    stock = build_model("yolo12n", tiny.TAXONOMY, "single")
    model.load(
        stock, verbose=False
    )  # the library's own; it would put the stock head's cv3 beside the six
    assert list(model.state_dict()) == names
    assert torch.equal(model.model[0].conv.weight, stock.model[0].conv.weight)
    assert all(torch.equal(head[k], v) for k, v in model.model[-1].state_dict().items())


def test_the_loss_dict_names_the_columns_of_the_log_and_lrf_is_a_part_of_lr0(trained):
    import pandas as pd

    job, _ = trained
    log = pd.read_csv(job.dir / "log.csv")
    parts = [f"{head}/{part}" for head in ("Cells", "Crystals") for part in ("box", "cls", "dfl")]
    assert list(log) == ["epoch", "loss", *parts, "lr"]
    assert np.allclose(log.loss, log[parts].sum(axis=1), rtol=1e-4)
    lr0 = job.settings["lr0"]
    assert np.allclose(log.lr, [lr0 * ((1 - e / 3) * 0.9 + 0.1) for e in range(3)])


@pytest.mark.parametrize(("nominal", "effective"), [(40, 64), (80, 96), (640, 640), (960, 960)])
def test_sizes_are_rounded_up_as_the_library_does(nominal, effective):
    assert profile("paper").pixels(nominal) == effective == check_imgsz(nominal, stride=32)


@pytest.mark.parametrize("exact", [True, False])
def test_prediction_has_the_threads_that_were_asked_for(trained, monkeypatch, exact):
    """The library's set-up of a device sets the threads again, at the first prediction."""
    monkeypatch.setenv("OPENURINE_THREADS", "2")
    before = torch.get_num_threads()
    try:
        detector = engine.detector(trained[1], 0.001, "cpu", 96, exact)
        predict_image(detector, IMAGE, 96)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("heads", ["single", "multi"])
def test_on_a_processor_with_bf16_training_multiplies_in_it_and_losses_do_not(monkeypatch, heads):
    """The library's own mixed precision is float32 on a CPU, and it ignores channels_last there."""
    monkeypatch.setattr(layers, "cpu_bf16", lambda: True)
    model = build_model("yolo12n", tiny.TAXONOMY, heads).train()
    model.args = engine.DetectionTrainer.__init__.__globals__["DEFAULT_CFG"]
    seen = {}
    conv = next(m for m in model.modules() if isinstance(m, Conv)).conv
    conv.register_forward_hook(lambda m, x, y: seen.update(dtype=y.dtype, last=x[0].stride(1) == 1))
    batch = {"img": torch.rand(2, 3, 64, 64), "batch_idx": torch.zeros(1), "cls": torch.zeros(1, 1),
             "bboxes": torch.tensor([[0.5, 0.5, 0.4, 0.4]])}  # fmt: skip
    loss, items = model.loss(batch)
    assert seen == {"dtype": torch.bfloat16, "last": True} and loss.dtype == torch.float32
    assert all(v.dtype == torch.float32 for v in items.values())
    monkeypatch.setattr(layers, "cpu_bf16", lambda: False)
    model.loss(batch)
    assert seen["dtype"] == torch.float32


def test_ssim_is_taken_in_float32(monkeypatch):
    model = autoencoder.Autoencoder("yolo12n")
    seen, loss = [], autoencoder.reconstruction_loss
    monkeypatch.setattr(
        pretraining,
        "reconstruction_loss",
        lambda a, b: (seen.append((a.dtype, b.dtype)), loss(a, b))[1],
    )
    monkeypatch.setattr(pretraining, "cpu_bf16", lambda: True)
    pretraining._step(model, torch.optim.SGD(model.parameters(), 0.01), torch.rand(2, 3, 64, 64))
    assert seen == [(torch.float32, torch.float32)]


def test_the_backbone_is_a_chain_with_taps_at_strides_8_16_and_32():
    model = build_model("yolo12n", tiny.TAXONOMY, "single").eval()
    assert backbone_depth(model) == 9
    plain, x, strides = torch.nn.Sequential(*model.model[:9]), torch.rand(1, 3, 64, 64), {}
    with torch.no_grad():
        alone = plain(x)
        for i, layer in enumerate(plain):
            x = layer(x)
            strides[i] = 64 // x.shape[-1]
    assert torch.equal(x, alone) and [strides[i] for i in (4, 6, 8)] == [8, 16, 32]
    assert {f for layer in model.model[9:] for f in np.ravel(layer.f) if 0 <= f < 9} <= {4, 6, 8}


@pytest.mark.parametrize(
    ("arch", "depth"), [("yolov5n", 10), ("yolov8n", 10), ("yolov9t", 10), ("yolo11n", 11)]
)
def test_other_backbones_are_chains_too(arch, depth):
    assert backbone_depth(build_model(arch, tiny.TAXONOMY, "single")) == depth


def test_slices_in_a_batch_give_the_boxes_of_slices_one_by_one(trained, monkeypatch):
    detector = engine.detector(trained[1], 1e-6, "cpu", 96, exact=True)
    seen, perform = [], detector.perform_batch_inference
    monkeypatch.setattr(
        detector,
        "perform_batch_inference",
        lambda images: (seen.append(len(images)), perform(images)),
    )
    alone = predict_image(detector, IMAGE, 96)
    slices = sum(seen)
    monkeypatch.setattr(looking, "BATCH_CPU", 4)
    seen.clear()
    together = predict_image(detector, IMAGE, 96)
    assert max(seen) == 4 and sum(seen) == slices and len(alone) == len(together) > 0
    apart = np.abs(alone.to_numpy()[:, None] - together.to_numpy()[None]).max(axis=2)
    assert (
        apart.min(axis=0).max() < 0.5 and apart.min(axis=1).max() < 0.5
    )  # pixels; sums are taken in another order
