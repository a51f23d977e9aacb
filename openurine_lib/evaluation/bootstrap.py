"""How far a score may be chance: the bootstrap over groups (patients or slides).

Fields of one patient resemble each other. So a resample draws groups with replacement, and takes
all fields of a group or none (the cluster bootstrap; Davison and Hinkley 1997, section 3.8).
Detections are matched to true boxes once. In a resample, a box counts as often as its group was
drawn; thousands of resamples then take a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from openurine_lib.evaluation.metrics import LAST_STEP, check, matches, surest_first

# The smallest p-value is 1 / (RESAMPLES + 1): small enough for Holm's correction of 28 rows.
RESAMPLES = 4000
FOR_LIMITS = 1000  # resamples that are enough for the ends of an interval
MIN_GROUPS = 5  # of fewer, resamples say little: 3 groups have only 10 different ones
LEVEL = 0.95
# The recall points of ultralytics' (and COCO's) average precision, and the trapezoid's weight of
# all points below the first, the second, ... one.
RECALL_POINTS = np.linspace(0, 1, 101)
WEIGHT_BELOW = np.r_[0, np.cumsum([LAST_STEP, *[2 * LAST_STEP] * 99, LAST_STEP])]  # (102,)


class Matched(NamedTuple):
    """Detections (N, most confident first) and true boxes (M) of some fields, with their groups."""

    right: np.ndarray  # (N, T) booleans, one column an IoU threshold
    conf: np.ndarray  # (N,)
    cls: np.ndarray  # (N,)
    group: np.ndarray  # (N,) 0..G-1
    true_cls: np.ndarray  # (M,)
    true_group: np.ndarray  # (M,) 0..G-1
    n_groups: int  # G
    n_classes: int


def match_groups(
    truth: pd.DataFrame,
    predictions: pd.DataFrame,
    n_classes: int,
    fields: pd.DataFrame,
    right: np.ndarray | None = None,
) -> Matched:
    """Matches once, as ``metrics.score`` does (errors too); ``fields`` [image, group] are scored.

    right: (N, T), which detections are right, if that is known; they must be surest first.
    """
    check(truth, predictions, n_classes, fields["image"])
    ranked = surest_first(predictions)
    codes, groups = pd.factorize(fields["group"], sort=True)  # 0..G-1, by the groups' names
    group_of = dict(zip(fields["image"], codes, strict=True))
    return Matched(
        right=matches(truth, ranked) if right is None else right,
        conf=ranked["conf"].to_numpy(dtype=float),
        cls=ranked["cls"].to_numpy(dtype=int),
        group=ranked["image"].map(group_of).to_numpy(dtype=int),
        true_cls=truth["cls"].to_numpy(dtype=int),
        true_group=truth["image"].map(group_of).to_numpy(dtype=int),
        n_groups=len(groups),
        n_classes=n_classes,
    )


def draws(n_groups: int, n: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """How often each group is drawn in each resample: (n, n_groups); a row sums to ``n_groups``."""
    even = np.full(n_groups, 1 / n_groups)
    return np.random.default_rng(seed).multinomial(n_groups, even, n)


def average_precision(m: Matched, drawn: np.ndarray, iou: int = 0) -> np.ndarray:
    """AP of each class in each resample: (R, C); NaN where a resample has no true box of the class.

    drawn: (R, G) counts; ``np.ones((1, G))`` gives the score itself. iou: column of ``right``.
    Equal to ``metrics.score`` on the fields repeated as often as they were drawn
    (tests/evaluation/test_bootstrap.py).
    """
    ap = np.full((len(drawn), m.n_classes), np.nan)
    for c in np.unique(m.true_cls):
        boxes_of_group = np.bincount(m.true_group[m.true_cls == c], minlength=m.n_groups)  # (G,)
        boxes = drawn @ boxes_of_group  # (R,)
        of_class = m.cls == c  # (N,)
        area = _area_below_curve(m.right[of_class, iou], m.group[of_class], boxes, drawn)
        ap[:, c] = np.where(boxes > 0, area, np.nan)
    return ap


def _area_below_curve(
    right: np.ndarray, group: np.ndarray, boxes: np.ndarray, drawn: np.ndarray
) -> np.ndarray:
    """AP (R,) of a class from its detections (N,), most confident first, and its boxes (R,).

    The envelope of the precision is a step function of the recall, and only right detections (K of
    them) move it. So a sum over these gives the trapezoid, and nothing is interpolated.
    """
    # Of each group, how many wrong detections lie between two right ones; those after the last
    # right one change nothing.
    before = np.cumsum(right) - right  # right detections that come before this one
    counted = ~right & (before < right.sum())
    wrong_of_group = np.zeros((drawn.shape[1], int(right.sum())))  # (G, K)
    np.add.at(wrong_of_group, (group[counted], before[counted]), 1)

    hits = drawn[:, group[right]].cumsum(1)  # (R, K) right ones so far
    found = hits + (drawn @ wrong_of_group).cumsum(1)  # (R, K) all detections so far
    precision = np.divide(hits, found, out=np.zeros(found.shape), where=found > 0)
    # the best precision at this recall or a higher one, as AP's definition asks
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = hits / np.maximum(boxes, 1)[:, None]  # (R, K)
    below = WEIGHT_BELOW[np.searchsorted(RECALL_POINTS, recall)]
    # WEIGHT_BELOW counts the points that a recall passes
    weight = np.where(recall < 1, below, 1.0)  # the last recall point is reached, not only passed
    # the height of a step times its width
    return (envelope * np.diff(weight, axis=1, prepend=0.0)).sum(1)


def precision_recall(
    m: Matched, drawn: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall (Eqs. 8 and 9) at IoU 0.5 of each class in each resample: two (R, C).

    NaN where a resample has no true box of the class; the precision is NaN also where it has no
    detection of the class.
    """

    # (detections or boxes) -> how many of each class in each resample
    def counts(cls: np.ndarray, group: np.ndarray) -> np.ndarray:
        of_group = np.zeros((m.n_groups, m.n_classes))
        np.add.at(of_group, (group, cls), 1)
        return drawn @ of_group  # (R, C)

    sure = m.conf >= confidence  # (N,)
    hit = sure & m.right[:, 0]
    boxes = counts(m.true_cls, m.true_group)
    found = counts(m.cls[sure], m.group[sure])
    right = counts(m.cls[hit], m.group[hit])
    precision = np.where(found > 0, right / np.maximum(found, 1), np.nan)
    recall = right / np.maximum(boxes, 1)
    return np.where(boxes > 0, precision, np.nan), np.where(boxes > 0, recall, np.nan)


def fill_missing(resampled: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Resamples (R, C, ...); where one lacks a class, it gets the value of all groups, ``whole``.

    A mean over classes is then over the same classes every time. Left out, the rare classes, which
    nobody finds, would raise the mean of most resamples far above the score.
    """
    return np.where(np.isnan(resampled), whole, resampled)


def mean_over_classes(values: np.ndarray) -> np.ndarray:
    """(R, C) -> (R,), leaving out what is NaN (Eq. 10); 0 where all is NaN."""
    present = ~np.isnan(values)
    return np.where(present, values, 0).sum(1) / np.maximum(present.sum(1), 1)


def interval(values: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval over the first axis (resamples); NaN are left out, all NaN gives NaN."""
    tail = (1 - level) / 2  # 0.025 on each side
    ends = np.full((2, *values.shape[1:]), np.nan)
    present = ~np.isnan(values).all(axis=0)  # some resample has a number
    if present.any():
        ends[:, present] = np.nanquantile(values[:, present], [tail, 1 - tail], axis=0)
    return ends[0], ends[1]


def symmetric_interval(
    value: np.ndarray | float, resampled: np.ndarray, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray]:
    """Interval around the value that holds this share of the resamples (first axis).

    For average precision (Hall 1988, https://doi.org/10.1111/j.2517-6161.1988.tb01707.x): with few
    groups a resample, which repeats some and lacks others, has on average a higher AP than all
    groups, and percentiles would lie to one side of the value. NaN as in ``interval``.
    """
    # the upper end of this interval is the quantile ``level``
    _, half = interval(np.abs(resampled - value), 2 * level - 1)
    return value - half, value + half


def ratio_interval(
    part: Sequence[float], whole: Sequence[float], n: int = FOR_LIMITS, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of sum(part) / sum(whole), such as a recall; each group has one number of both.

    Groups without a whole say nothing and are not drawn. NaN for fewer than MIN_GROUPS.
    """
    both = np.stack([part, whole]).astype(float)  # (2, G)
    parts, wholes = both[:, both[1] > 0]
    if len(wholes) < MIN_GROUPS:
        return np.nan, np.nan
    drawn = draws(len(wholes), n, seed)
    low, high = interval(drawn @ parts / (drawn @ wholes))  # of n ratios
    return float(low), float(high)


def percent_interval(found: Sequence[float], boxes: Sequence[float]) -> tuple[float, float]:
    """``ratio_interval`` of counts in percent; NaN where all or nothing is found in all groups.

    All resamples are then equal, and cannot tell how sure that is.
    """
    low, high = ratio_interval(found, boxes)
    return (100 * low, 100 * high) if low < high else (np.nan, np.nan)


def p_value(difference: float, resampled: np.ndarray, groups: int) -> float:
    """Two-sided p of "no difference": the share of resamples (R,) as far from it as 0 is.

    It is below 0.05 where 0 is outside ``symmetric_interval``. It is never below 2 / 2^groups: to
    exchange the two methods' results group by group has only so many outcomes.
    """
    rounding = 1e-12  # sums in another order differ in their last digits
    beyond = (np.abs(resampled - difference) >= abs(difference) - rounding).sum()
    # + 1: the difference as it was found is an outcome, too
    p = max((beyond + 1) / (len(resampled) + 1), 2.0 ** (1 - groups))
    return float(min(1.0, p))


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's (1979) correction for several comparisons: adjusted p, in order; NaN stays NaN."""
    ascending = pd.Series(p, dtype=float).dropna().sort_values()
    undecided = np.arange(len(ascending), 0, -1)  # comparisons, this one included
    # cummax: no adjusted p is below that of a smaller p
    adjusted = (ascending * undecided).cummax().clip(upper=1)
    return adjusted.reindex(range(len(p))).to_numpy()  # in the order given
