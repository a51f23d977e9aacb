"""Engines: what trains a detector and predicts with it. One module an engine, one contract:

- ``fit(job) -> Path`` trains, or finishes an interrupted training, in ``job.dir``. It writes
  ``log.csv`` (a row an epoch) and returns ``weights.pt``, which holds tensors and plain data only;
- ``build(arch, n_classes, imgsz)`` gives the untrained network, whose size the tables tell (the
  ultralytics engine's is ``model.build.build_model``);
- ``detector(weights, conf, device, imgsz)`` gives the trained network as sahi calls it. ``imgsz``:
  pixels that images or slices are brought to. WeightsError for a file that is not the engine's.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

from openurine_lib.training.weights import WeightsError

# of the extra [train]; the other optional packages are of [compared]
TRAIN = ("torch", "torchvision", "ultralytics", "sahi")


class MissingPackage(ValueError):
    """An optional package is missing: of some rows of Table 4, or of exported detectors."""


def engine(name: str) -> ModuleType:
    """The engine's module, e.g. ``engine("torchvision").fit(job)``.

    Raises MissingPackage, naming what to install, or WeightsError where there is no such engine.
    """
    module = f"openurine_lib.training.engines.{name}"
    # asked first: an ImportError could also mean that the engine's library is missing. A weights
    # file may name anything: no dots, which would lead to other modules
    if not name.isidentifier() or importlib.util.find_spec(module) is None:
        raise WeightsError(f"no engine {name!r} in this version; install the version that knows it")
    with needed_by(f"the {name} engine"):
        return importlib.import_module(module)


@contextlib.contextmanager
def needed_by(what: str) -> Iterator[None]:
    """Around imports of optional packages: says what to install where one is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("openurine_lib"):
            raise  # a fault of this project, not a missing package
        extra = "train" if error.name in TRAIN else "compared"
        raise MissingPackage(
            f"{what} needs the package {error.name!r}, which is missing: "
            f"pip install 'openurine_lib[{extra}]'"
        ) from error


def sahi_adapter(
    kind: Callable[..., Any], model: Any, classes: Sequence[str], conf: float, device: str, px: int
) -> Any:
    """``model`` in one of sahi's detection models, which sees images at ``px`` pixels."""
    names = {str(i): name for i, name in enumerate(classes)}  # sahi's ids are strings
    options = {"confidence_threshold": conf, "device": device, "image_size": px}
    return kind(model=model, category_mapping=names, **options)
