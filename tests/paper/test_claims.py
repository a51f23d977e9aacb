"""The claims ledger: its outcomes follow the tables, and what cannot be told is not told."""

import inspect
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny
from scipy import stats

from openurine_lib import open_run, published
from openurine_lib.data import taxonomy
from openurine_lib.evaluation import confusion
from openurine_lib.experiments import comparison
from openurine_lib.experiments.intervals import Intervals
from openurine_lib.experiments.run import Run
from openurine_lib.paper import claims
from openurine_lib.paper.claims import amounts, order, sources, verdict
from openurine_lib.paper.claims.sources import OfRun, Published
from openurine_lib.paper.claims.verdict import (
    BY_CONSTRUCTION,
    CANNOT,
    DOES_NOT,
    HOLDS,
    INCLUDES_ZERO,
    UNDECIDED,
    BadClaims,
    NotHere,
)

ALL = published.METRICS
OURS, MULTI, SAHI, PLAIN = (
    "Our method (YOLOv12-M backbone)",
    "YOLOv12-M + SAHI + Multi-head",
    "YOLOv12-M + SAHI",
    "YOLOv12-M",
)
IDS = {OURS: "ours-yolo12m", MULTI: "yolo12m-sahi-multi", SAHI: "yolo12m-sahi", PLAIN: "yolo12m"}


@pytest.fixture(scope="module")
def printed() -> pd.DataFrame:
    return claims.printed()


@pytest.fixture
def run() -> Run:
    run = open_run()  # smoke: yolo12n stands for n, s, m, l and x
    run.figures.mkdir(parents=True)
    run.__dict__["dataset"] = SimpleNamespace(synthetic=True, fingerprint="f1", meta={})
    return run


PATIENTS = 12
BOX = ["x1", "y1", "x2", "y2"]
TAX = taxonomy.load("openurine")
RBC, YEAST = TAX.id("RBC"), TAX.id("Yeast")


@pytest.fixture
def scored(run: Run) -> Run:
    """A run that has test fields: an RBC and a yeast of each of twelve patients."""
    names = [f"f{i:02}" for i in range(PATIENTS)]
    images = pd.DataFrame({"image": names, "group": [f"patient {n}" for n in names]})
    at = {RBC: [0.0, 0, 10, 10], YEAST: [50.0, 0, 60, 10]}
    truth = pd.DataFrame(
        [(n, c, *box) for n in names for c, box in at.items()], columns=["image", "cls", *BOX]
    )
    run.__dict__["dataset"] = SimpleNamespace(
        synthetic=True,
        fingerprint="f1",
        taxonomy=TAX,
        test_images=lambda fold, limit: images,
        boxes_of=lambda fields: truth,
    )
    return run


def predict(run: Run, name: str, found: int, yeasts: int = PATIENTS) -> dict[str, Any]:
    """Stores predictions that are right on the first patients; returns the row of their metrics.

    found, yeasts: on how many patients the RBC and the yeast are found.
    """
    truth = run.dataset.boxes_of(None)
    place = truth.groupby("cls").cumcount()
    right = truth[place < truth["cls"].map({RBC: found, YEAST: yeasts})]
    found = right.assign(conf=0.9)[["image", "cls", "conf", *BOX]]
    tiny.store(run, name, predictions=found)
    numbers = Intervals(run).pair(name, name)
    assert numbers is not None
    return dict(zip(ALL, numbers.metrics[0, 0], strict=True))


def leave(run: Run, table: str, *rows: dict[str, Any]) -> None:
    """Writes a table as the notebooks leave it: metrics as ``<metric>_here``."""
    plain = (
        "row",
        "method",
        "network",
        "folds",
        "note",
        "reason",
        "boxes",
        "missed",
        "taken",
        "patients",
    )
    frame = pd.DataFrame(rows).rename(columns=lambda c: c if c in plain else f"{c}_here")
    frame.to_csv(run.figures / f"table{table}.csv", index=False)


def four(
    row: str, value: float, std: float = float("nan"), folds: int = 1, **more: Any
) -> dict[str, Any]:
    """A row of Table 4 with one number for all metrics."""
    numbers = {m: value for m in ALL} | {f"{m}_std": std for m in ALL}
    return {
        "row": row,
        "method": IDS.get(row, row),
        "network": "yolo12n",
        "folds": folds,
        **numbers,
        **more,
    }


# --- the paper's own numbers


@pytest.mark.parametrize(
    ("id", "outcome"),
    [  # worked out by hand from the printed tables
        ("best-on-all-four", UNDECIDED),  # recall 62.45 ± 2.94 and 60.36 ± 3.71
        ("above-yolo", HOLDS),  # recall at least 5.39 above, ± 4.91
        ("ssl-adds", UNDECIDED),
        ("sahi-adds", UNDECIDED),
        ("multi-head-costs-most", UNDECIDED),
        (
            "heads-sharpest-drop",
            DOES_NOT,
        ),  # mAP50: 3.07 without heads, 4.68 without the head Microorganisms
        ("every-head-matters", UNDECIDED),
        ("microorganisms-most", UNDECIDED),
        ("microorganisms-most-precision", UNDECIDED),  # 72.69, but 72.58 without the head Casts
        ("960-best-map", HOLDS),
        ("960-best-caption", DOES_NOT),  # precision 79.60 at 40 px
        ("960-best-almost-all", UNDECIDED),  # recall 53.49 ± 3.08 at 1280 px, 53.00 ± 2.10 at 960
        ("below-960-sharply", DOES_NOT),  # recall 53.00 to 51.57
        ("recall-collapses", HOLDS),
        ("recall-collapses-most", UNDECIDED),  # no interval, though mAP50-95 loses more
        ("size-raises-precision", DOES_NOT),
        ("bacteria-precise", UNDECIDED),  # 66.78, the average 79.07: Table 7 has no deviations
        ("bacteria-rarely-recalled", UNDECIDED),
        ("table7-unweighted", DOES_NOT),
        ("table7-weighted", DOES_NOT),
        ("map-is-mean-over-classes", DOES_NOT),  # 64.15 and 69.31
        ("missed-rbc-as-wbc", UNDECIDED),  # Tables 2 and 7 allow it
        ("clinical-mean", HOLDS),
        ("abstract-map50", HOLDS),
        ("clinical-patients", DOES_NOT),
    ],
)
def test_outcomes_in_print(printed: pd.DataFrame, id: str, outcome: str) -> None:
    assert printed.loc[id, "verdict"] == outcome


def test_only_what_is_not_printed_cannot_be_tested(printed: pd.DataFrame) -> None:
    assert len(printed) == 48
    left = printed.index[printed["verdict"] == CANNOT]
    overlooked = {"bacteria-overlooked", "renal-cells-overlooked"}
    assert (
        set(left)
        == {"wbc-mostly-as-rbc", "rbc-mostly-as-wbc", "attention-on-particles"} | overlooked
    )


def test_no_bare_mean(printed: pd.DataFrame) -> None:
    without = printed[~printed["effect"].str.contains(r"\[") & (printed["verdict"] != CANNOT)]
    assert len(without)
    assert without["why"].str.contains("no interval|no interval applies").all()
    numbers = without[without["effect"] != verdict.NO_NUMBER]
    assert numbers["effect"].str.contains("(no interval)", regex=False).all()


def test_every_printed_comparison_follows_its_interval(printed: pd.DataFrame) -> None:
    """Where the effect has an interval, its ends decide; where it has none, only arithmetic can."""
    for line in printed[printed["effect"].str.contains(r"\[")].itertuples():
        low, high = map(float, line.effect.split("[")[1].split("]")[0].split(", "))
        expected = HOLDS if low > 0 else DOES_NOT if high < 0 else UNDECIDED
        assert line.verdict == expected, line.Index
    decided = printed["verdict"].isin([HOLDS, DOES_NOT])
    bare = printed[decided & ~printed["effect"].str.contains(r"\[")]
    assert bare["why"].str.contains("arithmetic|a count", regex=True).all()


def test_noise_leaves_a_claim_undecided(printed: pd.DataFrame) -> None:
    assert f"{INCLUDES_ZERO}: precision, recall" in printed.loc["ssl-adds", "why"]
    assert INCLUDES_ZERO not in printed.loc["fewer-modules-still-above", "why"]
    v = order.above(Published(), 4, OURS, ["recall"], [MULTI])
    assert v.outcome == UNDECIDED and v.effect == pytest.approx(2.11) and v.low < 0 < v.high
    turned = order.above(Published(), 4, OURS, ["recall"], [MULTI], below=True)
    assert turned.outcome == UNDECIDED and turned.effect == pytest.approx(-2.11)


def test_the_weakest_margin_is_the_effect() -> None:
    v = order.above(
        Published(), 4, OURS, ALL
    )  # mAP50-95 is the smallest margin; recall is the least sure
    assert v.effect == pytest.approx(62.45 - 60.36)


def test_a_changed_cell_changes_the_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = published.table(4)
    frame.loc[0, "recall"] = 99.0
    monkeypatch.setattr(published, "table", lambda n, summaries=True: frame)
    v = order.above(Published(), 4, OURS, ALL)
    assert v.outcome == DOES_NOT and "YOLO8-medium" in v.why


# --- intervals


def test_intervals_are_scipys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(60, 3, 5), rng.normal(58, 1, 5)
    means = [verdict.Mean(x.mean(), x.std(ddof=1), 5) for x in (a, b)]
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert means[0].minus(means[1])[1:] == pytest.approx(tuple(expected))
    assert means[0].effect()[1:] == pytest.approx(
        tuple(stats.ttest_1samp(a, 0).confidence_interval(0.95))
    )


def test_no_interval_without_two_folds() -> None:
    one, five = verdict.Mean(5, float("nan"), 1), verdict.Mean(5, 1, 5)
    assert all(np.isnan(one.minus(five)[1:])) and all(np.isnan(one.effect()[1:]))
    assert verdict.Mean(5, 0, 5).minus(verdict.Mean(3, 0, 5)) == (2, 2, 2)


def test_interval_of_a_share() -> None:
    percent, low, high = verdict.share(50, 100)
    assert percent == 50
    assert low + high == pytest.approx(100) and 9 < high - 50 < 10.5
    assert (
        verdict.share(0, 20).low == 0
        and 5 < verdict.share(0, 20).high < 15
        and all(np.isnan(verdict.share(50, 0)[1:]))
    )


# --- a run


def test_rows_of_one_network_are_compared_if_the_paper_has_one_too(run: Run) -> None:
    leave(
        run,
        "4",
        four(OURS, 60),
        four(MULTI, 55),
        four("YOLO12-small", 50, method="yolo12s"),
        four("YOLO12-nano", 50, method="yolo12n"),
    )
    tables = OfRun(run)
    v = order.above(tables, 4, OURS, ALL, [MULTI])
    assert (v.outcome, v.effect) == (UNDECIDED, 5) and np.isnan(v.low)
    assert "yolo12n stands for yolo12m in both" in v.why and "one fold" in v.why
    assert "no interval" in v.why
    with pytest.raises(NotHere, match="not the networks that the paper compares"):
        order.above(tables, 4, OURS, ALL, ["YOLO12-nano"])
    with pytest.raises(NotHere, match="are one run here"):
        order.above(tables, 4, "YOLO12-nano", ALL, ["YOLO12-small"])


def test_a_row_that_the_paper_does_not_have_is_no_part_of_its_claims(run: Run) -> None:
    more = "YOLO26-medium (not in the paper)"
    leave(run, "4", four(OURS, 60), four(MULTI, 55), four(more, 90, method="yolo26m"))
    assert [row["row"] for row in OfRun(run).rows(4)] == [OURS, MULTI]


def test_folds_give_an_interval(run: Run) -> None:
    leave(run, "4", four(OURS, 60, 3, 5), four(MULTI, 59, 3, 5))
    v = order.above(OfRun(run), 4, OURS, ALL, [MULTI])
    assert v.outcome == UNDECIDED and v.low < 0 < v.high and INCLUDES_ZERO in v.why


@pytest.mark.parametrize(
    ("mine", "other", "outcome"),
    [
        (12, 2, HOLDS),
        (2, 12, DOES_NOT),
        (7, 6, UNDECIDED),  # better by one patient: the sign alone decides nothing
        (6, 7, UNDECIDED),
        (6, 6, UNDECIDED),  # equal in every resample
    ],
)
def test_a_run_is_judged_by_resampling_its_patients(
    scored: Run, mine: int, other: int, outcome: str
) -> None:
    rows = [{"row": r, "method": IDS[r], "network": "yolo12n", "folds": 1} for r in (OURS, MULTI)]
    ours, multi = (predict(scored, IDS[r], n) for r, n in ((OURS, mine), (MULTI, other)))
    leave(scored, "4", rows[0] | ours, rows[1] | multi)
    v = order.above(OfRun(scored), 4, OURS, ["recall"], [MULTI])
    assert v.outcome == outcome
    assert v.effect == pytest.approx(ours["recall"] - multi["recall"])
    assert ("interval" in v.why) == (outcome == UNDECIDED)
    # a pair's interval: the yeasts, which both find, make no noise
    if mine == 7:
        assert v.low < 0 < v.high and v.high - v.low < 40


def test_a_claim_about_parts_lost_is_judged_by_resampling(scored: Run) -> None:
    whole = {"row": "960", "method": "yolo12n-960", "network": "yolo12n", "folds": 1}
    small = {"row": "640", "method": "yolo12n-640", "network": "yolo12n", "folds": 1}
    leave(
        scored,
        "6",
        whole | predict(scored, "yolo12n-960", 12),
        small | predict(scored, "yolo12n-640", 6, 6),
    )
    tables = OfRun(scored)
    assert order.loses(tables, 6, ["640"], "960", ["recall"], 10).outcome == HOLDS
    assert order.loses(tables, 6, ["640"], "960", ["recall"], 99).outcome == DOES_NOT
    assert order.loses(tables, 6, ["640"], "960", ["recall"], 51).outcome == UNDECIDED
    most = order.loses_most(tables, 6, ["640"], "960", "recall", ["recall", "precision"])
    assert most.outcome == HOLDS and most.low > 0  # what is found is right in both
    least = order.loses_most(tables, 6, ["640"], "960", "precision", ["recall", "precision"])
    assert least.outcome == DOES_NOT and least.high < 0


def test_too_few_patients_leave_a_claim_undecided(scored: Run) -> None:
    few = scored.dataset.test_images(0, None).head(4)
    truth = scored.dataset.boxes_of(None)
    scored.dataset.test_images = lambda fold, limit: few
    scored.dataset.boxes_of = lambda fields: truth[truth["image"].isin(few["image"])]
    rows = [{"row": r, "method": IDS[r], "network": "yolo12n", "folds": 1} for r in (OURS, MULTI)]
    ours, multi = (predict(scored, IDS[r], n) for r, n in ((OURS, 4), (MULTI, 0)))
    leave(scored, "4", rows[0] | ours, rows[1] | multi)
    v = order.above(OfRun(scored), 4, OURS, ["recall"], [MULTI])
    assert v.outcome == UNDECIDED and v.effect == 50 and "fewer than 5 patients" in v.why


def test_classes_against_their_average_are_resampled_together(scored: Run) -> None:
    numbers = predict(scored, "ours-yolo12m", 2)
    rbc = {"row": "RBC", "boxes": 12, "groups": 12, "recall": 100 * 2 / 12}
    yeast = {"row": "Yeast", "boxes": 12, "groups": 12, "recall": 100.0}
    average = {"row": "Unweighted average", "boxes": 24, "recall": numbers["recall"]}
    leave(scored, "7", rbc, yeast, average)
    tables = OfRun(scored)
    low = order.above(tables, 7, "RBC", ["recall"], ["Unweighted average"], below=True)
    assert low.outcome == HOLDS and low.effect == pytest.approx(numbers["recall"] - 100 / 6)
    assert order.above(tables, 7, "RBC", ["recall"], ["Unweighted average"]).outcome == DOES_NOT
    predict(scored, "ours-yolo12m", 11)
    close = order.above(OfRun(scored), 7, "RBC", ["recall"], ["Unweighted average"], below=True)
    assert close.outcome == UNDECIDED and close.low < 0 < close.high
    leave(scored, "7", rbc | {"groups": 3}, yeast, average)
    few = order.above(OfRun(scored), 7, "RBC", ["recall"], ["Unweighted average"], below=True)
    assert few.outcome == UNDECIDED and "fewer than 5" in few.why


def test_a_level_is_judged_by_its_interval(scored: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(scored.profile.smaller, "yolo12m", "yolo12m")
    row = {"row": OURS, "method": "ours-yolo12m", "network": "yolo12m", "folds": 1}
    numbers = predict(scored, "ours-yolo12m", 6)
    leave(scored, "4", row | numbers)
    this = {"table": 4, "row": OURS}

    def level(percent: float, tolerance: float) -> str:
        return amounts.equal(OfRun(scored), ["recall"], this, percent, tolerance).outcome

    assert numbers["recall"] == 75
    assert level(75, 30) == level(70, 40) == HOLDS
    assert level(20, 5) == DOES_NOT
    assert level(75, 1) == level(70, 5) == UNDECIDED  # right on the number, but not surely


def test_one_better_row_refutes_but_all_are_needed_to_hold(run: Run) -> None:
    unbuilt = four(
        "ViTDet", float("nan"), method="vitdet", folds=0, reason="not yet built", network=None
    )
    for theirs in (55, 59.9):  # surely below, and perhaps below
        leave(run, "4", four(OURS, 60, 1, 5), four(MULTI, theirs, 1, 5), unbuilt)
        with pytest.raises(NotHere, match="1 not compared .ViTDet: not yet built"):
            order.above(OfRun(run), 4, OURS, ALL)
    leave(run, "4", four(OURS, 60, 1, 5), four(MULTI, 65, 1, 5), unbuilt)
    v = order.above(OfRun(run), 4, OURS, ALL)
    assert (v.outcome, v.effect) == (DOES_NOT, -5) and "ViTDet: not yet built" in v.why


def test_one_sure_loss_refutes_beside_undecided_ones(run: Run) -> None:
    """Of three of four metrics one may be lost, so that one sure loss leaves it to the others."""
    mine = four(OURS, 60, 1, 5)
    theirs = four(MULTI, 59.9, 1, 5) | {"precision": 70, "map50": 50, "map50_95": 50}
    leave(run, "4", mine, theirs)
    tables = OfRun(run)
    assert order.above(tables, 4, OURS, ALL, [MULTI]).outcome == DOES_NOT
    some = order.above(tables, 4, OURS, ALL, [MULTI], at_least=3)
    assert some.outcome == UNDECIDED and some.effect == pytest.approx(0.1)
    assert order.above(tables, 4, OURS, ALL, [MULTI], at_least=2).outcome == HOLDS


def test_a_removal_that_helps_costs_nothing(run: Run) -> None:
    leave(run, "4", four(OURS, 50, 1, 5), four(MULTI, 60, 1, 5), four(SAHI, 70, 1, 5))
    v = order.costs_most(OfRun(run), ["4", OURS], ["4", MULTI], [["4", SAHI]], ["map50"])
    assert (v.outcome, v.effect) == (DOES_NOT, -10)
    leave(run, "4", four(OURS, 50, 1, 5), four(MULTI, 30, 1, 5), four(SAHI, 40, 1, 5))
    v = order.costs_most(OfRun(run), ["4", OURS], ["4", MULTI], [["4", SAHI]], ["map50"])
    assert (v.outcome, v.effect) == (HOLDS, 10)


def size(row: str, value: float) -> dict[str, Any]:
    return four(row, value, 1, 5, method=f"yolo12n-{row}")


def test_input_sizes(run: Run) -> None:
    leave(run, "6", size("320", 10), size("640", 30), size("960", 40), size("1280", 45))
    tables = OfRun(run)
    assert order.rises(tables, 6, ["320", "640", "960"], ["recall"]).outcome == HOLDS
    assert order.loses(tables, 6, ["320"], "960", ["recall"], 50).effect == pytest.approx(10)
    assert order.loses(tables, 6, ["640"], "960", ["recall"], 50).outcome == DOES_NOT
    assert order.above(tables, 6, "960", ALL, ["1280"], at_least=1).outcome == DOES_NOT
    leave(run, "6", size("320", 0), size("640", 0), size("960", 0))
    for test in (order.rises, order.loses):
        arguments = [["320", "640"]] if test is order.rises else [["320"], "960"]
        with pytest.raises(NotHere, match="nothing is found"):
            test(OfRun(run), 6, *arguments, ["recall"], *([50] if test is order.loses else []))


def test_a_head_that_the_data_lack_was_not_removed(run: Run) -> None:
    note = "this data set has no class in the head Casts: nothing is removed"
    assert sources.SAME_HEADS in note and sources.SAME_HEADS in inspect.getsource(comparison)
    casts = four("Without casts head", 50, method="without-casts", note=note)
    leave(run, "5", four("Full (all six heads)", 60, method="ours-yolo12m", note=""), casts)
    with pytest.raises(NotHere, match="no class in that head"):
        order.above(OfRun(run), 5, "Full (all six heads)", ALL)


def seven(
    row: str, boxes: int, precision: float, recall: float, reason: str = ""
) -> dict[str, Any]:
    return {"row": row, "boxes": boxes, "precision": precision, "recall": recall, "reason": reason}


def test_classes_without_boxes_or_detections(run: Run) -> None:
    none = seven("WBC", 0, float("nan"), float("nan"), "no true box in the scored fields")
    average = seven("Unweighted average", 30, 50, 50)
    undetected = seven("Yeast", 10, float("nan"), 0) | {"note": "no detection, so no precision"}
    leave(run, "7", seven("Bacteria", 20, 90, 10), none, undetected, average)
    tables = OfRun(run)

    def high(row: str) -> Any:
        return order.above(tables, 7, row, ["precision"], ["Unweighted average"])

    assert high("Bacteria").outcome == UNDECIDED  # there are no predictions to resample
    with pytest.raises(NotHere, match="no true box"):
        high("WBC")
    with pytest.raises(NotHere, match="no detection, so no precision"):
        high("Yeast")


def test_amounts(run: Run) -> None:
    leave(
        run,
        "7",
        seven("Bacteria", 30, 80, 10),
        seven("Yeast", 10, 40, 30),
        seven("Weighted average", 40, 70, 15),
    )
    this, that = (
        {"table": 7, "row": "Weighted average"},
        {"table": 7, "take": "mean", "weights": "boxes"},
    )
    both = ["precision", "recall"]
    assert amounts.equal(OfRun(run), both, this, that).outcome == BY_CONSTRUCTION
    assert (
        amounts.equal(OfRun(run), ["precision"], this, that | {"weights": "recall"}).outcome
        == DOES_NOT
    )
    with pytest.raises(NotHere, match="stands for"):  # a level, by a smaller network
        amounts.equal(OfRun(run), ["precision"], this, 70.0)


def test_counts_of_drawn_fields_are_no_verdict(run: Run) -> None:
    leave(run, "2", {"row": "RBC", "boxes": 30}, {"row": "WBC", "boxes": 12})
    this = {"table": 2, "take": "sum"}
    assert amounts.equal(OfRun(run), ["boxes"], this, 42).outcome == BY_CONSTRUCTION
    with pytest.raises(NotHere, match="drawn"):
        amounts.equal(OfRun(run), ["boxes"], this, 31285)
    run.dataset.synthetic = False
    assert amounts.equal(OfRun(run), ["boxes"], this, 42).outcome == HOLDS
    assert amounts.equal(OfRun(run), ["boxes"], this, 31285).outcome == DOES_NOT


def confused(called: str, lead: float, half: float, share: float = 40) -> dict[str, Any]:
    """A row of RBC and WBC: a share in percent and a lead, each with an interval of ± half."""
    row = {"row": confusion.confused("WBC", called), "boxes": 90, "missed": 50, "taken": 20}
    row |= {"rival": "Yeast", "rival_taken": 5}
    for name, value in (("percent", share), ("lead", lead)):
        row |= {name: value, f"{name}_low": value - half, f"{name}_high": value + half}
    return row


def leave_confused(run: Run, *rows: dict[str, Any]) -> None:
    """As notebook 08 leaves it: the paper's two percentages beside."""
    frame = pd.DataFrame(rows).rename(columns={"percent": "percent_here"})
    frame = frame.rename(
        columns={f"percent_{end}": f"percent_here_{end}" for end in ("low", "high")}
    )
    frame.to_csv(run.figures / "table7_rbc_wbc.csv", index=False)


def test_shares(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_confused(run, confused("RBC", 30, 4))
    with pytest.raises(NotHere, match="stands for"):
        amounts.taken_for(OfRun(run), "WBC", "RBC", 38, 5)
    monkeypatch.setitem(run.profile.smaller, "yolo12m", "yolo12m")

    def taken(half: float, percent: float) -> verdict.Verdict:
        leave_confused(run, confused("RBC", 30, half))
        return amounts.taken_for(OfRun(run), "WBC", "RBC", percent, 5)

    sure = taken(2, 38)
    assert sure.outcome == HOLDS and sure.effect == pytest.approx(2)
    assert (sure.low, sure.high) == pytest.approx((0, 4))
    assert taken(4, 60).outcome == DOES_NOT
    assert taken(6, 38).outcome == taken(20, 60).outcome == UNDECIDED
    alone = taken(float("nan"), 38)
    assert alone.outcome == UNDECIDED and "no interval" in alone.why


def test_a_printed_share_can_be_refuted_but_not_confirmed() -> None:
    allowed = amounts.taken_for(Published(), "WBC", "RBC", 100, 5)  # 228 of 1018
    assert allowed.outcome == UNDECIDED
    assert amounts.taken_for(Published(), "RBC", "WBC", 100, 5).outcome == DOES_NOT  # 824 of 496


@pytest.mark.parametrize("called", ["RBC", confusion.OVERLOOKED])
def test_what_is_mostly_taken_for_what(run: Run, called: str) -> None:
    """One definition: the share and the lead are of the same missed boxes."""
    for lead, outcome in ((30, HOLDS), (-30, DOES_NOT), (5, UNDECIDED), (-5, UNDECIDED)):
        leave_confused(run, confused(called, lead, 10))
        v = amounts.mostly_taken_for(OfRun(run), "WBC", called)
        assert (v.outcome, v.effect) == (outcome, lead)
        assert (INCLUDES_ZERO in v.why) == (outcome == UNDECIDED)
        assert "of 50 missed WBC, 20" in v.why and "5 as Yeast" in v.why
    leave_confused(run, confused(called, 30, float("nan")))
    v = amounts.mostly_taken_for(OfRun(run), "WBC", called)
    assert v.outcome == UNDECIDED and "no interval" in v.why


def test_the_ledger_asks_for_rows_that_notebook_08_makes() -> None:
    asked = [c for c in claims.ledger() if c.test in ("taken_for", "mostly_taken_for")]
    pairs = {(c.arguments["component"], c.arguments["called"]) for c in asked}
    assert pairs == set(confusion.NAMED)


def test_percentages_as_counts(run: Run) -> None:
    leave(
        run,
        "8",
        {"row": "RBC", "patients": 12, "accuracy": 75.0},
        {"row": "WBC", "patients": 7, "accuracy": 75.0},
    )
    assert amounts.counted(OfRun(run), 8, "accuracy", 84).why.startswith("1 of 2 rows are")
    leave(run, "8", {"row": "RBC", "patients": 12, "accuracy": 75.0})
    # a run counts its accuracies over its patients, so that they cannot but fit
    assert amounts.counted(OfRun(run), 8, "accuracy", 84).outcome == BY_CONSTRUCTION
    absent = {"row": "Mucus", "accuracy": float("nan"), "reason": "not in this run"}
    leave(run, "8", {"row": "WBC", "patients": 7, "accuracy": 75.0}, absent)
    v = amounts.counted(OfRun(run), 8, "accuracy", 84)
    assert (v.outcome, v.effect) == (DOES_NOT, -1) and "WBC" in v.why


def test_attention_is_above_that_of_a_blind_map(run: Run) -> None:
    claim = next(c for c in claims.ledger() if c.id == "attention-on-particles")
    assert claims.judge(claim, Published()).why == "the paper shows two fields and measures nothing"
    assert claims.judge(claim, OfRun(run)).why == "this run has no attention.csv"
    for ratio, low, high, outcome, said in [
        (4.5, 3.0, 6.0, HOLDS, "ratio 4.50 against 1"),
        (0.8, 0.5, 0.9, DOES_NOT, "ratio 0.80 against 1"),
        (1.2, 0.9, 1.5, UNDECIDED, INCLUDES_ZERO),
        (1.2, np.nan, np.nan, UNDECIDED, "no interval"),
        (np.nan, np.nan, np.nan, CANNOT, "no box in the fields"),
    ]:
        row = {"part": "all particles", "ratio": ratio, "ratio_low": low, "ratio_high": high}
        pd.DataFrame([row | {"note": "no box in the fields"}]).to_csv(
            run.figures / "attention.csv", index=False
        )
        v = claims.judge(claim, OfRun(run))
        assert v.outcome == outcome and said in v.why, ratio
        if outcome != CANNOT:
            assert (v.effect, v.low) == pytest.approx((ratio - 1, low - 1), nan_ok=True)


# --- the ledger


def test_a_run_without_tables_tells_nothing(run: Run) -> None:
    both = claims.frame(run)
    assert (
        set(both["here"]) == {CANNOT}
        and both["here_why"].str.contains(r"this run has no (?:table|attention)").all()
    )


def test_a_table_of_another_form_is_no_error(run: Run) -> None:
    for table in ("2", "4", "7", "7_confusion", "7_rbc_wbc", "8"):
        leave(run, table, {"row": "RBC", "other": 1.0}, {"row": OURS, "other": 2.0})
    assert set(claims.frame(run)["here"]) <= {CANNOT, UNDECIDED}


def test_saved_with_its_face_and_for_programs(run: Run) -> None:
    leave(run, "4", four(OURS, 60), four(MULTI, 55))
    both = claims.save(run)
    saved = pd.read_csv(run.figures / "claims.csv")
    assert list(saved["id"]) == [c.id for c in claims.ledger()] and list(saved) == list(both)
    line = saved.set_index("id").loc["ssl-adds"]
    assert (line["published"], line["here"], line["here_effect"]) == (UNDECIDED, UNDECIDED, 5)
    assert pd.isna(line["here_low"])
    assert run.banner() in (run.figures / "claims.md").read_text()
    assert json.loads((run.figures / "claims.json").read_text())["face"] == run.banner()
    header, rows = claims.for_page(run.figures / "claims.csv")
    assert header[2:4] == ["in print", "in this run"] and {len(r) for r in rows} == {len(header)}
    assert any("+5.00 (no interval) points" in row for row in rows)
    assert all(sum(n.values()) == len(both) for n in claims.counts(both).values())


def test_what_holds_by_construction_is_not_counted(run: Run) -> None:
    leave(run, "8", {"row": "RBC", "patients": 12, "accuracy": 75.0})
    both = claims.frame(run)
    assert both.set_index("id").loc["clinical-patients", "here"] == BY_CONSTRUCTION
    assert claims.by_construction(both) == {"in print": 0, "in this run": 1}
    counted = claims.counts(both)
    assert sum(counted["in this run"].values()) == len(both) - 1
    assert list(counted["in this run"]) == [HOLDS, DOES_NOT, UNDECIDED, CANNOT]


GOOD = """
- id: a
  claim: c
  where: w
  test: above
  table: 4
  row: YOLOv12-M
  metrics: [map50]
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("test: above", "test: abov", "claims.yaml: a: no test 'abov'; there are: above"),
        ("  where: w\n", "", "claims.yaml: a: needs where"),
        (
            "table: 4",
            "tabel: 4",
            "claims.yaml: a: above: .*tabel|claims.yaml: a: above: missing.*table",
        ),
        ("- id: a", "- name: a", "claims.yaml: entry 1: needs id"),
        ("- id: a", GOOD + "- id: a", "claims.yaml: a: the id stands there twice"),
        ("row: YOLOv12-M", "row: YOLOv12-Q", "claims.yaml: a: Table 4 has no row 'YOLOv12-Q'"),
        ("[map50]", "[map51]", "claims.yaml: a: no column 'map51'"),
        ("table: 4", "table: 14", "claims.yaml: a: above: KeyError"),
        ("[map50]", "5", "claims.yaml: a: above: TypeError"),
    ],
)
def test_a_broken_entry_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    file = tmp_path / "claims.yaml"
    file.write_text(GOOD)
    assert [claims.judge(c, Published()).outcome for c in claims.ledger(file)] == [DOES_NOT]
    assert old in GOOD
    file.write_text(GOOD.replace(old, new))
    with pytest.raises(BadClaims, match=said):
        for claim in claims.ledger(file):
            claims.judge(claim, Published())


def test_effects_as_text() -> None:
    nan = float("nan")
    assert (
        verdict.Effect(1.234, -0.5, 3).text() == "+1.23 [-0.50, 3.00]"
        and verdict.Effect(nan, nan, nan).text() == "—"
    )
    assert verdict.Effect(-0.001, nan, nan).text() == "+0.00"
