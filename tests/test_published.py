"""The published tables are complete, typed, and labelled as the experiment list expects."""

import pandas as pd
import pytest

from openurine_lib import published
from openurine_lib.experiments.methods import method, methods

SIZES = {1: 2, 2: 40, 3: 24, 4: 28, 5: 5, 6: 7, 7: 41, 8: 7}


@pytest.mark.parametrize("n", published.TABLES)
def test_every_row_is_there_once_and_numbers_are_numbers(n):
    frame = published.table(n)
    assert len(frame) == SIZES[n]
    assert frame["row"].is_unique and frame["row"].map(type).eq(str).all()
    numeric = frame.drop(columns=["row", "category", "setting", "value"], errors="ignore")
    assert all(pd.api.types.is_numeric_dtype(dtype) for dtype in numeric.dtypes)
    gaps = {(1, "Unlabeled data", "boxes")}  # the paper prints a dash
    assert {
        (n, frame["row"][i], c) for c in numeric for i in frame.index[numeric[c].isna()]
    } <= gaps


@pytest.mark.parametrize("n", [4, 5, 6])
def test_experiment_list_and_published_rows_answer_each_other(n):
    answered = {m.answers[n] for m in methods().values() if n in m.answers}
    beyond = {"yolo26m", "yolo12m-sahi-longer", "recommended", "recommended-one-head"}
    beyond |= {"recommended-at-once", "recommended-two-looks", "ours-uncut"}
    more = {method(name).answers[4] for name in beyond} if n == 4 else set()
    assert all(row.endswith("(not in the paper)") for row in more)
    assert answered == set(published.table(n)["row"]) | more


@pytest.mark.parametrize("n", [4, 5, 6, 7])
def test_percentages_and_deviations_are_possible(n):
    frame = published.table(n)
    assert frame[published.METRICS].stack().between(0, 100).all()
    assert (
        (f"{published.METRICS[0]}_std" in frame) and (frame.filter(like="_std") > 0).all(axis=None)
    ) == (n != 7)


def test_summary_rows_can_be_left_out():
    for n, names in published.SUMMARY_ROWS.items():
        assert set(names) <= set(published.table(n)["row"])
        assert not set(names) & set(published.table(n, summaries=False)["row"])
    assert (
        len(published.table(2, summaries=False)) == len(published.table(7, summaries=False)) == 39
    )


def test_table3_keeps_the_one_word_and_reads_the_rest_as_numbers():
    values = published.table(3).set_index("setting")["value"]
    assert values.pop("optimizer") == "SGD with momentum"
    assert values.map(type).eq(float).all()


def test_classes_of_tables_2_and_7_meet():
    frame = published.by_class()
    assert frame["row"].tolist() == published.table(2, summaries=False)["row"].tolist()
    bacteria = frame.set_index("row").loc["Bacteria"]
    assert bacteria[["boxes", "images", "precision", "map50"]].tolist() == [
        12406,
        248,
        66.78,
        26.18,
    ]
    assert not frame.isna().any(axis=None)


def test_a_table_is_the_readers_own_copy():
    mine = published.table(8)
    mine["accuracy"] = 0.0
    assert (published.table(8)["accuracy"] > 0).all()


def test_no_such_table():
    with pytest.raises(KeyError, match="Tables 1-8"):
        published.table(9)


def test_earlier_work_is_complete_and_possible():
    frame = published.earlier_work()
    assert frame["row"].is_unique and frame["row"].str.fullmatch(r".+ \[\d+\]").all()
    assert set(frame["task"]) == {"detection", "classification"}
    assert set(frame["metric"]) == {"accuracy", "mAP"}
    assert frame["score"].between(0, 100).all()
    # the paper: "Even more ambitious studies [...] topped out at 16 categories"
    assert frame["classes"].max() == 16
