"""The audit computes its verdicts: they follow the numbers, and change when a number does."""

import numpy as np
import pandas as pd
import pytest

from openurine_lib import published
from openurine_lib.paper import audit, audit_figures, claims
from openurine_lib.paper.audit import ADDS_UP, DOES_NOT, OBSERVATION


@pytest.fixture(scope="module")
def verdicts() -> dict[str, str]:
    return {c.id: c.verdict for c in audit.checks()}


@pytest.fixture(scope="module")
def ledger() -> pd.DataFrame:
    return claims.printed()


def test_every_check_is_named_once_and_says_how(verdicts):
    checks = audit.checks()
    assert len(verdicts) == len(checks)
    assert all(c.where and c.claim and c.computation for c in checks)
    assert all(all(isinstance(text, str) and text for text in c) for c in checks)
    assert {c.verdict for c in checks} == {ADDS_UP, DOES_NOT, OBSERVATION}


def test_same_table_each_time():
    pd.testing.assert_frame_equal(audit.audit_arithmetic(), audit.audit_arithmetic())
    assert audit.audit_arithmetic().map(lambda cell: isinstance(cell, str)).all(axis=None)


@pytest.mark.parametrize(
    ("id", "expected"),
    [  # worked out by hand from the printed tables
        ("t2-boxes", ADDS_UP),
        ("t2-images", DOES_NOT),
        ("t47-unweighted-precision", DOES_NOT),
        ("t47-weighted-precision", ADDS_UP),
        ("t47-best-fold-map50", DOES_NOT),
        ("t45-one-or-all-precision", ADDS_UP),
        ("t6-convention", OBSERVATION),
        ("t46-nano", ADDS_UP),
        ("t7-folds", DOES_NOT),
        ("t8-fewer", DOES_NOT),
        ("split-folds", ADDS_UP),
        ("eq2-gains", DOES_NOT),
        ("t4-std", OBSERVATION),
    ],
)
def test_verdicts(verdicts, id, expected):
    assert verdicts[id] == expected


@pytest.mark.parametrize(
    ("id", "numbers"),
    [  # what the audit leaves to the ledger: the printed number, and what its own table gives
        ("table7-unweighted", ["79.07 against 79.07", "67.97 against 67.72"]),
        ("table7-unweighted", ["69.31 against 69.31", "52.40 against 51.55"]),
        ("table7-weighted", ["76.59 against 77.56", "61.22 against 54.44"]),
        ("map-is-mean-over-classes", ["64.15 against 69.31"]),
        ("clinical-mean", ["86.55 against 86.55"]),
    ],
)
def test_the_ledger_has_the_averages(ledger, id, numbers):
    assert all(number in ledger.loc[id, "why"] for number in numbers)


def test_tolerance_is_what_rounding_hides():
    assert audit.agree(79.07, 79.0749, audit.ROUNDED_MEAN)
    assert audit.agree(10.00, 10.01, audit.ROUNDED_MEAN)
    assert not audit.agree(10.00, 10.02, audit.ROUNDED_MEAN)
    assert not audit.agree(31285, 31284)


def test_a_changed_cell_changes_the_verdict(monkeypatch):
    def wrong(n: int, summaries: bool = True) -> pd.DataFrame:
        frame = published.table(n, summaries)
        if n == 2:
            frame.loc[0, "boxes"] += 1
        return frame

    monkeypatch.setattr(audit, "table", wrong)
    assert next(c for c in audit.totals() if c.id == "t2-boxes").verdict == DOES_NOT


def test_a_class_worse_at_loose_overlap_than_at_strict_is_found(monkeypatch):
    classes = published.by_class()
    classes.loc[classes["row"] == "Yeast", "map50_95"] = 99.0
    monkeypatch.setattr(audit, "by_class", lambda: classes)
    check = next(c for c in audit.class_rows() if c.id == "t7-order")
    assert (check.verdict, check.computed) == (DOES_NOT, "Yeast")


def test_text_checks_read_the_tables(monkeypatch):
    five = published.table(5)
    five.loc[five["row"] == "Without cells head", "precision"] = 9.0
    monkeypatch.setattr(
        audit, "table", lambda n, summaries=True: five if n == 5 else published.table(n, summaries)
    )
    check = next(c for c in audit.of_text() if c.id == "t45-one-or-all-precision")
    assert (check.verdict, check.computed) == (DOES_NOT, "67.59")


def test_denominators_of_a_percentage():
    assert audit.denominators(50.0, range(1, 9)) == {2, 4, 6, 8}
    assert audit.denominators(33.33, range(1, 9)) == {3, 6}
    assert all(84 in audit.denominators(round(100 * k / 84, 2), range(84, 85)) for k in range(85))


def test_no_value_lies_further_than_the_best_fold_bound():
    draws = np.random.default_rng(0).exponential(size=(500, audit.FOLDS))
    reach = (draws.max(1) - draws.mean(1)) / draws.std(1)
    assert reach.max() <= np.sqrt(audit.FOLDS - 1) + 1e-9


def test_figures_show_every_row():
    four, seven = audit_figures.audit_table4(), audit_figures.audit_table7()
    assert len(four.axes[0].get_yticklabels()) == len(published.table(4))
    assert [t.get_text() for t in seven.axes[0].get_yticklabels()][-1] == "Bacteria"
    assert len(seven.axes[0].patches) == len(published.by_class())
