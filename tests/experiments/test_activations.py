"""What is counted of a GPU's memory: by hand, and as torch's own tracker of memory sees it."""

import functools
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed._tools.mem_tracker import MemTracker

from openurine_lib.experiments import activations
from openurine_lib.experiments.activations import counted, noise_pass, saved_mb, standing_mb
from openurine_lib.experiments.gpu_memory import AUTOENCODER, Network


def small() -> nn.Module:
    """3 -> 4 channels, in the image's size."""
    return nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.SiLU())


def step(network: nn.Module, images: int, px: int) -> torch.Tensor:
    return network(torch.rand(images, 3, px, px)).sum()


@pytest.mark.parametrize(("images", "px"), [(1, 16), (1, 32), (2, 16), (6, 32)])
def test_by_hand_what_a_step_saves(images: int, px: int) -> None:
    """The convolution saves its input, the activation its own: 3 and 4 channels of float32."""
    network = small()
    saved = saved_mb(network, lambda: step(network, images, px))
    assert saved == pytest.approx(images * (3 + 4) * px**2 * 4 / 1e6)


def test_by_hand_what_stands_in_a_prediction() -> None:
    """Two maps at once at most: a layer's input and its output. The image comes from outside."""
    network = small().eval()
    x = torch.rand(2, 3, 32, 32)
    assert standing_mb(network, lambda: network(x)) == pytest.approx(2 * 8 * 32**2 * 4 / 1e6)


def test_a_tensor_that_two_operations_save_counts_once() -> None:
    network = nn.ModuleList([nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(3, 4, 1, bias=False)])

    def both() -> torch.Tensor:
        x = torch.rand(1, 3, 16, 16)
        return network[0](x).sum() + network[1](x).sum()

    assert saved_mb(network, both) == pytest.approx(3 * 16**2 * 4 / 1e6)


def test_as_torchs_tracker_sees_it() -> None:
    """What stands after the forward pass, of which only the graph holds on to anything."""
    network = nn.Sequential(small(), nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    saved = saved_mb(network, lambda: step(network, 2, 64))
    tracker = MemTracker()
    tracker.track_external(network)
    with tracker:
        loss = step(network, 2, 64)
        standing = tracker.get_tracker_snapshot("current")[torch.device("cpu")]["Total"]
    own = sum(tensor.nbytes for tensor in activations._own(network))
    assert saved == pytest.approx((standing - own - loss.nbytes) / 1e6, rel=0.01)


@pytest.fixture(scope="module")
def yolo() -> dict[tuple[int, int], float]:
    """Megabytes that a training step of yolov8n saves, by images and pixels of a side."""
    torch.manual_seed(0)
    saved = {}
    for px in (96, 192):
        step = noise_pass(Network("yolov8n", "single"), "ultralytics", px, True)
        for images in (2, 4, 6):
            saved[images, px] = saved_mb(step.network, functools.partial(step.forward, images))
    return saved


def test_a_detectors_grow_with_the_batch(yolo: dict[tuple[int, int], float]) -> None:
    for px in (96, 192):
        two, four, six = (yolo[images, px] for images in (2, 4, 6))
        assert six - four == pytest.approx(four - two, rel=0.02)
        # what does not grow: the weights' copies in bfloat16, of 3.0 million parameters
        assert two - (four - two) == pytest.approx(2 * 3.0, rel=0.1)


def test_a_detectors_grow_with_the_pixels(yolo: dict[tuple[int, int], float]) -> None:
    of_image = {px: (yolo[4, px] - yolo[2, px]) / 2 for px in (96, 192)}
    assert of_image[192] == pytest.approx(4 * of_image[96], rel=0.03)


def test_mixed_precision_saves_half(yolo: dict[tuple[int, int], float]) -> None:
    model: Any = noise_pass(Network("yolov8n", "single"), "ultralytics", 96, True).network
    batch = activations.boxed_images(4, 96)
    full = saved_mb(model, lambda: model.loss(batch, model.predict(batch["img"]))[0])
    mixed = 2 * (yolo[4, 96] - yolo[2, 96])  # of four images, without the weights' copies
    assert 0.48 * full < mixed < 0.55 * full


@pytest.mark.parametrize(
    ("network", "engine"),
    [(Network("yolo12n", AUTOENCODER), AUTOENCODER), (Network("yolov5n-ga", "single"), "genetic")],
)
def test_a_line_of_the_table(network: Network, engine: str) -> None:
    line = counted(network, engine, 64)
    assert line["px"] == 64 and 1 < line["params_m"] < 3
    assert line["saved_mb"] > line["standing_mb"] > 64**2 * 3 * 4 / 1e6


def test_an_ensembles_parts_are_its_members_and_their_teachers() -> None:
    pytest.importorskip("libreyolo")
    parts = activations._parts(Network("yolov9t_kd-yolox-vit-n", "single"), "ensemble")
    assert {(network.network, engine) for network, engine in parts} == {
        ("yolov9t", "ultralytics"), ("kd-yolox-vit-n", "libreyolo"), ("yolox-vit-t", "libreyolo"),
    }  # fmt: skip
