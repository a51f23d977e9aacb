"""Tables 4-6 assembled from metrics files in a run folder."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tiny
from matplotlib.colors import to_hex

from openurine_lib import published, style
from openurine_lib.data import taxonomy
from openurine_lib.experiments import against_paper, comparison
from openurine_lib.experiments.methods import method, methods, profile
from openurine_lib.experiments.run import Run

BEYOND_THE_PAPER = (
    "yolo26m",
    "yolo12m-sahi-longer",
    "ours-uncut",
    "recommended",
    "recommended-at-once",
    "recommended-two-looks",
    "recommended-one-head",
)  # they come last


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENURINE_ROOT", str(tmp_path))
    return make_run("demo")


def make_run(profile_name, classes="openurine"):
    made = Run("synthetic", profile(profile_name))
    made.__dict__["dataset"] = SimpleNamespace(
        taxonomy=taxonomy.load(classes), synthetic=True, fingerprint="none", meta={}
    )
    return made


def store(run, name, fold=0, ap50=0.5):
    """A metrics file of two classes, one of them absent."""
    row = {"cls": 0, "boxes": 5, "precision": 0.8, "recall": 0.6, "ap50": ap50, "ap50_95": 0.3}
    tiny.store(run, name, fold, metrics=pd.DataFrame([row, {"cls": 1, "boxes": 0}]))


def line(table, name):
    return table.set_index("method").loc[name]


@pytest.mark.parametrize("n", [4, 5, 6])
def test_every_published_row_has_a_method_in_the_papers_order(run, n):
    table = comparison.reproduced_table(run, n)
    rows = list(dict.fromkeys(table["row"]))
    more = [method(name).answers[4] for name in BEYOND_THE_PAPER] if n == 4 else []
    assert rows == [*published.table(n)["row"], *more]
    assert set(table["method"]) == {m.id for m in methods().values() if n in m.answers}
    assert set(table["reason"]) <= {"not run"}


def test_the_precision_is_over_detected_classes_and_ultralytics_mean_stands_beside(run):
    common = {"boxes": 5, "recall": 0.5, "ap50": 0.5, "ap50_95": 0.3}
    rows = [
        common | {"cls": 0, "precision": 0.6, "precision_ultralytics": 0.6},
        common | {"cls": 1, "precision": np.nan, "precision_ultralytics": 1.0},
    ]
    tiny.store(run, "yolov8m", metrics=pd.DataFrame(rows))
    row = line(comparison.reproduced_table(run, 4), "yolov8m")
    assert row["precision"] == pytest.approx(60)
    assert (row["precision_ultralytics"], row["undetected"]) == (pytest.approx(80), 1)
    not_run = line(comparison.reproduced_table(run, 4), "yolov9m")
    assert np.isnan(not_run[["precision", "precision_ultralytics", "undetected"]].tolist()).all()


def test_one_fold_has_no_deviation(run):
    store(run, "yolov8m")
    row = line(comparison.reproduced_table(run, 4), "yolov8m")
    assert (row["precision"], row["map50"], row["folds"]) == (80, 50, 1)
    assert np.isnan(row["map50_std"])
    assert (row["network"], row["epochs"], row["reason"]) == ("yolov8n", run.profile.epochs, "")


def test_mean_and_deviation_over_the_folds_that_ran(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENURINE_ROOT", str(tmp_path))
    run = make_run("paper")
    store(run, "yolov8m", 0, 0.4)
    store(run, "yolov8m", 3, 0.6)
    row = line(comparison.reproduced_table(run, 4), "yolov8m")
    assert row["map50"] == pytest.approx(50)
    assert row["map50_std"] == pytest.approx(20 / 2**0.5)
    assert row["note"] == "2 of 5 folds"
    assert row["network"] == "yolov8m"


def test_rows_that_coincide_say_so_and_share_numbers(run):
    store(run, "yolo12n")
    four = comparison.reproduced_table(run, 4)
    assert line(four, "yolo12x")["note"] == "yolo12n stands for yolo12x; same run as YOLO12-nano"
    assert line(four, "yolo12x")["map50"] == line(four, "yolo12n")["map50"] == 50
    assert line(four, "yolo12m-sahi")["reason"] == "not run"
    assert (
        line(comparison.reproduced_table(run, 6), "yolo12n-960")["note"]
        == "same run as YOLO12-nano (Table 4)"
    )


def test_no_row_claims_to_be_another_in_the_papers_profile_but_the_two_of_table_6_and_4(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("OPENURINE_ROOT", str(tmp_path))
    run = make_run("paper")
    same = {m.id: comparison.same_run_as(run, m, n) for m in methods().values() for n in m.answers}
    assert {k: v for k, v in same.items() if v} == {"yolo12n-960": "YOLO12-nano (Table 4)"}


def test_fidelity_reasons_and_references_are_printed(run):
    store(run, "li2020-retinanet")
    both = against_paper.beside(published.table(4), comparison.reproduced_table(run, 4))
    row = comparison.page_columns(both).set_index("row").loc["Li et al. [27]"]
    assert row["doi"] == method("li2020-retinanet").doi == "10.1002/mp.14118"
    # a smaller network stands for it in demo
    assert row["fidelity"].startswith("approximate, reduced: retinanet_resnet18_fpn for")
    assert "anchors" in row["note"]
    own = line(comparison.reproduced_table(make_run("paper"), 4), "li2020-retinanet")
    assert own["fidelity"] == "approximate"
    assert all(m.fidelity in ("faithful", "approximate", "substitute") for m in methods().values())
    assert all(m.why for m in methods().values() if m.fidelity != "faithful")


def test_sizes_nominal_and_effective(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENURINE_ROOT", str(tmp_path))
    six = comparison.reproduced_table(make_run("paper"), 6)
    assert list(six["nominal"]) == [40, 80, 160, 320, 640, 960, 1280]
    assert list(six["effective"]) == [64, 96, 160, 320, 640, 960, 1280]


def test_drop_is_full_minus_row(run):
    store(run, "ours-yolo12m", ap50=0.5)
    store(run, "without-casts", ap50=0.3)
    drops = comparison.table5_drops(comparison.reproduced_table(run, 5)).set_index("row")
    assert drops.loc["Without casts head", "map50"] == pytest.approx(20)
    assert comparison.FULL not in drops.index
    paper = comparison.table5_drops(published.table(5)).set_index("row")
    assert paper.loc["Without microorganisms head", "map50"] == pytest.approx(64.15 - 59.47)


def test_a_head_without_classes_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENURINE_ROOT", str(tmp_path))
    five = comparison.reproduced_table(make_run("demo", "urised2k"), 5)
    assert "no class in the head Casts" in line(five, "without-casts")["note"]
    assert "no class" not in line(five, "without-cells")["note"]


@pytest.mark.parametrize("n", [4, 5, 6])
def test_beside_the_published(run, n):
    store(run, "yolo12n")
    both = against_paper.beside(published.table(n), comparison.reproduced_table(run, n))
    assert len(both) == len(comparison.reproduced_table(run, n))
    assert {"network", "note", "reason", "map50_paper", "map50_here", "map50_difference"} <= set(
        both
    )
    assert list(comparison.page_columns(both)["row"]) == list(
        comparison.reproduced_table(run, n)["row"]
    )
    assert "not run" in comparison.missing_rows(both)


def test_figures(run):
    store(run, "yolo12n")
    both = against_paper.beside(published.table(4), comparison.reproduced_table(run, 4))
    assert len(comparison.plot_table4_scatter(both, "synthetic").axes) == 1
    assert (
        len(
            comparison.plot_table6_sizes(
                published.table(6), comparison.reproduced_table(run, 6), "synthetic"
            ).axes
        )
        == 4
    )


def test_the_papers_method_stands_out_among_the_bars(run):
    numbers = {"map50_here": [40.0, 50.0], "map50_paper": [58.7, 64.2], "reason": ""}
    steps = pd.DataFrame({"row": ["YOLOv12-M", "Our method"]} | numbers)
    bars = comparison.plot_parts(steps, "synthetic").axes[0].patches
    assert [to_hex(bar.get_facecolor()) for bar in bars] == [
        to_hex(style.SERIES["teal"]), to_hex(style.HERE_COLOUR),
    ]  # fmt: skip


def test_a_row_that_cannot_learn_in_the_budget_says_path_only(run, tmp_path):
    store(run, "vitdet")
    note = line(comparison.reproduced_table(run, 4), "vitdet")["note"]
    assert "; path only: in so few passes it learns to find nothing; from random weights" in note
    assert "where its authors start from a masked autoencoder's ImageNet weights" in note
    assert "path only" not in line(comparison.reproduced_table(run, 4), "yolov8m")["note"]
    study = make_run("study")
    assert "path only" not in line(comparison.reproduced_table(study, 4), "vitdet")["note"]
