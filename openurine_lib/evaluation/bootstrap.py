"""How far a score may be chance: the bootstrap over groups (patients or slides).

Fields of one patient resemble each other, so what is drawn again, with replacement, is the patient: all fields of a
group or none (the cluster bootstrap; Davison and Hinkley 1997, section 3.8). Detections are matched to true boxes once;
in a resample every box counts as often as its group was drawn. So thousands of resamples take a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from openurine_lib.evaluation.metrics import check, matches

RESAMPLES = 4000  # the smallest p-value is 1 / (RESAMPLES + 1): small enough for Holm's correction of 28 rows
FOR_LIMITS = 1000  # resamples: enough for the limits of an interval
MIN_GROUPS = 5  # of fewer, resamples say little: 3 groups have only 10 different ones
LEVEL = 0.95
GRID = np.linspace(0, 1, 101)  # recall points of ultralytics' (and COCO's) average precision
MASS = np.concatenate(
    [[0.0], np.cumsum(np.r_[0.005, np.full(99, 0.01), 0.005])]
)  # trapezoid weights, summed


class Matched(NamedTuple):
    """A method's detections (N, most confident first) and the true boxes (M) of some fields, with their groups."""

    right: np.ndarray  # (N, 10) booleans, one column an IoU threshold
    conf: np.ndarray  # (N,)
    cls: np.ndarray  # (N,)
    group: np.ndarray  # (N,) position in ``groups``
    true_cls: np.ndarray  # (M,)
    true_group: np.ndarray  # (M,)
    groups: tuple[str, ...]  # G, sorted
    n_classes: int


def matched(
    truth: pd.DataFrame, predictions: pd.DataFrame, n_classes: int, images: pd.DataFrame
) -> Matched:
    """Matches once, as ``evaluate.score`` does; ``images`` [image, group] are the fields scored.

    Raises ValueError for a box on another image or of an unknown class.
    """
    check(truth, predictions, n_classes, images["image"])
    groups = sorted(images["group"].unique())
    place = {
        image: groups.index(group)
        for image, group in zip(images["image"], images["group"], strict=True)
    }
    ranked = predictions.sort_values("conf", ascending=False, kind="stable")
    of = [frame["image"].map(place).to_numpy(dtype=int) for frame in (ranked, truth)]
    cls = [frame["cls"].to_numpy(dtype=int) for frame in (ranked, truth)]
    conf = ranked["conf"].to_numpy(dtype=float)
    return Matched(
        matches(truth, ranked), conf, cls[0], of[0], cls[1], of[1], tuple(groups), n_classes
    )


def draws(n_groups: int, n: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """How often each group is drawn in each resample: (n, n_groups) counts, each row sums to ``n_groups``."""
    return np.random.default_rng(seed).multinomial(n_groups, np.full(n_groups, 1 / n_groups), n)


def average_precision(m: Matched, drawn: np.ndarray, iou: int = 0) -> np.ndarray:
    """AP of each class in each resample: (R, C), NaN where a resample has no true box of the class.

    drawn: (R, G) counts; ``np.ones((1, G))`` gives the score itself. iou: column of ``evaluate.IOUS`` (0: AP50).
    Equal to ``evaluate.score`` on the fields repeated as often as they were drawn (tests/test_bootstrap.py).
    Its precision envelope is a step function of recall that only right detections move, so nothing is interpolated.
    """
    out = np.full((len(drawn), m.n_classes), np.nan)
    g = len(m.groups)
    for c in np.unique(m.true_cls):
        boxes = drawn @ np.bincount(m.true_group[m.true_cls == c], minlength=g)  # (R,)
        own = m.cls == c
        hit, group = m.right[own, iou], m.group[own]
        place = np.cumsum(hit) - hit  # which right detection a detection comes before (or is)
        k = int(hit.sum())
        wrong = np.zeros((g, k))
        np.add.at(wrong, (group[~hit & (place < k)], place[~hit & (place < k)]), 1)
        right = drawn[:, group[hit]].cumsum(1)  # (R, K)
        found = right + (drawn @ wrong).cumsum(1)
        precision = np.divide(right, found, out=np.zeros(found.shape), where=found > 0)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = right / np.maximum(boxes, 1)[:, None]
        mass = np.where(
            recall < 1, MASS[np.searchsorted(GRID, recall)], 1.0
        )  # of the recall points below; 1 is reached
        ap = (envelope * np.diff(mass, axis=1, prepend=0.0)).sum(1)
        out[:, c] = np.where(boxes > 0, ap, np.nan)
    return out


def precision_recall(
    m: Matched, drawn: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall (Eqs. 8 and 9) at IoU 0.5 of each class in each resample, two (R, C) arrays.

    Read at one given confidence, usually ``evaluate.best_confidence`` of all fields. NaN where a resample has no true
    box of the class; where nothing of it is found the precision is 1, and 0 if there is no detection at any confidence
    (ultralytics' habit).
    """
    g = len(m.groups)

    def counts(cls: np.ndarray, group: np.ndarray) -> np.ndarray:
        table = np.zeros((g, m.n_classes))
        np.add.at(table, (group, cls), 1)
        return drawn @ table  # (R, C)

    sure = m.conf >= confidence
    hit = sure & m.right[:, 0]
    boxes, any_found = counts(m.true_cls, m.true_group), counts(m.cls, m.group) > 0
    found, right = counts(m.cls[sure], m.group[sure]), counts(m.cls[hit], m.group[hit])
    precision = np.where(found > 0, right / np.maximum(found, 1), any_found)
    recall = right / np.maximum(boxes, 1)
    return np.where(boxes > 0, precision, np.nan), np.where(boxes > 0, recall, np.nan)


def kept(resampled: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Resampled values (R, C, ...), where a class that a resample lacks keeps its value of all groups, ``whole``.

    A mean over classes is then over the same ones in every resample. Left out instead, the classes that nobody finds,
    which are the rare ones, would raise the mean of most resamples far above the score itself.
    """
    return np.where(np.isnan(resampled), whole, resampled)


def mean_over_classes(values: np.ndarray) -> np.ndarray:
    """(R, C) -> (R,), leaving out what is NaN (Eq. 10)."""
    there = ~np.isnan(values)
    return np.where(there, values, 0).sum(1) / np.maximum(there.sum(1), 1)


def interval(values: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval over the first axis (resamples); NaN are left out, all NaN gives NaN."""
    tail = (1 - level) / 2
    low, high = np.full(values.shape[1:], np.nan), np.full(values.shape[1:], np.nan)
    there = ~np.isnan(values).all(axis=0)
    if there.any():
        low[there], high[there] = np.nanquantile(values[:, there], [tail, 1 - tail], axis=0)
    return low, high


def about(
    value: np.ndarray | float, resampled: np.ndarray, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric interval about the value itself: how far from it that share of the resamples (first axis) lie.

    For average precision and what is made of it (Hall 1988, https://doi.org/10.1111/j.2517-6161.1988.tb01707.x). A
    resample repeats some groups and lacks others, and with few groups its AP lies above that of all groups on average;
    the percentiles of the resamples then lie to one side of the value. NaN as in ``interval``.
    """
    half = interval(np.abs(resampled - value), 2 * level - 1)[
        1
    ]  # the upper end of this one is the quantile ``level``
    return value - half, value + half


def of_ratio(
    part: Sequence[float], whole: Sequence[float], n: int = FOR_LIMITS
) -> tuple[float, float]:
    """95 % interval of sum(part) / sum(whole), such as a recall, by drawing groups again: one number of each a group.

    Groups without a whole say nothing and are not drawn. NaN for fewer than MIN_GROUPS, and where all resamples are
    alike: if nothing or all is found, drawing again cannot tell how sure that is.
    """
    both = np.stack([part, whole], axis=1).astype(float)
    both = both[both[:, 1] > 0]
    if len(both) < MIN_GROUPS:
        return np.nan, np.nan
    sums = draws(len(both), n) @ both
    low, high = interval(sums[:, :1] / sums[:, 1:])
    return (float(low[0]), float(high[0])) if low[0] < high[0] else (np.nan, np.nan)


def p_value(difference: float, resampled: np.ndarray, groups: int) -> float:
    """Two-sided p of "no difference": how often a resample (R,) lies as far from the difference as 0 does.

    So it is below 0.05 where 0 is outside ``about``. Never below 2 / 2^groups: a test that may only exchange the two
    methods' results group by group has so many outcomes, and resampling few groups cannot know more.
    """
    beyond = (
        np.abs(resampled - difference) >= abs(difference) - 1e-12
    ).sum()  # equal but for rounding
    return float(min(1.0, max((beyond + 1) / (len(resampled) + 1), 2.0 ** (1 - groups))))


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's (1979) correction for several comparisons: adjusted p in the given order; NaN is no comparison."""
    given = np.asarray(p, dtype=float)
    order = np.argsort(given)[: (~np.isnan(given)).sum()]  # NaN comes last
    adjusted = np.full(len(given), np.nan)
    adjusted[order] = np.minimum(
        1, np.maximum.accumulate(given[order] * np.arange(len(order), 0, -1))
    )
    return adjusted
