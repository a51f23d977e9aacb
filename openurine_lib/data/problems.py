"""What can be wrong with a data set: one list of problems, each with its place and its remedy, raised all at once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

SHOWN = 40  # of so many problems the message tells; the rest stand in check.json and in DataError.problems

MISSING, CORRUPT, MALFORMED, UNKNOWN = (
    "missing image",
    "corrupt image",
    "malformed line",
    "class unknown",
)
OUTSIDE, NO_AREA, DUPLICATE, NO_GROUP = (
    "box outside",
    "box of no area",
    "duplicate image",
    "image without a group",
)
LEAK, LABORATORY, LAYOUT = "group on both sides", "laboratory report", "layout of the folder"
KINDS = (
    MISSING,
    CORRUPT,
    MALFORMED,
    UNKNOWN,
    OUTSIDE,
    NO_AREA,
    DUPLICATE,
    NO_GROUP,
    LEAK,
    LABORATORY,
    LAYOUT,
)


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that stops a run. ``line`` counts from 1 (the header of a CSV is line 1); 0: the file as a whole."""

    kind: str
    file: str
    line: int
    what: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.what} -> {self.remedy}"


class DataError(ValueError):
    """The data set cannot be used as it is; ``problems`` lists everything that was found."""

    def __init__(self, folder: str, problems: list[Problem]) -> None:
        self.problems = sorted(
            set(problems), key=lambda p: (KINDS.index(p.kind), p.file, p.line, p.what)
        )
        counts = Counter(p.kind for p in self.problems)
        lines = [
            f"{folder}: {len(self.problems)} problems ({', '.join(f'{n} {kind}' for kind, n in counts.items())})"
        ]
        lines += [f"  {p.kind}: {p}" for p in self.problems[:SHOWN]]
        if len(self.problems) > SHOWN:
            lines.append(f"  ... and {len(self.problems) - SHOWN} more")
        super().__init__("\n".join(lines))
