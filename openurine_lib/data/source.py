"""A data set as its files say it: which images there are, which boxes, in which file and line; nothing judged yet."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from openurine_lib.data.problems import MALFORMED, MISSING, Problem

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
COLUMNS = ["image", "class", "x1", "y1", "x2", "y2", "file", "line"]
SPLIT_FOLDERS = {"unlabeled": "unlabelled", "unlabelled": "unlabelled", "cohort": "cohort"}


@dataclass
class Source:
    """A data set as its files say it, not yet judged.

    ``images``: relative path -> split. ``rows``: a box a row [image, class, x1, y1, x2, y2, file, line], with class as
    a name, corners in pixels or, if ``fractions``, in fractions of the image's size. ``names``: a declared class ->
    (file, line).
    """

    folder: Path
    images: dict[str, str]
    fractions: bool = False
    names: dict[str, tuple[str, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    found: list[tuple[Any, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        names: dict[str, list[str]] = {}
        for image in self.images:  # an annotation may say images/a.jpg, a.jpg or a
            for spelling in {image, Path(image).name, Path(image).stem}:
                names.setdefault(spelling, []).append(image)
        self._spellings = {
            spelling: images[0] for spelling, images in names.items() if len(images) == 1
        }

    @property
    def rows(self) -> pd.DataFrame:
        frame = pd.DataFrame(self.found, columns=COLUMNS)
        return frame.astype({"x1": float, "y1": float, "x2": float, "y2": float, "line": int})

    def image(self, name: str) -> str | None:
        """Relative path of the image that an annotation calls ``name``; None if there is none (or more than one)."""
        return self._spellings.get(name) or self._spellings.get(Path(name).name)

    def bad(self, kind: str, file: str, line: int, what: str, remedy: str) -> None:
        self.problems.append(Problem(kind, file, line, what, remedy))

    def missing(self, file: str, line: int, name: str) -> None:
        remedy = (
            "add the image, or remove the entry, or write the path if the name fits several images"
        )
        self.bad(MISSING, file, line, f"there is no one image {name!r} in the folder", remedy)

    def add(self, image: str, cls: str, corners: tuple[Any, ...], file: str, line: int) -> None:
        """Keeps a box; corners that are not four finite numbers make a problem instead."""
        try:
            numbers = [float(c) for c in corners]
        except (TypeError, ValueError):
            numbers = [math.nan]
        if not all(map(math.isfinite, numbers)) or len(numbers) != 4:
            self.bad(
                MALFORMED,
                file,
                line,
                f"{corners!r} are not four finite numbers",
                "correct or delete the box",
            )
        else:
            self.found.append((image, cls, *numbers, file, line))

    def text(self, path: Path) -> str | None:
        try:
            return path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            self.bad(
                MALFORMED,
                self.relative(path),
                0,
                f"is not UTF-8 text ({error})",
                "save it as UTF-8",
            )
            return None

    def relative(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def table_rows(
    source: Source, path: Path, columns: tuple[str, ...], optional: tuple[str, ...] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, row) of a CSV file; rows with cells missing or to spare, and lacking columns, become problems.

    The cells of ``optional`` columns may be empty, and are where the file has no such column.
    """
    file, text = source.relative(path), source.text(path)
    reader = csv.DictReader((text or "").splitlines(keepends=True), skipinitialspace=True)
    lacking = [c for c in columns if c not in (reader.fieldnames or [])]
    if lacking and text is not None:
        source.bad(
            MALFORMED,
            file,
            1,
            f"has no column {', '.join(lacking)}",
            f"its header needs {', '.join(columns)}",
        )
    if lacking:
        return
    for row in reader:
        cells = {c: (row.get(c) or "").strip() for c in (*columns, *optional)}
        empty = [c for c in columns if not cells[c]]
        if empty or None in row:
            what = (
                f"row has an empty {', '.join(empty)}"
                if empty
                else "row has more cells than the header"
            )
            source.bad(MALFORMED, file, reader.line_num, what, "correct or delete the row")
        else:
            yield reader.line_num, cells


def listed(folder: Path) -> list[Path]:
    """Every file of a folder, in order, without hidden ones."""
    files = (
        f
        for f in folder.rglob("*")
        if not any(part.startswith(".") for part in f.relative_to(folder).parts)
    )
    return sorted(f for f in files if f.is_file())


def split_of(image: str) -> str:
    """labelled, unlabelled or cohort, from the folders of an image's relative path."""
    return next(
        (SPLIT_FOLDERS[p] for p in Path(image).parts[:-1] if p in SPLIT_FOLDERS), "labelled"
    )


def header(file: Path) -> list[str]:
    """The column names of a CSV file."""
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as opened:
        return [cell.strip() for cell in next(csv.reader(opened), [])]
