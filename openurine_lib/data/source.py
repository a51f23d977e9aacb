"""A data set as its files say it: images and boxes, each with its file and line; not yet judged.

All problems of a data set are collected and raised at once, as one DataError.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from openurine_lib.data.boxes import XYXY

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
SPLIT_FOLDERS = {"unlabeled": "unlabelled", "unlabelled": "unlabelled", "cohort": "cohort"}
SHOWN = 40  # of so many problems the message tells; check.json and DataError.problems hold all

# Kinds of problems; KINDS has the order in which they are told.
MISSING = "missing image"
CORRUPT = "corrupt image"
MALFORMED = "malformed line"
UNKNOWN = "class unknown"
OUTSIDE = "box outside"
NO_AREA = "box of no area"
DUPLICATE = "duplicate image"
NO_GROUP = "image without a group"
LEAK = "group on both sides"
LABORATORY = "laboratory report"
LAYOUT = "layout of the folder"
KINDS = [MISSING, CORRUPT, MALFORMED, UNKNOWN, OUTSIDE, NO_AREA]
KINDS += [DUPLICATE, NO_GROUP, LEAK, LABORATORY, LAYOUT]


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that stops a run. ``line`` counts from 1; 0 is the file as a whole."""

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
        in_order = sorted(set(problems))  # the same one may be found twice
        self.problems = sorted(in_order, key=lambda p: KINDS.index(p.kind))
        counts = Counter(p.kind for p in self.problems)
        summary = ", ".join(f"{n} {kind}" for kind, n in counts.items())
        lines = [f"{folder}: {len(self.problems)} problems ({summary})"]
        lines += [f"  {p.kind}: {p}" for p in self.problems[:SHOWN]]
        if len(self.problems) > SHOWN:
            lines.append(f"  ... and {len(self.problems) - SHOWN} more")
        super().__init__("\n".join(lines))


@dataclass
class Source:
    """A data set as its files say it, not yet judged.

    ``images``: relative path -> split. ``found``: (image, class, x1, y1, x2, y2, file, line) of
    each box, corners in pixels or, if ``fractions``, in fractions of the image's size.
    ``names``: a declared class -> (file, line).
    """

    folder: Path
    images: dict[str, str]
    fractions: bool = False
    names: dict[str, tuple[str, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    found: list[tuple[Any, ...]] = field(default_factory=list)

    @property
    def rows(self) -> pd.DataFrame:
        """The boxes as a frame [image, class, x1, y1, x2, y2, file, line]."""
        frame = pd.DataFrame(self.found, columns=["image", "class", *XYXY, "file", "line"])
        return frame.astype({**dict.fromkeys(XYXY, float), "line": int})

    @cached_property
    def _spellings(self) -> dict[str, str | None]:
        """Names of an image in a file (images/a.jpg, a.jpg, a) -> image; None if several fit."""
        spellings: dict[str, str | None] = {}
        for image in self.images:
            # set: a name without a folder is spelled once only
            for spelling in {image, Path(image).name, Path(image).stem}:
                spellings[spelling] = None if spelling in spellings else image  # None: ambiguous
        return spellings

    def image(self, name: str) -> str | None:
        """Relative path of the one image that an annotation may call ``name``, or None."""
        return self._spellings.get(name) or self._spellings.get(Path(name).name)

    def bad(self, kind: str, file: str, line: int, what: str, remedy: str) -> None:
        """Adds a problem."""
        self.problems.append(Problem(kind, file, line, what, remedy))

    def missing(self, file: str, line: int, name: str) -> None:
        """Adds the problem that an annotation names no image, or several."""
        remedy = "add the image, or remove the entry, or write the path if the name fits several"
        self.bad(MISSING, file, line, f"there is no one image {name!r} in the folder", remedy)

    def add(self, image: str, cls: str, corners: tuple[Any, ...], file: str, line: int) -> None:
        """Keeps a box; corners that are not four finite numbers make a problem instead."""
        try:
            numbers = [float(c) for c in corners]
        except (TypeError, ValueError):
            numbers = []
        if len(numbers) == 4 and all(map(math.isfinite, numbers)):
            self.found.append((image, cls, *numbers, file, line))
        else:
            what = f"{corners!r} are not four finite numbers"
            self.bad(MALFORMED, file, line, what, "correct or delete the box")

    def text(self, path: Path) -> str | None:
        """Content of a text file; None, and a problem, if it is not UTF-8."""
        try:
            return path.read_text(encoding="utf-8-sig")  # with or without a byte-order mark
        except UnicodeDecodeError as error:
            what = f"is not UTF-8 text ({error})"
            self.bad(MALFORMED, self.relative(path), 0, what, "save it as UTF-8")
            return None

    def relative(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def table_rows(
    source: Source, path: Path, columns: tuple[str, ...], optional: tuple[str, ...] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, row) of a CSV file; lacking columns and bad rows become problems.

    Cells of ``optional`` columns may be empty; they are where the file has no such column.
    """
    file = source.relative(path)
    text = source.text(path)
    if text is None:
        return
    reader = csv.DictReader(text.splitlines(keepends=True), skipinitialspace=True)
    lacking = [c for c in columns if c not in (reader.fieldnames or [])]
    if lacking:
        what = f"has no column {', '.join(lacking)}"
        source.bad(MALFORMED, file, 1, what, f"its header needs {', '.join(columns)}")
        return
    for row in reader:
        cells = {c: (row.get(c) or "").strip() for c in (*columns, *optional)}
        empty = [c for c in columns if not cells[c]]
        if not empty and None not in row:  # None is the reader's key for cells beyond the header
            yield reader.line_num, cells
            continue
        what = "row has more cells than the header"
        if empty:
            what = f"row has an empty {', '.join(empty)}"
        source.bad(MALFORMED, file, reader.line_num, what, "correct or delete the row")


def listed(folder: Path) -> list[Path]:
    """Every file of a folder and the folders in it, in order, without hidden ones."""

    def hidden(file: Path) -> bool:
        return any(part.startswith(".") for part in file.relative_to(folder).parts)

    return sorted(f for f in folder.rglob("*") if f.is_file() and not hidden(f))


def split_of(image: str) -> str:
    """labelled, unlabelled or cohort, from the folders of an image's relative path."""
    folders = Path(image).parts[:-1]
    return next((SPLIT_FOLDERS[f] for f in folders if f in SPLIT_FOLDERS), "labelled")


def header(file: Path) -> list[str]:
    """The column names of a CSV file."""
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as opened:
        return [cell.strip() for cell in next(csv.reader(opened), [])]
