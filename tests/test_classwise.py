"""Table 7, the confusion matrix, and RBC against WBC, on cases counted by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from openurine_lib import classwise, compare, published, taxonomy
from openurine_lib.classwise import BACKGROUND, UNWEIGHTED, WEIGHTED, Scored, averages, confusion, rbc_wbc, taken_for
from openurine_lib.evaluate import evaluate
from openurine_lib.methods import profile
from openurine_lib.run import Run

OPENURINE, URISED = taxonomy.load("openurine"), taxonomy.load("urised2k")


def scored(truth, found, tax=OPENURINE, confidence=0.5, fields=("a",)):
    """A fold from (class name, x) and (class name, x, conf): boxes of 10 x 10 px at x, on field a."""
    t = [("a", tax.id(c), x, 0, x + 10, 10) for c, x in truth]
    p = [("a", tax.id(c), conf, x, 0, x + 10, 10) for c, x, conf in found]
    truth = pd.DataFrame(t, columns=["image", "cls", "x1", "y1", "x2", "y2"])
    found = pd.DataFrame(p, columns=["image", "cls", "conf", "x1", "y1", "x2", "y2"])
    return Scored(truth, found, list(fields), evaluate(truth, found, tax.n, list(fields)), confidence)


CASE = scored(
    [("WBC", 0), ("WBC", 100), ("WBC", 200), ("WBC", 300), ("RBC", 400)],
    [
        *[("WBC", 0, 0.9), ("RBC", 0, 0.8)],  # found, and taken for RBC too: not missed
        ("RBC", 100, 0.9),  # missed and taken for RBC
        *[("WBC", 200, 0.4), ("RBC", 200, 0.6)],  # found below the confidence: missed, taken
        ("Yeast", 300, 0.9),  # missed, taken for something else
        *[("RBC", 400, 0.9), ("Mucus", 900, 0.9)],
    ],
)


def test_taken_for_by_hand():
    assert taken_for([CASE], OPENURINE, "WBC", "RBC") == {"boxes": 4, "missed": 3, "taken": 2, "percent": 100 * 2 / 3}
    none_missed = taken_for([CASE], OPENURINE, "RBC", "WBC")
    assert (none_missed["boxes"], none_missed["missed"]) == (1, 0)
    assert np.isnan(none_missed["percent"])


def test_taken_for_sums_over_folds():
    assert taken_for([CASE, CASE], OPENURINE, "WBC", "RBC")["missed"] == 6


def test_taken_for_needs_half_an_overlap():
    apart = scored([("WBC", 0)], [("RBC", 4, 0.9)])  # IoU 6 / 14
    near = scored([("WBC", 0)], [("RBC", 3, 0.9)])  # IoU 7 / 13
    assert taken_for([apart], OPENURINE, "WBC", "RBC")["taken"] == 0
    assert taken_for([near], OPENURINE, "WBC", "RBC")["taken"] == 1


def test_components_of_several_classes():
    case = scored(
        [("leukocyte", 0), ("leukocyte", 50)], [("broken_leukocyte", 0, 0.9), ("broken_erythrocyte", 50, 0.9)], URISED
    )
    assert taken_for([case], URISED, "WBC", "RBC") == {"boxes": 2, "missed": 1, "taken": 1, "percent": 100}


def test_rbc_wbc_beside_the_paper():
    both = compare.beside(classwise.PUBLISHED_RBC_WBC, rbc_wbc([CASE], OPENURINE)).set_index("row")
    assert both.loc["missed WBC taken for RBC", "percent_difference"] == pytest.approx(100 * 2 / 3 - 38)
    assert np.isnan(both.loc["missed RBC taken for WBC", "percent_here"])


def test_rbc_wbc_of_a_taxonomy_without_them():
    lone = SimpleNamespace(components={"RBC": (0,)})
    assert rbc_wbc([CASE], lone)["percent"].isna().all()


def test_confusion_by_hand():
    matrix = confusion([CASE], OPENURINE)
    assert matrix.shape == (40, 40)
    wbc = matrix.loc["WBC"]
    # at x = 200 only RBC is confident enough; at x = 0 the more confident WBC takes the box and RBC is of nothing
    assert (wbc["WBC"], wbc["RBC"], wbc["Yeast"], wbc[BACKGROUND]) == (1, 2, 1, 0)
    assert (matrix.loc[BACKGROUND, "RBC"], matrix.loc[BACKGROUND, "Mucus"]) == (1, 1)
    assert matrix.to_numpy().sum() == 5 + 2
    assert (confusion([CASE, CASE], OPENURINE) == 2 * matrix).all(axis=None)


@pytest.mark.parametrize("found", [[], [("RBC", 500, 0.1)]])
def test_confusion_without_detections(found):
    matrix = confusion([scored([("WBC", 0)], found, fields=("a", "empty"))], OPENURINE)
    assert matrix.loc["WBC", BACKGROUND] == matrix.to_numpy().sum() == 1


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
    with_rbc = scored([("RBC", 0)], [("RBC", 0, 0.9)])
    without = scored([("WBC", 0)], [])
    table = classwise.table7([with_rbc, without], OPENURINE).set_index("row")
    assert table.loc["RBC", "map50"] == pytest.approx(100)
    assert table.loc["WBC", "map50"] == 0


def test_table7_without_any_truth():
    table = classwise.table7([scored([], [])], OPENURINE)
    assert table[classwise.METRICS].isna().all(axis=None)


def test_averages_are_the_papers_own():
    """The published unweighted averages from the published classes, within what print rounds and errs."""
    known = published.by_class().assign(head="x")
    plain = averages(known).iloc[0]
    printed = published.table(7).set_index("row").loc[UNWEIGHTED]
    for metric in classwise.METRICS:
        assert plain[metric] == pytest.approx(printed[metric], abs=1.0)


def test_rows_are_spelled_as_in_the_paper():
    both = compare.beside(classwise.published_rows(OPENURINE), classwise.table7([CASE], OPENURINE))
    assert len(both) == 39 + 2
    ours = compare.beside(
        classwise.published_rows(URISED), classwise.table7([scored([("crystal", 0)], [], URISED)], URISED)
    )
    assert list(ours["row"]) == [*sorted(URISED.classes), UNWEIGHTED, WEIGHTED]


def test_score_fold_takes_the_profiles_fields():
    frame, limit_asked = CASE.truth, profile("demo").max_test_fields
    data = SimpleNamespace(
        taxonomy=OPENURINE,
        test_images=lambda fold, limit: pd.DataFrame({"image": ["a"]}) if (fold, limit) == (0, limit_asked) else None,
        boxes_of=lambda images: frame[frame["image"].isin(images["image"])],
    )
    run = Run("synthetic", profile("demo"))
    run.__dict__["dataset"] = data
    got = classwise.score_fold(run, 0, CASE.predictions)
    assert 0 <= got.confidence < 0.4  # below it the third WBC is found
    pd.testing.assert_frame_equal(got.metrics, CASE.metrics)


def test_figures():
    assert classwise.plot_classes(classwise.table7([CASE], OPENURINE), "synthetic").axes
    assert classwise.plot_confusion(confusion([CASE], OPENURINE), "synthetic").axes
