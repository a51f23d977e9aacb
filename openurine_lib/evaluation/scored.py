"""One fold as all of the class-wise analysis reads it: what is there, what was detected, and how well."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from openurine_lib.evaluation.metrics import per_class, score

if TYPE_CHECKING:
    from openurine_lib.experiments.run import Run


class Scored(NamedTuple):
    """A fold's test fields, which its detector has not seen, with what is there and what was detected."""

    truth: pd.DataFrame  # image, cls, x1..y2
    predictions: pd.DataFrame  # image, cls, conf, x1..y2
    fields: pd.DataFrame  # image, group, path, ...: those without objects too
    metrics: pd.DataFrame  # of ``evaluate``
    confidence: float  # of the highest mean F1: where precision and recall are read


def score_fold(run: Run, fold: int, predictions: pd.DataFrame) -> Scored:
    """The fold's test fields with their predictions, scored by the one evaluator."""
    fields = run.dataset.test_images(fold, run.profile.max_test_fields)
    truth, images, n = run.dataset.boxes_of(fields), list(fields["image"]), run.dataset.taxonomy.n
    scores = score(truth, predictions, n, images)
    return Scored(truth, predictions, fields, per_class(scores, truth, n), scores.confidence)
