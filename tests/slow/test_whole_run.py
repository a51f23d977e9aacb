"""The whole workflow at the smallest size: complete, done once, and the same after kills."""

import os
import shutil
import signal
from pathlib import Path

import browser
import campaign
import pandas as pd
import pytest
from rocrate.rocrate import ROCrate

from openurine_lib import Run, method, open_run
from openurine_lib.experiments.carried import TRAINED
from openurine_lib.paper import book, claims, report

OURS = method("ours-yolo12m")
# How often a phase is killed, in the order of a run; 06 to 10 are the notebooks of the tables.
THREE = dict.fromkeys(["train", "search", "report"], 1)
TWENTY = {"dataset": 3, "ssl": 3, "train": 3, "predict": 3, "search": 3}
TWENTY |= dict.fromkeys(["06", "08", "09", "10", "report"], 1)
SEED = 0
# columns that hold times
TIMES = {"table4_latency.csv": ["ms", "ms_low", "ms_high", "against_ours"]}
TIMES |= {"table4_gains.csv": ["minutes_without", "minutes_with"]}


def tables(figures: Path) -> dict[str, bytes]:
    """Every table of a run by name, to the byte; without columns that hold times."""
    found = {}
    for path in sorted(figures.glob("*.csv")):
        found[path.name] = path.read_bytes()
        if path.name in TIMES:
            frame = pd.read_csv(path, dtype=str).drop(columns=TIMES[path.name])
            found[path.name] = frame.to_csv().encode()
    return found


def trainings(run: Run) -> dict[str, bytes]:
    """When and where each training of the run was made, by its name."""
    records = run.dir.glob(f"train/*/fold0/{TRAINED}")
    return {path.parents[1].name: path.read_bytes() for path in records}


def made_by(run: Run) -> dict[str, list[Path]]:
    """What each phase makes for the paper's method."""
    tables = {"06": "table4*", "08": "table7*", "10": "table8*"}
    found = {phase: [*run.figures.glob(pattern)] for phase, pattern in tables.items()}
    return found | {
        "dataset": [run.dir / "dataset"],
        "ssl": [run.ssl_dir(run.profile.arch(OURS), 0)],
        "train": [run.train_dir(OURS, 0)],
        "predict": [run.predict_dir(OURS, 0)],
        "search": [run.dir / "search", *run.figures.glob("table3*"), *run.figures.glob("fig4*")],
        "09": [*run.figures.glob("fig5*"), *run.figures.glob("attention*")],
        "report": [run.figures / "claims.csv", run.figures / "index.html"],
    }


def remove(paths: list[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the operations of the undisturbed run are counted."""
    return tmp_path_factory.mktemp("counts")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, counts: Path) -> Path:
    """The project folder of a whole run.

    With OPENURINE_WHOLE_RUN the run stays for the notebooks' own tests.
    """
    place = os.environ.get("OPENURINE_WHOLE_RUN") or tmp_path_factory.mktemp("whole")
    done = campaign.started(Path(place), counts)
    assert done.returncode == 0, done.stderr[-5000:]
    assert done.stdout.rstrip().endswith("paper_figures/smoke/index.html")
    return Path(place)


@pytest.mark.slow
def test_every_table_and_figure_is_there(root: Path) -> None:
    figures = root / "paper_figures" / "smoke"
    assert "Missing" not in (figures / "index.html").read_text()
    listed = [figures / entity.id for entity in ROCrate(figures).data_entities]
    assert {*figures.glob("*.csv"), *figures.glob("*.png")} < {*listed}
    assert all(path.is_file() for path in listed)
    assert len(pd.read_csv(figures / "claims.csv")) == len(claims.printed()) == 48
    for stem in [f"table{n}" for n in range(1, 9)]:
        for suffix in ("csv", "md", "tex", "json"):
            assert (figures / f"{stem}.{suffix}").stat().st_size, stem
    for stem in ("fig1", "fig2", "fig3a", "fig3b", "fig4", "fig5"):
        assert all((figures / f"{stem}.{s}").stat().st_size for s in ("png", "pdf")), stem


@pytest.mark.slow
def test_a_second_call_does_nothing(root: Path, tmp_path: Path) -> None:
    again = campaign.started(root, tmp_path)
    assert again.returncode == 0 and "[" not in again.stderr, again.stderr


@pytest.mark.slow
@pytest.mark.browser
@browser.needs_chromium
def test_the_page_and_the_book_of_a_whole_run_work_on_a_phone(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENURINE_ROOT", str(root))
    run = open_run()
    first = book.build(run)
    with browser.opened(browser.PHONE) as page:
        for file in [report.build(run), *sorted(first.parent.glob("*.html"))]:
            browser.go(page, file)
            assert browser.unresolved(page) == [], file.name
            assert not browser.scrolls_sideways(page), file.name
            assert browser.violations(page) == [], file.name
        assert page.complaints == []
        numbers = [file.stem for file in run.figures.glob("notebooks/*.ipynb")]
        assert len(numbers) == 12 and all((first.parent / f"{n}.html").exists() for n in numbers)


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(THREE, marks=pytest.mark.more, id="three"),
        pytest.param(TWENTY, marks=pytest.mark.thorough, id="twenty"),
    ],
)
def test_kills_change_no_table(
    root: Path, counts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: dict[str, int]
) -> None:
    """Each kill is followed by a call of the same run, and the last call ends.

    What training and all later phases make for the method is removed first, and what the killed
    ones make: a table that is there asks for no training. Nothing else is trained again.
    """
    monkeypatch.setenv("OPENURINE_ROOT", str(root))
    run = open_run()
    before, trained = tables(run.figures), trainings(run)
    assert sum(THREE.values()) == 3 and sum(TWENTY.values()) == 20
    assert kills.keys() <= made_by(run).keys() == TWENTY.keys()
    kept = {"dataset", "ssl"} - kills.keys()
    for phase, paths in made_by(run).items():
        if phase not in kept:
            remove(paths)
    for phase, n in kills.items():
        remove(made_by(run)[phase])  # it may have been finished beside another one
        for i, moment in enumerate(campaign.moments(counts, [phase] * n, SEED)):
            killed = campaign.started(root, tmp_path / f"{phase}-{i}", moment)
            assert killed.returncode == -signal.SIGKILL, f"{moment}: {killed.stderr[-5000:]}"
    last = campaign.started(root, tmp_path / "last")
    assert last.returncode == 0, last.stderr[-5000:]
    # where its encoder was made anew, too, the rows that start from it find the same one
    after = trainings(run)
    assert {name for name in after if after[name] != trained[name]} == {
        run.train_dir(OURS, 0).parent.name
    }
    assert tables(run.figures) == before


@pytest.mark.more
def test_two_workers_share_the_search_and_give_the_same_table(root: Path, tmp_path: Path) -> None:
    """Of three trials: the first ten do not depend on those before."""
    before = tables(root / "paper_figures" / "smoke")
    searched = root / "runs" / "smoke" / "search"
    shutil.rmtree(searched)
    figures = root / "paper_figures" / "smoke"
    # the page too: for a page that is there nobody asks for a table
    remove([*figures.glob("table3*"), figures / "index.html"])
    done = campaign.started(root, tmp_path, command=[*campaign.COMMAND, "--workers", "2"])
    assert done.returncode == 0, done.stderr[-5000:]
    assert "05 trials of the search: worker 2 of 2" in done.stderr
    assert tables(root / "paper_figures" / "smoke") == before
    for worker in (1, 2):
        assert (searched / OURS.id / "fold0" / f"worker{worker}" / TRAINED).exists()
