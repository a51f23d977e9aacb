"""From which confidence a detection counts: one operating point a component.

The points are chosen on patients that are not scored. The rule: the confidence at which a component
has as many detections as true boxes, so that its mean count is right there (precision equals
recall). A level follows from a count, hence this rule and not the highest F1.
"""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from openurine_lib.clinical.counts import CONFIDENCE
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.experiments import steps
from openurine_lib.experiments.methods import Method
from openurine_lib.experiments.run import Run

MIN_BOXES = 10  # true boxes below which no point is chosen: the fixed one stands


class HeldOut(NamedTuple):
    """Labelled fields of patients that are not scored, predicted by a detector new to them."""

    images: pd.DataFrame  # [image, group, ...]
    truth: pd.DataFrame
    predictions: pd.DataFrame
    folds: tuple[int, ...]  # whose test parts these are

    def __str__(self) -> str:
        groups = self.images["group"].nunique()
        folds = ", ".join(map(str, self.folds)) or "none"
        return (
            f"{len(self.images)} fields of {groups} patients or slides in the test part of "
            f"fold {folds}, none of them scored here"
        )


def held_out(run: Run, method: Method, scored: pd.DataFrame) -> HeldOut:
    """The test fields of all folds, each predicted by its own fold's detector, less scored groups.

    With a cohort that is every test field. Without one, a fold's own test part has the scored
    patients too; what remains are its other patients and the other folds.
    """
    limit = run.profile.max_test_fields
    folds = run.profile.folds
    predictions = pd.concat([steps.ensure_predictions(run, method, fold) for fold in folds])
    parts = [run.dataset.test_images(fold, limit).assign(fold=fold) for fold in folds]
    images = pd.concat(parts, ignore_index=True)
    # no patient is both chosen on and scored
    images = images[~images["group"].isin(scored["group"])].reset_index(drop=True)
    predictions = predictions[predictions["image"].isin(images["image"])]
    remaining = tuple(int(fold) for fold in sorted(images["fold"].unique()))
    return HeldOut(images, run.dataset.boxes_of(images), predictions, remaining)


def table8_operating(held: HeldOut, taxonomy: Taxonomy) -> pd.DataFrame:
    """[row, fields, boxes, confidence, why], a row a component.

    ``fields`` are those with a true box, ``boxes`` how many there are. With fewer than MIN_BOXES
    the confidence is CONFIDENCE; with fewer detections than boxes all detections count.
    """
    rows = []
    for component, classes in taxonomy.components.items():
        true = held.truth[held.truth["cls"].isin(classes)]
        conf = held.predictions.loc[held.predictions["cls"].isin(classes), "conf"]
        point, why = _point(len(true), conf)
        rows.append((component, true["image"].nunique(), len(true), point, why))
    columns = ["row", "fields", "boxes", "confidence", "why"]
    return pd.DataFrame(rows, columns=columns).astype({"confidence": float})


def _point(boxes: int, conf: pd.Series) -> tuple[float, str]:
    if boxes < MIN_BOXES:
        return CONFIDENCE, f"fixed: fewer than {MIN_BOXES} true boxes"
    if conf.empty:
        return CONFIDENCE, "fixed: nothing was detected"
    if len(conf) < boxes:
        return conf.min(), f"all {len(conf)} detections: fewer than boxes"
    return conf.nlargest(boxes).iloc[-1], "as many detections as boxes"  # the ``boxes``-th best


def confidences(chosen: pd.DataFrame) -> dict[str, float]:
    """Component -> confidence, for ``counts.patient_means``."""
    return dict(zip(chosen["row"], chosen["confidence"], strict=True))
