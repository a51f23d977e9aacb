"""The confusion matrix, and RBC against WBC, on cases counted by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from test_classwise import CASE, FIVE, OPENURINE, URISED, fold

from openurine_lib import style
from openurine_lib.evaluation.confusion import (
    BACKGROUND,
    COLUMNS,
    NAMED,
    OVERLOOKED,
    PUBLISHED_RBC_WBC,
    confusion_matrix,
    plot_confusion,
    rbc_wbc,
    taken_for,
)
from openurine_lib.experiments import against_paper


def test_taken_for_by_hand():
    taken = taken_for([CASE], OPENURINE, "WBC", "RBC")
    assert [taken[k] for k in ("boxes", "missed", "taken", "percent")] == [4, 3, 2, 100 * 2 / 3]
    assert np.isnan([taken["percent_low"], taken["percent_high"]]).all()  # of one patient
    none_missed = taken_for([CASE], OPENURINE, "RBC", "WBC")
    assert (none_missed["boxes"], none_missed["missed"]) == (1, 0)
    assert np.isnan(none_missed["percent"])


def test_the_leading_mistake_by_hand():
    """Of three missed WBC two are taken for RBC, one for yeast; nothing is overlooked."""
    taken = taken_for([CASE], OPENURINE, "WBC", "RBC")
    assert (taken["rival"], taken["rival_taken"]) == ("Yeast", 1)
    assert taken["lead"] == pytest.approx(100 / 3)
    assert np.isnan([taken["lead_low"], taken["lead_high"]]).all()  # of one patient
    overlooked = taken_for([CASE], OPENURINE, "WBC", OVERLOOKED)
    assert (overlooked["taken"], overlooked["rival"], overlooked["rival_taken"]) == (0, "RBC", 2)
    assert overlooked["lead"] == pytest.approx(-200 / 3)
    none = taken_for([fold([("Bacteria", 0)], [])], OPENURINE, "Bacteria", OVERLOOKED)
    assert (none["percent"], none["lead"], none["rival"]) == (100, 100, "anything else")


@pytest.mark.parametrize(("on", "outcome"), [("abcdefghi", 1), ("a", -1), ("abcde", 0)])
def test_the_lead_has_an_interval_over_groups(on, outcome):
    """Ten patients each miss a WBC; on some it is taken for RBC, on the others for yeast."""
    patients = "abcdefghij"
    truth = fold([("WBC", 0)], [], fields=tuple(patients), of=patients)
    rest = "".join(set(patients) - set(on))
    parts = [
        fold([], [(name, 0, 0.9)], fields=tuple(patients), of=where).predictions
        for name, where in (("RBC", on), ("Yeast", rest))
    ]
    case = truth._replace(predictions=pd.concat(parts, ignore_index=True))
    taken = taken_for([case], OPENURINE, "WBC", "RBC")
    assert taken["lead"] == pytest.approx(10 * (len(on) - len(rest)))
    low, high = taken["lead_low"], taken["lead_high"]
    assert {1: low > 0, -1: high < 0, 0: low < 0 < high}[outcome]


def test_taken_for_sums_over_folds():
    assert taken_for([CASE, CASE], OPENURINE, "WBC", "RBC")["missed"] == 6


def test_taken_for_needs_half_an_overlap():
    apart = fold([("WBC", 0)], [("RBC", 4, 0.9)])  # IoU 6 / 14
    near = fold([("WBC", 0)], [("RBC", 3, 0.9)])  # IoU 7 / 13
    assert taken_for([apart], OPENURINE, "WBC", "RBC")["taken"] == 0
    assert taken_for([near], OPENURINE, "WBC", "RBC")["taken"] == 1


def test_components_of_several_classes():
    case = fold(
        [("leukocyte", 0), ("leukocyte", 50)],
        [("broken_leukocyte", 0, 0.9), ("broken_erythrocyte", 50, 0.9)],
        URISED,
    )
    taken = taken_for([case], URISED, "WBC", "RBC")
    assert [taken[k] for k in ("boxes", "missed", "taken", "percent")] == [2, 1, 1, 100]


def test_rbc_wbc_beside_the_paper():
    both = against_paper.beside(PUBLISHED_RBC_WBC, rbc_wbc([CASE], OPENURINE)).set_index("row")
    assert both.loc["missed WBC taken for RBC", "percent_difference"] == pytest.approx(
        100 * 2 / 3 - 38
    )
    assert np.isnan(both.loc["missed RBC taken for WBC", "percent_here"])


def test_rbc_wbc_of_a_taxonomy_without_them():
    lone = SimpleNamespace(components={"RBC": (0,)}, knows=lambda name: False)
    assert rbc_wbc([CASE], lone)["percent"].isna().all()


def test_what_the_paper_names_has_a_row_each():
    table = rbc_wbc([CASE], OPENURINE)
    assert list(table["row"]) == [f"missed {true} taken for {called}" for true, called in NAMED]
    assert list(table.columns) == ["row", *COLUMNS]
    # UriSed2K has no bacteria and no renal cells
    case = fold([("leukocyte", 0)], [("erythrocyte", 0, 0.9)], URISED)
    assert rbc_wbc([case], URISED)["percent"].isna().tolist() == [False, True, True, True]


def test_confusion_by_hand():
    matrix = confusion_matrix([CASE], OPENURINE)
    assert matrix.shape == (40, 40)
    wbc = matrix.loc["WBC"]
    # at x = 200 only RBC is confident enough; at x = 0 the surer WBC takes the box, and RBC
    # is of nothing
    assert (wbc["WBC"], wbc["RBC"], wbc["Yeast"], wbc[BACKGROUND]) == (1, 2, 1, 0)
    assert (matrix.loc[BACKGROUND, "RBC"], matrix.loc[BACKGROUND, "Mucus"]) == (1, 1)
    assert matrix.to_numpy().sum() == 5 + 2
    assert (confusion_matrix([CASE, CASE], OPENURINE) == 2 * matrix).all(axis=None)


@pytest.mark.parametrize("found", [[], [("RBC", 500, 0.1)]])
def test_confusion_without_detections(found):
    matrix = confusion_matrix([fold([("WBC", 0)], found, fields=("a", "empty"))], OPENURINE)
    assert matrix.loc["WBC", BACKGROUND] == matrix.to_numpy().sum() == 1


def test_taken_for_has_an_interval_over_groups():
    """Five patients each miss a WBC, all taken for RBC but one: the share of draws of five."""
    five = fold([("WBC", 0)], [], fields=FIVE, of=FIVE)
    wrong = fold([], [("RBC", 0, 0.9)], fields=FIVE, of="abcd")
    taken = taken_for([five._replace(predictions=wrong.predictions)], OPENURINE, "WBC", "RBC")
    assert [taken[k] for k in ("missed", "taken", "percent")] == [5, 4, 80]
    assert (taken["percent_low"], taken["percent_high"]) == pytest.approx((40, 100))


def test_figure():
    ax = plot_confusion(confusion_matrix([CASE], OPENURINE), OPENURINE, "synthetic").axes[0]
    inks = {label.get_text(): label.get_color() for label in ax.get_yticklabels()}
    assert inks["RBC"] == style.HEAD_COLOURS["Cells"] and inks["background"] == "black"


def test_the_interval_of_the_lead_by_hand():
    """As above, with no rival: the lead is the share itself, in every draw of five patients."""
    five = fold([("WBC", 0)], [], fields=FIVE, of=FIVE)
    wrong = fold([], [("RBC", 0, 0.9)], fields=FIVE, of="abcd")
    taken = taken_for([five._replace(predictions=wrong.predictions)], OPENURINE, "WBC", "RBC")
    assert (taken["lead"], taken["lead_low"], taken["lead_high"]) == pytest.approx((80, 40, 100))
