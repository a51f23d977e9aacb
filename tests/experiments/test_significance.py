"""Each row against the paper's method: known answers on stored predictions."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tiny

from openurine_lib.data import taxonomy
from openurine_lib.data.boxes import XYXY
from openurine_lib.experiments import significance
from openurine_lib.experiments.methods import profile
from openurine_lib.experiments.run import Run

BOXES = 6  # a field


def fields(groups: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    images = pd.DataFrame(
        {"image": [f"f{i}" for i in range(groups)], "group": [f"g{i}" for i in range(groups)]}
    )
    truth = [
        (image, k % 3, 30 * k, 0, 30 * k + 20, 20)
        for image in images["image"]
        for k in range(BOXES)
    ]
    return images, pd.DataFrame(truth, columns=["image", "cls", *XYXY]).astype(
        dict.fromkeys(XYXY, float)
    )


def make_run(root, monkeypatch, groups=12, profile_name="demo"):
    monkeypatch.setenv("OPENURINE_ROOT", str(root))
    images, truth = fields(groups)
    run = Run("synthetic", profile(profile_name))
    run.__dict__["dataset"] = SimpleNamespace(
        taxonomy=taxonomy.load("openurine"),
        test_images=lambda fold, limit: images,
        boxes_of=lambda images: truth,
    )
    return run, truth


def store(run, name, truth, share, seed=0, fold=0):
    """Predictions that find ``share`` of the true boxes."""
    rng = np.random.default_rng(seed)
    found = truth[rng.random(len(truth)) < share]
    columns = ["image", "cls", "conf", *XYXY]
    found = found.assign(conf=rng.uniform(0.2, 0.9, len(found)))[columns]
    tiny.store(run, name, fold, predictions=found)


def line(table, name):
    return table.set_index("method").loc[name]


def test_an_equal_method_and_clearly_worse_and_better_ones(tmp_path, monkeypatch):
    run, truth = make_run(tmp_path, monkeypatch)
    store(run, "ours-yolo12m", truth, 0.6)
    store(run, "yolov8m", truth, 0.6)
    store(run, "yolov9m", truth, 0.1, seed=1)
    store(run, "yolo11m", truth, 1.0, seed=2)
    table = significance.table4_significance(run, resamples=1999)
    same, worse, better = (line(table, name) for name in ("yolov8m", "yolov9m", "yolo11m"))
    assert (same["difference"], same["low"], same["high"], same["p"], same["p_holm"]) == (
        0,
        0,
        0,
        1,
        1,
    )
    assert worse["high"] < 0 and worse["difference"] < -30 and better["low"] > 0
    assert worse["p"] == better["p"] == pytest.approx(1 / 2000)
    assert worse["p_holm"] == pytest.approx(3 / 2000)  # the smallest of three comparisons
    assert (same["folds"], same["groups"]) == (1, 12) and np.isnan(same["p_wilcoxon"])
    marked = significance.note_differences(
        pd.DataFrame({"method": ["yolov8m", "yolo11m"], "note": ["", "a"]}), table
    )
    assert marked["note"][0] == ""
    assert marked["note"][1] == (
        f"a; mAP50 here {better['difference']:+.1f} points against the paper's method"
        " (Holm p 0.0015)"
    )


def test_rows_of_one_run_count_once_and_those_not_run_are_absent(tmp_path, monkeypatch):
    run, truth = make_run(tmp_path, monkeypatch)
    store(run, "ours-yolo12m", truth, 0.9)
    store(run, "yolo12n", truth, 0.2, seed=1)  # in demo also yolo12s, m, l, x
    table = significance.table4_significance(run, resamples=999)
    assert set(table["method"]) == {"yolo12n", "yolo12s", "yolo12m", "yolo12l", "yolo12x"}
    assert table["p_holm"].nunique() == 1 and (table["p_holm"] == table["p"]).all()


def test_too_few_patients_are_no_test_and_nothing_stored_is_an_empty_table(tmp_path, monkeypatch):
    run, truth = make_run(tmp_path, monkeypatch, groups=3)
    assert significance.table4_significance(run).empty
    store(run, "ours-yolo12m", truth, 0.9)
    assert significance.table4_significance(run).empty
    store(run, "yolov8m", truth, 0.2, seed=1)
    row = line(significance.table4_significance(run), "yolov8m")
    assert row["difference"] < 0 and np.isnan([row["p"], row["p_holm"], row["low"]]).all()
    assert "fewer than 5 groups" in row["note"]


def test_five_folds_are_averaged_and_tested_by_wilcoxon(tmp_path, monkeypatch):
    run, truth = make_run(tmp_path, monkeypatch, profile_name="paper")
    for fold in range(5):
        store(run, "ours-yolo12m", truth, 0.9, seed=fold, fold=fold)
        store(run, "yolov8m", truth, 0.3, seed=9 + fold, fold=fold)
        store(run, "yolov9m", truth, 0.9, seed=fold, fold=fold)
    table = significance.table4_significance(run, resamples=999)
    worse, same = line(table, "yolov8m"), line(table, "yolov9m")
    assert worse["folds"] == 5 and worse["groups"] == 60
    assert worse["p_wilcoxon"] == pytest.approx(2 / 2**5)  # all five differences negative
    assert same["p_wilcoxon"] == 1 and same["difference"] == 0


def test_a_line_by_hand():
    resampled = np.linspace(
        -0.1, 0.3, 401
    )  # 202 of 401 lie by 0.1 or more from 0.1: 0 and below, 0.2 and above
    found = significance.line_of_differences(resampled, [0.1], groups=7)
    assert found["difference"] == pytest.approx(10)
    assert (found["low"], found["high"]) == pytest.approx((-9, 29))
    assert found["p"] == pytest.approx(203 / 402)


def test_patients_are_resampled_and_not_their_fields(tmp_path, monkeypatch):
    """Six patients of three fields; the row misses all of one patient and is else the same.

    k of six draws are that patient, binomial(6, 1/6): |k - 1| is 3 or more in 0.9 % of them, so the
    interval is 1 +- 2 of six. Over eighteen fields it would be half as wide.
    """
    run, truth = make_run(tmp_path, monkeypatch, groups=18)
    images = run.dataset.test_images(0, None)
    images["group"] = [f"patient {i // 3}" for i in range(18)]
    store(run, "ours-yolo12m", truth, 1.0)
    missed = images.loc[images["group"] == "patient 0", "image"]
    store(run, "yolov8m", truth[~truth["image"].isin(missed)], 1.0)
    row = line(significance.table4_significance(run, resamples=1999), "yolov8m")
    assert row["groups"] == 6
    ends = row["difference"], row["low"], row["high"]
    # the trapezoid's last step makes half a point of difference
    assert ends == pytest.approx((-100 / 6, -300 / 6, 100 / 6), abs=1)
    assert row["p"] > 0.05


def test_five_patients_are_enough_for_a_test(tmp_path, monkeypatch):
    run, truth = make_run(tmp_path, monkeypatch, groups=5)
    store(run, "ours-yolo12m", truth, 1.0)
    store(run, "yolov8m", truth, 0.1, seed=1)
    row = line(significance.table4_significance(run, resamples=999), "yolov8m")
    # the signs of five patients have 32 patterns, and two ends
    assert row["p"] == 2 / 2**5 and row["high"] < 0 and row["note"] == ""
