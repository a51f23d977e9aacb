"""The model card of weights that come with the project: what they are, what they find, limits.

The card is Markdown with a head that machines read (YAML, as model hubs expect it). It is written
from what lies beside the weights, so it says nothing that is not measured: who trained them
(``record.json``); of a detector its scores on held-out fields by class (``metrics.csv``) and by
component (``validation.json``), of a pretrained encoder its losses (``log.csv``).
Mitchell et al. 2019, doi:10.1145/3287560.3287596.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from openurine_lib import default_weights
from openurine_lib.clinical import validation
from openurine_lib.default_weights import METRICS, WEIGHTS
from openurine_lib.experiments import carried
from openurine_lib.experiments.methods import method
from openurine_lib.files import atomic_path
from openurine_lib.training.weights import DETECTOR, read_weights, taxonomy_of
from synthurine import PAPER

FILE = default_weights.CARD
LOG = "log.csv"


def write(folder: Path) -> Path:
    """Writes the card of a carried result with weights into its folder."""
    out = folder / FILE
    with atomic_path(out) as temporary:
        temporary.write_text(card(folder), encoding="utf-8")
    return out


def card(folder: Path) -> str:
    """The card's text. FileNotFoundError or WeightsError if the folder holds no such result."""
    record = carried.record_of(folder)
    return _of_detector(folder, record) if "method" in record else _of_encoder(folder, record)


def _of_detector(folder: Path, record: dict[str, Any]) -> str:
    weights = folder / WEIGHTS
    meta = read_weights(weights, "ultralytics", DETECTOR)["meta"]
    taxonomy = taxonomy_of(meta, weights)
    known = validation.read(weights)
    metrics = pd.read_csv(folder / METRICS)
    classes = metrics.assign(
        name=[taxonomy.classes[cls] for cls in metrics["cls"]],
        head=[taxonomy.head_of(cls) for cls in metrics["cls"]],
    )
    return _rendered(
        "model_card.md.j2",
        meta=meta,
        row=method(record["method"]),
        who=carried.who(record["trained"]),
        pretraining=record.get("pretraining"),
        settings=record["valid_for"],
        paper_fields=PAPER["fields"],
        known=known,
        classes=classes.to_dict("records"),
        map50=100 * metrics["ap50"].mean(),
        map50_95=100 * metrics["ap50_95"].mean(),
        components=validation.judged(known, taxonomy).to_dict("records"),
        megabytes=weights.stat().st_size / 1e6,
        package=f"carried/{folder.parent.parent.name}/{folder.parent.name}/{folder.name}",
    )


def _of_encoder(folder: Path, record: dict[str, Any]) -> str:
    weights = folder / WEIGHTS
    log = pd.read_csv(folder / LOG)
    return _rendered(
        "encoder_card.md.j2",
        meta=read_weights(weights)["meta"],
        network=record["network"],
        who=carried.who(record["trained"]),
        settings=record["valid_for"],
        log=log.iloc[[0, -1]].to_dict("records"),
        megabytes=weights.stat().st_size / 1e6,
    )


def _rendered(template: str, **known: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("openurine_lib", "clinical"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(known)
