"""Levels and counts against the reference.

They are compared with known answers, with scikit-learn's kappa and with scipy's bootstrap.
"""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import cohen_kappa_score

from openurine_lib.clinical import agreement
from openurine_lib.clinical.agreement import MEAN

CUTS = {"RBC": [1.0, 2.0, 4.0, 8.0], "Mucus": [1.0, 2.0, 4.0, 8.0]}


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def graded(here, there, component="RBC"):
    """Pairs of levels, a patient each."""
    rows = [
        (f"p{i:03d}", component, a, b) for i, (a, b) in enumerate(zip(there, here, strict=True))
    ]
    return pd.DataFrame(rows, columns=["group", "component", "level", "level_here"])


def counted(here, there, component="RBC"):
    """Pairs of counts, a patient each, graded by CUTS."""
    rows = [(f"p{i}", component, a, b) for i, (a, b) in enumerate(zip(there, here, strict=True))]
    pairs = pd.DataFrame(rows, columns=["group", "component", "count", "count_here"])
    level = {
        c: [sum(x >= cut for cut in CUTS[component]) for x in pairs[c]]
        for c in ("count", "count_here")
    }
    return pairs.assign(level=level["count"], level_here=level["count_here"])


def test_agreement_by_hand():
    table = agreement.table8_components(
        pd.concat([graded([0, 1, 2, 4], [0, 1, 3, 2]), graded([0] * 4, [0] * 4, "Mucus")])
    )
    rbc = table.iloc[0]
    assert (rbc["row"], rbc["patients"], rbc["present"]) == ("RBC", 4, 3)
    assert (rbc["accuracy"], rbc["within_one"], rbc["sensitivity"], rbc["specificity"]) == (
        50,
        75,
        100,
        100,
    )
    # The observed sum of squares is 0 + 0 + 1 + 4 = 5. By chance one would expect the squares of
    # all pairs, divided by 4: 43 / 4.
    by_chance = sum((a - b) ** 2 for a in (0, 1, 2, 4) for b in (0, 1, 3, 2)) / 4
    assert rbc["kappa"] == pytest.approx(1 - 5 / by_chance)
    mucus = table.iloc[1]
    assert (
        mucus["accuracy"] == 100 == mucus["specificity"]
        and np.isnan(mucus[["kappa", "sensitivity"]].astype(float)).all()
    )
    assert (
        "nobody has it" in mucus["reason"] and "no kappa" in mucus["reason"] and rbc["reason"] == ""
    )
    mean = table.iloc[-1]
    assert (mean["row"], mean["accuracy"], mean["kappa"]) == (
        MEAN,
        75,
        rbc["kappa"],
    )  # only RBC has a kappa


def test_present_means_any_level_above_none():
    # In the reference, 3 patients have it and 2 have not. Here 2 of the 3 are found (one at the
    # wrong level), and 1 of the 2 is rightly negative.
    rbc = agreement.table8_components(graded([1, 4, 0, 0, 2], [1, 1, 3, 0, 0])).iloc[0]
    assert rbc["sensitivity"] == pytest.approx(200 / 3) and rbc["specificity"] == 50


def test_a_component_that_everybody_has_or_nobody_reported():
    table = agreement.table8_components(graded([1, 2], [1, 2]), ["WBC", "RBC"]).set_index("row")
    assert (
        np.isnan(table.loc["RBC", "specificity"])
        and "everybody has it" in table.loc["RBC", "reason"]
    )
    assert (
        table.loc["WBC", "patients"] == 0 and table.loc["WBC", "reason"] == "not in the reference"
    )
    assert np.isnan(table.loc["WBC", list(agreement.MEASURES)].astype(float)).all()
    assert table.loc[MEAN, "accuracy"] == 100 and list(table.index) == ["RBC", "WBC", MEAN]


def test_kappa_is_scikit_learns():
    rng = np.random.default_rng(0)
    for size in (3, 20, 200):
        there = rng.integers(0, 5, size)
        here = np.clip(there + rng.integers(-1, 3, size), 0, 4)
        expected = cohen_kappa_score(there, here, labels=range(5), weights="quadratic")
        assert agreement.table8_components(graded(here, there)).iloc[0]["kappa"] == pytest.approx(
            expected
        )


def test_constant_but_different_levels_have_a_kappa():
    assert agreement.table8_components(graded([0, 0, 0], [4, 4, 4])).iloc[0]["kappa"] == 0


def test_intervals_are_scipys():
    rng = np.random.default_rng(0)
    there = rng.integers(0, 5, 60)
    pairs = graded(np.clip(there + rng.integers(-1, 2, 60), 0, 4), there)
    rbc = agreement.table8_components(pairs, seed=1).iloc[0]

    def kappa(here, there):
        return cohen_kappa_score(there, here, labels=range(5), weights="quadratic")

    levels = (pairs["level_here"].to_numpy(), pairs["level"].to_numpy())
    for measure, function, close in (
        ("accuracy", lambda here, there: 100 * np.mean(here == there), 2.0),
        ("kappa", kappa, 0.02),
    ):
        expected = bootstrap(
            levels,
            function,
            paired=True,
            vectorized=False,
            n_resamples=1000,
            method="percentile",
            rng=2,
        ).confidence_interval
        assert rbc[f"{measure}_low"] == pytest.approx(expected.low, abs=close)
        assert rbc[f"{measure}_high"] == pytest.approx(expected.high, abs=close)


def test_the_interval_of_the_mean_draws_patients_not_cells():
    rng = np.random.default_rng(0)
    right = rng.random(80) < 0.7
    one = graded(np.where(right, 1, 0), [1] * 80)
    twice = pd.concat(
        [one, one.assign(component="WBC")]
    )  # the same patients are wrong twice: nothing is gained
    single, double = (
        agreement.table8_components(one).iloc[-1],
        agreement.table8_components(twice).iloc[-1],
    )
    assert double[["accuracy", "accuracy_low", "accuracy_high"]].equals(
        single[["accuracy", "accuracy_low", "accuracy_high"]]
    )
    assert single["accuracy_low"] < single["accuracy"] < single["accuracy_high"]


def test_perfect_repeats_and_has_no_width():
    pairs = graded([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
    rbc = agreement.table8_components(pairs).iloc[0]
    for m in agreement.MEASURES:
        assert rbc[m] == rbc[f"{m}_low"] == rbc[f"{m}_high"] == (1 if m == "kappa" else 100)
    pd.testing.assert_frame_equal(
        agreement.table8_components(pairs, seed=3), agreement.table8_components(pairs, seed=3)
    )


def test_one_patient_has_no_interval():
    table = agreement.table8_components(
        pd.concat([graded([1], [1]), graded([1, 2], [1, 2], "Mucus")])
    )
    assert table["accuracy"].tolist() == [100, 100, 100]
    assert (
        np.isnan(table["accuracy_low"]).tolist()
        == [True, False, False]
        == np.isnan(table["kappa_high"]).tolist()
    )
    assert np.isnan(agreement.table8_components(graded([1], [1]))["accuracy_low"]).all()


def test_nobody_to_compare():
    table = agreement.table8_components(graded([], []))
    assert list(table["row"]) == [MEAN] and np.isnan(table["accuracy"]).all()
    assert list(agreement.table8_components(graded([], []), ["RBC"])["reason"]) == [
        "not in the reference",
        agreement.NO_LEVEL,
    ]


def test_gain_is_paired():
    there = [0, 1, 2, 3] * 5
    better, worse = graded(there, there), graded([0] * 20, there)
    assert agreement.accuracy_gain(better, better) == (0, 0, 0)
    value, low, high = agreement.accuracy_gain(better, worse)
    assert value == 75 and 40 < low < 75 < high <= 100


def test_confusion_by_hand():
    table = agreement.table8_confusion(
        graded([0, 1, 1, 4], [0, 1, 2, 2]), ["RBC", "WBC"]
    ).set_index(["row", "reference"])
    assert table.loc[("RBC", "few")].tolist() == [0, 1, 0, 0, 1]
    assert table.loc["RBC"].to_numpy().sum() == 4 and table.loc["WBC"].to_numpy().sum() == 0


def test_scaling_the_cutoffs_by_hand():
    # The counts 1, 2, 4, 8 stand against a laboratory's levels 1, 2, 3, 4. With the cut-offs as
    # they are, the levels are right; with twice the cut-offs, they are one too low.
    pairs = counted([1, 2, 4, 8], [1, 2, 4, 8])
    table = agreement.table8_sensitivity(pairs, CUTS, both=False, factors=(0.5, 1, 2)).set_index(
        ["row", "factor"]
    )
    assert table.loc[("RBC", 1.0), "accuracy"] == 100 and table.loc[("RBC", 2.0), "accuracy"] == 0
    assert table.loc[("RBC", 0.5), "accuracy"] == 25  # only "many" cannot rise
    assert table.loc[(MEAN, 0.5), "accuracy"] == 25
    again = agreement.table8_sensitivity(pairs, CUTS, both=True, factors=(0.5, 1, 2))
    assert (again["accuracy"] == 100).all()  # graded from the same counts by whatever cut-offs


def test_scaling_one_component_moves_its_row_only():
    pairs = pd.concat([counted([1, 2], [1, 2]), counted([100, 0], [100, 0], "Mucus")])
    table = agreement.table8_sensitivity(pairs, CUTS, both=False, factors=(2,)).set_index("row")
    assert table.loc["RBC", "accuracy"] == 0 and table.loc["Mucus", "accuracy"] == 100
    assert table.loc[MEAN, "accuracy"] == 50


def test_counts_by_hand():
    # (count + 0.5) here against the reference: twice for everybody
    rbc = agreement.table8_counts(counted([1.5, 3.5, 7.5], [0.5, 1.5, 3.5])).iloc[0]
    assert (
        rbc["ratio"]
        == pytest.approx(2)
        == pytest.approx(rbc["ratio_low"])
        == pytest.approx(rbc["ratio_high"])
    )
    assert rbc["least"] == pytest.approx(2) == pytest.approx(rbc["most"])
    assert (rbc["patients"], rbc["reference"], rbc["here"]) == (
        3,
        pytest.approx(5.5 / 3),
        pytest.approx(12.5 / 3),
    )


def test_limits_of_agreement_by_hand():
    # The ratios 1/2 and 2 have no bias. Their logarithms, -log 2 and log 2, have the standard
    # deviation sqrt(2) log 2.
    rbc = agreement.table8_counts(counted([0.5, 1.5], [1.5, 0.5])).iloc[0]
    assert rbc["ratio"] == pytest.approx(1)
    assert (
        rbc["most"]
        == pytest.approx(np.exp(1.96 * np.sqrt(2) * np.log(2)))
        == pytest.approx(1 / rbc["least"])
    )


def test_counts_that_are_not_there():
    pairs = counted([0, 5.0], [0, 2.0])
    pairs.loc[1, "count"] = np.nan
    one, none = agreement.table8_counts(pairs, ["RBC", "WBC"]).to_dict("records")
    assert one["patients"] == 1 and one["ratio"] == 1 and np.isnan(one["most"])
    assert none["patients"] == 0 and np.isnan(none["ratio"])
