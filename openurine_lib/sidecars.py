"""The two tables that lie beside the images: who each image is from, and what the laboratory reported (Table 8)."""

from __future__ import annotations

import pandas as pd

from openurine_lib.problems import LABORATORY, LAYOUT, MALFORMED, NO_GROUP
from openurine_lib.source import Source, header, table_rows
from openurine_lib.taxonomy import Taxonomy, normal

GROUP_FILES = {"slides.csv": "slide", "patients.csv": "patient", "groups.csv": "group"}  # file -> its column
LEVELS = ("none", "rare", "few", "moderate", "many")  # the five-level scale of the paper's clinical validation


def groups(source: Source) -> tuple[dict[str, str], list[str]]:
    """(image -> its patient or slide, rows that name no image). What is wrong is added to the source's problems."""
    present = [name for name in GROUP_FILES if (source.folder / name).is_file()]
    if len(present) != 1:
        what = f"has {' and '.join(present) or 'no groups file'}"
        remedy = f"keep one of {', '.join(GROUP_FILES)} with the columns image and {' | '.join(GROUP_FILES.values())}"
        source.bad(LAYOUT if present else NO_GROUP, source.folder.name, 0, what, remedy)
        return {}, []
    file, path = present[0], source.folder / present[0]
    column = next((c for c in GROUP_FILES.values() if c in header(path)), GROUP_FILES[file])
    found: dict[str, str] = {}
    idle: list[str] = []
    for line, row in table_rows(source, path, ("image", column)):
        image = source.image(row["image"])
        if image is None:
            idle.append(f"{file}:{line}: {row['image']}")
        elif found.setdefault(image, row[column]) != row[column]:
            what = f"image {row['image']!r} is of {column} {row[column]!r} here and of {found[image]!r} above"
            source.bad(MALFORMED, file, line, what, "keep one of the rows")
    for image in source.images:
        if image not in found:
            source.bad(NO_GROUP, file, 0, f"has no row for {image}", f"add its {column}: it keeps the folds apart")
    return found, idle


def laboratory(source: Source, taxonomy: Taxonomy, known_groups: set[str]) -> pd.DataFrame | None:
    """laboratory.csv as [group, component, level], or None without the file. Wrong cells are added to the problems."""
    path = source.folder / "laboratory.csv"
    if not path.is_file():
        return None
    components = {normal(c): c for c in taxonomy.components}
    rows: dict[tuple[str, str], str] = {}
    for line, row in table_rows(source, path, ("group", "component", "level")):
        group, component, level = row["group"], components.get(normal(row["component"])), row["level"].casefold()
        for column, good, expected in (
            ("group", group in known_groups, "a group that has images"),
            ("component", component is not None, f"one of {', '.join(taxonomy.components)}"),
            ("level", level in LEVELS, f"one of {', '.join(LEVELS)}"),
        ):
            if not good:
                what = f"column {column}: {row[column]!r}"
                source.bad(LABORATORY, path.name, line, what, f"write {expected}")
        if component and rows.setdefault((group, component), level) != level:
            what = f"{component} of {group} is {level} here and {rows[group, component]} above"
            source.bad(LABORATORY, path.name, line, what, "keep one of the rows")
    return pd.DataFrame([(*key, level) for key, level in rows.items()], columns=["group", "component", "level"])
