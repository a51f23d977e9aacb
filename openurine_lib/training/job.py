"""TODO"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from openurine_lib.data.taxonomy import Taxonomy


@dataclass(frozen=True)
class TrainJob:
    """One training: a network, the fields it learns from, and where its files go."""

    arch: str  # an ultralytics YAML's or a torchvision builder's name
    taxonomy: Taxonomy
    heads: str  # "single" or "multi"
    imgsz: int  # pixels; a multiple of 32
    images: pd.DataFrame  # columns image, path, width, height
    boxes: pd.DataFrame  # columns image, cls, x1, y1, x2, y2 in pixels of the original image
    epochs: int
    settings: dict[str, Any]  # Table 3 by name, with the profile's overrides
    seed: int
    dir: Path
    device: str  # "cpu", "cuda:0"; "0,1" for two GPUs (the ultralytics engine)
    encoder: Path | None = None  # the autoencoder's encoder to start from
    pretrained: Path | None = (
        None  # a file of tensors to start from (pretrained.load_matching), before the encoder
    )
    meta: dict[str, Any] = field(default_factory=dict)  # provenance that goes into the weights file

    def described(self, engine: str) -> dict[str, Any]:
        """What the weights file tells of the detector: DETECTOR's entries, and ``epochs``."""
        return {
            "engine": engine, "arch": self.arch, "heads": self.heads, "imgsz": self.imgsz, "epochs": self.epochs,
            "classes": list(self.taxonomy.classes), "taxonomy": self.taxonomy.name,
            "head_classes": {k: list(v) for k, v in self.taxonomy.heads.items()},
        }  # fmt: skip

    def signature(self) -> str:
        """A digest of all that decides the result; a checkpoint with another one is not resumed from."""
        parts = (
            self.arch,
            self.taxonomy.classes,
            sorted(self.taxonomy.heads.items()),
            self.heads,
            self.imgsz,
            self.epochs,
        )
        text = json.dumps(
            [parts, self.settings, self.seed, list(self.images.image)], sort_keys=True
        )
        digest = hashlib.sha256(text.encode())
        digest.update(self.boxes.to_csv(index=False).encode())
        for file in (self.encoder, self.pretrained):
            digest.update(file.read_bytes() if file else b"")
        return digest.hexdigest()
