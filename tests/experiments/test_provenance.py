"""Tables and figures know where they came from, and two runs write the same bytes."""

import json
import os
import subprocess
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from openurine_lib import files, open_run, style
from openurine_lib.experiments import formatting, provenance
from openurine_lib.experiments.run import Run


@pytest.fixture
def run() -> Run:
    run = open_run()
    run.__dict__["dataset"] = SimpleNamespace(
        synthetic=True, fingerprint="f1", meta={}
    )  # in place of drawing one
    return run


@pytest.fixture
def df() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "row": ["a_b|c", "x & y"],
            "n": [1, 2],
            "map50": [85.234, np.nan],
            "map50_std": [0.31, np.nan],
            "d": [-0.01, None],
        }
    )


def test_atomic_path_replaces_on_success_and_leaves_nothing_on_failure(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.csv"
    with files.atomic_path(target) as temporary:
        assert temporary.parent == target.parent and temporary.suffix == ".csv"
        temporary.write_text("1")
    with pytest.raises(RuntimeError), files.atomic_path(target) as temporary:
        temporary.write_text("2")
        raise RuntimeError
    assert target.read_text() == "1"
    assert [f.name for f in target.parent.iterdir()] == ["a.csv"]


def test_a_text_is_no_formula_in_a_spreadsheet_and_a_number_stays_one(run: Run) -> None:
    texts = ["=HYPERLINK(1)", "+1", "-a", "@SUM(1)", "plain"]
    df = pd.DataFrame({"patient": texts, "d": [-0.5, 1, 2, -3, np.nan], "n": [-1, -2, 3, 4, 5]})
    df["k"] = pd.array([-1, None, 3, 4, 5], dtype="Int64")
    provenance.save_table(run, "table8", df, "Patients")
    back = pd.read_csv(run.figures / "table8.csv", dtype={"k": "Int64"})
    assert "-1.0" not in (run.figures / "table8.csv").read_text()
    assert list(back.patient) == ["'=HYPERLINK(1)", "'+1", "'-a", "'@SUM(1)", "plain"]
    pd.testing.assert_frame_equal(back[["d", "n", "k"]], df[["d", "n", "k"]])


def test_table_files(run: Run, df: pd.DataFrame) -> None:
    provenance.save_table(run, "table4", df, "Comparison", decimals={"map50": 2}, fold=0)
    pd.testing.assert_frame_equal(pd.read_csv(run.figures / "table4.csv"), df)
    md, tex = ((run.figures / f"table4.{s}").read_text() for s in ("md", "tex"))
    assert md.startswith("**Comparison. (synthetic data; smoke profile")
    assert (
        "85.23 ± 0.31" in md and r"a_b\|c" in md and "|            — |" in md and "-0.0" not in md
    )
    assert tex.index(r"\caption{Comparison. (synthetic data") < tex.index(r"\begin{tabular}")
    assert (
        r"a\_b\textbar{}c & 1 & 85.23 $\pm$ 0.31 & 0.0" in tex and r"x \& y & 2 & --- & ---" in tex
    )
    stamp = json.loads((run.figures / "table4.json").read_text())
    assert stamp["fold"] == 0 and stamp["dataset"] == {
        "name": "synthetic",
        "fingerprint": "f1",
        "synthetic": True,
    }
    assert {"commit", "dirty", "profile", "settings", "versions", "seed", "device", "time"} <= set(
        stamp
    )


def test_tables_of_two_runs_are_the_same_bytes(
    run: Run, df: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def written() -> list[bytes]:
        provenance.save_table(run, "t", df, "T")
        return [(run.figures / f"t.{s}").read_bytes() for s in ("csv", "md", "tex")]

    first = written()
    monkeypatch.setattr(provenance, "code_state", lambda: ("another commit", True))
    assert written() == first


def test_missing_numbers_show_as_asked(df: pd.DataFrame) -> None:
    assert list(formatting.formatted(df, missing="not run")["map50"]) == ["85.2 ± 0.3", "not run"]
    assert list(formatting.formatted(df.assign(map50_std=None))["map50"]) == ["85.2", "—"]
    ends = df.assign(map50_std=None, map50_low=[80.0, None], map50_high=[90.04, None])
    assert list(formatting.formatted(ends)["map50"]) == ["85.2 [80.0, 90.0]", "—"]
    assert list(formatting.formatted(ends.assign(map50_low=None))["map50"]) == ["85.2", "—"]
    assert "map50_low" not in formatting.formatted(ends)


def test_an_empty_table_is_written(run: Run, df: pd.DataFrame) -> None:
    provenance.save_table(run, "t", df.iloc[:0], "T")
    assert pd.read_csv(run.figures / "t.csv").empty


def test_figure_carries_its_stamp_inside(run: Run) -> None:
    fig, ax = plt.subplots()
    ax.plot([0, 1])
    provenance.save_figure(run, "fig1", fig, "Übersicht, 10 µm", method="ours")
    stamp = provenance.read_stamp(run.figures / "fig1.png")
    assert stamp["method"] == "ours" and stamp["caption"] == "Übersicht, 10 µm"
    assert any(run.banner() in text.get_text() for text in fig.texts)
    assert b"/Keywords" in (run.figures / "fig1.pdf").read_bytes()
    assert not (run.figures / "fig1.json").exists()
    plt.close(fig)


def test_a_saved_figure_is_as_matplotlib_cuts_it_and_shows_its_banner(run: Run) -> None:
    fig, axes = plt.subplots(2, 2, figsize=(4, 3), layout="constrained")
    axes[1, 0].set(ylabel="a long name of an axis", title="T" * 80)  # wider than the figure
    provenance.save_figure(run, "fig1", fig, "Panels")
    saved = plt.imread(run.figures / "fig1.png")
    fig.savefig(run.figures / "by_itself.png", bbox_inches="tight")
    by_itself = plt.imread(run.figures / "by_itself.png")
    assert np.abs(np.subtract(saved.shape, by_itself.shape)).max() <= 3  # pixels
    fig.texts[-1].set_visible(False)
    fig.savefig(run.figures / "without.png", bbox_inches="tight")
    assert (
        len(saved) > len(plt.imread(run.figures / "without.png")) + 5
    )  # a line of text at 100 dpi
    plt.close(fig)


def test_a_line_longer_than_the_figure_is_saved_to_its_last_letter(run: Run) -> None:
    """A small figure's dots are coarser on the screen than in the file, and its letters wider."""
    with plt.rc_context():
        style.use()
        fig, ax = plt.subplots(figsize=(1.5, 1))
        ax.set_title(f"{run.banner()}; " * 2, fontsize=5)
        provenance.save_figure(run, "long", fig, "a caption")
    ink = plt.imread(run.figures / "long.png")[..., :3].min(axis=(0, 2)) < 0.9  # (W,)
    assert ink.any() and not ink[:3].any() and not ink[-3:].any()


def test_what_uses_no_data_does_not_touch_it() -> None:
    stamp = provenance.stamp(
        open_run(), uses_data=False
    )  # a data set that is not there would be drawn
    assert stamp["dataset"] is None and stamp["face"] == provenance.PUBLISHED_ONLY


def test_no_machine_paths_in_a_stamp(run: Run, tmp_path: Path) -> None:
    text = json.dumps(provenance.stamp(run))
    assert str(Path.home()) not in text and str(tmp_path) not in text


def test_code_state_outside_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    assert provenance.code_state() == (None, None)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of two commits that holds a package, in the place of this one."""
    place = tmp_path / "checkout"
    package = place / "package"
    package.mkdir(parents=True)
    for name in [n for n in os.environ if n.startswith("GIT_")]:
        monkeypatch.delenv(name)  # a hook that runs the tests names its own checkout
    git(place, "init", "--quiet")
    for text in ("first", "second"):
        (package / "__init__.py").write_text(text)
        git(place, "add", "--all")
        who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        git(place, *who, "commit", "--quiet", "--message", text)
    monkeypatch.setattr(provenance, "PACKAGE", package)
    return place


def git(place: Path, *arguments: str) -> str:
    command = ["git", "-C", str(place), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_the_one_that_is_checked_out(run: Run, checkout: Path) -> None:
    last = git(checkout, "log", "-1", "--format=%H", "--grep=second")
    stamp = provenance.stamp(run)
    assert (stamp["commit"], stamp["dirty"]) == (last, False) and len(last) == 40


@pytest.mark.parametrize("change", ["edited", "staged", "new", "results"])
def test_a_checkout_with_changes_is_dirty_but_for_its_results(checkout: Path, change: str) -> None:
    if change == "results":
        (checkout / "paper_figures").mkdir()
        (checkout / "paper_figures" / "table4.csv").write_text("row\n")
    elif change == "new":
        (checkout / "new.py").write_text("")  # beside the package: the notebooks count, too
    else:
        (checkout / "package" / "__init__.py").write_text("third")
    if change == "staged":
        git(checkout, "add", "--all")
    assert provenance.code_state()[1] is (change != "results")


def test_what_numbers_depend_on_is_on_record(run: Run) -> None:
    stamp = provenance.stamp(run)
    libraries = ("scikit-learn", "opencv-python-headless", "pillow", "scipy", "numpy", "torch")
    assert {name: metadata.version(name) for name in libraries}.items() <= stamp["versions"].items()
    information = Path("/proc/cpuinfo")
    text = information.read_text() if information.exists() else ""
    models = {line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line}
    assert stamp["processor"] and (not models or stamp["processor"] in models)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_threads_that_torch_sums_with_are_on_record(run: Run, threads: int) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert provenance.stamp(run)["threads"] == threads
    finally:
        torch.set_num_threads(before)
