"""Fig. 4 can be read at any number of trials: few ticks, plain labels, and a word where need be."""

from itertools import combinations

import matplotlib
import numpy as np
import pandas as pd
import pytest

from openurine_lib import style
from openurine_lib.experiments import training_curves
from openurine_lib.published import METRICS
from openurine_lib.training.trials import space_of

matplotlib.use("Agg")


SPACE = space_of(["Cells", "Casts", "Crystals", "Microorganisms", "Artifact", "Others"])


def trials(n: int, scores: list[float] | None = None) -> pd.DataFrame:
    """Invented trials over the whole space, the first near the others (as in a short search)."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"trial": range(n)})
    for name, span in SPACE.items():
        low, high = np.log([span.low, span.high]) if span.log else (span.low, span.high)
        drawn = low + (high - low) * (0.5 + 0.02 * rng.random(n))
        table[name] = np.exp(drawn) if span.log else drawn
    found = rng.random(n) if scores is None else scores
    return table.assign(epochs=4, halfway=np.asarray(found) / 2, **dict.fromkeys(METRICS, found))


def panels(figure):
    return figure.axes[: len(SPACE)]


def tick_labels(ax):
    """Those that are drawn: matplotlib keeps ticks beyond the ends, too."""
    low, high = ax.get_xlim()
    return [t for t in ax.get_xticklabels(which="both") if low <= t.get_position()[0] <= high]


@pytest.mark.parametrize("n", [1, 3, 40])
def test_ticks_are_few_plain_and_apart(n):
    figure = training_curves.plot_search(trials(n), "map50", "synthetic")
    figure.canvas.draw()
    for ax, (name, span) in zip(panels(figure), SPACE.items(), strict=True):
        labels = [t for t in tick_labels(ax) if t.get_text()]
        assert 2 <= len(labels) <= 4, name
        assert all(float(t.get_text()) == pytest.approx(t.get_position()[0]) for t in labels)
        low, high = ax.get_xlim()
        assert low < span.low and span.high < high  # the whole range that was searched
    for row in np.array_split(panels(figure), range(4, len(SPACE), 4)):
        words = [t.get_window_extent() for ax in row for t in tick_labels(ax)]
        assert not [(a, b) for a, b in combinations(words, 2) if a.overlaps(b)]


@pytest.mark.parametrize(
    ("table", "word"),
    [
        (trials(1), "too few"),
        (trials(training_curves.FEW_TRIALS - 1), "too few"),
        (trials(training_curves.FEW_TRIALS), ""),
        (trials(40, [0.0] * 40), "score alike"),
    ],
)
def test_a_word_where_trials_say_nothing(table, word):
    title = training_curves.plot_search(table, "map50", "synthetic").legends[0].get_title()
    assert word in title.get_text() and bool(word) == bool(title.get_text())
    assert title.get_color() == style.HERE_COLOUR


def test_the_first_and_the_best_trial_are_marked():
    table = trials(12, [0.1] * 11 + [0.4])
    ax = panels(training_curves.plot_search(table, "recall", "synthetic"))[0]
    everything, pruned, first, best = (np.asarray(c.get_offsets()) for c in ax.collections)
    assert len(everything) == 12 and len(pruned) == 0
    assert first.tolist() == [[table["lr0"][0], 10.0]] and best.tolist() == [
        [table["lr0"][11], 40.0]
    ]
    assert ax.get_ylabel() == "Recall (%)"
    assert ax.get_ylim()[0] < 10 and ax.get_ylim()[1] > 40


def test_pruned_trials_are_hollow_and_never_the_best():
    table = trials(12, [0.1] * 10 + [0.2, 0.4])
    table.loc[11, "epochs"] = 2  # the highest score, after half of the epochs
    figure = training_curves.plot_search(table, "map50", "synthetic")
    whole, pruned, _, best = panels(figure)[0].collections
    assert len(whole.get_offsets()) == 11 and len(pruned.get_offsets()) == 1
    assert len(pruned.get_facecolor()) == 0
    assert np.asarray(best.get_offsets()).tolist() == [[table["lr0"][10], 20.0]]
    names = [t.get_text() for t in figure.legends[0].get_texts()]
    assert "stopped after half of the epochs" in names


def test_scores_that_are_all_zero_do_not_reach_below_zero():
    ax = panels(training_curves.plot_search(trials(3, [0.0] * 3), "map50", "synthetic"))[0]
    assert ax.get_ylim()[0] > -0.1 and ax.get_ylim()[1] >= 0.5
