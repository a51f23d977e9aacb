"""What a network holds in memory beside its parameters, counted on a processor, for GPUs.

Two counts, each of one image: what a training step keeps of its forward pass for its backward pass,
and the most that stands at once in a prediction. ``make docs`` counts the networks of every profile
into ``config/activations.csv``, of which ``gpu_memory`` makes an estimate.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.distributed._tools.mem_tracker import MemTracker
from ultralytics.utils import DEFAULT_CFG, IterableSimpleNamespace

from openurine_lib.data import taxonomy
from openurine_lib.experiments.gpu_memory import AUTOENCODER, Network
from openurine_lib.model.autoencoder import Autoencoder, reconstruction_loss
from openurine_lib.model.build import build_model
from openurine_lib.training.engines import engine, loop

BOXES = 10  # drawn in each image, as the loss wants some
SMALL_PX = 320  # of the images that tell what does not grow with them
SEEN_PX = 480  # of the largest image that is predicted here; the rest is converted by its area
LARGE_PX = 512  # of images above which one is enough, and two could be too much


class Pass(NamedTuple):
    """A network, and what passes so many images of noise through it."""

    network: nn.Module
    forward: Callable[[int], Any]


def counted(network: Network, engine_name: str, px: int) -> dict[str, float]:
    """A line of the table, counted at ``px`` pixels."""
    parts = [_line(*part, px) for part in _parts(network, engine_name)]
    largest = pd.DataFrame(parts).max().to_dict()
    return largest | {"px": px, "params_m": sum(part["params_m"] for part in parts)}


def _line(network: Network, engine_name: str, px: int) -> dict[str, float]:
    n = 1 if px > LARGE_PX else 2  # a last map of one pixel has no statistics of one image
    # In mixed precision a copy of each weight is kept, too, once a batch. Two batches tell how much
    # that is; of small images, since it does not grow with them.
    small = noise_pass(network, engine_name, SMALL_PX, training=True)
    once, twice = (saved_mb(small.network, partial(small.forward, k * n)) for k in (1, 2))
    copies = 2 * once - twice
    step = noise_pass(network, engine_name, px, training=True)
    saved = (saved_mb(step.network, partial(step.forward, n)) - copies) / n
    # here attention, which grows faster than the area, stands alone and for a moment
    seen_px = min(px, SEEN_PX)
    seen = noise_pass(network, engine_name, seen_px, training=False)
    standing = standing_mb(seen.network, partial(seen.forward, 1)) * (px / seen_px) ** 2
    params = sum(p.numel() for p in step.network.parameters()) / 1e6
    return {"params_m": params, "saved_mb": saved, "standing_mb": standing}


def _parts(network: Network, engine_name: str) -> list[tuple[Network, str]]:
    """The network and its engine, or the members of an ensemble and the teachers of these."""
    if engine_name != "ensemble":
        return [(network, engine_name)]
    members = engine("ensemble").members(network.network)
    teachers = engine("libreyolo").TEACHER
    members |= {teachers[arch]: "libreyolo" for arch in members if arch in teachers}
    return [(Network(arch, "single"), name) for arch, name in members.items()]


def saved_mb(network: nn.Module, forward: Callable[[], Any]) -> float:
    """Megabytes that ``forward`` keeps for its backward pass, without the network's own tensors.

    Autograd says what it saves; a piece of memory that several operations save counts once.
    """
    own = {tensor.untyped_storage().data_ptr() for tensor in _own(network)}
    saved: dict[int, int] = {}  # where a piece of memory begins: its bytes

    def note(tensor: Tensor) -> Tensor:
        memory = tensor.untyped_storage()
        if memory.data_ptr() not in own:
            saved[memory.data_ptr()] = memory.nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        loss = forward()  # as long as it lives, so does what was saved
    del loss
    return sum(saved.values()) / 1e6


def standing_mb(network: nn.Module, forward: Callable[[], Any]) -> float:
    """The most megabytes at once in ``forward`` without gradients, without the network's own."""
    network.requires_grad_(True)  # torch's tracker refuses a parameter that has no gradient
    tracker = MemTracker()
    tracker.track_external(network)
    with torch.no_grad(), tracker:
        forward()
    peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
    return (peak - sum(tensor.nbytes for tensor in _own(network))) / 1e6


def _own(network: nn.Module) -> Iterator[Tensor]:
    return itertools.chain(network.parameters(), network.buffers())


def noise_pass(network: Network, engine_name: str, px: int, training: bool) -> Pass:
    """The network for images of ``px`` pixels: in training with its loss and in a GPU's mixed
    precision, else as it predicts."""
    if engine_name == AUTOENCODER:
        return _of_autoencoder(network.network, px, training)
    if hasattr(engine(engine_name), "ENGINE"):
        return _of_loop(network.network, engine(engine_name).ENGINE, px, training)
    # ultralytics, or what is made of it
    arch = network.network.removesuffix(getattr(engine(engine_name), "SUFFIX", ""))
    return _of_ultralytics(arch, network.heads, px, training)


def _of_autoencoder(arch: str, px: int, training: bool) -> Pass:
    model = Autoencoder(arch).train(training)

    def forward(images: int) -> Any:
        x = torch.rand(images, 3, px, px)
        if not training:
            return model(x)
        with torch.autocast("cpu", torch.bfloat16):
            xhat = model(x)
        return reconstruction_loss(xhat.float(), x)

    return Pass(model, forward)


def _of_ultralytics(arch: str, heads: str, px: int, training: bool) -> Pass:
    classes = taxonomy.load("openurine")
    model: Any = build_model(arch, classes, heads).train(training)
    model.args, model.nc = (
        IterableSimpleNamespace(**vars(DEFAULT_CFG)),
        classes.n,
    )  # as a trainer sets

    def forward(images: int) -> Any:
        batch = boxed_images(images, px)
        if not training:
            return model.predict(batch["img"])
        with torch.autocast("cpu", torch.bfloat16):
            # not model(batch), which on a processor computes in another order of memory; RT-DETR
            # has one way only, as it must see the boxes
            preds = None if arch.startswith("rtdetr") else model.predict(batch["img"])
            return model.loss(batch, preds)[0]

    return Pass(model, forward)


def boxed_images(images: int, px: int) -> dict[str, Tensor]:
    """A batch of noise as ultralytics' models take it, with BOXES boxes an image."""
    n = images * BOXES
    return {
        "img": torch.rand(images, 3, px, px),
        "cls": torch.randint(0, 39, (n, 1)).float(),
        "bboxes": torch.rand(n, 4) * 0.2 + 0.3,  # centre and size, parts of the image
        "batch_idx": torch.arange(images).repeat_interleave(BOXES).float(),
    }


def _of_loop(arch: str, of: loop.Engine, px: int, training: bool) -> Pass:
    model = of.build(arch, taxonomy.load("openurine").n, px).train(training)
    if training:
        for part in of.recipe(arch, px).bf16_parts(model):
            loop.in_bf16(part, "cpu")

    def forward(images: int) -> Any:
        pixels = list(torch.rand(images, 3, px, px))
        if not training:
            return model(pixels)
        first = torch.rand(images, BOXES, 2) * px * 0.5  # the upper left corners
        corners = torch.cat([first, first + px * 0.2], 2)  # (B, BOXES, 4) xyxy
        labels = torch.randint(1, 39, (images, BOXES))  # 1: of whichever engine, it is a class
        pairs = zip(corners, labels, strict=True)
        return model(pixels, [{"boxes": xyxy, "labels": cls} for xyxy, cls in pairs])

    return Pass(model, forward)
