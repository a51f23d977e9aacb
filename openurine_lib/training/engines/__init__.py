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
import importlib
import importlib.util
from collections.abc import Iterator
from types import ModuleType

from openurine_lib.training.weights import WeightsError

TRAIN = (
    "torch",
    "torchvision",
    "ultralytics",
    "sahi",
)  # of the extra [train]; the other packages are of [compared]


class MissingPackage(ValueError):
    """An optional package is not installed: of some rows of Table 4, or of exported detectors."""


def engine(name: str) -> ModuleType:
    """The engine's module, e.g. ``engine("torchvision").fit(job)``. Raises MissingPackage, naming what to install,
    or WeightsError where there is no such engine."""
    module = f"openurine_lib.training.engines.{name}"
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
        raise MissingPackage(
            f"{what} needs the package {error.name!r}, which is missing: {remedy}"
        ) from error
