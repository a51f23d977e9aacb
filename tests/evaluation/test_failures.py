"""The three failures, each on a field made for it, and the order in which they are shown."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from openurine_lib.data import taxonomy
from openurine_lib.data.boxes import XYXY
from openurine_lib.evaluation import failures
from openurine_lib.evaluation.errors import at_confidence
from openurine_lib.evaluation.failures import first_cases, share_inside
from openurine_lib.evaluation.metrics import Scored

TAX = taxonomy.load("openurine")
RBC, WBC, YEAST = (TAX.id(name) for name in ("RBC", "WBC", "Yeast"))


def failure_cases(fold):
    return failures.failure_cases([at_confidence(fold)], TAX)


def plot(fold):
    return failures.plot_failures([fold], failure_cases(fold), TAX, "synthetic")


@pytest.fixture
def fold(tmp_path):
    """dense: three yeasts in a row, the middle one missed. merged: one box around two RBC.

    mixed: a WBC called RBC (0.8), an RBC called WBC (0.6), and a WBC called both (not confused).
    """
    truth = [("dense", YEAST, 12 * i, 0, 12 * i + 10, 10) for i in range(3)]
    found = [("dense", YEAST, 0.9, 0, 0, 10, 10), ("dense", YEAST, 0.9, 24, 0, 34, 10)]
    truth += [("merged", RBC, 0, 0, 10, 10), ("merged", RBC, 10, 0, 20, 10)]
    found += [("merged", RBC, 0.7, 0, 0, 21, 21)]
    truth += [
        ("mixed", WBC, 0, 0, 10, 10),
        ("mixed", RBC, 50, 0, 60, 10),
        ("mixed", WBC, 50, 50, 60, 60),
    ]
    found += [
        ("mixed", RBC, 0.8, 0, 0, 10, 10),
        ("mixed", WBC, 0.6, 50, 0, 60, 10),
        ("mixed", WBC, 0.9, 50, 50, 60, 60),
    ]
    found += [
        ("mixed", RBC, 0.7, 50, 50, 60, 60),
        ("mixed", YEAST, 0.1, 90, 90, 99, 99),
    ]  # the last is not confident
    fields = pd.DataFrame({"image": ["dense", "merged", "mixed"]})
    fields["path"] = [str(tmp_path / f"{name}.png") for name in fields["image"]]
    for path in fields["path"]:
        Image.fromarray(np.full((100, 100, 3), 200, dtype=np.uint8)).save(path)
    truth = pd.DataFrame(truth, columns=["image", "cls", *XYXY])
    found = pd.DataFrame(found, columns=["image", "cls", "conf", *XYXY])
    return Scored(truth, found, fields, pd.DataFrame(), 0.5)


def test_each_failure_is_found(fold):
    cases = failure_cases(fold)
    assert cases["failure"].tolist() == ["dense", "merged", "RBC/WBC", "RBC/WBC"]
    assert cases["image"].tolist() == ["dense", "merged", "mixed", "mixed"]
    assert cases["rank"].tolist() == [2, 2, 0.8, 0.6]  # neighbours, boxes held, confidences
    assert cases[XYXY].to_numpy().tolist() == [
        [12, 0, 22, 10],
        [0, 0, 21, 21],
        [0, 0, 10, 10],
        [50, 0, 60, 10],
    ]


def test_inside_is_a_share_of_the_true_box():
    boxes = np.array([[0, 0, 10, 10], [50, 50, 60, 60]], dtype=float)
    assert share_inside(boxes, np.array([[5, 0, 100, 10.0]])).tolist() == [[0.5], [0]]
    long = np.array([[20, 10, 60, 20.0]])  # 40 by 10 pixels, of which 10 by 5 are covered
    assert share_inside(long, np.array([[50, 15, 90, 90.0]])).tolist() == [[0.125]]


def test_one_a_field_as_far_as_there_are_others(fold):
    cases = pd.DataFrame({"failure": pd.Categorical(["dense"] * 4, list(failures.ROWS)), "fold": 0,
                          "image": ["a", "a", "a", "b"], "rank": [9, 8, 7, 3]})  # fmt: skip
    assert first_cases(cases, 2)[["image", "rank"]].to_numpy().tolist() == [["a", 9], ["b", 3]]
    assert first_cases(cases, 3)["rank"].tolist() == [9, 3, 8]


def test_picture(fold):
    figure = plot(fold)
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == [
        "Yeast, 2 neighbours",
        "RBC 0.70 holds 2 boxes",
        "WBC called RBC 0.80",
        "RBC called WBC 0.60",
    ]


def test_picture_without_a_failure(fold):
    perfect = fold._replace(predictions=fold.truth.assign(conf=0.9))
    assert failure_cases(perfect).empty
    texts = [t.get_text() for ax in plot(perfect).axes for t in ax.texts]
    assert len(texts) == 3 and all("no case" in text for text in texts)
