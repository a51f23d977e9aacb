"""The review of discrepant samples: a file that a reviewer fills in and that then overrides the reference.

The paper: "Discrepant samples were further reviewed by an independent clinical biochemist to confirm the final
reference label." A sample whose levels agree is never looked at again, so such a review can only raise the accuracy:
the result before it is the one to compare methods by (Hadgu 1996, doi:10.1016/S0140-6736(96)05122-7).
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from openurine_lib.clinical.agreement import MEAN, agreement
from openurine_lib.data.levels import LEVELS
from openurine_lib.data.problems import LABORATORY, MALFORMED, DataError
from openurine_lib.data.source import Source, table_rows
from openurine_lib.files import write_text

STEM = "table8_review"
KEY = ["group", "component"]
COLUMNS = [*KEY, "model_level", "reference_level", "fields", "reviewer_level"]


def discrepant(pairs: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """A row for each patient and component whose levels differ: COLUMNS, ``reviewer_level`` empty.

    ``fields``: the names of the patient's image files, to look at.
    """
    names = (
        images["path"]
        .map(lambda path: Path(path).name)
        .groupby(images["group"].to_numpy())
        .agg(" ".join)
    )
    rows = pairs[pairs["level"] != pairs["level_here"]].sort_values(KEY)
    model, reference = (rows[c].map(dict(enumerate(LEVELS))) for c in ("level_here", "level"))
    columns = {
        "model_level": model,
        "reference_level": reference,
        "fields": rows["group"].map(names),
    }
    return rows[KEY].assign(**columns, reviewer_level="").astype(str).reset_index(drop=True)


def read(path: Path, pairs: pd.DataFrame) -> pd.DataFrame:
    """The rows that a reviewer has filled in: COLUMNS; none where there is no file yet.

    Raises DataError with every row that is wrong, by line and column: an unknown level, a patient or component that
    was not compared, a row given twice, cells missing or to spare.
    """
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS, dtype=str)
    source, known = Source(path.parent, {}), set(pairs[KEY].itertuples(index=False, name=None))
    seen: dict[tuple[str, str], int] = {}
    groups = {group for group, _ in known}
    rows = []
    for line, row in table_rows(source, path, tuple(KEY), tuple(COLUMNS[2:])):
        key, level = (row["group"], row["component"]), row["reviewer_level"].casefold()
        if row["group"] not in groups:
            what = f"column group: {row['group']!r}"
            source.bad(LABORATORY, path.name, line, what, "write a patient that is compared")
        elif key not in known:
            expected = ", ".join(sorted(c for g, c in known if g == row["group"]))
            what = f"column component: {row['component']!r}"
            source.bad(LABORATORY, path.name, line, what, f"write one of {expected}")
        if level and level not in LEVELS:
            what, remedy = (
                f"column reviewer_level: {row['reviewer_level']!r}",
                f"write one of {', '.join(LEVELS)}",
            )
            source.bad(LABORATORY, path.name, line, what, f"{remedy}, or leave it empty")
        if seen.setdefault(key, line) != line:
            what = f"{row['component']} of {row['group']} stands in line {seen[key]} already"
            source.bad(MALFORMED, path.name, line, what, "keep one of the rows")
        rows.append(row | {"reviewer_level": level})
    if source.problems:
        raise DataError(str(path), source.problems)
    table = pd.DataFrame(rows, columns=COLUMNS, dtype=str)
    return table[table["reviewer_level"] != ""].reset_index(drop=True)


def write(path: Path, rows: pd.DataFrame) -> None:
    """Leaves the file to fill in: ``rows`` of ``discrepant``, and what a reviewer has touched just as it stands.

    Touched are rows with a reviewer's level, or with anything in a column of the reviewer's own. Call ``read`` first:
    it judges the file. A file that already says the same is left alone.
    """
    old = pd.DataFrame(columns=COLUMNS, dtype=str)
    if path.is_file():
        old = pd.read_csv(
            path, dtype=str, keep_default_na=False, skipinitialspace=True, encoding="utf-8-sig"
        )
    own = [c for c in old if c == "reviewer_level" or c not in COLUMNS]
    kept = old[(old[own].apply(lambda cells: cells.str.strip()) != "").any(axis=1)]
    fresh = rows[~pd.MultiIndex.from_frame(rows[KEY]).isin(pd.MultiIndex.from_frame(kept[KEY]))]
    new = (
        pd.concat([kept, fresh], ignore_index=True)
        .fillna("")
        .sort_values(KEY, kind="stable", ignore_index=True)
    )
    if not path.is_file() or not new.equals(old):
        write_text(path, new.to_csv(index=False, lineterminator="\n"))


def applied(pairs: pd.DataFrame, filled: pd.DataFrame) -> pd.DataFrame:
    """The pairs with the reviewer's level for the reference's where there is one."""
    levels = dict(
        zip(filled[KEY].itertuples(index=False, name=None), filled["reviewer_level"], strict=True)
    )
    said = [levels.get(key) for key in pairs[KEY].itertuples(index=False, name=None)]
    level = [
        old if new is None else LEVELS.index(new)
        for new, old in zip(said, pairs["level"], strict=True)
    ]
    return pairs.assign(level=pd.array(level, int))


def before_and_after(pairs: pd.DataFrame, filled: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """[row, patients, discrepant, reviewed, changed, accuracy, kappa, and both again as ``_after``, with intervals].

    ``changed``: how often the reviewer's level is not the reference's. NaN after, and the reason, as long as nobody has
    filled in a row.
    """
    before, after = agreement(pairs, seed=seed), agreement(applied(pairs, filled), seed=seed)
    marks = pairs.merge(filled[[*KEY, "reviewer_level"]], on=KEY, how="left")
    reviewed = marks["reviewer_level"].notna()
    marks = marks.assign(
        discrepant=marks["level"] != marks["level_here"],
        reviewed=reviewed,
        changed=reviewed & (marks["reviewer_level"] != marks["level"].map(dict(enumerate(LEVELS)))),
    )
    tally = marks.groupby("component")[["discrepant", "reviewed", "changed"]].sum()
    tally.loc[MEAN] = tally.sum()
    table = before[["row", "patients"]].join(
        tally.reindex(before["row"]).fillna(0).astype(int).reset_index(drop=True)
    )
    for m in ("accuracy", "kappa"):
        for end in ("", "_low", "_high"):
            table[f"{m}{end}"] = before[f"{m}{end}"]
            table[f"{m}_after{end}"] = after[f"{m}{end}"] if len(filled) else float("nan")
    return table.assign(reason="" if len(filled) else "no row filled in yet")
