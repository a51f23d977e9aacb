"""The error split on cases worked out by hand, and what repairing each kind gives."""

import warnings

import numpy as np
import pandas as pd
import pytest

from openurine_lib.data import taxonomy
from openurine_lib.evaluation import errors
from openurine_lib.evaluation.errors import FOUND, KINDS, RIGHT, at_confidence, gains, sort_errors
from openurine_lib.evaluation.metrics import Scored, evaluate, score, summary

TAX = taxonomy.load("openurine")
RBC, WBC, YEAST = (TAX.id(name) for name in ("RBC", "WBC", "Yeast"))


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def fold(truth, found, confidence=0.5, groups=1):
    """Boxes of 10 x 10 px: (class, x) and (class, x, conf), the same on one field of each group."""
    fields = pd.DataFrame(
        {"image": [f"f{i}" for i in range(groups)], "group": [f"g{i}" for i in range(groups)]}
    )
    t = [(image, c, x, 0, x + 10, 10) for image in fields["image"] for c, x in truth]
    p = [(image, c, conf, x, 0, x + 10, 10) for image in fields["image"] for c, x, conf in found]
    truth = pd.DataFrame(t, columns=["image", "cls", "x1", "y1", "x2", "y2"])
    found = pd.DataFrame(p, columns=["image", "cls", "conf", "x1", "y1", "x2", "y2"]).astype(
        {"conf": float}
    )
    return Scored(
        truth, found, fields, evaluate(truth, found, TAX.n, list(fields["image"])), confidence
    )


def counts(*folds):
    return errors.counts([at_confidence(one) for one in folds], TAX)


# IoU of two boxes of 10 px, apart by 3 px: 7/13 = 0.54, by 5 px: 5/15 = 0.33, by 9 px: 1/19 = 0.05
@pytest.mark.parametrize(
    ("found", "kind", "box"),
    [
        ((RBC, 3, 0.9), RIGHT, FOUND),
        ((RBC, 5, 0.9), "localisation", "localisation"),
        ((WBC, 3, 0.9), "classification", "classification"),
        ((WBC, 5, 0.9), "both", "missed"),
        ((WBC, 9, 0.9), "background", "missed"),
        ((RBC, 9, 0.9), "background", "missed"),
    ],
)
def test_one_detection_of_one_box(found, kind, box):
    one = fold([(RBC, 0)], [found])
    parts = sort_errors(one.truth, one.predictions)
    assert parts.detections["kind"].tolist() == [kind]
    assert parts.boxes["kind"].tolist() == [box]


def test_a_second_detection_is_a_duplicate():
    one = fold([(RBC, 0)], [(RBC, 1, 0.6), (RBC, 0, 0.7)])
    parts = sort_errors(one.truth, one.predictions)
    assert parts.detections["conf"].tolist() == [0.7, 0.6]
    assert parts.detections["kind"].tolist() == [RIGHT, "duplicate"]


def test_order_of_the_kinds_is_tides():
    """On a WBC, and on an RBC by 0.33: the own class is first. On a found RBC and a WBC: not."""
    beside = fold([(WBC, 0), (RBC, 5)], [(RBC, 0, 0.9)])
    parts = sort_errors(beside.truth, beside.predictions)
    assert parts.detections["kind"].tolist() == ["localisation"]
    assert parts.boxes["kind"].tolist() == ["missed", "localisation"]
    both = fold([(RBC, 0), (WBC, 1)], [(RBC, 0, 0.9), (RBC, 1, 0.8)])
    parts = sort_errors(both.truth, both.predictions)
    assert parts.detections["kind"].tolist() == [RIGHT, "classification"]
    assert parts.boxes["kind"].tolist() == [FOUND, "classification"]


def test_fields_do_not_mix():
    one = fold([(RBC, 0)], [], groups=2)
    found = pd.DataFrame([("f1", RBC, 0.9, 0, 0, 10, 10)], columns=one.predictions.columns)
    parts = sort_errors(one.truth, found)
    assert parts.boxes.set_index("image")["kind"].to_dict() == {"f0": "missed", "f1": FOUND}
    assert parts.detections["box"].tolist() == [1]


CASE = fold(
    [(RBC, 0), (RBC, 100), (RBC, 200), (WBC, 300), (YEAST, 400)],
    [
        *[(RBC, 0, 0.9), (RBC, 1, 0.8)],  # found; duplicate
        (RBC, 105, 0.7),  # localisation
        (WBC, 200, 0.7),  # classification
        *[(RBC, 305, 0.6), (RBC, 900, 0.6)],  # both; background
        (YEAST, 400, 0.2),  # below the confidence: missed
    ],
)


def test_counts_by_head():
    table = counts(CASE, CASE).set_index("head")
    assert list(table) == ["boxes", FOUND, *KINDS]
    #                                        boxes found cls loc both dup bkg missed
    assert table.loc["Cells"].tolist() == [8, 2, 2, 2, 2, 2, 2, 2]
    assert table.loc["Microorganisms"].tolist() == [2, 0, 0, 0, 0, 0, 0, 2]
    assert table.loc["all"].tolist() == [10, 2, 2, 2, 2, 2, 2, 4]
    assert table.loc["Crystals"].sum() == 0


def test_gain_of_a_wrong_name():
    """An RBC called WBC, another found. Repaired, RBC goes from 49.5 to 100; the mean lacks WBC."""
    one = fold([(RBC, 0), (RBC, 100)], [(RBC, 0, 0.9), (WBC, 100, 0.8), (WBC, 101, 0.7)])
    gain = gains([one], TAX.n).set_index("kind")["gain"]
    assert gain["classification"] == pytest.approx(50.5)
    assert gain.drop("classification").tolist() == pytest.approx([0] * 5)


def test_gain_of_a_wrong_place_of_a_false_alarm_and_of_what_is_missed():
    place = gains([fold([(RBC, 0)], [(RBC, 5, 0.9)])], TAX.n).set_index("kind")["gain"]
    assert place["localisation"] == pytest.approx(100)
    alarm = gains([fold([(RBC, 0)], [(RBC, 0, 0.5), (RBC, 900, 0.9)])], TAX.n).set_index("kind")[
        "gain"
    ]
    assert alarm["background"] == pytest.approx(50)  # precision 1/2 at full recall
    missed = gains([fold([(RBC, 0), (RBC, 50)], [(RBC, 0, 0.5)])], TAX.n).set_index("kind")["gain"]
    assert missed["missed"] == pytest.approx(
        50.5
    )  # recall 1/2 is 50 of the 101 points, the first at half weight


def test_gains_are_those_of_the_evaluator():
    """Repaired by hand, the evaluator scores as ``gains`` says."""
    was = summary(CASE.metrics)["map50"]
    named = CASE.predictions.assign(
        cls=CASE.predictions["cls"].mask(CASE.predictions["x1"] == 200, RBC)
    )
    beside = CASE.predictions["x1"] == 105
    placed = CASE.predictions.assign(
        x1=CASE.predictions["x1"].mask(beside, 100), x2=CASE.predictions["x2"].mask(beside, 110)
    )
    gain = gains([CASE], TAX.n).set_index("kind")["gain"]
    dropped = {
        kind: CASE.predictions[CASE.predictions["x1"] != x]
        for kind, x in (("both", 305), ("duplicate", 1))
    }
    for kind, frame in {"classification": named, "localisation": placed, **dropped}.items():
        now = summary(evaluate(CASE.truth, frame, TAX.n, ["f0"]))["map50"]
        assert gain[kind] == pytest.approx(100 * (now - was)), kind


def test_gains_over_folds_and_groups():
    halves = (
        fold([(RBC, 0)], [(RBC, 5, 0.9)], groups=6),
        fold([(RBC, 0)], [(RBC, 0, 0.9)], groups=6),
    )
    table = gains(halves, TAX.n).set_index("kind")
    assert table.loc["localisation"].tolist() == pytest.approx(
        [50, 50, 50]
    )  # 100 and 0, whatever is drawn
    assert gains([fold([(RBC, 0)], [])], TAX.n)[["gain_low", "gain_high"]].isna().all(axis=None)


@pytest.mark.parametrize(("found", "missed"), [([], 100), ([(RBC, 0, 0.9), (YEAST, 100, 0.9)], 0)])
def test_empty_and_perfect(found, missed):
    one = fold([(RBC, 0), (YEAST, 100)], found)
    gain = gains([one], TAX.n).set_index("kind")["gain"]
    assert gain["missed"] == pytest.approx(missed) and gain.drop("missed").tolist() == [0] * 5
    table = counts(one).set_index("head").loc["all"]
    assert table["missed"] == (0 if found else 2) and table[FOUND] == len(found)
    assert errors.plot_errors(counts(one), gains([one], TAX.n), "synthetic").axes


def test_a_class_that_is_no_longer_asked_for_is_fulfilled_by_silence_alone():
    """All yeasts are missed. Asking for none is a gain where none is reported, and only there."""
    truth = [(RBC, 0), (YEAST, 100)]
    for alarms, gain in (([], 50), ([(YEAST, 500, 0.9)], 0)):
        one = fold(truth, [(RBC, 0, 0.9), *alarms])
        table = gains([one], TAX.n).set_index("kind")["gain"]
        assert table["missed"] == pytest.approx(gain)


def test_fields_without_a_box():
    one = fold([], [(RBC, 0, 0.9)])
    (alarm,) = sort_errors(one.truth, one.predictions).detections.itertuples()
    assert (alarm.kind, alarm.box) == ("background", -1)
    assert counts(one).set_index("head").loc["Cells", "background"] == 1
    assert gains([one], TAX.n)["gain"].tolist() == [0] * 6


def test_random_fields_add_up():
    """Every box is found, spoilt or missed; as many are found as detections are right."""
    rng = np.random.default_rng(0)
    true = [(int(rng.integers(3)), 12 * i) for i in range(40)]
    found = [
        (int(rng.integers(3)), 12 * i + rng.normal(0, 3), rng.random())
        for i in range(40)
        for _ in range(2)
    ]
    one = fold(true, found)
    parts = sort_errors(one.truth, one.predictions)
    kinds = parts.detections["kind"].value_counts()
    assert set(kinds.index) <= {RIGHT, *KINDS[:-1]} and kinds.sum() == 80
    assert (parts.boxes["kind"] == FOUND).sum() == kinds[RIGHT] > 0
    hits = parts.detections.loc[parts.detections["kind"] == RIGHT, "box"]
    assert (
        hits.is_unique
        and (
            parts.boxes.loc[hits, "cls"].to_numpy() == parts.detections.loc[hits.index, "cls"]
        ).all()
    )
    assert score(one.truth, one.predictions, TAX.n, ["f0"]).confidence < 1


def test_patients_are_resampled_and_not_their_fields():
    """One patient of six has nothing found: three fields a patient say as little as one does."""
    rows = []
    for fields in (1, 3):
        one = fold([(RBC, 0)], [(RBC, 0, 0.9)], groups=6 * fields)
        group_of = {f"f{i}": f"g{i // fields}" for i in range(6 * fields)}
        groups = one.fields["image"].map(group_of)
        found = one.predictions[one.predictions["image"].map(group_of) != "g0"]
        one = one._replace(fields=one.fields.assign(group=groups), predictions=found)
        rows.append(gains([one], TAX.n).set_index("kind").loc["missed"])
    assert rows[1].tolist() == pytest.approx(rows[0].tolist())
    assert rows[0]["gain_low"] < 0 < rows[0]["gain"] < rows[0]["gain_high"]
