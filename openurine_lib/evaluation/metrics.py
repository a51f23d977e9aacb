"""One evaluator for every method: precision, recall, AP50 and AP50-95 of each class (Eqs. 8-10).

The definitions are those of ultralytics. Its code is called, not copied:

- *Matching* is its validator's. In descending confidence, a detection takes the free true box of
  its class that it overlaps most. This is done at ten thresholds of the overlap (IoU).
- *Precision and recall* are read at one confidence: where the mean F1 over the present classes is
  highest on the scored fields themselves.
- *A class without a detection* at that confidence has no precision (0 of 0): NaN here. Ultralytics
  counts such a class as 1, or as 0 if there is no detection of it at any confidence, and takes both
  into its mean. That number stands in a column of its own (CONVENTION).
- *AP* is a trapezoid over 101 recall points. Ultralytics sets the last precision, at recall 1, to 0
  even where every box is found, so that a perfect detector has 0.995. Here it is the precision that
  was reached: a perfect detector has 1, as with COCO and in the paper (Table 7 has classes of 100).
  Only curves that reach recall 1 differ, by at most 0.005.

COCO's own evaluator differs by a point or so (``tests/evaluation/test_metrics.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from ultralytics.engine.validator import BaseValidator
from ultralytics.utils.metrics import Metric, ap_per_class, box_iou, smooth

from openurine_lib.data.box_tensors import classes_of, corners
from openurine_lib.data.dataset import Dataset
from openurine_lib.published import METRICS

IOUS = torch.linspace(0.5, 0.95, 10)  # COCO's thresholds (Lin et al. 2014)
# a metric's name in the tables -> its column for one class
PER_CLASS = dict(zip(METRICS, ["precision", "recall", "ap50", "ap50_95"], strict=True))
CONVENTION = "precision_ultralytics"  # the precision with ultralytics' value where nothing is found
LAST_STEP = 0.005  # of the trapezoid, half of 1/100: the weight of the precision at recall 1


class Scores(NamedTuple):
    """What a method reaches on some fields."""

    table: pd.DataFrame  # of ``evaluate``
    confidence: float  # of the highest mean F1, where precision and recall are read
    right: np.ndarray  # (N, T) of ``matches``, surest first


class Scored(NamedTuple):
    """The test fields of a fold, with the true boxes, the detections and their scores."""

    truth: pd.DataFrame  # [image, cls, x1..y2], pixels of the original image
    predictions: pd.DataFrame  # [image, cls, conf, x1..y2]
    fields: pd.DataFrame  # [image, group, path, ...]: those without objects too
    metrics: pd.DataFrame  # of ``evaluate``
    confidence: float  # of the highest mean F1
    right: np.ndarray | None = None  # (N, T) of ``matches``, surest first; None: not matched yet

    @property
    def confident(self) -> pd.DataFrame:
        """The detections at the confidence of the highest mean F1, or above it."""
        return self.predictions[self.predictions["conf"] >= self.confidence]


class ByImage(dict[Any, pd.DataFrame]):
    """The boxes of each image; an image without boxes has an empty frame."""

    def __init__(self, boxes: pd.DataFrame) -> None:
        super().__init__(tuple(boxes.groupby("image")))
        self._none = boxes.iloc[:0]

    def __missing__(self, image: Any) -> pd.DataFrame:
        return self._none


class _Matcher(BaseValidator):
    """The matching of ultralytics' validator, without the data that a validator loads."""

    def __init__(self, ious: torch.Tensor) -> None:
        self.iouv = ious  # all that its matching reads


def surest_first(predictions: pd.DataFrame) -> pd.DataFrame:
    """Detections in descending confidence; equal ones stay in their order."""
    return predictions.sort_values("conf", ascending=False, kind="stable")


def check(
    truth: pd.DataFrame, predictions: pd.DataFrame, n_classes: int, images: Iterable[str]
) -> None:
    """Raises ValueError for boxes on a field that is not scored, or of a class that is unknown."""
    scored = set(images)
    for name, frame in (("truth", truth), ("predictions", predictions)):
        stray = sorted(set(frame["image"]) - scored)
        if stray:
            raise ValueError(
                f"{name}: boxes on {len(stray)} images that are not scored, e.g. {stray[0]!r}; "
                "stored before the data set changed? then remove the run's predict folder"
            )
        unknown = sorted({int(c) for c in frame["cls"]} - set(range(n_classes)))
        if unknown:
            raise ValueError(
                f"{name}: class ids {unknown} outside 0..{n_classes - 1}; "
                "are they of another taxonomy?"
            )


def matches(
    truth: pd.DataFrame, predictions: pd.DataFrame, ious: torch.Tensor = IOUS
) -> np.ndarray:
    """Which detections are right: (N, T) booleans, one column for each of the T thresholds.

    Rows are as in ``predictions``, which must be in descending confidence (``surest_first``).
    """
    right = np.zeros((len(predictions), len(ious)), dtype=bool)
    truth_on = ByImage(truth)
    matcher = _Matcher(ious)
    for image, found in predictions.reset_index(drop=True).groupby("image"):
        true = truth_on[image]
        iou = box_iou(corners(true), corners(found))  # (M, N)
        hits = matcher.match_predictions(classes_of(found), classes_of(true), iou)  # (N, T)
        right[found.index] = hits.numpy()
    return right


def score(
    truth: pd.DataFrame, predictions: pd.DataFrame, n_classes: int, images: Sequence[str]
) -> Scores:
    """Scores ``predictions`` [image, cls, conf, x1..y2] against ``truth`` [image, cls, x1..y2].

    ``images`` are the scored fields, those without objects included: a detection on them is false.
    Raises ValueError for a box on another image or of an unknown class.
    """
    check(truth, predictions, n_classes, images)
    ranked = surest_first(predictions)
    right = matches(truth, ranked)
    ultralytics, ap = _scored(truth, ranked, right)
    present = ultralytics.ap_class_index
    # ``ap_per_class`` chooses the best F1 in this way, but does not return its confidence.
    best = smooth(ultralytics.f1_curve.mean(0), 0.1).argmax() if len(present) else 0
    confidence = float(ultralytics.px[best])  # one of 1000
    detected = np.isin(present, ranked.loc[ranked["conf"] >= confidence, "cls"])
    precision = np.where(detected, ultralytics.p, np.nan)
    measured = [precision, ultralytics.r, ap[:, 0], ap.mean(1)]  # in the order of PER_CLASS
    by_class = pd.DataFrame(dict(zip(PER_CLASS.values(), measured, strict=True)), index=present)
    by_class[CONVENTION] = ultralytics.p

    boxes = np.bincount(truth["cls"].to_numpy(dtype=int), minlength=n_classes)
    # NaN without boxes
    table = pd.DataFrame({"cls": range(n_classes), "boxes": boxes}).join(by_class)
    return Scores(table, confidence, right)


def average_precision(
    truth: pd.DataFrame,
    predictions: pd.DataFrame,
    n_classes: int,
    images: Sequence[str],
    iou: float,
) -> pd.Series:
    """AP of each class in 0..1, where a detection has to overlap a true box by ``iou``.

    Arguments and errors are as in ``score``. NaN for a class without a true box.
    """
    check(truth, predictions, n_classes, images)
    ranked = surest_first(predictions)
    ultralytics, ap = _scored(truth, ranked, matches(truth, ranked, torch.tensor([iou])))
    return pd.Series(ap[:, 0], index=ultralytics.ap_class_index).reindex(range(n_classes))


def _scored(
    truth: pd.DataFrame, ranked: pd.DataFrame, right: np.ndarray
) -> tuple[Metric, np.ndarray]:
    """What ultralytics makes of the detections, and AP (C, T) of the classes with true boxes.

    ranked: (N) detections, surest first, of which ``right`` (N, T) are so.
    """
    cls = ranked["cls"].to_numpy(dtype=int)
    true_cls = truth["cls"].to_numpy(dtype=int)
    ultralytics = Metric()
    results = ap_per_class(right, ranked["conf"].to_numpy(dtype=float), cls, true_cls)
    ultralytics.update(results[2:])  # the first two are numbers of detections, which it leaves out
    present = ultralytics.ap_class_index
    ap = ultralytics.all_ap + LAST_STEP * _precision_at_full_recall(right, cls, true_cls, present)
    return ultralytics, ap


def _precision_at_full_recall(
    right: np.ndarray, cls: np.ndarray, true_cls: np.ndarray, present: np.ndarray
) -> np.ndarray:
    """Precision where the recall reaches 1, else 0: (C, T), from ``right`` (N, T)."""
    precision = np.zeros((len(present), right.shape[1]))
    for row, c in enumerate(present):
        hits = right[cls == c]
        boxes = (true_cls == c).sum()
        if len(hits):
            # the number of detections down to the last right one
            last = len(hits) - np.argmax(hits[::-1], axis=0)
            precision[row] = np.where(hits.sum(0) == boxes, boxes / last, 0)  # recall 1
    return precision


def evaluate(
    truth: pd.DataFrame, predictions: pd.DataFrame, n_classes: int, images: Sequence[str]
) -> pd.DataFrame:
    """For each class [cls, boxes, precision, recall, ap50, ap50_95, CONVENTION], in 0..1.

    Arguments and errors are as in ``score``. A class without a true box on ``images`` has a row
    with 0 boxes and no metrics (NaN). A class without a detection has no precision (NaN).
    """
    return score(truth, predictions, n_classes, images).table


def score_fold(
    dataset: Dataset, fold: int, predictions: pd.DataFrame, max_fields: int | None = None
) -> Scored:
    """Scores the predictions on the fold's test fields, which its detector has not seen.

    max_fields: how many fields the profile allows at most (``Profile.max_test_fields``).
    """
    fields = dataset.test_images(fold, max_fields)
    truth = dataset.boxes_of(fields)
    scores = score(truth, predictions, dataset.taxonomy.n, list(fields["image"]))
    return Scored(truth, predictions, fields, *scores)


def summary(per_class: pd.DataFrame) -> dict[str, float]:
    """Precision, recall, mAP50, mAP50-95 (Eq. 10): plain means over the classes with true boxes.

    The precision is a mean over those of them that have a detection (NaN if none has one).
    """
    known = with_convention(per_class)
    return {name: float(known[column].mean()) for name, column in PER_CLASS.items()}


def as_ultralytics(per_class: pd.DataFrame) -> dict[str, float]:
    """The mean precision as ultralytics computes it, and the number of ``undetected`` classes.

    These have true boxes, but no detection; ultralytics counts them as 1, or as 0.
    """
    known = with_convention(per_class)
    undetected = known["boxes"].gt(0) & known["precision"].isna()
    return {CONVENTION: float(known[CONVENTION].mean()), "undetected": float(undetected.sum())}


def with_convention(per_class: pd.DataFrame) -> pd.DataFrame:
    """A table of ``evaluate``, also if it was stored before there was a column CONVENTION.

    An older table has ultralytics' values as the precision. A precision of 1 at a recall of 0 is
    its convention; a 0 may be a class of wrong detections alone, and stays.
    """
    if CONVENTION in per_class:
        return per_class
    old = per_class["precision"]
    nothing_found = per_class["recall"].eq(0) & old.eq(1)
    return per_class.assign(**{CONVENTION: old, "precision": old.mask(nothing_found)})


def over_folds(summaries: Sequence[dict[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
    """Mean and sample standard deviation (n - 1) over folds; one fold has no deviation (NaN)."""
    table = pd.DataFrame(list(summaries), columns=METRICS, dtype=float)
    return table.mean().to_dict(), table.std(ddof=1).to_dict()
