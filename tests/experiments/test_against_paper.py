"""Published numbers beside reproduced ones: nothing dropped, nothing invented."""

import pandas as pd
import pytest

from openurine_lib import published
from openurine_lib.experiments import against_paper, formatting
from openurine_lib.experiments.against_paper import beside

PAPER = pd.DataFrame(
    {"row": ["b", "a", "c"], "map50": [60.0, 50.0, 40.0], "map50_std": [1.0, 2.0, 3.0]}
)


def test_paper_here_and_difference_in_the_papers_order():
    here = pd.DataFrame(
        {
            "row": ["a", "b"],
            "map50": [45.0, 66.0],
            "map50_std": [0.5, float("nan")],
            "fidelity": "x",
        }
    )
    out = beside(PAPER, here).set_index("row")
    assert out.index.tolist() == ["b", "a", "c"]
    assert out.loc["b", ["map50_paper", "map50_here", "map50_difference"]].tolist() == [60, 66, 6]
    assert out.loc["a", ["map50_paper_std", "map50_here_std"]].tolist() == [2.0, 0.5]
    assert out.loc["a", "fidelity"] == "x"
    assert list(out)[-1] == "reason"


def test_a_row_not_run_keeps_the_papers_number_and_a_reason():
    here = pd.DataFrame(
        {"row": ["b", "c"], "map50": [66.0, float("nan")], "reason": ["", "not yet built"]}
    )
    out = beside(PAPER, here).set_index("row")
    assert out["reason"].tolist() == ["", against_paper.NOT_RUN, "not yet built"]
    assert out["map50_paper"].tolist() == [60, 50, 40]
    assert out.loc[["a", "c"], ["map50_here", "map50_difference"]].isna().all(axis=None)


def test_all_rows_not_run():
    out = beside(PAPER, pd.DataFrame({"row": [], "map50": []}, dtype=object))
    assert out["reason"].eq(against_paper.NOT_RUN).all() and len(out) == 3


def test_rows_that_the_paper_lacks_come_last_and_one_published_row_may_have_two_answers():
    here = pd.DataFrame(
        {"row": ["new", "a", "a"], "map50": [1.0, 2.0, 3.0], "method": ["m0", "m1", "m2"]}
    )
    out = beside(PAPER, here)
    assert out["row"].tolist() == ["b", "a", "a", "c", "new"]
    assert out["method"].tolist()[1:3] == ["m1", "m2"]
    assert pd.isna(out["map50_paper"].iloc[-1]) and out["reason"].iloc[-1] == ""


def test_words_and_numbers_in_one_column():
    here = published.table(3)[["row", "value"]]
    here.loc[here["row"] == "Momentum", "value"] = 0.9
    out = beside(published.table(3), here).set_index("row")
    assert out.loc["Optimizer", "value_here"] == "SGD with momentum"
    assert pd.isna(out.loc["Optimizer", "value_difference"])
    assert out.loc["Momentum", "value_difference"] == pytest.approx(-0.039)


@pytest.mark.parametrize("n", [2, 4, 5, 6, 7, 8])
def test_every_published_table_stands_beside_itself(n):
    out = beside(published.table(n), published.table(n))
    assert (
        len(out) == len(published.table(n))
        and out["row"].tolist() == published.table(n)["row"].tolist()
    )
    assert (out.filter(like="_difference").fillna(0) == 0).all(axis=None) and out["reason"].eq(
        ""
    ).all()
    assert not any(c.endswith(("_x", "_y")) for c in out)


@pytest.mark.parametrize(
    ("paper", "here", "message"),
    [
        (PAPER, PAPER.rename(columns={"row": "label"}), "reproduced table has no column 'row'"),
        (pd.concat([PAPER, PAPER]), PAPER, "labels repeat"),
        (PAPER, pd.DataFrame({"row": ["a"], "auc": [1.0]}), "no metric in both"),
    ],
)
def test_what_cannot_be_compared(paper, here, message):
    with pytest.raises(ValueError, match=message):
        beside(paper, here)


def test_an_interval_stands_beside_its_number_and_is_shown_with_it():
    here = pd.DataFrame({"row": ["a"], "map50": [45.0], "map50_low": [40.0], "map50_high": [51.0]})
    out = beside(PAPER, here)
    interval = ["map50_here", "map50_here_low", "map50_here_high"]
    metric = ["map50_paper", "map50_paper_std", *interval, "map50_difference"]
    assert list(out)[1:] == [*metric, "reason"]
    shown = formatting.formatted(out).set_index("row")
    assert (
        shown.loc["a", "map50_here"] == "45.0 [40.0, 51.0]"
        and shown.loc["a", "map50_paper"] == "50.0 ± 2.0"
    )
    assert shown.loc["b", "map50_here"] == "—" and "map50_here_low" not in shown
