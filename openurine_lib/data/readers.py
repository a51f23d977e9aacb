"""Label files as rows: YOLO, COCO JSON, Pascal VOC and CSV are read into one frame that knows each box's file and line.

Why not through globox or supervision? Both were tried on broken files. globox 2.9 and supervision 0.31 stop at the
first one that they meet. globox then gives the file of a YOLO label, but nothing for Pascal VOC; supervision the file
and the text of a YOLO line, but no number, and neither for Pascal VOC. Here every bad line is to be named, all at once,
so the syntax is left to parsers that know lines (csv, json, lxml) and only the few fields of a box are picked here.
Judging the boxes is left to check.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from lxml import etree

from openurine_lib.data.problems import LAYOUT, MALFORMED, UNKNOWN, DataError, Problem
from openurine_lib.data.source import SUFFIXES, Source, header, listed, split_of, table_rows

BETWEEN = re.compile(r"[\s,:]*")
CSV_COLUMNS = ("image", "class", "x1", "y1", "x2", "y2")


def read(folder: str | Path) -> Source:
    """A data set's folder in whichever of the four forms it has. Raises DataError if it has none of them."""
    folder = Path(folder)
    files = listed(folder)
    images = {f.relative_to(folder).as_posix(): f for f in files if f.suffix.lower() in SUFFIXES}
    source = Source(folder, {name: split_of(name) for name in images})
    by_suffix = {
        suffix: [f for f in files if f.suffix.lower() == suffix]
        for suffix in (".json", ".xml", ".csv")
    }
    described = [f for f in by_suffix[".json"] if f.name != "meta.json"]
    tables = [f for f in by_suffix[".csv"] if set(CSV_COLUMNS) <= set(header(f))]
    if (folder / "data.yaml").is_file():
        read_yolo(
            source,
            [f for f in files if f.suffix == ".txt" and "labels" in f.relative_to(folder).parts],
        )
    elif described:
        for file in described:
            read_coco(source, file)
    elif by_suffix[".xml"]:
        for file in by_suffix[".xml"]:
            read_voc(source, file)
    elif tables:
        for file in tables:
            read_table(source, file)
    else:
        columns = ", ".join(CSV_COLUMNS)
        wanted = f"data.yaml with labels/ (YOLO), .json (COCO), .xml (Pascal VOC) or a CSV with the columns {columns}"
        raise DataError(
            str(folder), [Problem(LAYOUT, str(folder), 0, "holds no labels", f"it needs {wanted}")]
        )
    if "labelled" not in source.images.values():
        source.bad(LAYOUT, str(folder), 0, "holds no labelled images", "put them into images/")
    return source


def read_yolo(source: Source, labels: list[Path]) -> None:
    """``class x_center y_center width height`` in fractions of the image, a line a box; names from data.yaml."""
    source.fractions = True
    names = _yolo_names(source)
    images = {
        _label_of(image): image for image, split in source.images.items() if split == "labelled"
    }
    for path in labels:
        file = source.relative(path)
        image = images.get(file)
        if image is None:
            if path.name != "classes.txt":  # labelImg's list of names
                source.missing(file, 0, path.stem)
            continue
        for number, line in enumerate((source.text(path) or "").splitlines(), 1):
            values = line.split()
            if not values:
                continue
            try:
                cls, (x, y, w, h) = int(values[0]), map(float, values[1:])
            except ValueError:
                remedy = "write: class x_center y_center width height"
                source.bad(
                    MALFORMED,
                    file,
                    number,
                    f"{line.strip()!r} is not a class and four numbers",
                    remedy,
                )
                continue
            if cls not in names:
                remedy = "add its name to data.yaml or correct the class"
                source.bad(UNKNOWN, file, number, f"class {cls} is not in data.yaml", remedy)
                continue
            source.add(
                image, names[cls], (x - w / 2, y - h / 2, x + w / 2, y + h / 2), file, number
            )


def read_coco(source: Source, path: Path) -> None:
    """COCO JSON: ``images`` (id, file_name), ``annotations`` (image_id, category_id, bbox), ``categories``."""
    file, text = source.relative(path), source.text(path)
    if text is None:
        return
    try:
        lists = {key: list(_items(text, key)) for key in ("images", "categories", "annotations")}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 0
        remedy = "it needs the lists images, annotations and categories"
        source.bad(MALFORMED, file, line, f"is not COCO JSON: {error!s}", remedy)
        return
    tables: dict[str, dict[Any, str]] = {"images": {}, "categories": {}}
    for key, label in (("images", "file_name"), ("categories", "name")):
        for line, entry in lists[key]:
            try:
                tables[key][entry["id"]] = str(entry[label])
            except (KeyError, TypeError):
                source.bad(
                    MALFORMED, file, line, f"an entry of {key} has no id or {label}", "complete it"
                )
                continue
            if key == "categories":
                source.names[str(entry[label])] = (file, line)
            elif source.image(str(entry[label])) is None:
                source.missing(file, line, str(entry[label]))
    for line, entry in lists["annotations"]:
        what = f"annotation {entry!r:.100}"
        try:
            image_id, category, (x, y, w, h) = (
                entry["image_id"],
                entry["category_id"],
                map(float, entry["bbox"]),
            )
        except (KeyError, TypeError, ValueError):
            remedy = "give it image_id, category_id and bbox = [x, y, width, height]"
            source.bad(MALFORMED, file, line, f"{what} lacks a field or a number", remedy)
            continue
        if category not in tables["categories"]:
            source.bad(
                UNKNOWN,
                file,
                line,
                f"{what}: no category has that id",
                "add it to categories or correct it",
            )
        elif image_id not in tables["images"]:
            source.missing(file, line, f"id {image_id}")
        elif (image := source.image(tables["images"][image_id])) is not None:  # else told above
            source.add(image, tables["categories"][category], (x, y, x + w, y + h), file, line)


def read_voc(source: Source, path: Path) -> None:
    """Pascal VOC XML, one file an image. Pixels count from 1 and the last is included: x1 = xmin - 1, x2 = xmax."""
    file = source.relative(path)
    try:
        root = etree.parse(
            str(path), etree.XMLParser(resolve_entities=False, no_network=True)
        ).getroot()
    except etree.XMLSyntaxError as error:
        source.bad(
            MALFORMED,
            file,
            error.lineno or 0,
            f"is not XML: {error.msg}",
            "correct or delete the file",
        )
        return
    name = root.findtext("filename") or path.stem
    image = source.image(name) or source.image(path.stem)
    if image is None:
        source.missing(file, 0, name)
        return
    for entry in root.iter("object"):
        cls, line = (entry.findtext("name") or "").strip(), entry.sourceline or 0
        x1, y1, x2, y2 = (
            entry.findtext(f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax")
        )
        try:
            corners = (float(x1 or "") - 1, float(y1 or "") - 1, float(x2 or ""), float(y2 or ""))
        except ValueError:
            cls = ""
        if not cls:
            source.bad(
                MALFORMED,
                file,
                line,
                "an object has no name or no number in bndbox",
                "complete or delete it",
            )
        else:
            source.add(image, cls, corners, file, line)


def read_table(source: Source, path: Path) -> None:
    """CSV with the columns image, class, x1, y1, x2, y2 (pixels)."""
    for line, row in table_rows(source, path, CSV_COLUMNS):
        image = source.image(row["image"])
        if image is None:
            source.missing(source.relative(path), line, row["image"])
        else:
            source.add(
                image,
                row["class"],
                tuple(row[c] for c in CSV_COLUMNS[2:]),
                source.relative(path),
                line,
            )


def _yolo_names(source: Source) -> dict[int, str]:
    text = source.text(source.folder / "data.yaml") or ""
    try:
        listed = yaml.safe_load(text)["names"]
        names = {
            int(i): str(name)
            for i, name in (listed.items() if isinstance(listed, dict) else enumerate(listed))
        }
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        line = (
            error.problem_mark.line + 1
            if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark
            else 0
        )
        remedy = "list the class names there"
        source.bad(MALFORMED, "data.yaml", line, f"has no readable `names` ({error!s:.80})", remedy)
        return {}
    lines = text.splitlines()
    places = {
        name: next((i for i, line in enumerate(lines, 1) if name in line), 0)
        for name in names.values()
    }
    source.names |= {name: ("data.yaml", line) for name, line in places.items()}
    return names


def _label_of(image: str) -> str:
    """images/a.jpg -> labels/a.txt, as ultralytics does it (the last folder of that name)."""
    parts = list(Path(image).with_suffix(".txt").parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts).as_posix()


def _items(text: str, key: str) -> Iterator[tuple[int, Any]]:
    """(line, element) of a list at the top of a JSON object; json itself does not say where an element stands.

    Raises JSONDecodeError, KeyError, TypeError.
    """
    if not isinstance(json.loads(text)[key], list):
        raise TypeError(f"{key} is not a list")
    decode, name = json.JSONDecoder().raw_decode, None
    at = (
        text.index("{") + 1
    )  # the syntax is known to be right: walk over the members until the one that is sought
    while name != key:
        name, at = decode(text, _next(text, at))
        at = _next(text, at)
        if name != key:
            _, at = decode(text, at)
    line, counted, at = 1, 0, at + 1
    while text[at := _next(text, at)] != "]":
        line, counted = line + text.count("\n", counted, at), at
        element, at = decode(text, at)
        yield line, element


def _next(text: str, at: int) -> int:
    """Where the next name or value starts."""
    return BETWEEN.match(text, at).end()  # type: ignore[union-attr]
