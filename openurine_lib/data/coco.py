"""COCO JSON: the lists images, categories and annotations, whose entries refer to each other."""

from __future__ import annotations

import math
import reprlib
from pathlib import Path
from typing import Any

from openurine_lib.data import source as s
from openurine_lib.data.parsed import number
from openurine_lib.data.source import Source
from openurine_lib.data.taxonomy import normal

LISTS = ("images", "categories", "annotations")


def read_coco(source: Source, path: Path) -> None:
    """COCO JSON: images (id, file_name), categories, annotations (image_id, category_id, bbox)."""
    file = source.relative(path)
    content = source.json(path, LISTS, "COCO JSON", f"it needs the lists {', '.join(LISTS)}")
    if content is None:
        return
    # kept by kind: ids of images and categories are two series
    images = _named(source, file, content["images"], "images", "file_name")
    categories = _named(source, file, content["categories"], "categories", "name")
    image_of: dict[Any, str | None] = {}
    lines: dict[str, int] = {}  # image -> line of its entry
    for key, (name, line) in images.items():
        image = image_of[key] = source.image(name, file)
        if image is None:
            source.missing(file, line, name)
        elif image in lines:
            what = f"{name!r} is {image}, as is the entry of line {lines[image]}"
            source.bad(s.MALFORMED, file, line, what, "keep one of the entries, or write the paths")
        else:
            lines[image] = line
    declared: dict[str, int] = {}  # name, however it is spelled -> line
    for name, line in categories.values():
        source.names[name] = (file, line)
        if normal(name) in declared:
            what = f"category {name!r} stands in line {declared[normal(name)]} too"
            source.bad(s.MALFORMED, file, line, what, "give each category a name of its own")
        declared.setdefault(normal(name), line)
    for entry in content["annotations"]:
        line = getattr(entry, "line", 0)  # what is no object has none
        what = f"annotation {reprlib.repr(entry)}"
        try:
            image_id = _id(entry["image_id"])
            category = _id(entry["category_id"])
            x, y, w, h = _numbers(entry["bbox"])
        except (KeyError, TypeError, ValueError):
            remedy = "give it image_id, category_id and bbox = [x, y, width, height]"
            source.bad(s.MALFORMED, file, line, f"{what} lacks a field or a number", remedy)
            continue
        if category not in categories:
            remedy = "add it to categories or correct it"
            source.bad(s.UNKNOWN, file, line, f"{what}: no category has that id", remedy)
        elif image_id not in images:
            source.missing(file, line, f"id {image_id}")
        else:
            image = image_of[image_id]
            if image is not None:  # else it was told above
                cls = categories[category][0]
                # width and height -> corners
                source.add(image, cls, (x, y, x + w, y + h), file, line)


def _named(
    source: Source, file: str, entries: list[Any], key: str, field: str
) -> dict[Any, tuple[str, int]]:
    """Id -> (name, line) of a list's entries; what is incomplete or given twice is told."""
    named: dict[Any, tuple[str, int]] = {}
    for entry in entries:
        line = getattr(entry, "line", 0)
        try:
            number_of = _id(entry["id"])
            name = entry[field]
            if type(name) not in (str, int):
                raise TypeError(f"{field} is no text")
        except (KeyError, TypeError):
            what = f"an entry of {key} has no id or {field}"
            source.bad(s.MALFORMED, file, line, what, "complete it: an id is a number or a text")
            continue
        if number_of in named:
            what = f"an entry of {key} has the id {number_of!r}, as line {named[number_of][1]} has"
            source.bad(s.MALFORMED, file, line, what, "give each entry an id of its own")
            continue
        named[number_of] = (str(name), line)
    return named


def _id(value: Any) -> int | str:
    """An id: a whole number or a text. Raises TypeError for anything else, as a list or true."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if type(value) not in (int, str):
        raise TypeError(f"{value!r:.40} is no id")
    return value


def _numbers(value: Any) -> list[float]:
    """The numbers of a list. Raises TypeError for what is no list, ValueError for what is none."""
    if not isinstance(value, list):
        raise TypeError("not a list")
    numbers = [number(v) for v in value]
    if any(map(math.isnan, numbers)):
        raise ValueError("not a number")
    return numbers
