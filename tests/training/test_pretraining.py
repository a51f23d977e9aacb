"""The autoencoder: its encoder is the detector's backbone, and its loss falls.

An interruption of the pretraining changes nothing.
"""

import numpy as np
import pandas as pd
import pytest
import tiny
import torch

from openurine_lib.model import autoencoder
from openurine_lib.model.build import build_model
from openurine_lib.training import pretraining
from openurine_lib.training.weights import read_weights


@pytest.fixture
def fields(tmp_path):
    return tiny.frames(tmp_path / "fields", 8)[0]


@pytest.mark.parametrize(
    ("arch", "layers"), [("yolo12n", 9), ("yolov8n", 10), ("yolov5n", 10), ("yolo11n", 11)]
)
def test_the_encoder_is_the_detectors_backbone(arch, layers):
    network = autoencoder.Autoencoder(arch)
    assert len(network.encoder) == layers
    detector = build_model(arch, tiny.TAXONOMY, "multi")
    assert set(network.encoder_state()) == {
        k for k in detector.state_dict() if int(k.split(".")[1]) < layers
    }
    x = torch.rand(2, 3, 64, 96)
    assert network(x).shape == x.shape


def test_loss_is_l1_and_ssim():
    x = torch.rand(2, 3, 64, 64)
    l1, dissimilarity = autoencoder.reconstruction_loss(x, x)
    assert l1 == 0 and dissimilarity.abs() < 1e-5
    l1, dissimilarity = autoencoder.reconstruction_loss((x + 0.1).clamp(0, 1), x)
    assert 0.05 < l1 <= 0.1 and 0 < dissimilarity < 0.5


def test_the_loss_falls_below_that_of_the_mean_colour(fields, tmp_path):
    pretraining.pretrain("yolo12n", fields, 64, 45, 0, tmp_path / "encoder.pt")
    log = pd.read_csv(tmp_path / "log.csv")
    assert log.l1.iloc[-6:].mean() < 0.85 * log.l1.iloc[0]
    examples = np.load(tmp_path / "reconstructions.npz")
    before, after = (examples[name] / 255 for name in ("before", "after"))
    assert before.shape == after.shape == (8, 64, 64, 3)
    plain = np.broadcast_to(before.mean((1, 2), keepdims=True), before.shape)
    assert abs(after - before).mean() < 0.9 * abs(plain - before).mean()


def test_the_untrained_network_draws_the_mean_colour():
    x = torch.rand(2, 3, 64, 96) * torch.tensor([1.0, 0.1]).view(2, 1, 1, 1)
    drawn = autoencoder.Autoencoder("yolo12n")(x)
    assert torch.allclose(drawn, x.mean((2, 3), keepdim=True).expand_as(x), atol=1e-6)


def test_an_interrupted_pretraining_ends_the_same(fields, tmp_path, monkeypatch):
    pretraining.pretrain("yolo12n", fields, 64, 3, 0, tmp_path / "whole" / "encoder.pt")
    step, calls = pretraining._step, []

    def die_in_the_second_epoch(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return step(*args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pretraining, "_step", die_in_the_second_epoch)
        pretraining.pretrain("yolo12n", fields, 64, 3, 0, tmp_path / "broken" / "encoder.pt")
    pretraining.pretrain("yolo12n", fields, 64, 3, 0, tmp_path / "broken" / "encoder.pt")
    a, b = (
        read_weights(tmp_path / name / "encoder.pt")["state_dict"] for name in ("whole", "broken")
    )
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_nothing_to_pretrain_on_is_said(fields, tmp_path):
    with pytest.raises(ValueError, match="no field to pretrain on"):
        pretraining.pretrain("yolo12n", fields.iloc[:0], 64, 1, 0, tmp_path / "encoder.pt")


def test_a_pretraining_killed_after_its_last_epoch_ends_the_same(fields, tmp_path):
    """Crops are drawn once more then, for the averages of the batch norms."""
    whole = pretraining.pretrain("yolo12n", fields, 64, 2, 0, tmp_path / "whole" / "encoder.pt")
    out = tmp_path / "broken" / "encoder.pt"
    with tiny.killed_after(0, pretraining.Checkpoint, "finish"):
        pretraining.pretrain("yolo12n", fields, 64, 2, 0, out)
    pretraining.pretrain("yolo12n", fields, 64, 2, 0, out)
    assert out.read_bytes() == whole.read_bytes()


def stopped_after_an_epoch(fields, folder, monkeypatch, imgsz=64, seed=0):
    """Leaves the checkpoint of a pretraining that was killed after its first epoch of two."""
    save = pretraining.Checkpoint.save

    def killed(checkpoint, rows, **more):
        save(checkpoint, rows, **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pretraining.Checkpoint, "save", killed)
        pretraining.pretrain("yolo12n", fields, imgsz, 2, seed, folder / "encoder.pt")
    assert (folder / "state.pt").exists()


@pytest.mark.parametrize("other", ["none", "fields", "order", "size", "seed", "unsigned"])
def test_a_checkpoint_of_other_fields_sizes_or_seeds_is_not_gone_on_with(
    fields, tmp_path, monkeypatch, other
):
    """The names of the fields and their number are the same: only their content tells."""
    imgsz = 96 if other == "size" else 64
    seed = 1 if other == "seed" else 0
    before = fields.iloc[::-1] if other == "order" else fields
    stopped_after_an_epoch(before, tmp_path, monkeypatch, imgsz, seed)
    if other == "fields":
        tiny.frames(tmp_path / "fields", 8, seed=1)  # the same files, with other pictures
    if other == "unsigned":
        state = torch.load(tmp_path / "state.pt", weights_only=True)
        del state["signature"]
        torch.save(state, tmp_path / "state.pt")
    steps = []
    step = pretraining._step
    monkeypatch.setattr(pretraining, "_step", lambda *a: steps.append(1) or step(*a))
    pretraining.pretrain("yolo12n", fields, 64, 2, 0, tmp_path / "encoder.pt")
    assert len(steps) == (1 if other == "none" else 2), "one step an epoch, of two epochs"


def test_a_step_goes_down_the_slope_of_l1_and_of_ssim(monkeypatch):
    """One step of plain descent, against the slope of the sum of both as torch finds it."""
    monkeypatch.setenv("OPENURINE_BF16", "0")
    torch.manual_seed(0)
    network = torch.nn.Conv2d(3, 3, 3, padding=1)
    x = torch.rand(2, 3, 32, 32)
    parts = autoencoder.reconstruction_loss(network(x), x)
    slopes = [torch.autograd.grad(part, network.weight, retain_graph=True)[0] for part in parts]
    before = network.weight.detach().clone()
    told = pretraining._step(network, torch.optim.SGD(network.parameters(), lr=1.0), x)
    assert told == pytest.approx([part.item() for part in parts])
    assert torch.allclose(before - network.weight, slopes[0] + slopes[1], atol=1e-6)
    assert min(slope.abs().max() for slope in slopes) > 1e-4, "a part without a slope tests nothing"
