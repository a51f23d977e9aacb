"""What a training is given: a network's name, fields, settings, a seed, and a folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.files import digest, digest_once


@dataclass(frozen=True)
class TrainJob:
    """One training: a network, the fields it learns from, and where its files go."""

    arch: str  # name of an ultralytics YAML or of a torchvision builder
    taxonomy: Taxonomy
    heads: str  # "single" or "multi"
    imgsz: int  # pixels; a multiple of 32
    images: pd.DataFrame  # columns image, path, width, height; of slices also field
    boxes: pd.DataFrame  # columns image, cls, x1, y1, x2, y2 in pixels of the original image
    epochs: int
    settings: dict[str, Any]  # Table 3 by name, with the profile's overrides
    seed: int
    dir: Path
    device: str  # "cpu", "cuda:0"; "0,1" for two GPUs (the ultralytics engine)
    encoder: Path | None = None  # the autoencoder's encoder to start from
    pretrained: Path | None = None  # a file of tensors to start from, before the encoder
    # epochs; then the weights so far are written, and a later call can go on (ultralytics engine)
    stop_after: int | None = None
    meta: dict[str, Any] = field(default_factory=dict)  # provenance that goes into the weights file

    def described(self, engine: str) -> dict[str, Any]:
        """What the weights file tells of the detector: DETECTOR's entries, and ``epochs``."""
        return {
            "engine": engine, "arch": self.arch, "heads": self.heads, "imgsz": self.imgsz,
            "epochs": self.epochs, "taxonomy": self.taxonomy.name,
            "classes": list(self.taxonomy.classes),
            "head_classes": {name: list(ids) for name, ids in self.taxonomy.heads.items()},
        }  # fmt: skip

    def signature(self) -> str:
        """A digest of all that decides the result; another one's checkpoint is not resumed."""
        classes = self.taxonomy.classes
        heads = sorted(self.taxonomy.heads.items())
        network = (self.arch, classes, heads, self.heads, self.imgsz, self.epochs)
        # their content: a file may be replaced under the same name
        fields = [(f.image, digest_once(f.path)) for f in self.images.itertuples()]
        started_from = [digest_once(file) for file in (self.encoder, self.pretrained) if file]
        boxes = self.boxes.to_csv(index=False)  # a changed label changes the result, too
        return digest([network, self.settings, self.seed, fields], boxes, *started_from, length=64)
