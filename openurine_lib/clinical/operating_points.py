"""From which confidence a detection counts: one operating point a component, chosen on patients that are not scored.

The rule: the confidence at which a component has as many detections as true boxes on the held-out fields, so that its
mean count is right there (precision equals recall). A level follows from a count, hence this and not the highest F1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from openurine_lib.clinical.counts import CONFIDENCE

if TYPE_CHECKING:
    from openurine_lib.data.taxonomy import Taxonomy
    from openurine_lib.experiments.methods import Method
    from openurine_lib.experiments.run import Run

MIN_BOXES = 10  # true boxes below which no point is chosen: the fixed one stands


class HeldOut(NamedTuple):
    """Fields with expert boxes that the detector which predicted them has not seen, of patients that are not scored."""

    images: pd.DataFrame  # [image, group, ...]
    truth: pd.DataFrame
    predictions: pd.DataFrame
    folds: tuple[int, ...]  # whose test parts these are

    def __str__(self) -> str:
        parts = ", ".join(map(str, self.folds)) or "none"
        return (
            f"{len(self.images)} fields of {self.images['group'].nunique()} patients or slides in the test part of "
            f"fold {parts}, none of them scored here"
        )


def held_out(run: Run, m: Method, scored: pd.DataFrame) -> HeldOut:
    """The test fields of all folds of the profile, each predicted by its own fold's detector, without scored groups.

    With a cohort that is every test field. Without one, a fold's own test part has the scored patients too; what
    remains are its other patients and the other folds.
    """
    from openurine_lib.experiments import steps

    fields, predictions = [], []
    for fold in run.profile.folds:
        predictions.append(steps.ensure_predictions(run, m, fold))
        fields.append(run.dataset.test_images(fold, run.profile.max_test_fields).assign(fold=fold))
    images = pd.concat(fields, ignore_index=True)
    images = images[~images["group"].isin(scored["group"])].reset_index(drop=True)
    found = pd.concat(predictions, ignore_index=True)
    folds = tuple(int(fold) for fold in sorted(images["fold"].unique()))
    return HeldOut(
        images, run.dataset.boxes_of(images), found[found["image"].isin(images["image"])], folds
    )


def choose(held: HeldOut, taxonomy: Taxonomy) -> pd.DataFrame:
    """[row, fields, boxes, confidence, why], a row a component.

    ``fields`` are those with a true box, ``boxes`` how many there are. With fewer than MIN_BOXES the confidence is
    CONFIDENCE; with fewer detections than boxes it is that of the last one: all count.
    """
    rows = []
    for component, classes in taxonomy.components.items():
        true = held.truth[held.truth["cls"].isin(classes)]
        conf = held.predictions.loc[held.predictions["cls"].isin(classes), "conf"]
        rows.append(
            {"row": component, "fields": true["image"].nunique(), "boxes": len(true)}
            | _point(len(true), conf)
        )
    return pd.DataFrame(rows, columns=["row", "fields", "boxes", "confidence", "why"]).astype(
        {"confidence": float}
    )


def _point(boxes: int, conf: pd.Series) -> dict[str, float | str]:
    if boxes < MIN_BOXES:
        return {"confidence": CONFIDENCE, "why": f"fixed: fewer than {MIN_BOXES} true boxes"}
    if conf.empty:
        return {"confidence": CONFIDENCE, "why": "fixed: nothing was detected"}
    if len(conf) < boxes:
        return {
            "confidence": float(conf.min()),
            "why": f"all {len(conf)} detections: fewer than boxes",
        }
    return {
        "confidence": float(conf.nlargest(boxes).iloc[-1]),
        "why": "as many detections as boxes",
    }


def points(chosen: pd.DataFrame) -> dict[str, float]:
    """Component -> confidence, for ``clinical.patient_means``."""
    return dict(zip(chosen["row"], chosen["confidence"], strict=True))


def fixed(components: Sequence[str]) -> dict[str, float]:
    """The same confidence for every component, chosen by nobody."""
    return dict.fromkeys(components, CONFIDENCE)
