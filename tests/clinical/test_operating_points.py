"""Operating points: the rule by hand, and that no scored patient takes part."""

from types import SimpleNamespace

import pandas as pd
import pytest

from openurine_lib.clinical import operating_points
from openurine_lib.clinical.counts import CONFIDENCE
from openurine_lib.data import taxonomy
from openurine_lib.experiments import steps
from openurine_lib.experiments.methods import Profile, method, profile
from openurine_lib.experiments.run import Run

OPENURINE = taxonomy.load("openurine")
RBC, WBC, MUCUS = (OPENURINE.components[c][0] for c in ("RBC", "WBC", "Mucus"))


def held(true: dict[int, int], found: dict[int, list[float]]) -> operating_points.HeldOut:
    """True boxes by class, and the confidences of its detections."""
    truth = pd.DataFrame({"image": "a", "cls": [c for c, n in true.items() for _ in range(n)]})
    rows = [("a", c, conf) for c, values in found.items() for conf in values]
    images = pd.DataFrame({"image": ["a", "b"], "group": ["p", "q"]})
    return operating_points.HeldOut(
        images, truth, pd.DataFrame(rows, columns=["image", "cls", "conf"]), (0,)
    )


def test_as_many_detections_as_boxes():
    confidences = [
        0.01 * i for i in range(1, 31)
    ]  # 30 detections, 12 boxes: the twelfth most confident is at 0.19
    chosen = operating_points.table8_operating(
        held({RBC: 12}, {RBC: confidences}), OPENURINE
    ).set_index("row")
    assert chosen.loc["RBC", "confidence"] == pytest.approx(0.19)
    assert (
        sum(c >= chosen.loc["RBC", "confidence"] for c in confidences)
        == chosen.loc["RBC", "boxes"]
        == 12
    )
    assert chosen.loc["RBC", "fields"] == 1 and "as many" in chosen.loc["RBC", "why"]


def test_what_cannot_be_chosen_is_fixed_and_says_why():
    chosen = operating_points.table8_operating(
        held({RBC: 9, WBC: 20}, {RBC: [0.9] * 9, WBC: []}), OPENURINE
    ).set_index("row")
    assert (chosen["confidence"] == CONFIDENCE).all()
    assert (
        "fewer than 10 true boxes" in chosen.loc["RBC", "why"] and chosen.loc["Mucus", "boxes"] == 0
    )
    assert "nothing was detected" in chosen.loc["WBC", "why"]


def test_fewer_detections_than_boxes_all_count():
    chosen = operating_points.table8_operating(
        held({MUCUS: 20}, {MUCUS: [0.5, 0.02]}), OPENURINE
    ).set_index("row")
    assert (
        chosen.loc["Mucus", "confidence"] == 0.02
        and "all 2 detections" in chosen.loc["Mucus", "why"]
    )


def test_points_and_the_fixed_one():
    chosen = operating_points.table8_operating(held({RBC: 10}, {RBC: [0.4] * 10}), OPENURINE)
    assert operating_points.confidences(chosen) == dict.fromkeys(
        OPENURINE.components, CONFIDENCE
    ) | {"RBC": 0.4}


def make_run(monkeypatch: pytest.MonkeyPatch, folds: list[int]) -> Run:
    """Two patients a fold, one field each, one box and one detection on it."""
    settings = dict(vars(profile("smoke"))) | {"folds": folds, "max_test_fields": None}
    run = Run("synthetic", Profile(**settings))
    parts = {
        f: pd.DataFrame({"image": [f"{f}a", f"{f}b"], "group": [f"p{f}a", f"p{f}b"]})
        for f in range(5)
    }
    run.__dict__["dataset"] = SimpleNamespace(
        test_images=lambda fold, limit: parts[fold],
        boxes_of=lambda images: pd.DataFrame({"image": images["image"], "cls": RBC}),
    )
    found = {f: pd.DataFrame({"image": parts[f]["image"], "cls": RBC, "conf": 0.5}) for f in parts}
    monkeypatch.setattr(steps, "ensure_predictions", lambda run, m, fold: found[fold])
    return run


def test_no_scored_patient_takes_part(monkeypatch):
    ours, scored = (
        method("ours-yolo12m"),
        pd.DataFrame({"image": ["0a", "0x"], "group": ["p0a", "p0a"]}),
    )
    one = operating_points.held_out(make_run(monkeypatch, [0]), ours, scored)
    assert one.images["group"].tolist() == ["p0b"] and one.folds == (0,)
    assert set(one.truth["image"]) == set(one.predictions["image"]) == {"0b"}
    assert "1 fields of 1 patients" in str(one) and "fold 0" in str(one)
    three = operating_points.held_out(make_run(monkeypatch, [0, 1, 2]), ours, scored)
    assert three.images["image"].tolist() == ["0b", "1a", "1b", "2a", "2b"] and three.folds == (
        0,
        1,
        2,
    )


def test_a_cohort_leaves_every_test_field(monkeypatch):
    cohort = pd.DataFrame({"image": ["c"], "group": ["C1"]})
    assert (
        len(
            operating_points.held_out(
                make_run(monkeypatch, [0, 1]), method("ours-yolo12m"), cohort
            ).images
        )
        == 4
    )


def test_nothing_is_left(monkeypatch):
    scored = pd.DataFrame({"group": ["p0a", "p0b"]})
    none = operating_points.held_out(make_run(monkeypatch, [0]), method("ours-yolo12m"), scored)
    assert "fold none" in str(none)
    assert (operating_points.table8_operating(none, OPENURINE)["confidence"] == CONFIDENCE).all()
