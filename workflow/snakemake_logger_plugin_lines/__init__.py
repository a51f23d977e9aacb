"""Snakemake's events as one line a finished job, and one line a running job.

On a terminal the lines of the running jobs stand below the others and are drawn anew each second.
Elsewhere, as in a file, a running job has a plain line every half minute.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from tqdm import tqdm

from .progress import Progress, lines, progress

EVERY = 30  # seconds between the plain lines of a job
REDRAWN = 1  # seconds, on a terminal
LINE = "{percentage:3.0f}%|{bar:10}| {elapsed}{desc}"
SHOWN = 25  # lines of a failed job's log
TARGETS = ("all", "part")  # rules that only ask for others
SAID_OF_A_JOB = (
    "CalledProcessError",
    "job execution failed",
    "At least one job did not complete successfully",
)


@dataclass
class Job:
    """What is known of a job, and its line on a terminal while it runs."""

    what: str
    logs: list[Path]
    bar: tqdm | None = None
    since: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.time)  # when Snakemake told of it

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.since

    def now(self) -> Progress | str:
        """How far it is; where it draws no bar, the last line of its log."""
        for log in self.logs:
            # a job that waits for a cluster still has the log of an earlier call
            if log.exists() and log.stat().st_mtime >= self.told:
                return progress(log) or next(reversed(lines(log)), "")
        return ""


class LogHandler(LogHandlerBase):
    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self.jobs: dict[int, Job] = {}
        self.running: dict[int, Job] = {}
        self.done = 0
        self.total: int | None = None
        threading.Thread(target=self._follow, daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "event", None)
        if event == LogEvent.RUN_INFO:
            stats = record.stats  # type: ignore[attr-defined]
            self.total = stats["total"] - sum(stats.get(target, 0) for target in TARGETS)
        elif event == LogEvent.JOB_INFO:
            self._started(record.__dict__)
        elif event == LogEvent.JOB_FINISHED:
            self._finished(record.job_id)  # type: ignore[attr-defined]
        elif event == LogEvent.JOB_ERROR:
            self._failed(record.__dict__)
        elif event in (None, LogEvent.ERROR) and record.levelno >= logging.ERROR:
            text = record.getMessage().strip()
            # of a job that failed, FAILED and its log say more
            if text and not any(known in text for known in SAID_OF_A_JOB):
                self._say(f"error: {text}")

    def close(self) -> None:
        """Clears the lines of jobs that still run, as after an interruption."""
        for jobid in list(self.running):
            self._ended(jobid)
        super().close()

    def _started(self, info: dict[str, Any]) -> None:
        what = info["rule_msg"] or info["rule_name"]
        job = self.jobs[info["jobid"]] = Job(what, [Path(log) for log in info["log"] or []])
        if what in TARGETS:
            return
        if sys.stdout.isatty():
            job.bar = tqdm(
                total=100, desc=f"  {what}", bar_format=LINE, file=sys.stdout, leave=False,
                dynamic_ncols=True,
            )  # fmt: skip
        self.running[info["jobid"]] = job

    def _finished(self, jobid: int) -> None:
        if job := self._ended(jobid):
            self.done += 1
            self._say(f"[{self.done:>3}/{self.total or '?'}] {job.what}  {job.seconds:.0f} s")

    def _failed(self, info: dict[str, Any]) -> None:
        jobid = info["jobid"]
        self._ended(jobid)
        job = self.jobs.get(jobid) or Job(info.get("rule_name", ""), [])
        self._say(f"\nFAILED: {job.what}")
        for log in job.logs:
            self._say(f"the end of {log.resolve()}:")
            self._say("".join(f"    {line}\n" for line in lines(log)[-SHOWN:]))

    def _ended(self, jobid: int) -> Job | None:
        job = self.running.pop(jobid, None)
        if job and job.bar is not None:
            job.bar.close()
        return job

    def _follow(self) -> None:
        while True:
            time.sleep(REDRAWN if sys.stdout.isatty() else EVERY)
            for job in list(self.running.values()):
                if job.bar is not None:
                    self._redraw(job.bar, job)
                elif job.seconds >= EVERY:
                    now = str(job.now())[:100]
                    self._say(f"          ... {job.what}  {job.seconds:.0f} s  {now}".rstrip())

    @staticmethod
    def _redraw(bar: tqdm, job: Job) -> None:
        now = job.now()
        if isinstance(now, Progress):
            bar.n, text = now.percent, f"{now.left}  {job.what}: {now.step}"
        else:
            text = f"  {job.what}  {now}"
        bar.set_description_str(text)  # draws the line; nothing once the job has ended

    @staticmethod
    def _say(text: str) -> None:
        with tqdm.external_write_mode(file=sys.stdout):  # the lines of running jobs make way
            print(text, flush=True)
