"""A search of forty trials by one process and by two: wall time, and whether it can be repeated.

    python benchmarks/search_workers.py      # docs/results/search_workers.json

A trial is that of the smoke profile: one epoch on a few small fields. Each process has one thread,
and a core to itself if nothing else runs. The search by one process is made twice: the same seed
has to give the same trials. Of two processes neither knows the trial that the other is at, so after
the first ten, which are random, they try other settings than one would.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import time

import pairs
import pandas as pd

from openurine_lib import files, method, open_run
from openurine_lib.experiments import provenance, search
from openurine_lib.experiments.methods import OURS
from openurine_lib.experiments.run import Run
from openurine_lib.experiments.steps import ensure_encoder
from openurine_lib.training import trials

TRIALS = 40
FOLD = 0
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENURINE_THREADS": "1", "OPENURINE_CARRIED": "0"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", type=int, help="be this worker of the search in OPENURINE_ROOT")
    options = parser.parse_args()
    if options.worker is not None:
        search.work(of_many_trials(), method(OURS), FOLD, options.worker)
        return
    os.environ.update(ONE_THREAD)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["OPENURINE_ROOT"] = scratch
        ensure_encoder(of_many_trials(), method(OURS), FOLD)  # fields and encoder are not timed
        calls = [made_by(workers) for workers in (1, 1, 2)]
    (first, once), (second, again), (both, shared) = calls
    same = once.equals(again)
    best = [trials.best(table) for table in (once, shared)]
    print(f"{TRIALS} trials: {first:.0f} s and {second:.0f} s by one process, {both:.0f} s by two")
    print(f"one process, made twice: {'the same trials' if same else 'NOT the same trials'}")
    about = {
        "trials": TRIALS, "seconds_one": [first, second], "seconds_two": both, "same": same,
        "best": [{"trial": int(one.trial), trials.OBJECTIVE: one[trials.OBJECTIVE]}
                 for one in best],
        "threads": 1, "versions": provenance.versions(),
    } | pairs.made_by()  # fmt: skip
    files.write_json(pairs.RESULTS / "search_workers.json", about)
    if not same:
        sys.exit("the same seed gave other trials")


def of_many_trials() -> Run:
    """The run of the smoke profile, with so many trials."""
    run = open_run("synthetic", "smoke")
    asked = run.profile.search | {"trials": TRIALS}
    return dataclasses.replace(run, profile=dataclasses.replace(run.profile, search=asked))


def made_by(workers: int) -> tuple[float, pd.DataFrame]:
    """Seconds that so many processes took for all trials, and the trials.

    Raises RuntimeError where one fails.
    """
    run = of_many_trials()
    shutil.rmtree(run.dir / "search", ignore_errors=True)
    command = [sys.executable, __file__, "--worker"]
    environment = os.environ | {"PYTHONPATH": str(pairs.ROOT)}
    started = time.monotonic()
    processes = [
        subprocess.Popen([*command, str(number)], env=environment) for number in range(workers)
    ]
    codes = [process.wait() for process in processes]
    seconds = time.monotonic() - started
    if any(codes):
        raise RuntimeError(f"workers ended with {codes}")
    return seconds, search.so_far(run, method(OURS), FOLD)


if __name__ == "__main__":
    main()
