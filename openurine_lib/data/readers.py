"""YOLO, COCO JSON, Pascal VOC and CSV labels are read into a Source, which knows each box's line.

Why not through globox or supervision? Here every bad line is to be named, all at once. globox 2.9
and supervision 0.31 stop at the first one, and for most forms they name no line. So the syntax is
left to parsers that know lines (csv, json, lxml), and only the fields of a box are picked here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from lxml import etree

from openurine_lib.data import source as s
from openurine_lib.data.boxes import XYXY
from openurine_lib.data.source import Source

JSON_TOKEN = re.compile(
    r'"(?:[^"\\]|\\.)*"|[{}\n]'
)  # a whole text, or what tells objects and lines
CSV_COLUMNS = ("image", "class", *XYXY)


def read(folder: str | Path) -> Source:
    """A data set's folder in whichever of the four forms it has. Raises DataError without one."""
    folder = Path(folder).resolve()  # also "." has a name then, which messages show
    files = s.listed(folder)
    images = [f.relative_to(folder).as_posix() for f in files if f.suffix.lower() in s.SUFFIXES]
    source = Source(folder, {image: s.split_of(image) for image in images})
    # other text files (README) are no labels
    labels = [f for f in files if f.suffix == ".txt" and "labels" in f.relative_to(folder).parts]
    # this project's own file is no COCO
    coco = [f for f in files if f.suffix.lower() == ".json" and f.name != "meta.json"]
    voc = [f for f in files if f.suffix.lower() == ".xml"]
    csvs = [f for f in files if f.suffix.lower() == ".csv"]
    tables = [f for f in csvs if set(CSV_COLUMNS) <= set(s.header(f))]
    if (folder / "data.yaml").is_file():
        read_yolo(source, labels)
    elif not coco + voc + tables:
        forms = "data.yaml with labels/ (YOLO), .json (COCO), .xml (Pascal VOC)"
        remedy = f"it needs {forms} or a CSV with the columns {', '.join(CSV_COLUMNS)}"
        problem = s.Problem(s.LAYOUT, str(folder), 0, "holds no labels", remedy)
        raise s.DataError(str(folder), [problem])
    else:
        reader = read_coco if coco else read_voc if voc else read_table
        for file in coco or voc or tables:
            reader(source, file)
    if "labelled" not in source.images.values():
        source.bad(s.LAYOUT, str(folder), 0, "holds no labelled images", "put them into images/")
    return source


def read_yolo(source: Source, labels: list[Path]) -> None:
    """YOLO: ``class x_center y_center width height`` in fractions of the image, a line a box."""
    source.fractions = True
    names = _yolo_names(source)
    labelled = [image for image, split in source.images.items() if split == "labelled"]
    images = {_label_of(image): image for image in labelled}
    for path in labels:
        file = source.relative(path)
        image = images.get(file)
        if image is None:
            if path.name != "classes.txt":  # labelImg's list of names
                source.missing(file, 0, path.stem)
            continue
        for number, line in enumerate((source.text(path) or "").splitlines(), 1):
            values = line.split()
            if not values:  # an empty line
                continue
            try:
                cls = int(values[0])
                x, y, w, h = map(float, values[1:])
            except ValueError:
                what = f"{line.strip()!r} is not a class and four numbers"
                remedy = "write: class x_center y_center width height"
                source.bad(s.MALFORMED, file, number, what, remedy)
                continue
            if cls in names:
                corners = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)  # centre and size -> corners
                source.add(image, names[cls], corners, file, number)
            else:
                remedy = "add its name to data.yaml or correct the class"
                source.bad(s.UNKNOWN, file, number, f"class {cls} is not in data.yaml", remedy)


def _yolo_names(source: Source) -> dict[int, str]:
    """Number -> class name from data.yaml, whose ``names`` is a list or a mapping."""
    text = source.text(source.folder / "data.yaml") or ""
    try:
        listing = yaml.safe_load(text)["names"]
        pairs = listing.items() if isinstance(listing, dict) else enumerate(listing)
        names = {int(number): str(name) for number, name in pairs}
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 0
        what = f"has no readable `names` ({error!s:.80})"
        source.bad(s.MALFORMED, "data.yaml", line, what, "list the class names there")
        return {}
    lines = text.splitlines()
    for name in names.values():
        # 0: the file as a whole
        number = next((i for i, line in enumerate(lines, 1) if name in line), 0)
        source.names[name] = ("data.yaml", number)
    return names


def _label_of(image: str) -> str:
    """images/a.jpg -> labels/a.txt, as ultralytics does it (the last folder of that name)."""
    path = "/" + Path(image).with_suffix(".txt").as_posix()  # "/": the first folder also counts
    return "/labels/".join(path.rsplit("/images/", 1)).removeprefix("/")


def read_coco(source: Source, path: Path) -> None:
    """COCO JSON: images (id, file_name), categories, annotations (image_id, category_id, bbox)."""
    file = source.relative(path)
    text = source.text(path)
    if text is None:
        return
    try:
        content = _load_json(text)
        lists = {key: content[key] for key in ("images", "categories", "annotations")}
        wrong = [key for key, entries in lists.items() if not isinstance(entries, list)]
        if wrong:
            raise TypeError(f"{wrong[0]} is not a list")
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        line = getattr(error, "lineno", 0)
        remedy = "it needs the lists images, annotations and categories"
        source.bad(s.MALFORMED, file, line, f"is not COCO JSON: {error!s}", remedy)
        return
    # kept by kind: ids of images and categories are two series
    names: dict[str, dict[Any, str]] = {"images": {}, "categories": {}}  # list -> id -> name
    for key, field in (("images", "file_name"), ("categories", "name")):
        for entry in lists[key]:
            line = getattr(entry, "line", 0)  # what is no object has none
            try:
                name = names[key][entry["id"]] = str(entry[field])
            except (KeyError, TypeError):
                what = f"an entry of {key} has no id or {field}"
                source.bad(s.MALFORMED, file, line, what, "complete it")
                continue
            if key == "categories":
                source.names[name] = (file, line)
            elif source.image(name) is None:
                source.missing(file, line, name)
    for entry in lists["annotations"]:
        line = getattr(entry, "line", 0)
        what = f"annotation {entry!r:.100}"
        try:
            image_id = entry["image_id"]
            category = entry["category_id"]
            x, y, w, h = map(float, entry["bbox"])
        except (KeyError, TypeError, ValueError):
            remedy = "give it image_id, category_id and bbox = [x, y, width, height]"
            source.bad(s.MALFORMED, file, line, f"{what} lacks a field or a number", remedy)
            continue
        if category not in names["categories"]:
            remedy = "add it to categories or correct it"
            source.bad(s.UNKNOWN, file, line, f"{what}: no category has that id", remedy)
        elif image_id not in names["images"]:
            source.missing(file, line, f"id {image_id}")
        else:
            image = source.image(names["images"][image_id])
            if image is not None:  # else it was told above
                cls = names["categories"][category]
                # width and height -> corners
                source.add(image, cls, (x, y, x + w, y + h), file, line)


class _Object(dict[str, Any]):
    """An object of a JSON text that knows the line on which it starts."""

    line = 0


def _load_json(text: str) -> Any:
    """The content of a JSON text; its objects know their lines, which json itself does not tell."""
    lines = _object_lines(text)

    def at_its_line(entry: dict[str, Any]) -> _Object:
        found = _Object(entry)
        found.line = next(lines)
        return found

    return json.loads(text, object_hook=at_its_line)


def _object_lines(text: str) -> Iterator[int]:
    """The line on which each object of a JSON text starts, in the order in which they end."""
    line = 1
    starts = []  # of the objects that have not ended yet
    for token in JSON_TOKEN.finditer(text):
        if token[0] == "\n":
            line += 1
        elif token[0] == "{":
            starts.append(line)
        elif token[0] == "}":  # inner objects end before outer ones
            yield starts.pop()


def read_voc(source: Source, path: Path) -> None:
    """Pascal VOC XML, one file an image.

    Its pixels count from 1 and the last one is included, so x1 = xmin - 1 and x2 = xmax.
    """
    file = source.relative(path)
    # a file from elsewhere must not open others
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    try:
        root = etree.parse(str(path), parser).getroot()
    except etree.XMLSyntaxError as error:
        what = f"is not XML: {error.msg}"
        source.bad(s.MALFORMED, file, error.lineno or 0, what, "correct or delete the file")
        return
    name = root.findtext("filename") or path.stem
    image = source.image(name) or source.image(path.stem)
    if image is None:
        source.missing(file, 0, name)
        return
    for entry in root.iter("object"):
        line = entry.sourceline or 0
        cls = (entry.findtext("name") or "").strip()
        corners = [entry.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
        try:
            x1, y1, x2, y2 = (float(corner or "") for corner in corners)
        except ValueError:
            cls = ""
        if cls:
            source.add(image, cls, (x1 - 1, y1 - 1, x2, y2), file, line)  # counted from 1 -> from 0
        else:
            what = "an object has no name or no number in bndbox"
            source.bad(s.MALFORMED, file, line, what, "complete or delete it")


def read_table(source: Source, path: Path) -> None:
    """CSV with the columns image, class, x1, y1, x2, y2 (pixels)."""
    file = source.relative(path)
    for line, row in s.table_rows(source, path, CSV_COLUMNS):
        image = source.image(row["image"])
        if image is None:
            source.missing(file, line, row["image"])
        else:
            source.add(image, row["class"], tuple(row[c] for c in XYXY), file, line)
