"""CSV files: rows with their lines. Quotes that swallow rows, and columns given twice, are told."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from tqdm.auto import tqdm

from openurine_lib.data.source import MALFORMED, Source

# How the csv module says it; in plain words below.
UNCLOSED = "unexpected end of data"


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
    rows = _records(source, file, text)
    names = [cell.strip() for cell in next(rows, (1, []))[1]]
    wanted = (*columns, *optional)
    lacking = [c for c in columns if c not in names]
    twice = [c for c in wanted if names.count(c) > 1]
    if lacking or twice:
        what = f"has no column {', '.join(lacking)}" if lacking else f"has {twice[0]!r} twice"
        needs = f"its header needs {', '.join(columns)}, each once"
        source.bad(MALFORMED, file, 1, what, needs)
        return
    place = {c: names.index(c) for c in wanted if c in names}
    for line, row in tqdm(rows, desc=f"reading {file}", unit="row", leave=False, delay=2):
        if not row:  # an empty line
            continue
        cells = {
            c: row[place[c]].strip() if place.get(c, len(row)) < len(row) else "" for c in wanted
        }
        empty = [c for c in columns if not cells[c]]
        several = [c for c in wanted if "\n" in cells[c]]
        if empty:
            what = f"row has an empty {', '.join(empty)}"
        elif len(row) > len(names):
            what = "row has more cells than the header"
        elif several or _swallowed(row, len(names)):
            what = "a quote that opens here runs over several rows"
        else:
            yield line, cells
            continue
        source.bad(MALFORMED, file, line, what, "correct or delete the row")


def _records(source: Source, file: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """(line on which it starts, cells) of each record; what is no CSV becomes a problem."""
    # strict: a quote that is never closed is an error, and does not end the file in silence
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            what = f"is no CSV here: {error}"
            if str(error) == UNCLOSED:
                what = "a quote that opens here is never closed"
            source.bad(MALFORMED, file, line, what, "correct or delete the row")
        else:
            yield line, row


def _swallowed(row: list[str], columns: int) -> bool:
    """Whether a cell of several lines holds what looks like a row of its own."""
    lines = [line for cell in row if "\n" in cell for line in cell.splitlines()[1:]]
    return any(line.count(",") >= columns - 1 for line in lines)


def header(path: Path) -> list[str]:
    """The column names of a CSV file; none where its first row cannot be read."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as opened:
            return [cell.strip() for cell in next(csv.reader(opened, skipinitialspace=True), [])]
    except (OSError, csv.Error):  # the latter: a cell of more than 131,072 characters
        return []
