"""Milliseconds a field: the table by hand, the rounds, the Pareto front, names apart."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tiny
from matplotlib.text import Text

from openurine_lib import style
from openurine_lib.experiments import families, latency
from openurine_lib.experiments.methods import method, methods, predict_key, profile
from openurine_lib.experiments.run import Run


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENURINE_ROOT", str(tmp_path))
    made = Run("synthetic", profile("demo"))
    images = pd.DataFrame({"path": [f"{i}.png" for i in range(9)]})
    made.__dict__["dataset"] = SimpleNamespace(test_images=lambda fold, limit: images)
    return made


def test_the_table_by_hand(run):
    rows = [
        method("ours-yolo12m"),
        method("yolo12n"),
        method("yolo12x"),
    ]  # in demo the last two are one run
    ms = {
        predict_key(rows[0], run.profile): np.array([[10.0, 20, 30], [20, 40, 60]]),
        predict_key(rows[1], run.profile): np.array([[5.0, 5, 5], [5, 5, 5]]),
    }
    table = latency.latency_table(run, rows, ms).set_index("method")
    ours = table.loc["ours-yolo12m"]
    assert (ours["ms"], ours["ms_low"], ours["ms_high"], ours["against_ours"]) == (25, 20, 40, 1)
    assert (ours["way"], ours["network"]) == ("sliced", "yolo12n")
    assert table.loc["yolo12n", "against_ours"] == table.loc["yolo12x", "against_ours"] == 0.2


def test_rounds_take_turns_and_the_first_field_is_not_counted(run, monkeypatch):
    calls = []
    for name in ("ours-yolo12m", "yolo12n", "yolov8m"):
        tiny.store(run, name)
    monkeypatch.setattr(latency, "read_rgb", lambda path: path)
    monkeypatch.setattr(latency, "_detector", lambda run, m, fold: m.id)

    def fake_clock(run, m, detector, image):
        calls.append((detector, image))
        return len(calls)

    monkeypatch.setattr(latency, "_timed", fake_clock)
    table = latency.measure(run, fields=2, rounds=2)
    names = ["yolov8m", "yolo12n", "ours-yolo12m"]  # the order of the file
    assert [d for d, _ in calls] == names * 5
    assert [i for _, i in calls[::3]] == ["0.png", "0.png", "1.png", "0.png", "1.png"]
    # the fake clock counts calls: yolov8m had numbers 4, 7 and 10, 13; the first was not counted
    assert table.set_index("method").loc["yolov8m", ["ms", "ms_low", "ms_high"]].tolist() == [
        8500,
        5500,
        11500,
    ]
    assert {"yolo12n", "yolo12x", "yolo12m"} <= set(table["method"]) and "rtdetr-l" not in set(
        table["method"]
    )


def test_rows_that_were_not_timed_stay_with_a_reason():
    table4 = pd.DataFrame({"row": ["A", "B", "C"], "method": ["a", "b", "c"]})
    table4 = table4.assign(map50_here=[1.0, 2.0, np.nan], reason=["", "", "not run"])
    times = pd.DataFrame([["A", "a", "net", "whole", 5.0, 4.0, 6.0, 1.0]], columns=latency.COLUMNS)
    sized = pd.DataFrame(
        {"method": ["a", "b", "c"], "params_m": [1.0, 2, 3], "gflops": [4.0, 5, 6]}
    )
    costs = latency.table4_latency(table4, times, sized)
    assert costs["reason"].tolist() == ["", "no weights here to time", "not run"]
    assert (
        costs.loc[0, ["ms", "map50", "gflops"]].tolist() == [5, 1, 4]
        and costs["ms"].isna().sum() == 2
    )


def test_nothing_trained_is_an_empty_table_and_figure(run, monkeypatch):
    monkeypatch.setattr(latency, "read_rgb", lambda path: path)
    table = latency.measure(run)
    assert table.empty and list(table) == latency.COLUMNS
    figure = latency.plot_latency_scatter(table.assign(map50=[]), "synthetic")
    assert [text.get_text()[:10] for text in figure.axes[0].texts] == ["No weights"]


def test_sentences_also_where_nothing_or_not_the_method_was_timed():
    costs = pd.DataFrame({
        "row": ["quick", "Our method", "slow"], "method": ["a", "ours-yolo12m", "c"],
        "ms": [10.0, 40.0, 50.0], "against_ours": [0.25, 1, 1.25], "map50": [30.0, 60.0, 50.0],
    })  # fmt: skip
    field, front = latency.sentences(costs)
    assert "0.04 seconds" in field and "quick, needs 25%" in field
    assert "2 of 3 rows" in front and "from quick (the quickest) to Our method" in front
    assert len(list(latency.sentences(costs.drop(1)))) == 1
    (nothing,) = latency.sentences(costs.assign(ms=float("nan")))
    assert nothing.startswith("No weights")


def test_the_front_by_hand():
    cost, gain = pd.Series([1, 2, 3, 2, 5.0]), pd.Series([10, 30, 20, 30, 40.0])
    assert latency.pareto_front(cost, gain).tolist() == [True, True, False, True, True]


def table4(**columns):
    """Every row of Table 4 with invented numbers."""
    rows = [m for m in methods().values() if 4 in m.answers]
    table = pd.DataFrame(
        {
            "row": [m.answers[4] for m in rows],
            "method": [m.id for m in rows],
            "network": [m.arch for m in rows],
            "way": [m.way for m in rows],
            "ms": np.exp(np.random.default_rng(1).normal(4, 0.5, len(rows))),
        }
    )
    return table.assign(**columns)


ROWS = len([m for m in methods().values() if 4 in m.answers])
CROWDED = {
    "scattered": np.random.default_rng(2).normal(50, 2, ROWS),
    "nothing found": np.zeros(ROWS),
    "two heights": np.arange(ROWS) % 2 * 40.0,
}


@pytest.mark.parametrize("map50", CROWDED.values(), ids=CROWDED)
def test_names_do_not_overlap(map50):
    table = table4(map50=map50)
    table.loc[1, ["ms", "map50"]] = table.loc[0, ["ms", "map50"]].tolist()
    fig = latency.plot_latency_scatter(table, "synthetic")
    texts = [t for t in fig.axes[0].texts if t.get_text()]
    assert len(texts) == ROWS - 1
    assert f"{table['row'][0]} (+1)" in {t.get_text() for t in texts}
    fig.canvas.draw()
    words = [Text.get_window_extent(t) for t in texts]
    assert not [(a, b) for a, b in combinations(words, 2) if a.overlaps(b)]
    assert all(fig.axes[0].bbox.count_contains([w.min, w.max]) == 2 for w in words)


def test_colours_are_families_and_the_papers_method_stands_out():
    table = table4(map50=CROWDED["scattered"])
    axes = latency.plot_latency_scatter(table, "synthetic").axes[0]
    dots = {(line.get_xdata()[0], line.get_ydata()[0]): line for line in axes.lines[1:]}
    looks = {row.row: dots[row.ms, row.map50] for row in table.itertuples()}
    ours = looks.pop("Our method (YOLOv12-M backbone)")
    assert ours.get_color() == style.HERE_COLOUR
    others = [look for row, look in looks.items() if not row.startswith("Our method")]
    assert max(o.get_markersize() for o in others) < ours.get_markersize()
    assert style.HERE_COLOUR not in {o.get_color() for o in others}
    assert looks["ViTDet"].get_color() == families.COLOURS["R-CNN (two stages)"]
    bold = [t.get_text() for t in axes.texts if t.get_weight() == "bold"]
    assert len(bold) == 3 and all(t.startswith("Our method") for t in bold)


def test_every_network_has_a_family():
    smaller = [m for name in ("study", "paper") for m in profile(name).smaller.values()]
    networks = {m.arch for m in methods().values()} | set(smaller)
    assert not [n for n in networks if families.family(n) == families.OTHER]
    assert families.family("a new network") == families.OTHER
