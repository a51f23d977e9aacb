"""Snakemake's events as one line a job, and a sign of life every half minute."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

EVERY = 30  # seconds between signs of life
TAIL = 25  # lines of a failed job's log
SAID_OF_A_JOB = (
    "CalledProcessError",
    "job execution failed",
    "At least one job did not complete successfully",
)


class LogHandler(LogHandlerBase):
    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self.jobs: dict[int, dict[str, Any]] = {}
        self.running: dict[int, float] = {}
        self.done = 0
        self.total: int | None = None
        threading.Thread(target=self._signs_of_life, daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "event", None)
        if event == LogEvent.RUN_INFO:
            self.total = record.stats["total"]  # type: ignore[attr-defined]
        elif event == LogEvent.JOB_INFO:
            info = record.__dict__
            self.jobs[info["jobid"]] = {
                "what": info["rule_msg"] or info["rule_name"],
                "log": list(info["log"] or []),
            }
            self.running[info["jobid"]] = time.monotonic()
        elif event == LogEvent.JOB_FINISHED:
            self._finished(record.job_id)  # type: ignore[attr-defined]
        elif event == LogEvent.JOB_ERROR:
            self._failed(record.__dict__)
        elif event in (None, LogEvent.ERROR) and record.levelno >= logging.ERROR:
            text = record.getMessage().strip()
            # of a job that failed, FAILED and its log say more
            if text and not any(known in text for known in SAID_OF_A_JOB):
                self._say(f"error: {text}")

    def _finished(self, jobid: int) -> None:
        self.done += 1
        what = self.jobs.get(jobid, {}).get("what", "")
        if what and what != "all":
            seconds = time.monotonic() - self.running.pop(jobid, time.monotonic())
            self._say(f"[{self.done:>3}/{self.total or '?'}] {what}  {seconds:.0f} s")

    def _failed(self, info: dict[str, Any]) -> None:
        jobid = info["jobid"]
        self.running.pop(jobid, None)
        job = self.jobs.get(jobid, {"what": info.get("rule_name"), "log": []})
        self._say(f"\nFAILED: {job['what']}")
        for log in job["log"]:
            self._say(f"the end of {Path(log).resolve()}:")
            self._say("".join(f"    {line}\n" for line in _lines(log)[-TAIL:]))

    def _signs_of_life(self) -> None:
        while True:
            time.sleep(EVERY)
            for jobid, since in list(self.running.items()):
                seconds = time.monotonic() - since
                if seconds >= EVERY:
                    last = next(
                        (text for log in self.jobs[jobid]["log"] for text in _lines(log)[-1:]), ""
                    )
                    self._say(
                        f"          ... {self.jobs[jobid]['what']}  {seconds:.0f} s  {last[:100]}"
                    )

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def _lines(log: str | Path) -> list[str]:
    """The lines of a log, each as it stands after its carriage returns."""
    path = Path(log)
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 20_000))
        text = file.read().decode("utf-8", errors="replace")
    return [line for line in (_last(raw.split("\r")) for raw in text.split("\n")) if line.strip()]


def _last(parts: Iterable[str]) -> str:
    return next((p for p in reversed(list(parts)) if p.strip()), "")
