"""The audit computes its verdicts: they follow the numbers, and change when a number does."""

import numpy as np
import pandas as pd
import pytest

from openurine_lib import published
from openurine_lib.paper import audit, audit_figures, audit_record, audit_tables, audit_text
from openurine_lib.paper.audit_record import ADDS_UP, DOES_NOT, OBSERVATION


@pytest.fixture(scope="module")
def verdicts() -> dict[str, str]:
    return {c.id: c.verdict for c in audit.checks()}


def test_every_check_is_named_once_and_says_how(verdicts):
    checks = audit.checks()
    assert len(verdicts) == len(checks)
    assert all(c.where and c.claim and c.computation for c in checks)
    assert all(c.holds in (True, False, None) and isinstance(c.holds, bool | None) for c in checks)
    assert {c.verdict for c in checks} == {ADDS_UP, DOES_NOT, OBSERVATION}


def test_same_table_each_time():
    pd.testing.assert_frame_equal(audit.frame(), audit.frame())
    assert audit.frame().map(lambda cell: isinstance(cell, str)).all(axis=None)


@pytest.mark.parametrize(
    ("id", "expected"),
    [  # worked out by hand from the printed tables
        ("t2-boxes", ADDS_UP),
        ("t2-images", DOES_NOT),
        ("t7-mean-precision", ADDS_UP),
        ("t7-mean-recall", DOES_NOT),
        ("t7-mean-map50", ADDS_UP),
        ("t7-mean-map50_95", DOES_NOT),
        ("t7-weighted-precision", DOES_NOT),
        ("t47-unweighted-map50", DOES_NOT),
        ("t47-weighted-precision", ADDS_UP),
        ("t47-best-fold-map50", DOES_NOT),
        ("t4-best-map50", ADDS_UP),
        ("t5-worst-precision", DOES_NOT),
        ("t5-worst-map50", ADDS_UP),
        ("t45-one-or-all-map50", DOES_NOT),
        ("t6-best-recall", DOES_NOT),
        ("t46-nano", ADDS_UP),
        ("t7-folds", DOES_NOT),
        ("t8-mean", ADDS_UP),
        ("t8-patients", DOES_NOT),
        ("split-folds", ADDS_UP),
        ("eq2-gains", DOES_NOT),
        ("t4-std", OBSERVATION),
    ],
)
def test_verdicts(verdicts, id, expected):
    assert verdicts[id] == expected


def test_tolerance_is_what_rounding_hides():
    assert audit_record.equal("", "", "", 79.07, 79.0749, "", audit_record.ROUNDED_MEAN).holds
    assert audit_record.equal("", "", "", 10.00, 10.01, "", audit_record.ROUNDED_MEAN).holds
    assert not audit_record.equal("", "", "", 10.00, 10.02, "", audit_record.ROUNDED_MEAN).holds
    assert not audit_record.equal("", "", "", 31285, 31284, "").holds


def test_a_changed_cell_changes_the_verdict(monkeypatch):
    def wrong(n: int, summaries: bool = True) -> pd.DataFrame:
        frame = published.table(n, summaries)
        if n == 8:
            frame.loc[0, "accuracy"] += 1
        return frame

    monkeypatch.setattr(audit_tables, "table", wrong)
    assert next(c for c in audit_tables.clinical() if c.id == "t8-mean").verdict == DOES_NOT


def test_a_class_worse_at_loose_overlap_than_at_strict_is_found(monkeypatch):
    classes = published.by_class()
    classes.loc[classes["row"] == "Yeast", "map50_95"] = 99.0
    monkeypatch.setattr(audit_tables, "by_class", lambda: classes)
    check = next(c for c in audit_tables.class_rows() if c.id == "t7-order")
    assert (check.verdict, check.computed) == (DOES_NOT, "Yeast")


def test_text_checks_read_the_tables(monkeypatch):
    four = published.table(4)
    four.loc[0, "precision"] = 99.0
    monkeypatch.setattr(
        audit_text,
        "table",
        lambda n, summaries=True: four if n == 4 else published.table(n, summaries),
    )
    check = next(c for c in audit_text.heads() if c.id == "t4-best-precision")
    assert (check.verdict, check.computed) == (DOES_NOT, "YOLO8-medium")


def test_denominators_of_a_percentage():
    assert audit_tables.denominators(50.0, range(1, 9)) == {2, 4, 6, 8}
    assert audit_tables.denominators(33.33, range(1, 9)) == {3, 6}
    assert all(
        84 in audit_tables.denominators(round(100 * k / 84, 2), range(84, 85)) for k in range(85)
    )


def test_no_value_lies_further_than_the_best_fold_bound():
    draws = np.random.default_rng(0).exponential(size=(500, audit_tables.FOLDS))
    reach = (draws.max(1) - draws.mean(1)) / draws.std(1)
    assert reach.max() <= np.sqrt(audit_tables.FOLDS - 1) + 1e-9


def test_figures_show_every_row():
    four, seven = audit_figures.table4(), audit_figures.table7()
    assert len(four.axes[0].get_yticklabels()) == len(published.table(4))
    assert [t.get_text() for t in seven.axes[0].get_yticklabels()][-1] == "Bacteria"
    assert len(seven.axes[0].patches) == len(published.by_class())
