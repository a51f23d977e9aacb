"""How far a job is, read off the end of its log: the bars of tqdm that its notebook draws there."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

TAIL = 20_000  # bytes at the end of a log that are read
# as tqdm draws it: "train yolo12n:  45%|████▌     | 9/20 [00:10<00:12,  1.10s/batch]"
BAR = re.compile(r"(?P<step>[^|]*?):?\s+(?P<percent>\d+)%\|.*?\[[\d:]+<(?P<left>[\d:]+|\?)")
MOVES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")  # of the cursor, by a bar below another
CELLS = "Executing"  # papermill's bar, which moves from cell to cell


@dataclass(frozen=True)
class Progress:
    """The bar that a job moves at present."""

    step: str  # what the bar counts: a job may have several bars, one after the other
    percent: int
    seconds: int = 0  # until the step is done; 0 if unknown, or if it should be done by now

    @property
    def left(self) -> str:
        """The time that is left, as ", 01:15 left"; nothing where it is unknown."""
        return f", {tqdm.format_interval(self.seconds)} left" if self.seconds else ""

    def __str__(self) -> str:
        return f"{self.percent}% of {self.step}{self.left}"


def lines(log: Path) -> list[str]:
    """The lines at the end of a log, each as a terminal would show it; none if there is no log."""
    shown = (_last(line.split("\r")) for line in _end(log).split("\n"))
    return [line for line in shown if line]


def progress(log: Path) -> Progress | None:
    """The last bar in a log; where that is full, the share of the notebook's cells."""
    bars = [bar for part in re.split(r"[\r\n]", _end(log)) if (bar := BAR.match(part))]
    if bars and bars[-1]["percent"] == "100":
        bars = [bar for bar in bars if bar["step"] == CELLS] or bars
    if not bars:
        return None
    step = bars[-1]["step"].strip()
    step = "cells" if step == CELLS else step or "a step"
    age = time.time() - log.stat().st_mtime  # a bar that waits for a long step does not count down
    seconds = max(0, round(_seconds(bars[-1]["left"]) - age))
    return Progress(step, int(bars[-1]["percent"]), seconds)


def _seconds(left: str) -> int:
    """Of a time as tqdm writes it, "15", "01:15" or "2:01:15"; 0 of "?"."""
    seconds = 0
    for part in left.replace("?", "0").split(":"):
        seconds = 60 * seconds + int(part)
    return seconds


def _end(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            return MOVES.sub("", file.read().decode("utf-8", errors="replace"))
    except FileNotFoundError:
        return ""


def _last(parts: list[str]) -> str:
    return next((part for part in reversed(parts) if part.strip()), "")
