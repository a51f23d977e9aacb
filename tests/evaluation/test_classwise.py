"""Table 7 on cases counted by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from openurine_lib import published
from openurine_lib.data import taxonomy
from openurine_lib.evaluation import classwise
from openurine_lib.evaluation.classwise import UNWEIGHTED, WEIGHTED, averages, table7
from openurine_lib.evaluation.metrics import Scored, evaluate, score_fold
from openurine_lib.experiments import against_paper, formatting

OPENURINE, URISED = taxonomy.load("openurine"), taxonomy.load("urised2k")


def fold(truth, found, tax=OPENURINE, confidence=0.5, fields=("a",), of=("a",)):
    """A fold from (class, x) and (class, x, conf): boxes of 10 x 10 px at x, on fields ``of``."""
    t = [(f, tax.id(c), x, 0, x + 10, 10) for f in of for c, x in truth]
    p = [(f, tax.id(c), conf, x, 0, x + 10, 10) for f in of for c, x, conf in found]
    truth = pd.DataFrame(t, columns=["image", "cls", "x1", "y1", "x2", "y2"])
    found = pd.DataFrame(p, columns=["image", "cls", "conf", "x1", "y1", "x2", "y2"])
    frame = pd.DataFrame({"image": fields, "group": [f"patient {f}" for f in fields]})
    return Scored(truth, found, frame, evaluate(truth, found, tax.n, list(fields)), confidence)


CASE = fold(
    [("WBC", 0), ("WBC", 100), ("WBC", 200), ("WBC", 300), ("RBC", 400)],
    [
        *[("WBC", 0, 0.9), ("RBC", 0, 0.8)],  # found, and taken for RBC too: not missed
        ("RBC", 100, 0.9),  # missed and taken for RBC
        *[("WBC", 200, 0.4), ("RBC", 200, 0.6)],  # found below the confidence: missed, taken
        ("Yeast", 300, 0.9),  # missed, taken for something else
        *[("RBC", 400, 0.9), ("Mucus", 900, 0.9)],
    ],
)


def test_table7_of_one_fold():
    table = classwise.table7([CASE], OPENURINE).set_index("row")
    assert len(table) == 39 + 2
    assert table.loc["RBC", "recall"] == pytest.approx(100)
    assert table.loc["WBC", "boxes"] == 4
    assert table.loc["Yeast", "boxes"] == 0
    assert table.loc["Yeast", "reason"] and np.isnan(table.loc["Yeast", "map50"])
    metrics = table.loc[["RBC", "WBC"], "map50"]
    assert table.loc[UNWEIGHTED, "map50"] == pytest.approx(metrics.mean())
    assert table.loc[WEIGHTED, "map50"] == pytest.approx((metrics["RBC"] + 4 * metrics["WBC"]) / 5)


def test_table7_skips_folds_without_the_class():
    with_rbc = fold([("RBC", 0)], [("RBC", 0, 0.9)])
    without = fold([("WBC", 0)], [])
    table = classwise.table7([with_rbc, without], OPENURINE).set_index("row")
    assert table.loc["RBC", "map50"] == pytest.approx(100)
    assert table.loc["WBC", "map50"] == 0


def test_table7_without_any_truth():
    table = classwise.table7([fold([], [])], OPENURINE)
    assert table[published.METRICS].isna().all(axis=None)


FIVE = tuple("abcde")


def half(found_on):
    """An RBC on the fields of five patients, found on those named; a yeast on the first, found."""
    truth = fold([("RBC", 0)], [], fields=FIVE, of=FIVE)
    found = fold([("RBC", 0)], [("RBC", 0, 0.9)], of=found_on, fields=FIVE)
    yeast = fold([("Yeast", 500)], [("Yeast", 500, 0.9)], fields=FIVE)
    t = pd.concat([truth.truth, yeast.truth], ignore_index=True)
    p = pd.concat([found.predictions, yeast.predictions], ignore_index=True)
    return Scored(t, p, truth.fields, evaluate(t, p, OPENURINE.n, FIVE), 0.5)


def test_support_beside_every_number():
    table = table7([half("abc"), half("ab")], OPENURINE).set_index("row")
    columns = ["boxes", "fields", "groups", "folds"]
    assert table.loc["RBC", columns].tolist() == [10, 5, 5, 2]
    assert table.loc["Yeast", columns].tolist() == [2, 1, 1, 2]
    assert table.loc["WBC", columns].tolist() == [0, 0, 0, 0]
    assert (table.loc["Yeast", "note"], table.loc["RBC", "note"]) == ("2 boxes: no conclusion", "")
    assert (
        table7([fold([("RBC", 0)] * 10, [])], OPENURINE).set_index("row").loc["RBC", "note"]
        == "1 group: no interval; no detection, so no precision"
    )


def test_no_detection_is_no_precision_and_the_averages_say_what_ultralytics_has():
    """Mucus is detected below the best-F1 confidence: recall 0, and ultralytics' precision 100.

    RBC is right once and wrong once, at confidences of which the best F1 keeps the right one.
    """
    table = table7(
        [
            fold(
                [("RBC", 0), ("Mucus", 100)],
                [("RBC", 0, 0.9), ("RBC", 300, 0.3), ("Mucus", 500, 0.1)],
            )
        ],
        OPENURINE,
    )
    rows = table.set_index("row")
    mucus, rbc = rows.loc["Mucus"], rows.loc["RBC"]
    assert np.isnan(mucus["precision"]) and mucus["recall"] == 0
    assert mucus["note"] == "1 box: no conclusion; no detection, so no precision"
    for average in (UNWEIGHTED, WEIGHTED):
        assert rows.loc[average, "precision"] == pytest.approx(rbc["precision"])
        assert rows.loc[average, "recall"] == pytest.approx(50)  # Mucus counts in all else
        note = rows.loc[average, "note"]
        assert note.startswith("1 of 2 classes have no detection")
        assert f"it is {(rbc['precision'] + 100) / 2:.1f} %" in note
    text = formatting.formatted(table).set_index("row")
    assert text.loc["Mucus", "precision"] == "—"


def test_an_average_of_resamples_is_over_classes_that_have_the_number():
    values = np.array([[80.0, 50, 50, 50], [np.nan, 0, 0, 0]])
    drawn = np.array([[[60.0, 40, 40, 40], [np.nan, 0, 0, 0]], [[np.nan] * 4, [np.nan, 0, 0, 0]]])
    averaged = classwise.resampled_average(drawn, values, np.ones(2))
    assert averaged[:, :2].tolist() == [[60, 20], [80, 25]]


def test_intervals_are_over_groups():
    """Recall 3 of 5 patients with an RBC each: the share of five draws, as in scipy's bootstrap."""
    from scipy.stats import bootstrap

    rbc = table7([half("abc")], OPENURINE).set_index("row").loc["RBC"]
    theirs = bootstrap(
        ([1, 1, 1, 0, 0],), np.mean, method="percentile", n_resamples=20000, rng=0
    ).confidence_interval
    assert (rbc["recall"], rbc["recall_low"], rbc["recall_high"]) == pytest.approx(
        (60, 100 * theirs.low, 100 * theirs.high)
    )
    assert np.isnan(
        [rbc["precision_low"], rbc["precision_high"]]
    ).all()  # every detection is right, whoever is drawn


def test_no_interval_without_support():
    yeast = table7([half("abc")], OPENURINE).set_index("row").loc["Yeast"]
    assert (
        yeast["map50"] == pytest.approx(100)
        and np.isnan([yeast["map50_low"], yeast["map50_high"]]).all()
    )


def test_averages_keep_a_class_that_a_resample_lacks():
    """RBC in 0..100 and the yeast, which two of five draws lack, at 100: the mean is above 50."""
    table = table7([half("abc")], OPENURINE).set_index("row")
    rbc, mean = table.loc["RBC"], table.loc[UNWEIGHTED]
    assert mean["recall"] == pytest.approx(80)
    for end in ("recall_low", "recall_high"):
        assert mean[end] == pytest.approx((rbc[end] + 100) / 2)


def test_deviation_over_folds():
    """Recall of RBC 60 and 40 in two folds, of the yeast 100."""
    table = table7([half("abc"), half("ab")], OPENURINE).set_index("row")
    assert table.loc["RBC", ["recall", "recall_std"]].tolist() == pytest.approx([50, 20 / 2**0.5])
    assert table.loc[UNWEIGHTED, ["recall", "recall_std"]].tolist() == pytest.approx(
        [75, 10 / 2**0.5]
    )
    text = formatting.formatted(table.reset_index()).set_index("row")
    assert text.loc["RBC", "recall"].startswith("50.0 ± 14.1 [") and "recall_low" not in text


def test_perfect_is_100_and_empty_0():
    perfect = table7(
        [fold([("RBC", 0), ("WBC", 50)], [("RBC", 0, 0.9), ("WBC", 50, 0.8)])], OPENURINE
    )
    assert (perfect[perfect["boxes"] > 0][published.METRICS] == 100).all(axis=None)
    empty = table7([fold([("RBC", 0), ("WBC", 50)], [])], OPENURINE)
    numbers = empty[empty["boxes"] > 0][published.METRICS]
    assert (numbers.drop(columns="precision") == 0).all(axis=None)
    assert numbers["precision"].isna().all()


def test_averages_are_the_papers_own():
    """The published unweighted averages from the published classes, but for rounding and errors."""
    known = published.by_class().assign(head="x")
    plain = averages(known).iloc[0]
    printed = published.table(7).set_index("row").loc[UNWEIGHTED]
    for metric in published.METRICS:
        assert plain[metric] == pytest.approx(printed[metric], abs=1.0)


def test_rows_are_spelled_as_in_the_paper():
    both = against_paper.beside(
        classwise.published_rows(OPENURINE), classwise.table7([CASE], OPENURINE)
    )
    assert len(both) == 39 + 2
    ours = against_paper.beside(
        classwise.published_rows(URISED),
        classwise.table7([fold([("crystal", 0)], [], URISED)], URISED),
    )
    assert list(ours["row"]) == [*sorted(URISED.classes), UNWEIGHTED, WEIGHTED]


def test_score_fold_takes_as_many_fields_as_asked():
    frame, limit_asked = CASE.truth, 7
    data = SimpleNamespace(
        taxonomy=OPENURINE,
        test_images=lambda fold, limit: (
            pd.DataFrame({"image": ["a"]}) if (fold, limit) == (0, limit_asked) else None
        ),
        boxes_of=lambda images: frame[frame["image"].isin(images["image"])],
    )
    got = score_fold(data, 0, CASE.predictions, limit_asked)
    assert 0 <= got.confidence < 0.4  # below it the third WBC is found
    pd.testing.assert_frame_equal(got.metrics, CASE.metrics)


def test_figures():
    both = against_paper.beside(classwise.published_rows(OPENURINE), table7([CASE], OPENURINE))
    labels = classwise.plot_classes(both, "synthetic").axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["RBC (1)", "WBC (4)"]
    nothing = against_paper.beside(
        classwise.published_rows(OPENURINE), table7([fold([], [])], OPENURINE)
    )
    assert classwise.plot_classes(nothing, "synthetic").axes


def test_a_patient_with_many_fields_is_drawn_as_one():
    """Four fields a patient, all alike: the intervals are those of one field a patient."""
    fields = tuple(f"{patient}{k}" for patient in FIVE for k in range(4))
    found_on = [name for name in fields if name[0] in "abc"]
    truth = fold([("RBC", 0)], [], fields=fields, of=fields)
    found = fold([("RBC", 0)], [("RBC", 0, 0.9)], fields=fields, of=found_on)
    groups = truth.fields["image"].str[0]
    t, p = truth.truth, found.predictions
    scores = evaluate(t, p, OPENURINE.n, fields)
    many = Scored(t, p, truth.fields.assign(group=groups), scores, 0.5)
    ends = ["recall_low", "recall_high", "map50_low", "map50_high"]
    rows = [table7([one], OPENURINE).set_index("row").loc["RBC"] for one in (half("abc"), many)]
    assert (rows[1]["fields"], rows[1]["groups"]) == (20, 5)
    assert rows[1][ends].tolist() == pytest.approx(rows[0][ends].tolist())
