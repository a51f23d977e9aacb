"""Engines: what trains a detector and predicts with it. One module an engine, one contract.

An engine module has

- ``fit(job) -> Path``: trains, with progress; resumes an interrupted training from ``job.dir``; writes ``log.csv`` (one
  row an epoch) and returns ``weights.pt``, which holds tensors and plain data only (``torch.load(weights_only=True)``);
- ``build(arch, n_classes, imgsz) -> torch.nn.Module``: the untrained network, whose size ``sizes`` counts (the
  ultralytics engine's is ``multihead.build_model``);
- ``detector(weights, conf, device, imgsz) -> sahi.models.base.DetectionModel``: the trained network behind sahi's door.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import importlib
import importlib.util
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pandas as pd

from openurine_lib.provenance import atomic_path
from openurine_lib.taxonomy import Taxonomy

if TYPE_CHECKING:
    from torch import nn

TRAIN = ("torch", "torchvision", "ultralytics", "sahi")  # of the extra [train]; the other packages are of [compared]
MAX_DETECTIONS = 300  # a slice or image, of every engine, as in ultralytics' validation
#: What a detector's weights file tells of it.
DETECTOR = ("engine", "arch", "heads", "imgsz", "classes", "head_classes", "taxonomy")


class WeightsError(ValueError):
    """A weights file that does not fit: of another taxonomy, another engine, or not one of ours."""


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
    pretrained: Path | None = None  # a file of tensors to start from (pretrained.load_matching), before the encoder
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
        text = json.dumps([parts, self.settings, self.seed, list(self.images.image)], sort_keys=True)
        digest = hashlib.sha256(text.encode())
        digest.update(self.boxes.to_csv(index=False).encode())
        for file in (self.encoder, self.pretrained):
            digest.update(file.read_bytes() if file else b"")
        return digest.hexdigest()


class MissingPackage(ValueError):
    """An optional package is not installed: of some rows of Table 4, or of exported detectors."""


def engine(name: str) -> ModuleType:
    """The engine's module, e.g. ``engine("torchvision").fit(job)``. Raises MissingPackage, naming what to install,
    or WeightsError where there is no such engine."""
    module = f"openurine_lib.engines.{name}"
    if importlib.util.find_spec(module) is None:
        raise WeightsError(f"no engine {name!r} in this version; install the version that knows it")
    with needed_by(f"the {name} engine"):
        return importlib.import_module(module)


@contextlib.contextmanager
def needed_by(what: str) -> Iterator[None]:
    """Around imports of optional packages: one that is missing becomes a MissingPackage that says what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("openurine_lib"):
            raise
        extra = "train" if error.name in TRAIN else "compared"
        remedy = f"pip install 'openurine_lib[{extra}]'"
        raise MissingPackage(f"{what} needs the package {error.name!r}, which is missing: {remedy}") from error


def save(content: dict[str, Any], path: Path) -> None:
    """Writes tensors and plain data, whole or not at all."""
    import torch

    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def write_log(path: Path, rows: list[dict[str, float]]) -> None:
    """A training's ``log.csv``: a row an epoch, with every name that any of them has."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="") as file:
        # denoising and the like may give an epoch's losses more names than another's
        writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)


def read_weights(weights: Path, engine: str | None = None, needed: Sequence[str] = ()) -> dict[str, Any]:
    """The file's ``state_dict`` and ``meta``; tensors and plain data only, so a stranger's file cannot run code here.

    engine: the one that the file must be of. needed: what ``meta`` must tell; for a detector of any engine, DETECTOR.

    Raises:
        WeightsError: the file is missing, is not a weights file of this project, is of another engine, or of a version
            that did not write what this one needs.
    """
    import torch

    if not Path(weights).is_file():
        raise WeightsError(f"{weights} does not exist; train the method first (notebook 03)")
    try:
        content = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as e:
        why = str(e).split(". ")[0].splitlines()[0] if str(e) else type(e).__name__
        raise WeightsError(
            f"{weights} is not a weights file of this project (tensors and plain data only), or was cut off: {why}"
        ) from e
    if not (isinstance(content, dict) and isinstance(content.get("meta"), dict) and "state_dict" in content):
        raise WeightsError(f"{weights} holds no 'state_dict' and 'meta'; use the weights.pt that notebook 03 writes")
    if engine and (other := content["meta"].get("engine", engine)) != engine:
        raise WeightsError(f"{weights} belongs to the {other} engine, not to {engine}")
    lacking = [key for key in (DETECTOR if engine else needed) if key not in content["meta"]]
    if lacking:
        raise WeightsError(
            f"{weights} does not tell its {', '.join(lacking)}: it was written by another version of this project; "
            "use that version, or train it again"
        )
    return content


def fill(model: nn.Module, state: dict[str, Any], weights: Path | str) -> None:
    """Puts every tensor of a weights file into its model; WeightsError unless all find their place."""
    try:
        model.load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError) as e:
        raise WeightsError(
            f"{weights}: its tensors do not fit the network that it names; it was written by another version of this "
            f"project or changed since: {str(e).splitlines()[-1].strip()[:200]}"
        ) from e


def check_taxonomy(meta: dict[str, Any], taxonomy: Taxonomy, weights: Path) -> None:
    """Raises WeightsError if the weights were trained on other classes than the taxonomy's."""
    if tuple(meta["classes"]) != taxonomy.classes:
        raise WeightsError(
            f"{weights} was trained on {len(meta['classes'])} classes ({', '.join(meta['classes'][:3])}, ...), but "
            f"taxonomy {taxonomy.name!r} has {taxonomy.n} ({', '.join(taxonomy.classes[:3])}, ...); "
            "train on this data set first"
        )
