"""The two tables that lie beside the images: who each image is from, and what the laboratory reported (Table 8)."""

from __future__ import annotations

import json
import math

import pandas as pd

from openurine_lib.data.levels import LEVELS
from openurine_lib.data.problems import LABORATORY, LAYOUT, MALFORMED, NO_GROUP
from openurine_lib.data.source import Source, header, table_rows
from openurine_lib.data.taxonomy import Taxonomy, normal

GROUP_FILES = {
    "slides.csv": "slide",
    "patients.csv": "patient",
    "groups.csv": "group",
}  # file -> its column
PIXEL = "um_per_px"  # optional column of the groups file, or an entry of meta.json for all images


def groups(source: Source) -> tuple[dict[str, str], dict[str, float], list[str]]:
    """(image -> its patient or slide, image -> micrometres a pixel where known, rows that name no image).

    What is wrong is added to the source's problems.
    """
    present = [name for name in GROUP_FILES if (source.folder / name).is_file()]
    if len(present) != 1:
        what = f"has {' and '.join(present) or 'no groups file'}"
        remedy = f"keep one of {', '.join(GROUP_FILES)} with the columns image and {' | '.join(GROUP_FILES.values())}"
        source.bad(LAYOUT if present else NO_GROUP, source.folder.name, 0, what, remedy)
        return {}, {}, []
    file, path = present[0], source.folder / present[0]
    column = next((c for c in GROUP_FILES.values() if c in header(path)), GROUP_FILES[file])
    found: dict[str, str] = {}
    sizes: dict[str, float] = dict.fromkeys(source.images, _pixel_of_all(source))
    idle: list[str] = []
    for line, row in table_rows(source, path, ("image", column), (PIXEL,)):
        image = source.image(row["image"])
        if image is None:
            idle.append(f"{file}:{line}: {row['image']}")
            continue
        if found.setdefault(image, row[column]) != row[column]:
            what = f"image {row['image']!r} is of {column} {row[column]!r} here and of {found[image]!r} above"
            source.bad(MALFORMED, file, line, what, "keep one of the rows")
        if row[PIXEL]:
            sizes[image] = _number(row[PIXEL])
            if not 0 < sizes[image] < math.inf:
                remedy = "write micrometres a pixel, a number above 0, or leave it empty"
                source.bad(MALFORMED, file, line, f"column {PIXEL}: {row[PIXEL]!r}", remedy)
    for image in source.images:
        if image not in found:
            source.bad(
                NO_GROUP,
                file,
                0,
                f"has no row for {image}",
                f"add its {column}: it keeps the folds apart",
            )
    return found, sizes, idle


def laboratory(
    source: Source, taxonomy: Taxonomy, known_groups: set[str]
) -> tuple[pd.DataFrame | None, list[str]]:
    """laboratory.csv as ([group, component, level, count], rows on a group without images); None without the file.

    ``count``, an optional column, is the laboratory's mean count per high-power field; NaN where it gives none.
    Wrong cells are added to the problems.
    """
    path = source.folder / "laboratory.csv"
    if not path.is_file():
        return None, []
    components = {normal(c): c for c in taxonomy.components}
    rows: dict[tuple[str, str], tuple[str, float]] = {}
    unseen: list[str] = []
    for line, row in table_rows(source, path, ("group", "component", "level"), ("count",)):
        group, component, level = (
            row["group"],
            components.get(normal(row["component"])),
            row["level"].casefold(),
        )
        count = _number(row["count"]) if row["count"] else math.nan
        for column, good, expected in (
            ("component", component is not None, f"one of {', '.join(taxonomy.components)}"),
            ("level", level in LEVELS, f"one of {', '.join(LEVELS)}"),
            (
                "count",
                not row["count"] or 0 <= count < math.inf,
                "a mean per high-power field, or leave it empty",
            ),
        ):
            if not good:
                source.bad(
                    LABORATORY,
                    path.name,
                    line,
                    f"column {column}: {row[column]!r}",
                    f"write {expected}",
                )
        if group not in known_groups:
            unseen.append(f"{path.name}:{line}: {group}")
        if component and rows.setdefault((group, component), (level, count))[0] != level:
            what = f"{component} of {group} is {level} here and {rows[group, component][0]} above"
            source.bad(LABORATORY, path.name, line, what, "keep one of the rows")
    if rows and not any(group in known_groups for group, _ in rows):
        what = f"none of its groups has an image; the first is {next(iter(rows))[0]!r}"
        source.bad(LABORATORY, path.name, 0, what, f"write them as in {' | '.join(GROUP_FILES)}")
    columns = ["group", "component", "level", "count"]
    return pd.DataFrame([(*key, *said) for key, said in rows.items()], columns=columns), unseen


def _number(text: str) -> float:
    """The number, or NaN for what is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _pixel_of_all(source: Source) -> float:
    """The pixel size that meta.json gives for all images, micrometres; NaN if it gives none."""
    path = source.folder / "meta.json"
    given = json.loads(path.read_text(encoding="utf-8")).get(PIXEL) if path.is_file() else None
    if given is None:
        return math.nan
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < math.inf:
        source.bad(
            MALFORMED,
            path.name,
            0,
            f"{PIXEL}: {given!r}",
            "write micrometres a pixel, a number above 0",
        )
        return math.nan
    return float(given)
