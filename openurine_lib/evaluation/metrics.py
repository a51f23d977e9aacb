"""One evaluator for every method: precision, recall, AP50 and AP50-95 per class, as ultralytics defines them.

Matching is its validator's (greedy, in descending confidence, one detection a true box, within a class, at ten IoU
thresholds), the averages are its ``ap_per_class``: both are called, not copied. Two consequences of its definitions:

- precision and recall (Eqs. 8 and 9) are read at one confidence, where the mean F1 over the classes present is highest
  on the scored fields themselves;
- AP is a trapezoid over 101 recall points. Ultralytics sets the last precision, at recall 1, to 0 even where every box
  is found, so that a perfect detector has 0.995. Here it is what it is (``at_full_recall``): a perfect detector has 1,
  as with COCO and in the paper (Table 7 has classes of 100), and only curves that reach recall 1 differ, by at most
  0.005. COCO's own evaluator differs elsewhere by a point or so (``tests/test_evaluate.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from ultralytics.engine.validator import BaseValidator
from ultralytics.utils.metrics import ap_per_class, box_iou, smooth

IOUS = torch.linspace(0.5, 0.95, 10)  # COCO's thresholds (Lin et al. 2014)
XYXY = ["x1", "y1", "x2", "y2"]
METRICS = ["precision", "recall", "map50", "map50_95"]
PER_CLASS = {"precision": "precision", "recall": "recall", "map50": "ap50", "map50_95": "ap50_95"}


class Scores(NamedTuple):
    """What ``ap_per_class`` gives, for the classes that have true boxes (C of them), at the best-F1 confidence."""

    classes: np.ndarray  # (C,) class ids
    precision: np.ndarray  # (C,)
    recall: np.ndarray  # (C,)
    ap: np.ndarray  # (C, 10), one column an IoU threshold
    confidence: float


def corners(frame: pd.DataFrame) -> torch.Tensor:
    """Boxes of a frame as a tensor (N, 4), xyxy in pixels."""
    return torch.from_numpy(frame[XYXY].to_numpy(dtype=np.float32, copy=True).reshape(-1, 4))


def classes_of(frame: pd.DataFrame) -> torch.Tensor:
    """Class ids of a frame as a tensor (N,)."""
    return torch.from_numpy(frame["cls"].to_numpy(dtype=np.int64, copy=True))


def check(
    truth: pd.DataFrame, predictions: pd.DataFrame, n_classes: int, images: Iterable[str]
) -> None:
    """Raises ValueError where boxes lie on a field that is not scored or carry a class that does not exist."""
    scored = set(images)
    for name, frame in (("truth", truth), ("predictions", predictions)):
        stray = sorted(set(frame["image"]) - scored)
        if stray:
            raise ValueError(
                f"{name}: boxes on {len(stray)} images that are not scored, e.g. {stray[0]!r}; "
                "stored before the data set changed? then remove the run's predict folder"
            )
        odd = sorted({int(c) for c in frame["cls"]} - set(range(n_classes)))
        if odd:
            raise ValueError(
                f"{name}: class ids {odd} outside 0..{n_classes - 1}; are they of another taxonomy?"
            )


def matches(truth: pd.DataFrame, predictions: pd.DataFrame) -> np.ndarray:
    """Which predictions are right: (N, 10) booleans, one column an IoU threshold, rows as in ``predictions``.

    ``predictions`` must be in descending confidence, as the validator's are.
    """
    right = np.zeros((len(predictions), len(IOUS)), dtype=bool)
    true_of = dict(tuple(truth.groupby("image")))
    for image, rows in predictions.reset_index(drop=True).groupby("image"):
        if image in true_of:
            true = true_of[image]
            iou = box_iou(corners(true), corners(rows))  # (M, N)
            validator: Any = SimpleNamespace(
                iouv=IOUS
            )  # all that match_predictions reads of its validator
            hits = BaseValidator.match_predictions(
                validator, classes_of(rows), classes_of(true), iou
            )
            right[rows.index] = hits.numpy()
    return right


def score(
    truth: pd.DataFrame, predictions: pd.DataFrame, n_classes: int, images: Sequence[str]
) -> Scores:
    """Ultralytics' scores of ``predictions`` [image, cls, conf, x1..y2] against ``truth`` [image, cls, x1..y2].

    ``images`` are the fields scored, those without objects included: what is detected on them is false.
    Raises ValueError for a box on another image or of an unknown class.
    """
    check(truth, predictions, n_classes, images)
    ranked = predictions.sort_values("conf", ascending=False, kind="stable")
    conf = ranked["conf"].to_numpy(dtype=float)
    right, cls, true_cls = (
        matches(truth, ranked),
        ranked["cls"].to_numpy(dtype=int),
        truth["cls"].to_numpy(dtype=int),
    )
    _, _, p, r, _, ap, classes, _, _, f1, x, _ = ap_per_class(right, conf, cls, true_cls)
    ap = ap + 0.005 * at_full_recall(
        right, cls, true_cls, classes
    )  # the last half step of the trapezoid
    best = (
        smooth(f1.mean(0), 0.1).argmax() if len(classes) else 0
    )  # ap_per_class chooses it so and does not return it
    return Scores(classes, p, r, ap, float(x[best]))


def at_full_recall(
    right: np.ndarray, cls: np.ndarray, true_cls: np.ndarray, classes: np.ndarray
) -> np.ndarray:
    """Precision where the recall reaches 1, 0 where it does not: (C, 10) for right (N, 10), most confident first."""
    precision = np.zeros((len(classes), right.shape[1]))
    for row, c in enumerate(classes):
        own, boxes = right[cls == c], (true_cls == c).sum()
        if len(own):
            rank = len(own) - np.argmax(own[::-1], axis=0)  # of the last right detection
            precision[row] = np.where(own.sum(0) == boxes, boxes / rank, 0)
    return precision


def evaluate(
    truth: pd.DataFrame, predictions: pd.DataFrame, n_classes: int, images: Sequence[str]
) -> pd.DataFrame:
    """Per class [cls, boxes, precision, recall, ap50, ap50_95], in 0..1; arguments and errors as in ``score``.

    A row for each class; one without a true box on ``images`` has 0 boxes and no metrics (NaN).
    """
    return per_class(score(truth, predictions, n_classes, images), truth, n_classes)


def per_class(scores: Scores, truth: pd.DataFrame, n_classes: int) -> pd.DataFrame:
    """The table of ``evaluate`` from scores that are there already."""
    boxes = np.bincount(truth["cls"].to_numpy(dtype=int), minlength=n_classes)
    table = pd.DataFrame({"cls": range(n_classes), "boxes": boxes}, index=range(n_classes))
    there = pd.DataFrame(
        {
            "precision": scores.precision,
            "recall": scores.recall,
            "ap50": scores.ap[:, 0],
            "ap50_95": scores.ap.mean(1),
        },
        index=scores.classes,
    )
    return table.join(there)


def best_confidence(
    truth: pd.DataFrame, predictions: pd.DataFrame, n_classes: int, images: Sequence[str]
) -> float:
    """The confidence of the highest mean F1, at which precision and recall are read; arguments as in ``score``."""
    return score(truth, predictions, n_classes, images).confidence


def summary(per_class: pd.DataFrame) -> dict[str, float]:
    """Precision, recall, mAP50 and mAP50-95 (Eq. 10): unweighted means over the classes that have true boxes."""
    return {name: float(per_class[column].mean()) for name, column in PER_CLASS.items()}


def over_folds(summaries: Sequence[dict[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
    """Mean and sample standard deviation (n - 1) over folds; of one fold the deviation is absent (NaN)."""
    table = pd.DataFrame(list(summaries), columns=METRICS, dtype=float)
    return table.mean().to_dict(), table.std(ddof=1).to_dict()
