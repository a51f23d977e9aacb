"""The bootstrap over groups: equal to the evaluator on repeated fields, and answers by hand."""

import numpy as np
import pandas as pd
import pytest

from openurine_lib.data.boxes import XYXY
from openurine_lib.evaluation import metrics
from openurine_lib.evaluation.bootstrap import (
    average_precision,
    draws,
    fill_missing,
    holm,
    interval,
    match_groups,
    mean_over_classes,
    p_value,
    precision_recall,
    ratio_interval,
    symmetric_interval,
)

CLASSES = 4


def scene(
    seed: int, skill: float = 0.6, groups: int = 6
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Fields with true boxes on a grid, and detections of which about ``skill`` lie on one."""
    rng = np.random.default_rng(seed)
    images = pd.DataFrame({"image": [f"f{i}" for i in range(2 * groups)],
                           "group": [f"g{i // 2}" for i in range(2 * groups)]})  # fmt: skip
    truth, found = [], []
    for image in images["image"]:
        for k in range(int(rng.integers(2, 7))):
            c, box = int(rng.integers(CLASSES - 1)), np.array([40 * k, 0, 40 * k + 20, 20.0])
            truth.append((image, c, *box))
            shift = rng.normal(0, 2, 4)
            if rng.random() < skill:
                found.append((image, c, rng.random() ** 0.5, *(box + shift)))
            found.append(
                (image, int(rng.integers(CLASSES - 1)), rng.random(), *(box + [0, 60, 0, 60]))
            )
    boxes = ["x1", "y1", "x2", "y2"]
    return (pd.DataFrame(truth, columns=["image", "cls", *boxes]),
            pd.DataFrame(found, columns=["image", "cls", "conf", *boxes]), images)  # fmt: skip


def repeated(frame: pd.DataFrame, images: pd.DataFrame, counts: np.ndarray) -> pd.DataFrame:
    """The boxes of each field as often as its group was drawn; a copy is a field of its own."""
    group = dict(zip(sorted(images["group"].unique()), counts, strict=True))
    times = frame["image"].map(dict(zip(images["image"], images["group"].map(group), strict=True)))
    copies = frame.loc[frame.index.repeat(times)].reset_index(drop=True)
    number = copies.groupby(list(copies.columns)).cumcount().astype(str)
    return copies.assign(image=copies["image"] + "_" + number)


@pytest.mark.parametrize("seed", range(5))
def test_a_resample_scores_as_the_evaluator_scores_the_repeated_fields(seed):
    truth, found, images = scene(seed)
    m = match_groups(truth, found, CLASSES, images)
    drawn = np.vstack([np.ones((1, 6), int), draws(6, 4, seed)])
    ap = np.stack([average_precision(m, drawn, iou) for iou in range(len(metrics.IOUS))])
    for r, counts in enumerate(drawn):
        parts = [repeated(frame, images, counts) for frame in (truth, found)]
        table = metrics.evaluate(*parts, CLASSES, sorted({*parts[0]["image"], *parts[1]["image"]}))
        np.testing.assert_allclose(average_precision(m, drawn)[r], table["ap50"], atol=1e-9)
        assert mean_over_classes(ap[0])[r] == pytest.approx(table["ap50"].mean())
        assert mean_over_classes(ap.mean(0))[r] == pytest.approx(table["ap50_95"].mean())


def test_precision_and_recall_are_counts_at_the_confidence():
    truth, found, images = scene(1)
    m, ones = match_groups(truth, found, CLASSES, images), np.ones((1, 6), int)
    at = metrics.score(truth, found, CLASSES, list(images["image"])).confidence
    table = metrics.evaluate(truth, found, CLASSES, list(images["image"]))
    precision, recall = precision_recall(m, ones, at)
    # ultralytics interpolates between two detections; one of 16 boxes is 0.0625 of recall
    np.testing.assert_allclose(precision[0], table["precision"], atol=0.07)
    np.testing.assert_allclose(recall[0], table["recall"], atol=0.07)
    precision, recall = precision_recall(m, ones, 2.0)
    # nothing is that sure: no precision, and a recall of 0 where there are boxes
    assert np.isnan(precision).all() and recall[0, 0] == 0 and np.isnan(recall[0, 3])


def two_groups():
    """g0: a box that is found; g1: a missed box and a false detection, surer than the right one."""
    images = pd.DataFrame({"image": ["a", "b"], "group": ["g0", "g1"]})
    box = [0.0, 0.0, 10.0, 10.0]
    truth = pd.DataFrame([("a", 0, *box), ("b", 0, *box)], columns=["image", "cls", *XYXY])
    found = pd.DataFrame([("a", 0, 0.5, *box), ("b", 0, 0.9, 20, 20, 30, 30)],
                         columns=["image", "cls", "conf", *XYXY])  # fmt: skip
    return match_groups(truth, found, 1, images)


def test_by_hand_two_groups():
    m = two_groups()
    ap = average_precision(m, np.array([[1, 1], [2, 0], [0, 2]]))[:, 0]
    # of both: half recall at precision 1/2, on 50 of the recall points 0, 0.01, ..., the first of
    # them at half weight
    np.testing.assert_allclose(ap, [0.5 * 0.495, 1.0, 0.0])


def test_draws_are_whole_resamples_and_repeatable():
    drawn = draws(7, 100, seed=3)
    assert drawn.shape == (100, 7) and (drawn.sum(1) == 7).all()
    assert (drawn == draws(7, 100, seed=3)).all() and not (drawn == draws(7, 100, seed=4)).all()


def test_interval_and_absent_classes():
    values = np.column_stack([np.arange(101.0), np.full(101, np.nan)])
    low, high = interval(values, level=0.9)
    assert (low[0], high[0]) == pytest.approx((5, 95)) and np.isnan([low[1], high[1]]).all()
    assert interval(np.arange(101.0), 0.9) == pytest.approx((5, 95))


def test_a_class_that_a_resample_lacks_keeps_its_value():
    """Of two classes, found and never found, a mean of what is there would jump from 0.5 to 1."""
    drawn = np.array([[1.0, 0.0], [1.0, np.nan]])
    assert mean_over_classes(drawn).tolist() == [0.5, 1.0]
    assert mean_over_classes(fill_missing(drawn, drawn[0])).tolist() == [0.5, 0.5]


def test_p_value_by_hand():
    assert p_value(0, np.zeros(999), 30) == 1  # two identical methods
    assert p_value(0.1, np.full(999, 0.1), 30) == pytest.approx(1 / 1000)
    assert p_value(1, np.r_[np.full(9, -1.0), np.full(990, 1.0)], 30) == pytest.approx(10 / 1000)
    assert (
        p_value(0.1, np.full(999, 0.1), 7) == 2 / 2**7
    )  # of seven groups, signs have 128 patterns, and two ends


def test_an_interval_about_the_value_by_hand():
    """Value 90, resamples 1..100: 95 % lie within 84 of it (interpolated), nearly all below."""
    assert symmetric_interval(90.0, np.arange(1.0, 101.0)) == pytest.approx(
        (90 - 84.05, 90 + 84.05)
    )
    low, high = symmetric_interval(
        np.array([np.nan, 2.0]), np.array([[np.nan, 2.0], [np.nan, 2.0]])
    )
    assert np.isnan([low[0], high[0]]).all() and (low[1], high[1]) == (2, 2)


def test_holm_by_hand():
    # sorted 0.01 0.03 0.04 times 3 2 1 = 0.03 0.06 0.04; never below the one before: 0.03 0.06 0.06
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03]), [0.06, 0.03, 0.06])
    np.testing.assert_allclose(holm([0.6, np.nan, 0.7]), [1, np.nan, 1])
    assert len(holm([])) == 0


def test_other_peoples_boxes_are_refused():
    truth, found, images = scene(0)
    with pytest.raises(ValueError, match="not scored"):
        match_groups(truth, found, CLASSES, images[:-2])


def test_precision_and_recall_of_a_single_detection():
    m = two_groups()
    precision, recall = precision_recall(m, np.array([[1, 0], [0, 1], [1, 1]]), 0.5)
    assert precision[:, 0].tolist() == recall[:, 0].tolist() == [1, 0, 0.5]


def test_an_interval_of_a_ratio_is_that_of_shares_and_needs_groups_with_a_whole():
    """Eight groups of ten: of four all is found, of four nothing."""
    low, high = ratio_interval([10] * 4 + [0] * 4, [10] * 8)
    assert 0 < low < 0.5 < high < 1
    assert ratio_interval([20] * 4 + [0] * 4, [20] * 8) == (low, high)
    assert ratio_interval([10] * 4 + [0] * 6, [10] * 8 + [0] * 2) == (low, high)
    assert ratio_interval([10] * 8, [10] * 8) == (1, 1)
    assert np.isnan(ratio_interval([1] * 9, [1] * 4 + [0] * 5)).all()
