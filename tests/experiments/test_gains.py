"""What each part of the method adds, on stored predictions made by hand."""

import json
import math

import pandas as pd
import pytest
from test_intervals import run, stored  # noqa: F401 (a fixture)

from openurine_lib import published
from openurine_lib.experiments import against_paper, comparison, gains
from openurine_lib.experiments.intervals import Intervals


def trained_in(folder, minutes, device="CPU (x86_64)"):
    folder.mkdir(parents=True, exist_ok=True)
    record = {"minutes": minutes, "device": device}
    (folder / "trained.json").write_text(json.dumps(record))


@pytest.fixture
def table(run):  # noqa: F811
    """Six patients with an RBC each; slices find all, whole fields those of two."""
    stored(run, "yolo12m", "ab")
    stored(run, "yolo12m-sahi", "abcdef")
    stored(run, "yolo12m-sahi-ssl", "abcde")
    for name in ("yolo12m", "yolo12m-sahi", "yolo12m-sahi-ssl"):
        trained_in(run.train_dir(gains.method(name), 0), 12.5)
    trained_in(run.ssl_dir("yolo12n", 0), 4.5)
    both = against_paper.beside(published.table(4), comparison.reproduced_table(run, 4))
    return gains.table4_gains(Intervals(run), both).set_index("part")


def test_a_part_helps_or_hurts_only_if_its_interval_says_so(table):
    slices = table.loc["slices"]
    assert slices.verdict == gains.HELPS and slices.here == pytest.approx(400 / 6, abs=0.5)
    assert 0 < slices.low < slices.here < slices.high
    pretraining = table.loc["self-supervised pretraining"]
    assert pretraining.here < 0 < pretraining.high and pretraining.verdict == gains.UNDECIDED
    heads = table.loc["six heads"]
    assert math.isnan(heads.here) and heads.verdict == gains.NOT_RUN
    assert slices.by_fold == f"{slices.here:+.1f}"  # there is one
    assert slices.paper == pytest.approx(59.91 - 58.66, abs=0.1)
    assert (slices.minutes_without, slices.minutes_with) == (12.5, 12.5)
    assert (pretraining.minutes_without, pretraining.minutes_with) == (12.5, 17.0)
    assert math.isnan(heads.minutes_with)


def test_minutes_of_two_devices_are_not_set_beside_each_other(run):  # noqa: F811
    stored(run, "yolo12m", "ab")
    stored(run, "yolo12m-sahi", "abc")
    trained_in(run.train_dir(gains.method("yolo12m"), 0), 28)
    trained_in(run.train_dir(gains.method("yolo12m-sahi"), 0), 3, "some GPU")
    both = against_paper.beside(published.table(4), comparison.reproduced_table(run, 4))
    slices = gains.table4_gains(Intervals(run), both).set_index("part").loc["slices"]
    assert math.isnan(slices.minutes_without) and math.isnan(slices.minutes_with)
    assert not math.isnan(slices.here)


def test_two_rows_that_are_one_training_say_nothing_of_each_other(run):  # noqa: F811
    """On drawn fields ``recommended`` is the row with six heads alone."""
    stored(run, "yolo12m-sahi", "abc")
    stored(run, "recommended", "abcd")
    both = against_paper.beside(published.table(4), comparison.reproduced_table(run, 4))
    table = gains.table4_gains(Intervals(run), both).set_index("part")
    assert table.loc["six heads", "here"] > 0
    assert table.loc["drawn fields before real ones", "verdict"] == gains.NOT_RUN


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((2.0, 0.5, 3.5), gains.HELPS),
        ((-2.0, -3.5, -0.5), gains.HURTS),
        ((2.0, -0.5, 4.5), gains.UNDECIDED),
        ((2.0, math.nan, math.nan), gains.UNDECIDED),
        ((math.nan,) * 3, gains.NOT_RUN),
        ((-3.9, -6.9, -0.8, [0.6, -11.5, -0.6]), gains.UNDECIDED),
        ((-3.9, -6.9, -0.8, [-0.2, -11.5, -0.6]), gains.HURTS),
        ((6.0, 3.7, 8.3, [4.0, 2.5, 11.5]), gains.HELPS),
        ((2.0, -0.5, 4.5, [4.0, 2.5, 11.5]), gains.UNDECIDED),
    ],
)
def test_verdicts(numbers, said):
    assert gains.verdict(*numbers) == said


def test_a_sentence_tells_several_folds_each():
    row = {"part": "six heads", "paper": 2.1, "here": 6.0, "low": 3.7, "high": 8.3,
           "by_fold": "+4.0, +2.5, +11.5", "verdict": gains.HELPS}  # fmt: skip
    (said,) = gains.sentences(pd.DataFrame([row]))
    told = "+6.0 points of mAP50 here [+3.7, +8.3] (by fold +4.0, +2.5, +11.5), a gain"
    assert said == f"Six heads: {told}; in the paper +2.1."


def test_each_part_has_one_sentence_also_after_a_table_was_read_back(table, tmp_path):
    table.reset_index().to_csv(tmp_path / "gains.csv", index=False)
    said = list(gains.sentences(pd.read_csv(tmp_path / "gains.csv")))
    assert len(said) == len(gains.PARTS)
    assert said[0].startswith("Slices: +66.") and said[0].endswith("a gain; in the paper +1.2.")
    assert said[2].startswith("Six heads: not run here (in the paper +2.1 points of mAP50).")
    assert said[-4] == "Drawn fields before real ones: not run here (not in the paper)."
