"""Intervals of whole methods, on stored predictions made by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tiny

from openurine_lib.data import taxonomy
from openurine_lib.experiments import comparison, intervals
from openurine_lib.experiments.intervals import Intervals, fold_and_resamples
from openurine_lib.experiments.methods import method, profile
from openurine_lib.experiments.run import Run

TAX = taxonomy.load("openurine")
RBC, YEAST = TAX.id("RBC"), TAX.id("Yeast")
BOX = [0.0, 0.0, 10.0, 10.0]
COLUMNS = ["x1", "y1", "x2", "y2"]


def stored(run, name, found_on):
    """A method that finds the RBC on the fields named, in the run's folder."""
    rows = pd.DataFrame(
        [(f, RBC, 0.9, *BOX) for f in found_on], columns=["image", "cls", "conf", *COLUMNS]
    )
    tiny.store(run, name, predictions=rows)


@pytest.fixture
def run():
    """Six patients, a field with an RBC each.

    The full method finds four; without Crystals three of these are found.
    """
    fields = pd.DataFrame({"image": list("abcdef"), "group": [f"patient {c}" for c in "abcdef"]})
    truth = pd.DataFrame([(f, RBC, *BOX) for f in "abcdef"], columns=["image", "cls", *COLUMNS])
    made = Run("synthetic", profile("demo"))
    made.__dict__["dataset"] = SimpleNamespace(
        taxonomy=TAX, test_images=lambda fold, limit: fields, boxes_of=lambda images: truth
    )
    stored(made, "ours-yolo12m", "abcd")
    stored(made, "without-crystals", "abc")
    return made


def table5(names, folds, recalls):
    """Table 5 with these recalls; what is tested here is the intervals of the recall."""
    labels = {name: method(name).answers[5] for name in names}
    metrics = dict.fromkeys(comparison.METRICS, 50.0)
    rows = [
        {"row": labels[n], "method": n, "folds": f, **metrics, "recall": r}
        for n, f, r in zip(names, folds, recalls, strict=True)
    ]
    return pd.DataFrame(rows)


def test_levels_are_the_share_of_patients(run):
    """Recall is 4 of 6 patients: k of six draws is binomial(6, 2/3).

    |k - 4| is 3 or more in 1.8 % of them, so the interval is 4 ± 2.
    """
    names = ["ours-yolo12m", "without-crystals", "without-casts"]
    table = (
        Intervals(run).of_table(table5(names, [1, 1, 0], [400 / 6, 50, np.nan])).set_index("method")
    )
    assert table.loc["ours-yolo12m", ["recall_low", "recall_high"]].tolist() == pytest.approx(
        [100 * 2 / 6, 100]
    )
    assert table.loc["without-crystals", ["recall_low", "recall_high"]].tolist() == pytest.approx(
        [100 / 6, 500 / 6]
    )
    assert table.loc["without-casts", intervals.LIMITS].isna().all()  # not run


def test_drops_are_drawn_in_pairs(run):
    """The rows differ on one patient of six: k of six draws is binomial(6, 1/6).

    |k - 1| is 3 or more in 0.9 % of them, so the interval is 1 ± 2.
    """
    names = ["ours-yolo12m", "without-crystals"]
    five = table5(names, [1, 1], [400 / 6, 50])
    fallen = Intervals(run).of_drops(comparison.table5_drops(five), five)
    assert fallen["method"].tolist() == ["without-crystals"]
    assert fallen[["recall_low", "recall_high"]].iloc[0].tolist() == pytest.approx([-100 / 6, 50])


def test_drops_need_the_same_folds(run):
    names = ["ours-yolo12m", "without-casts"]
    five = table5(names, [1, 0], [400 / 6, np.nan])
    assert (
        Intervals(run)
        .of_drops(comparison.table5_drops(five), five)[intervals.LIMITS]
        .isna()
        .all(axis=None)
    )


def test_mean_keeps_a_class_that_a_resample_lacks(run):
    """A yeast on one patient, found: recall is (recall of RBC + 100) / 2 in every resample."""
    scored = intervals.score_fold(
        run.dataset, 0, pd.read_csv(run.predict_dir(method("ours-yolo12m"), 0) / "predictions.csv")
    )
    alone = fold_and_resamples(scored, TAX.n, 0)[:, 1]
    yeast = pd.DataFrame([("a", YEAST, *BOX)], columns=["image", "cls", *COLUMNS])
    truth = pd.concat([scored.truth, yeast], ignore_index=True)
    found = pd.concat([scored.predictions, yeast.assign(conf=0.9)], ignore_index=True)
    run.dataset.boxes_of = lambda images: truth
    both = fold_and_resamples(intervals.score_fold(run.dataset, 0, found), TAX.n, 0)[:, 1]
    np.testing.assert_allclose(both, (alone + 100) / 2)


def test_a_pair_is_drawn_on_the_folds_that_both_have(tmp_path, monkeypatch, run):
    """The full method has a second fold, where it finds nothing; the other row has not."""
    both = Run("synthetic", profile("paper"))
    both.__dict__["dataset"] = run.dataset
    for name, found_on in (("ours-yolo12m", "abcd"), ("without-crystals", "abc")):
        stored(both, name, found_on)
    rows = pd.DataFrame(columns=["image", "cls", "conf", *COLUMNS])
    tiny.store(both, "ours-yolo12m", 1, predictions=rows)
    ends = Intervals(both)
    pair = ends.pair("ours-yolo12m", "without-crystals")
    assert pair.metrics[:, 0, 1].tolist() == pytest.approx([400 / 6, 50])
    # the rows differ on one patient; a row against itself on none
    assert (pair.metrics[0, :, 1] - pair.metrics[1, :, 1]).min() >= 0
    assert ends.pair("ours-yolo12m", "ours-yolo12m").metrics[0, 0, 1] == pytest.approx(200 / 6)
    assert ends.pair("ours-yolo12m", "without-casts") is None


@pytest.mark.parametrize(("patients", "resamples"), [(4, 0), (5, 1000)])
def test_five_patients_are_enough_for_an_interval(run, patients, resamples):
    fields = run.dataset.test_images(0, None)[:patients]
    run.dataset.test_images = lambda fold, limit: fields
    truth = run.dataset.boxes_of(fields)
    run.dataset.boxes_of = lambda images: truth[truth["image"].isin(images["image"])]
    scored = intervals.score_fold(run.dataset, 0, truth[:0].assign(conf=0.5))
    assert len(fold_and_resamples(scored, TAX.n, 0)) == 1 + resamples


def test_resamples_are_kept_for_the_next_notebook(run, monkeypatch):
    """They are taken while nothing changed, and made anew where predictions or the file did."""
    pair = Intervals(run).pair("ours-yolo12m", "without-crystals")
    asked = []
    score_fold = intervals.score_fold
    monkeypatch.setattr(intervals, "score_fold", lambda *a: asked.append(a) or score_fold(*a))
    again = Intervals(run).pair("ours-yolo12m", "without-crystals")
    np.testing.assert_array_equal(again.metrics, pair.metrics)
    assert again.groups == pair.groups and not asked

    stored(run, "without-crystals", "a")
    fewer = Intervals(run).pair("ours-yolo12m", "without-crystals")
    assert len(asked) == 1  # the other row is as it was
    assert fewer.metrics[1, 0, 1] == pytest.approx(100 / 6)

    run.predict_dir(method("ours-yolo12m"), 0).joinpath(intervals.STORE).write_bytes(b"PK damaged")
    np.testing.assert_array_equal(
        Intervals(run).pair("ours-yolo12m", "without-crystals").metrics, fewer.metrics
    )
    assert len(asked) == 2
