"""The paper's method and its experiments: what a notebook or a laboratory needs, by name.

    from openurine_lib import predict  # boxes and a report of a patient's fields

The names are loaded when they are first asked for: importing the package loads no torch."""

from importlib import import_module
from typing import Any

from openurine_lib import lean_imports as _lean_imports  # noqa: F401  (before torchvision)
from openurine_lib import offline as _offline  # noqa: F401  (before anything imports ultralytics)

__version__ = "0.2.0"

_NAMES_OF = {
    "laboratory.predicting": "predict",
    "laboratory.finetuning": "finetune",
    "laboratory.adapting": "adapt",
    "explorer.state": "Explorer",
    "explorer.panel": "Panel",
    "experiments.run": "Run open_run",
    "experiments.methods": "method methods plan predict_key profile train_key",
    "experiments.steps": "ensure_cohort_predictions ensure_encoder ensure_metrics "
    "ensure_predictions ensure_weights",
    "experiments.provenance": "save_figure save_table",
    "experiments.formatting": "formatted",
    "words": "in_words",
    "training.engines": "engine",
    "training.weights": "read_weights",
    "evaluation.metrics": "evaluate summary",
    "inference": "boxes_on predict_fields predict_image",
    "model.autoencoder": "Autoencoder reconstruction_loss",
    "model.build": "build_model",
    "paper.layer_table": "layer_table",
    "paper.schematic": "fig3",
    "data.images": "read_rgb",
    "data.particle_cards": "particle_cards",
    "speed.processor": "device",
    "config": "read_config",
}
#: Name -> the module that defines it.
HOMES = {
    name: f"openurine_lib.{home}" for home, names in _NAMES_OF.items() for name in names.split()
}
MODULES = ("published", "style")  # handed out whole

__all__ = sorted([*HOMES, *MODULES])


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return import_module(f"openurine_lib.{name}")
    if name in HOMES:
        return getattr(import_module(HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
