"""``make reproduce``: checks the options, prepares the data set, runs the workflow."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import sources

WORKFLOW = Path(__file__).resolve().parent
sys.path.insert(0, str(WORKFLOW.parent))

from openurine_lib import open_run  # noqa: E402
from openurine_lib.experiments.methods import (  # noqa: E402
    Method,
    UnknownName,
    method,
    methods,
    predict_key,
    profile,
)
from openurine_lib.experiments.run import Run  # noqa: E402
from openurine_lib.files import root  # noqa: E402

PROFILES = WORKFLOW / "profiles"
ALL_FOLDS = profile("paper").folds
INCOMPLETE = """
The run is not complete. What is finished is kept. Correct what is named above, then give the same
command again.
Logs: {run.dir}/logs
Failed notebooks: {run.dir}/notebooks/*.failed.ipynb"""


def main() -> int:
    options = _options()
    try:
        run = open_run(options.data, options.profile, options.seed)
    except (UnknownName, FileNotFoundError) as error:
        return _refuse(str(error))
    if set("{}") & set(run.data_name):  # Snakemake takes them for wildcards
        return _refuse(f"data folder {run.data!r} has braces in its name; give it another name")
    if options.dry:
        from estimate import describe

        workers = options.workers or run.profile.search_workers
        folds = options.folds or run.profile.folds
        rows = options.rows if isinstance(options.rows, str) else run.profile.rows
        asked = dataclasses.replace(run.profile, search_workers=workers, folds=folds, rows=rows)
        run = dataclasses.replace(run, profile=asked)
        describe(run, options.seconds_per_image, _part(options))
        return 0
    try:
        run.dir.mkdir(parents=True, exist_ok=True)
        lock = (run.dir / "reproduce.lock").open("a")
    except OSError as error:  # a disk that is full, a folder that is none or not one's own
        return _refuse(f"{error.filename}: {error.strerror}; give a folder that you may write to")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # gone with the process, however it ends
    except BlockingIOError:
        return _refuse(f"another call is at work on the run {run.name!r}; wait for it, or stop it")
    started = time.monotonic()
    print(f"run {run.name}: {run.profile.about}")
    print(f"data {run.data_name}, seed {run.seed}, {options.jobs} jobs at once")
    part = _part(options)
    for target in ("dataset", "part" if part else "all"):
        code = _shown(_snakemake(run, options, target), _environment(options))
        if code:
            print(INCOMPLETE.format(run=run), file=sys.stderr)
            return code
    minutes = (time.monotonic() - started) / 60
    if part:
        print(f"{minutes:.1f} minutes. Trained and scored: {', '.join(part)}, in {run.dir}")
        print("Their tables: make reproduce ROWS=carried, with the same PROFILE, DATA and SEED")
        folds = options.folds or run.profile.folds
        print(f"Look first at:\n{first_of(run, method(part[0]), folds[0])}")
        return 0
    print(f"{minutes:.1f} minutes.", *headline(run.figures), sep="\n")
    print(
        f"Look first at the page, which has all tables and figures:\n{run.figures / 'index.html'}"
    )
    return 0


def first_of(run: Run, m: Method, fold: int) -> Path:
    """What to look at of a row: its notebook of predictions, with fields, boxes and numbers.

    Only its numbers, where they are of carried predictions and no notebook has run.
    """
    name = f"{sources.notebook('04').stem}-{predict_key(m, run.profile)}-fold{fold}.ipynb"
    executed = run.dir / "notebooks" / name
    return executed if executed.exists() else run.predict_dir(m, fold) / "metrics.csv"


def headline(figures: Path) -> list[str]:
    """The lines that end a run: the page's first table, and how many rows have a number."""
    from openurine_lib.paper import report  # brings pandas: not at the start

    lines = [f"{'mAP50 (%)':<32}{'here':>20}{'paper':>16}"]
    for row in report.headline(figures).itertuples():
        lines.append(f"{row.name:<32}{row.map50_here:>20}{row.map50_paper:>16}")
    with (figures / "table4.csv").open(encoding="utf-8", newline="") as file:
        numbers = [bool(row["map50_here"]) for row in csv.DictReader(file)]
    waiting = "; the others wait to be trained (make reproduce ROWS=all)"
    lines.append(
        f"{sum(numbers)} of {len(numbers)} rows of Table 4 have a number here"
        f"{waiting * (not all(numbers))}."
    )
    return lines


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="study")
    parser.add_argument(
        "--data", default="synthetic", help="'synthetic' or the folder of a data set"
    )
    parser.add_argument("--seed", type=_at_least(0), default=0)
    parser.add_argument(
        "--rows",
        type=_rows,
        help="all: also train the rows of which nothing is carried; carried: train none; or names "
        "of methods.yaml: these alone are trained and scored. By default the profile says",
    )
    parser.add_argument(
        "--folds",
        type=_folds,
        help=f"of {ALL_FOLDS}: only these are trained and scored, of --rows or of "
        "all rows; by default the profile's",
    )
    parser.add_argument(
        "--jobs",
        type=_at_least(1),
        default=os.cpu_count() or 1,
        help="notebooks at once; the cores by default",
    )
    parser.add_argument(
        "--workflow",
        type=_workflow,
        default=PROFILES / "local",
        help="local, slurm, or the folder of your own profile of Snakemake (with a config.yaml)",
    )
    parser.add_argument(
        "--workers",
        type=_at_least(1),
        help="jobs that share the trials of the search; by default the profile says",
    )
    parser.add_argument(
        "--gpus",
        type=_at_least(0),
        default=_gpus(),
        help="GPUs of this machine; those that nvidia-smi lists by default",
    )
    parser.add_argument(
        "--per-gpu",
        type=_at_least(1),
        default=1,
        help="jobs at once on each of these GPUs; small networks leave a large one idle",
    )
    parser.add_argument(
        "--dry", action="store_true", help="say what would be done, and how long it would take"
    )
    parser.add_argument(
        "--seconds-per-image", type=float, help="for --dry: a measured training step on your GPU"
    )
    options = parser.parse_args()
    if options.folds and options.rows == "carried":
        parser.error("--folds says what is trained, and --rows carried that nothing is; leave one")
    return options


def _workflow(text: str) -> Path:
    """The folder of a profile: one of ours by name, or the user's own."""
    ours, own = PROFILES / text, Path(text)
    for folder in (ours, own.resolve()):
        if (folder / "config.yaml").is_file():
            return folder
    raise argparse.ArgumentTypeError(f"{text!r}: give local, slurm, or a folder with a config.yaml")


def _rows(text: str) -> str | list[str]:
    """``all``, ``carried``, or names of methods."""
    if text in ("all", "carried"):
        return text
    try:
        return [method(name).id for name in text.replace(",", " ").split()]
    except UnknownName as error:
        raise argparse.ArgumentTypeError(f"{error}; or all, or carried") from error


def _folds(text: str) -> list[int]:
    asked = text.replace(",", " ").split()
    folds = [fold for fold in ALL_FOLDS if str(fold) in asked]
    if not folds or len(folds) < len(asked):
        raise argparse.ArgumentTypeError(f"{text!r}: give some of {ALL_FOLDS}, each once")
    return folds


def _part(options: argparse.Namespace) -> list[str]:
    """The rows that alone are asked for, by name; none where the whole run is."""
    if isinstance(options.rows, list):
        return options.rows
    return list(methods()) if options.folds else []


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} on")
        return int(text)

    return number


def _snakemake(run: Run, options: argparse.Namespace, target: str) -> list[str]:
    configuration = [
        f"profile={run.profile.name}",
        # in a list, of which Snakemake reads every letter: a text it would take for YAML
        f"data={json.dumps([run.data], ensure_ascii=False)}",
        f"seed={run.seed}",
        f"gpus={options.gpus}",
        *([f"rows={options.rows}"] if isinstance(options.rows, str) else []),
        *_part_of(run, options),
        *([f"workers={options.workers}"] if options.workers else []),
    ]
    local = options.workflow == PROFILES / "local"
    places = options.gpus * options.per_gpu
    gpus = ["--resources", f"gpu={places}"] if places and local else []
    return [
        *(sys.executable, "-m", "snakemake", target),
        *("--snakefile", str(WORKFLOW / "Snakefile"), "--directory", str(run.dir)),
        *("--workflow-profile", str(options.workflow)),
        *("--cores" if local else "--jobs", str(options.jobs), *gpus),
        *("--config", *configuration),
        *("--logger", "lines", "--quiet", "all"),
    ]


def _part_of(run: Run, options: argparse.Namespace) -> list[str]:
    part = _part(options)
    folds = options.folds or run.profile.folds
    # rows=all: no row of the part is left out because nothing of it is carried
    return part and [
        "rows=all",
        f"part={','.join(part)}",
        f"part_folds={','.join(map(str, folds))}",
    ]


def _shown(command: list[str], environment: dict[str, str]) -> int:
    """Runs a command and shows its messages, but for one of Snakemake's; returns its exit code.

    Its standard output, where the plugin ``lines`` writes, is our standard error as it is: if that
    is a terminal, the plugin may draw on it.
    """
    process = subprocess.Popen(
        command, env=environment, stdout=sys.stderr, stderr=subprocess.PIPE, text=True,
        errors="replace",
    )  # fmt: skip
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if not line.startswith("Using workflow specific profile"):
                print(line, end="", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("stopping; what is finished is kept", file=sys.stderr)
        process.wait()  # it has the interrupt too, and ends its jobs
    return process.wait()


def _environment(options: argparse.Namespace) -> dict[str, str]:
    paths = [str(WORKFLOW), os.environ.get("PYTHONPATH")]  # the logger plugin lies in the first
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OPENURINE_ROOT": str(root()),
        "OPENURINE_GPUS": str(options.gpus),
        "OPENURINE_PER_GPU": str(options.per_gpu),
    }


def _gpus() -> int:
    if shutil.which("nvidia-smi") is None:
        return 0
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    return listed.stdout.count("GPU ") if listed.returncode == 0 else 0


def _refuse(why: str) -> int:
    print(f"error: {why}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
