"""The review of discrepant samples: a reviewer fills in a file that overrides the reference.

The paper: "Discrepant samples were further reviewed by an independent clinical biochemist to
confirm the final reference label." A sample whose levels agree is never looked at again, so such a
review can only raise the accuracy. The result before it is the one to compare methods by
(Hadgu 1996, doi:10.1016/S0140-6736(96)05122-7).
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from openurine_lib.clinical.agreement import MEAN, table8_components
from openurine_lib.data.levels import LEVELS
from openurine_lib.data.source import LABORATORY, MALFORMED, DataError, Source
from openurine_lib.data.tables import table_rows
from openurine_lib.files import write_text

STEM = "table8_review"
KEY = ["group", "component"]
COLUMNS = [*KEY, "model_level", "reference_level", "fields", "reviewer_level"]
NAME_OF = dict(enumerate(LEVELS))


def discrepant(pairs: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """A row for each patient and component whose levels differ: COLUMNS, ``reviewer_level`` empty.

    ``fields``: the names of the patient's image files, to look at.
    """
    names = images["path"].map(lambda path: Path(path).name)
    fields = names.groupby(images["group"]).agg(" ".join)
    rows = pairs[pairs["level"] != pairs["level_here"]].sort_values(KEY)
    rows = rows.assign(
        model_level=rows["level_here"].map(NAME_OF),
        reference_level=rows["level"].map(NAME_OF),
        fields=rows["group"].map(fields),
        reviewer_level="",
    )
    return rows[COLUMNS].astype(str).reset_index(drop=True)


def read(path: Path, pairs: pd.DataFrame) -> pd.DataFrame:
    """The rows that a reviewer has filled in: COLUMNS; none where there is no file yet.

    Raises DataError with every row that is wrong, by line and column: an unknown level, a patient
    or component that was not compared, a row given twice, cells missing or to spare.
    """
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS, dtype=str)
    source = Source(path.parent, {})
    components = pairs.groupby("group")["component"].agg(set).to_dict()
    line_of: dict[tuple[str, str], int] = {}
    rows = []

    def bad(kind: str, what: str, remedy: str) -> None:
        source.bad(kind, path.name, line, what, remedy)

    for line, row in table_rows(source, path, tuple(KEY), tuple(COLUMNS[2:])):
        group = row["group"]
        component = row["component"]
        level = row["reviewer_level"].casefold()
        if group not in components:
            bad(LABORATORY, f"column group: {group!r}", "write a patient that is compared")
        elif component not in components[group]:
            remedy = f"write one of {', '.join(sorted(components[group]))}"
            bad(LABORATORY, f"column component: {component!r}", remedy)
        if level and level not in LEVELS:
            remedy = f"write one of {', '.join(LEVELS)}, or leave it empty"
            bad(LABORATORY, f"column reviewer_level: {row['reviewer_level']!r}", remedy)
        first = line_of.setdefault((group, component), line)  # where it stood first
        if first != line:
            what = f"{component} of {group} stands in line {first} already"
            bad(MALFORMED, what, "keep one of the rows")
        rows.append(row | {"reviewer_level": level})
    if source.problems:
        raise DataError(str(path), source.problems)
    table = pd.DataFrame(rows, columns=COLUMNS, dtype=str)
    return table[table["reviewer_level"] != ""].reset_index(drop=True)


def write(path: Path, rows: pd.DataFrame) -> None:
    """Leaves the file to fill in: ``rows`` of ``discrepant``, and what a reviewer has touched.

    Touched are rows with a reviewer's level, or with anything in a column of the reviewer's own;
    they stay just as they are. Call ``read`` first: it judges the file. A file that already says
    the same is left alone.
    """
    old = pd.DataFrame(columns=COLUMNS, dtype=str)
    if path.is_file():
        text = {"dtype": str, "keep_default_na": False, "skipinitialspace": True}
        old = pd.read_csv(path, encoding="utf-8-sig", **text)
    # the level, and columns that a reviewer added
    of_reviewer = old.columns.difference(COLUMNS[:-1])
    touched = old[(old[of_reviewer].apply(lambda cells: cells.str.strip()) != "").any(axis=1)]
    both = pd.concat([touched, rows]).drop_duplicates(KEY)  # what is touched comes first, and stays
    new = both.fillna("").sort_values(KEY, kind="stable", ignore_index=True)
    if not path.is_file() or not new.equals(old):
        write_text(path, new.to_csv(index=False, lineterminator="\n"))


def reviewed_levels(pairs: pd.DataFrame, filled: pd.DataFrame) -> pd.DataFrame:
    """The pairs with the reviewer's level for the reference's where there is one."""
    marks = pairs[KEY].merge(filled[[*KEY, "reviewer_level"]], on=KEY, how="left")
    level = marks["reviewer_level"].map(LEVELS.index, na_action="ignore")  # text -> 0..4
    level = level.astype(float).set_axis(pairs.index).fillna(pairs["level"])
    return pairs.assign(level=level.astype(int))


def table8_reviewed(pairs: pd.DataFrame, filled: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Table 8 before and after the review: [row, patients, discrepant, reviewed, changed, ...].

    Then accuracy and kappa, and both again as ``_after``, with intervals. ``changed``: how often
    the reviewer's level is not the reference's. NaN after, and the reason, as long as nobody has
    filled in a row.
    """
    before = table8_components(pairs, seed=seed)
    after = table8_components(reviewed_levels(pairs, filled), seed=seed)
    marks = pairs.merge(filled[[*KEY, "reviewer_level"]], on=KEY, how="left")
    reviewer = marks["reviewer_level"]
    tally = pd.DataFrame(
        {
            "discrepant": marks["level"] != marks["level_here"],
            "reviewed": reviewer.notna(),
            "changed": reviewer.notna() & (reviewer != marks["level"].map(NAME_OF)),
        }
    )
    tally = tally.groupby(marks["component"]).sum()
    tally.loc[MEAN] = tally.sum()  # over all components
    table = before[["row", "patients"]].join(tally.astype(int), on="row")
    for measure in ("accuracy", "kappa"):
        for end in ("", "_low", "_high"):
            name = f"{measure}{end}"
            table[name] = before[name]
            table[f"{measure}_after{end}"] = after[name] if len(filled) else float("nan")
    return table.assign(reason="" if len(filled) else "no row filled in yet")
