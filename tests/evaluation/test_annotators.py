"""Two annotators of the same fields."""

import shutil

import four_forms as ff
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from openurine_lib.cli import main
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.evaluation import annotators

TWO = Taxonomy("t", ("a", "b"), {"Cells": (0, 1)}, {}, {})
COLUMNS = ["image", "cls", "x1", "y1", "x2", "y2"]


def boxes(*rows):
    return pd.DataFrame([(*row, row[2] + 10, row[3] + 10) for row in rows], columns=COLUMNS)


def test_boxes_are_matched_whatever_their_classes_and_each_once():
    one = boxes(("f", 0, 0, 0), ("f", 0, 4, 0), ("f", 1, 50, 50), ("g", 0, 0, 0))
    other = boxes(("f", 1, 1, 0), ("f", 0, 5, 0), ("h", 1, 0, 0))
    matched = annotators.pairs(one, other)
    assert sorted(map(tuple, matched.to_numpy().tolist())) == [
        ("f", 0, 0), ("f", 0, 1), ("f", 1, -1), ("g", 0, -1), ("h", -1, 1),
    ]  # fmt: skip


def test_kappa_is_scikit_learns_and_none_where_all_is_one_class():
    one, other = [0, 0, 1, 1, 0, -1], [0, 1, 1, 1, -1, 1]
    matched = pd.DataFrame({"image": "f", "cls": one, "cls_other": other})
    table = annotators.agreement(matched, TWO).set_index("class")
    assert table.loc["a", ["boxes", "boxes_other", "both"]].tolist() == [3, 1, 1]
    wanted = cohen_kappa_score(np.array(one) == 0, np.array(other) == 0)
    assert table.loc["a", "kappa"] == pytest.approx(wanted)
    assert table.loc[annotators.ALL, "kappa"] == pytest.approx(
        cohen_kappa_score([0, 0, 1, 1], [0, 1, 1, 1])
    )
    same = annotators.agreement(matched.assign(cls=0, cls_other=0), TWO)
    assert same.kappa.isna().all()


def test_two_folders_are_compared_from_the_command_line(tmp_path, capsys):
    one = ff.table(tmp_path / "one")
    other = tmp_path / "other"
    shutil.copytree(one, other)
    text = (other / "boxes.csv").read_text().splitlines()
    (other / "boxes.csv").write_text("\n".join(text[:-1]) + "\n")  # one box was not drawn
    for folder in (one, other):
        (folder / "slides.csv").unlink(missing_ok=True)  # patients do not matter here
    assert main(["compare", str(one), str(other)]) == 0
    out = capsys.readouterr().out
    n = len(text) - 1
    assert f"{len(ff.BOXES)} fields that both have" in out
    last = out.splitlines()[-1].split()
    assert last[-4:-1] == [str(n), str(n - 1), str(n - 1)] and float(last[-1]) == 1
    shutil.rmtree(other / "images")
    (other / "images").mkdir()
    assert main(["compare", str(one), str(other)]) == 2
