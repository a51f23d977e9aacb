"""What detectors made of others share: training a part, keeping its weights, opening it again."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sahi.models.torchvision import TorchVisionDetectionModel
from torch import Tensor, nn

from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.inference import MAX_DETECTIONS
from openurine_lib.model.build import build_model
from openurine_lib.training import coco_weights
from openurine_lib.training.engines import engine
from openurine_lib.training.job import TrainJob
from openurine_lib.training.weights import read_weights, save


def train_part(job: TrainJob, name: str, engine_name: str, arch: str) -> Path:
    """Trains ``arch`` on the job's fields in ``job.dir / name``; returns its weights.

    A finished part is trained again only if its fields or settings were others.
    """
    start = coco_weights.find(arch)
    part = dataclasses.replace(job, arch=arch, dir=job.dir / name, pretrained=start)
    # the signature is stored, so that the next call can tell whether the part is the same
    part = dataclasses.replace(part, meta=job.meta | {"signature": part.signature()})
    weights = part.dir / "weights.pt"
    if weights.exists():
        finished = read_weights(weights, engine_name)["meta"].get("signature")
        if finished == part.meta["signature"]:
            return weights  # of an earlier, interrupted call
    part.dir.mkdir(parents=True, exist_ok=True)
    return engine(engine_name).fit(part)


class OnLists(nn.Module):
    """An ultralytics network, called as torchvision's detectors are: with a list of (3, H, W)."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: list[Tensor]) -> Any:
        return self.network(torch.stack(images))  # (B, 3, H, W)


def stock(arch: str, n_classes: int) -> OnLists:
    """The untrained ultralytics network of that name for ``n_classes`` classes."""
    classes = tuple(map(str, range(n_classes)))  # names do not matter, only their number
    taxonomy = Taxonomy("", classes, {"": tuple(range(n_classes))}, {}, {})
    return OnLists(build_model(arch, taxonomy, "single"))


@contextlib.contextmanager
def as_file(content: dict[str, Any]) -> Iterator[Path]:
    """A part's ``state_dict`` and ``meta`` as a weights file, as long as an engine reads it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pt"
        save(content, path)
        yield path


class BoxDetector(TorchVisionDetectionModel):
    """sahi's adapter for whatever makes boxes of an image; a subclass says how, in ``boxes``."""

    def set_model(self, model: Any, **kwargs: Any) -> None:
        self.model = model  # already on its device and in evaluation mode

    def boxes(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """uint8 (H, W, 3) RGB -> boxes (N, 4) xyxy in its pixels, scores (N,), class ids (N,)."""
        raise NotImplementedError

    def perform_inference(self, image: np.ndarray, image_size: int | None = None) -> None:
        """image: uint8 (H, W, 3) RGB."""
        xyxy, scores, labels = self.boxes(image)
        best = np.argsort(-scores, kind="stable")[:MAX_DETECTIONS]  # equal scores keep their order
        # without any box numpy has the shape (0,)
        found = {"boxes": xyxy[best].reshape(-1, 4), "scores": scores[best]}
        found["labels"] = labels[best].astype(int)
        self._original_predictions = [{k: torch.from_numpy(v) for k, v in found.items()}]
