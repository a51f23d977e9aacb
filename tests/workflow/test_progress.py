"""A running job is one line with its share done and the time left, on a terminal and elsewhere."""

import json
import logging
import os
import pty
import re
import subprocess
import sys
import termios
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import reproduce
import snakemake_logger_plugin_lines as plugin
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_logger_plugin_lines.progress import Progress, lines, progress
from tqdm import tqdm

from openurine_lib import open_run


def bar(step: str, n: int, total: int, seconds: float) -> str:
    """A bar as tqdm draws it over the one before."""
    return "\r" + tqdm.format_meter(n, total, seconds, prefix=step, unit="batch", ncols=99)


def written(log: Path, text: str) -> Path:
    """A log that was last written to at a known time."""
    log.write_text(text)
    os.utime(log, (WRITTEN, WRITTEN))
    return log


WRITTEN = 1_000_000
TRAIN = "train yolo12n: six heads"
CELL = bar("Executing", 3, 12, 60)
HALF = bar(TRAIN, 9, 18, 75)
FULL = bar(TRAIN, 18, 18, 150)
NESTED = f"\n{bar('intervals', 1, 4, 1)}\x1b[A"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("3 | 4 % of [00:10<00:12] are no bar\n", None),
        (CELL, Progress("cells", 25, 180)),
        (CELL + "\n" + HALF, Progress(TRAIN, 50, 75)),
        (CELL + "synthetic data\n" + HALF + "\nwarning\n", Progress(TRAIN, 50, 75)),
        (CELL + "\n" + HALF + FULL, Progress("cells", 25, 180)),
        (FULL, Progress(TRAIN, 100, 0)),
        (HALF + NESTED, Progress("intervals", 25, 3)),
        (bar("", 0, 9, 0), Progress("a step", 0)),
    ],
)  # fmt: skip
def test_the_bar_that_moves_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: Progress | None
) -> None:
    log = written(tmp_path / "log", text)
    monkeypatch.setattr(time, "time", lambda: WRITTEN)
    assert progress(log) == expected
    assert progress(tmp_path / "none") is None and lines(tmp_path / "none") == []


def test_progress_in_words() -> None:
    assert str(Progress("train", 45, 3675)) == "45% of train, 1:01:15 left"
    assert str(Progress("train", 0)) == "0% of train"


def test_the_time_left_goes_on_while_a_bar_waits_for_a_long_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = written(tmp_path / "log", HALF)
    left = []
    for age in (0, 30, 90):
        monkeypatch.setattr(time, "time", lambda age=age: WRITTEN + age)
        left.append(str(progress(log)).partition(", ")[2])
    assert left == ["01:15 left", "00:45 left", ""], "what is late is not told"


def event(kind: LogEvent, **content: object) -> logging.LogRecord:
    return logging.makeLogRecord({"event": kind, **content})


def test_in_a_file_a_long_job_has_a_plain_line_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plugin, "EVERY", 0.1)
    written(tmp_path / "c.log", CELL + HALF)  # of an earlier call
    handler = plugin.LogHandler(None, None)
    handler.emit(event(LogEvent.RUN_INFO, stats={"a": 1, "b": 1, "c": 1, "all": 1, "total": 4}))
    for jobid, name in enumerate(("a", "b", "c", "all")):
        log = [str(tmp_path / f"{name}.log")]
        handler.emit(event(LogEvent.JOB_INFO, jobid=jobid, rule_msg=None, rule_name=name, log=log))
    (tmp_path / "a.log").write_text(CELL + HALF)
    (tmp_path / "b.log").write_text("waiting for it\n")
    said, waited = "", time.monotonic()
    while said.count("... c") < 4 and time.monotonic() - waited < 30:
        time.sleep(0.1)
        said += capsys.readouterr().out
    assert re.search(r"\.\.\. a  0 s  50% of train yolo12n: six heads, 01:\d\d left\n", said)
    assert "... b  0 s  waiting for it\n" in said
    assert "... c  0 s\n" in said and not re.search(r"\.\.\. c.*%", said)
    assert "... all" not in said and "\r" not in said, "the target is no job; no bar in a file"
    for jobid in range(4):
        handler.emit(event(LogEvent.JOB_FINISHED, job_id=jobid))
    ends = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert [end[:9] for end in ends] == ["[  1/3] a", "[  2/3] b", "[  3/3] c"]


RULES = """rule all:
    input: "a", "b"
rule a:
    output: "a"
    log: "a.log"
    message: "03 training: one"
    shell: "cp {start} {{log}}; sleep 4; touch {{output}}"
rule b:
    output: "b"
    message: "03 training: two"
    shell: "sleep 2; touch {{output}}"
"""


CALL = "import json, sys, reproduce; sys.exit(reproduce._shown(*json.load(open('given.json'))))"


def test_on_a_terminal_a_running_job_has_a_line_that_is_drawn_anew(tmp_path: Path) -> None:
    run = open_run("synthetic", "smoke")
    run.dir.mkdir(parents=True)
    (tmp_path / "start").write_text(CELL + HALF)
    (tmp_path / "Snakefile").write_text(RULES.format(start=tmp_path / "start"))
    options = SimpleNamespace(
        gpus=0, per_gpu=1, rows=None, folds=None, workers=None, jobs=2,
        workflow=reproduce.PROFILES / "local",
    )  # fmt: skip
    command = reproduce._snakemake(run, options, "all")
    command[command.index("--snakefile") + 1] = str(tmp_path / "Snakefile")
    given = json.dumps([command, reproduce._environment(options)])
    (tmp_path / "given.json").write_text(given)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 120))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", CALL], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL, stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        said = b"".join(iter(lambda: _read(ours), b"")).decode()
    assert process.returncode == 0, said
    drawn = [part for part in said.split("\r") if "%|" in part]
    assert any(" 50%|█████     | 00:0" in part for part in drawn), said
    assert any(re.search(r"01:\d\d left  03 training: one: train yolo", p) for p in drawn), said
    assert any("03 training: two" in part for part in drawn), said
    assert re.search(r"\r\n\r +\d+%\|", said), "the second job has a line below the first"
    ends = re.findall(r"\[ +(\d)/2\] 03 training: (\w+)", said)
    assert ends == [("1", "two"), ("2", "one")]
    assert "Using workflow specific profile" not in said


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the last of its writers has ended
        return b""
