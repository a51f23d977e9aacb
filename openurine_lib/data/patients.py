"""The tables beside the images: who each image is from, what the laboratory reported (Table 8)."""

from __future__ import annotations

import math
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from openurine_lib.data import source as s
from openurine_lib.data.levels import LEVELS
from openurine_lib.data.parsed import Unreadable, load_json, number
from openurine_lib.data.source import Source
from openurine_lib.data.tables import header, table_rows
from openurine_lib.data.taxonomy import Taxonomy, normal

# file -> its column
GROUP_FILES = {"slides.csv": "slide", "patients.csv": "patient", "groups.csv": "group"}
# The entry of meta.json that says that nobody knows the patients: every image then counts as one of
# its own. Fields of one patient will stand on both sides of a split, and scores will flatter.
GROUPS, BY_IMAGE = "groups", "image"
PIXEL = "um_per_px"  # optional column of the groups file, or an entry of meta.json for all images


def read_meta(source: Source) -> dict[str, Any]:
    """The content of meta.json, empty without the file; what is wrong in it becomes a problem."""
    path = source.folder / "meta.json"
    text = source.text(path) if path.is_file() else None
    if text is None:
        return {}
    try:
        content = load_json(text)
    except Unreadable as error:
        source.bad(s.MALFORMED, path.name, error.line, f"is not JSON: {error}", "correct it")
        return {}
    if not isinstance(content, dict):
        what = f"is a {type(content).__name__}, not an object"
        source.bad(s.MALFORMED, path.name, 1, what, f'write it as {{"{PIXEL}": 0.5}}')
        return {}
    if type(content.get("synthetic", False)) is not bool:
        what = f"synthetic: {content['synthetic']!r:.40}"
        source.bad(s.MALFORMED, path.name, 0, what, "write true or false, without quotes")
    if content.get(GROUPS, BY_IMAGE) != BY_IMAGE:
        what = f"{GROUPS}: {content[GROUPS]!r:.40}"
        remedy = f'write "{BY_IMAGE}" if nobody knows the patients, or leave it out'
        source.bad(s.MALFORMED, path.name, 0, what, remedy)
    return content


def by_image(meta: dict[str, Any]) -> bool:
    """Whether a data set says that its patients are unknown."""
    return meta.get(GROUPS) == BY_IMAGE


def _original(image: str) -> str:
    """The image itself, but one for all copies that Roboflow has made of an image: a.rf.0f3c.jpg.

    Otherwise augmented copies of one field would stand in training and in test.
    """
    path = PurePosixPath(image)
    return path.name.split(".rf.")[0] if ".rf." in path.name else image


def groups(
    source: Source, meta: dict[str, Any]
) -> tuple[dict[str, str], dict[str, float], list[str]]:
    """(image -> its patient or slide, image -> um a pixel where known, rows that name no image).

    What is wrong is added to the source's problems.
    """
    present = [name for name in GROUP_FILES if (source.folder / name).is_file()]
    if by_image(meta) and present:
        what = f"says that nobody knows the patients, and there is {present[0]}"
        source.bad(s.LAYOUT, "meta.json", 0, what, f"leave out its {GROUPS!r}, or the file")
    elif by_image(meta):
        pixel = _pixel_of_all(source, meta)
        alone = {image: _original(image) for image in source.images}
        return alone, dict.fromkeys(source.images, pixel), []
    if len(present) != 1:
        columns = " | ".join(GROUP_FILES.values())
        remedy = f"keep one of {', '.join(GROUP_FILES)} with the columns image and {columns}"
        if not present:
            remedy += (
                f'; if nobody knows the patients, say so in meta.json: {{"{GROUPS}": "{BY_IMAGE}"}}'
            )
        kind = s.LAYOUT if present else s.NO_GROUP
        what = f"has {' and '.join(present) or 'no groups file'}"
        source.bad(kind, source.folder.name, 0, what, remedy)
        return {}, {}, []
    file = present[0]
    path = source.folder / file
    # a patients.csv may call its column ``group``; its own name comes first
    there = header(path)
    own = GROUP_FILES[file]
    column = next((c for c in (own, *GROUP_FILES.values()) if c in there), own)
    group_of: dict[str, str] = {}
    um_per_px = dict.fromkeys(source.images, _pixel_of_all(source, meta))
    idle: list[str] = []
    for line, row in table_rows(source, path, ("image", column), (PIXEL,)):
        image = source.image(row["image"])
        if image is None:
            idle.append(f"{file}:{line}: {row['image']}")
            continue
        first = group_of.setdefault(image, row[column])  # the first row counts
        if first != row[column]:
            places = f"{column} {row[column]!r} here and of {first!r} above"
            what = f"image {row['image']!r} is of {places}"
            source.bad(s.MALFORMED, file, line, what, "keep one of the rows")
        if row[PIXEL]:
            um_per_px[image] = number(row[PIXEL])  # for this image alone
            if not 0 < um_per_px[image] < math.inf:
                remedy = "write micrometres a pixel, a number above 0, or leave it empty"
                source.bad(s.MALFORMED, file, line, f"column {PIXEL}: {row[PIXEL]!r}", remedy)
    remedy = f"add its {column}: it keeps the folds apart"
    for image in source.images:
        if image not in group_of:
            source.bad(s.NO_GROUP, file, 0, f"has no row for {image}", remedy)
    return group_of, um_per_px, idle


def laboratory(
    source: Source, taxonomy: Taxonomy, groups_seen: set[str]
) -> tuple[pd.DataFrame | None, list[str]]:
    """laboratory.csv as a frame [group, component, level, count], and its rows without an image.

    None without the file. ``count``, an optional column, is the laboratory's mean count per
    high-power field; NaN where it gives none. Wrong cells are added to the source's problems.
    """
    path = source.folder / "laboratory.csv"
    if not path.is_file():
        return None, []
    components = {normal(c): c for c in taxonomy.components}  # any spelling
    report: dict[tuple[str, str], tuple[str, float]] = {}
    unseen: list[str] = []
    for line, row in table_rows(source, path, ("group", "component", "level"), ("count",)):
        group = row["group"]
        component = components.get(normal(row["component"]))
        level = row["level"].casefold()
        # infinity and NaN are refused below
        count = number(row["count"]) if row["count"] else math.nan
        remedies = {}
        if component is None:
            remedies["component"] = f"write one of {', '.join(taxonomy.components)}"
        if level not in LEVELS:
            remedies["level"] = f"write one of {', '.join(LEVELS)}"
        if row["count"] and not 0 <= count < math.inf:
            remedies["count"] = "write a mean per high-power field, or leave it empty"
        for column, remedy in remedies.items():
            what = f"column {column}: {row[column]!r}"
            source.bad(s.LABORATORY, path.name, line, what, remedy)
        if group not in groups_seen:
            unseen.append(f"{path.name}:{line}: {group}")
        if component is None:
            continue
        first, _ = report.setdefault((group, component), (level, count))
        if first != level:
            what = f"{component} of {group} is {level} here and {first} above"
            source.bad(s.LABORATORY, path.name, line, what, "keep one of the rows")
    if report and not any(group in groups_seen for group, _ in report):
        what = f"none of its groups has an image; the first is {next(iter(report))[0]!r}"
        source.bad(s.LABORATORY, path.name, 0, what, f"write them as in {' | '.join(GROUP_FILES)}")
    rows = [(*key, *value) for key, value in report.items()]
    return pd.DataFrame(rows, columns=["group", "component", "level", "count"]), unseen


def _pixel_of_all(source: Source, meta: dict[str, Any]) -> float:
    """The pixel size that meta.json gives for all images, micrometres; NaN if it gives none."""
    value = meta.get(PIXEL)
    if value is None:
        return math.nan
    # JSON has numbers: text and true are none, though Python could read them as such.
    size = number(value) if type(value) in (int, float) else math.nan
    if not 0 < size < math.inf:
        remedy = "write micrometres a pixel, a number above 0"
        source.bad(s.MALFORMED, "meta.json", 0, f"{PIXEL}: {value!r:.40}", remedy)
    return size
