"""One job of the workflow: runs a notebook, alone at its results and with its own threads.

The steps that the notebook takes look up what is stored and throw away what was made from something
else (openurine_lib/experiments/made_from.py), as they do in a notebook that is run by hand.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import itertools
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import leftovers
import sources
from tqdm.auto import tqdm

REPOSITORY = Path(__file__).resolve().parents[1]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENURINE_THREADS")
PAGES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")
sys.path.insert(0, str(REPOSITORY))

from openurine_lib import method, open_run, plan, profile  # noqa: E402
from openurine_lib.experiments import made_from  # noqa: E402
from openurine_lib.experiments.methods import OURS, Method, predict_key, train_key  # noqa: E402
from openurine_lib.experiments.run import Run  # noqa: E402
from openurine_lib.files import root  # noqa: E402


def main() -> int:
    options = _options()
    run = open_run(options.data, options.profile, options.seed)
    m = method(options.method) if options.method else None
    _set_environment(options.threads)
    locks = run.dir / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with _alone(locks / f"{options.out.stem}.lock"), _gpu(locks):
        leftovers.clear_running(options.out.parent, locks)
        leftovers.clear_temporary(_folders(run, options.kind, m, options.fold))
        if options.kind == "dataset":
            print(run.dataset.name, len(run.dataset.images), "images")
        elif options.kind == "carried":
            _restore(run, options.check)
        elif options.kind == "trials":
            from openurine_lib.experiments.search import work  # brings torch

            assert m is not None, "trials are of a method"
            work(run, m, options.fold, options.worker)
        elif options.kind == "report":
            from openurine_lib.paper import crate, report

            _publish(run)
            print(report.build(run), crate.write(run), sep="\n")
        else:
            _notebook(run, options, m)
    missing = [str(f) for f in options.check if not f.exists() and f.suffix != ".done"]
    if missing:
        print(f"error: the job ended without its {', '.join(missing)}", file=sys.stderr)
        return 1
    for f in options.check:
        if f.exists():
            os.utime(f)  # an unchanged result is now newer than what it was checked against
    return 0


def _folders(run: Run, kind: str, m: Method | None, fold: int) -> list[Path]:
    """Where a job of the kind writes, but for its executed copy."""
    folders = [run.figures]
    if kind in ("dataset", "carried"):
        folders.append(run.dir / {"dataset": "dataset", "carried": "predict"}[kind])
    elif m is not None and kind != "notebook":
        kind = "search" if kind == "trials" else kind
        folders.append(made_from.folder_of(run, kind, m, fold))
    return folders


def _set_environment(threads: int) -> None:
    for name in THREADS:  # set, not inherited: results must not depend on the number of jobs
        os.environ[name] = str(threads)
    for name in PAGES:  # the C library keeps its pages: a training step needs what the last freed
        os.environ.setdefault(name, str(4 << 30))
    paths = [str(REPOSITORY), os.environ.get("PYTHONPATH")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    os.environ["PYTHONHASHSEED"] = "0"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = (
        "dataset",
        "carried",
        "ssl",
        "train",
        "predict",
        "search",
        "trials",
        "notebook",
        "report",
    )
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("--number", help="of the notebook")
    parser.add_argument("--data", required=True)
    parser.add_argument("--profile", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--method")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--worker", type=int, default=0, help="its number among those of trials")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="the executed copy")
    parser.add_argument(
        "--check", type=Path, nargs="*", default=[], help="files that the job has to leave"
    )
    return parser.parse_args()


def _notebook(run: Run, options: argparse.Namespace, m: Method | None) -> None:
    from notebook import NotebookFailed, ParameterError, execute, parameters_of

    path = sources.notebook(options.number)
    values = {"data": run.data, "profile": run.profile.name, "seed": run.seed}
    asked = {"method": m.id, "fold": options.fold} if m else {}
    # A notebook over all folds (05-10) may have neither. One job a (method, fold) must have both,
    # or is refused.
    if options.kind in ("search", "notebook"):
        asked = {k: v for k, v in asked.items() if k in parameters_of(path)}
    try:
        execute(path, options.out, values | asked)
    except (NotebookFailed, ParameterError) as error:
        sys.exit(f"error: {error}")


def _publish(run: Run) -> None:
    """Puts the executed notebooks of the run beside its figures, those of the method alone."""
    from notebook import publish

    p, m = run.profile, method(OURS)
    fold = f"fold{p.folds[0]}"
    of_method = {
        "02": f"{p.arch(m)}-{fold}",
        "03": f"{train_key(m, p)}-{fold}",
        "04": f"{predict_key(m, p)}-{fold}",
    }
    for path in sources.notebooks():
        ending = of_method.get(path.name[:2])
        name = f"{path.stem}-{ending}.ipynb" if ending else path.name
        copy = run.dir / "notebooks" / name
        if copy.exists():
            publish(copy, run.figures / "notebooks" / path.name, root())


def _restore(run: Run, wanted: list[Path]) -> None:
    """Scores the carried predictions of all rows that are asked for."""
    from openurine_lib.experiments.steps import ensure_metrics  # brings torch

    for row in tqdm(plan(run.profile).predict.values(), "carried results", unit="row"):
        for fold in profile("paper").folds:
            folder = run.predict_dir(row, fold)
            if not any(file.is_relative_to(folder) for file in map(Path.absolute, wanted)):
                continue
            ensure_metrics(run, row, fold)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Waits until no other process does this job; one may have outlived a killed workflow."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("an earlier call is still at this job; waiting for it", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _gpu(locks: Path) -> Iterator[None]:
    """On a machine with several GPUs (OPENURINE_GPUS), takes a free one for this job.

    OPENURINE_PER_GPU jobs share a GPU; no GPU gets a second one while another has none.
    """
    count = int(os.environ.get("OPENURINE_GPUS", "0"))
    places = range(int(os.environ.get("OPENURINE_PER_GPU", "1")))
    if count < 2 or "CUDA_VISIBLE_DEVICES" in os.environ:
        yield
        return
    while True:
        for place, i in itertools.product(places, range(count)):
            lock = locks / f"gpu{i}-{place}.lock"
            with lock.open("w") as file, contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.environ["CUDA_VISIBLE_DEVICES"] = str(i)
                yield
                return
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
