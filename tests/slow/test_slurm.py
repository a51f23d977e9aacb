"""The workflow on a SLURM cluster of one node: jobs are queued, killed in two ways, and resumed.

What comes out is what the same rows give without a scheduler, to the byte.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import campaign
import pytest

CLUSTER = campaign.REPOSITORY / "workflow" / "slurm-one-node"
sys.path.insert(0, str(CLUSTER))

import cluster  # noqa: E402

pytestmark = pytest.mark.more

ROWS = ["--rows", "yolo12m ours-yolo12m"]
ON_CLUSTER = ["--workflow", str(CLUSTER / "profile"), "--jobs", "6", "--gpus", "1"]
RESULTS = (
    "predict/*/fold0/predictions.csv",
    "predict/*/fold0/metrics.csv",
    "train/*/fold0/log.csv",
)
PATIENCE = 600  # seconds for one step of the story


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if reason := cluster.missing():
        pytest.skip(reason)
    if find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("snakemake-executor-plugin-slurm: not installed")
    folder = tmp_path_factory.mktemp("slurm")
    cluster.start(folder)
    yield folder
    cluster.stop(folder)


def asked(*command: str, check: bool = True) -> list[list[str]]:
    """What a command of SLURM says, its lines as words."""
    said = subprocess.run(command, capture_output=True, text=True, check=check).stdout
    return [line.split() for line in said.splitlines()]


def queue() -> list[list[str]]:
    """[number, state, rule and wildcards, memory, time limit] of every job, also of ended ones."""
    return asked("squeue", "--noheader", "--states=all", "--format=%i %T %k %m %l")


def until(found: Callable[[], list[str]]) -> str:
    """The first thing found."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if things := found():
            return things[0]
        time.sleep(0.5)
    raise AssertionError(f"not seen in {PATIENCE} s; the queue: {queue()}")


def halted(rule: str, pids: list[int], but: str = "") -> Callable[[], list[str]]:
    """Finds a job of a rule, other than ``but``, in which a notebook runs, and lets that stand
    still: so it cannot end before the test has done what it wants. Its processes join ``pids``."""

    def found() -> list[str]:
        for job, state, what, *_ in queue():
            if state != "RUNNING" or rule not in what or job == but:
                continue
            held = kernels(job)
            pids.extend(held)
            for pid in held:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            if held and kernels(job):
                return [job]
        return []

    return found


def kernels(job: str) -> list[int]:
    """The processes of a job in which a notebook runs."""
    listed = asked("scontrol", "listpids", job, check=False)  # the job may just have ended
    pids = [int(line[0]) for line in listed if line[0].isdecimal()]
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended
            process = Path("/proc", str(pid))
            # what stands still before it answers for the first time, its notebook gives up
            if b"ipykernel_launcher" in (process / "cmdline").read_bytes() and _cpu_s(process) > 2:
                found.append(pid)
    return found


def _cpu_s(process: Path) -> float:
    """Seconds of processor time; a kernel has answered after one, and imports for some more."""
    after_name = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def state_of(job: str) -> str:
    return next((state for number, state, *_ in queue() if number == job), "")


def results(root: Path) -> dict[str, bytes]:
    run = root / "runs" / "smoke"
    files = [path for pattern in RESULTS for path in run.glob(pattern)]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def _hears_ctrl_c() -> None:
    """In the new process: a shell starts what runs in the background deaf to it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_jobs_that_the_scheduler_or_a_hand_kills_are_resumed(slurm: Path, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for root in (here, there):
        (root / "notebooks").mkdir(parents=True)
    done = campaign.started(here, tmp_path / "counts", command=[*campaign.COMMAND, *ROWS])
    assert done.returncode == 0, done.stderr[-3000:]
    # drawn once: what the scheduler is tried with are the trainings
    fields = Path("runs", "smoke", "dataset")
    shutil.copytree(here / fields, there / fields)

    environment = os.environ | {"OPENURINE_ROOT": str(there)}
    command = [*campaign.COMMAND, *ROWS, *ON_CLUSTER]
    first = subprocess.Popen(
        command, cwd=there, env=environment, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=_hears_ctrl_c,
    )  # fmt: skip

    still: list[int] = []  # processes that only the test can end
    try:
        # the scheduler ends a job whose time is over; this one's stands still
        late = until(halted("rule_train", still))
        asked("scontrol", "update", f"JobId={late}", "TimeLimit=1")
        # there is one GPU: somebody waits for it
        until(lambda: [what for _, state, what, *_ in queue() if state == "PENDING"])
        until(lambda: [late] if state_of(late) == "TIMEOUT" else [])

        # a hand ends another one; then the call itself is interrupted
        other = until(halted("rule_", still, but=late))
        asked("scancel", "--full", "--signal=KILL", other)
        until(lambda: [other] if state_of(other) in ("FAILED", "CANCELLED") else [])
        os.killpg(first.pid, signal.SIGINT)  # as Ctrl-C does
        first.communicate(timeout=PATIENCE)
        assert first.returncode, "it was not finished"
    finally:
        for end, pid in ((os.killpg, first.pid), *((os.kill, pid) for pid in still)):
            with contextlib.suppress(ProcessLookupError):
                end(pid, signal.SIGKILL)

    again = subprocess.run(command, cwd=there, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr[-3000:]
    assert results(there) == results(here) and len(results(here)) == 6
    memory = {what.split("_")[1]: size for _, _, what, size, _ in queue()}
    assert memory["train"] != memory["dataset"], "a training asks for more than a small job"
