"""YOLO labels: data.yaml names the classes, and each image has a text file under labels/."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from openurine_lib.data import source as s
from openurine_lib.data.parsed import Unreadable, load_yaml, number
from openurine_lib.data.source import Source
from openurine_lib.data.taxonomy import normal

NAMES = "data.yaml"
CLASS = re.compile("[0-9]{1,9}")
BOX = re.compile(r"^\s*[0-9]+(\s+[-+0-9.eE]+){4}\s*$", re.MULTILINE)  # a line that looks like one


def read_yolo(source: Source, texts: list[Path]) -> None:
    """YOLO: ``class x_center y_center width height`` in fractions of the image, a line a box.

    ``texts``: every text file of the folder. Those that lie elsewhere than ultralytics looks for
    labels are no labels (README), unless they are called as an image is and hold boxes.
    """
    source.fractions = True
    names = _class_names(source)
    images = {_label_of(image): image for image, split in source.images.items()}
    for path in texts:
        file = source.relative(path)
        image = images.get(file)
        if image is not None and source.images[image] == "labelled":
            _read_labels(source, path, image, names)
        elif "labels" in path.relative_to(source.folder).parts and path.suffix == ".txt":
            if path.name != "classes.txt":  # labelImg's list of names
                source.missing(file, 0, path.stem)
        else:
            fields = [i for i in source.named(path.stem) if source.images[i] == "labelled"]
            if fields and BOX.search(source.text(path) or ""):
                what = f"holds boxes where nobody looks for those of {fields[0]}"
                source.bad(s.LAYOUT, file, 0, what, f"move it to {_label_of(fields[0])}")


def _read_labels(source: Source, path: Path, image: str, names: dict[int, str]) -> None:
    file = source.relative(path)
    for at, line in enumerate((source.text(path) or "").splitlines(), 1):
        values = line.split()
        if not values:  # an empty line
            continue
        if len(values) >= 7 and len(values) % 2:  # a polygon: class x y x y x y ...
            values = [values[0], *_around(values[1:])]
        corners = [number(value) for value in values[1:]]
        if not CLASS.fullmatch(values[0]) or len(corners) != 4 or any(map(math.isnan, corners)):
            what = f"{line.strip()!r:.100} is not a class and four numbers"
            remedy = "write: class x_center y_center width height"
            source.bad(s.MALFORMED, file, at, what, remedy)
            continue
        cls = int(values[0])
        x, y, w, h = corners
        if cls in names:
            xyxy = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)  # centre and size -> corners
            source.add(image, names[cls], xyxy, file, at)
        else:
            remedy = "add its name to data.yaml or correct the class"
            source.bad(s.UNKNOWN, file, at, f"class {cls} is not in data.yaml", remedy)


def _around(points: list[str]) -> list[str]:
    """x_center, y_center, width and height of the box around a polygon's points x y x y ..."""
    numbers = [number(value) for value in points]
    (x1, x2), (y1, y2) = ((min(n), max(n)) for n in (numbers[::2], numbers[1::2]))
    return [repr(value) for value in ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)]


def _class_names(source: Source) -> dict[int, str]:
    """Number -> class name from data.yaml, whose ``names`` is a list or a mapping."""
    text = source.text(source.folder / NAMES)
    if text is None:
        return {}
    try:
        content = load_yaml(text)
        listing = content["names"]
        pairs = listing.items() if isinstance(listing, dict) else enumerate(listing)
        names = _numbered(pairs)
        if content.get("nc", len(names)) != len(names):
            raise ValueError(f"nc is {content['nc']!r}, but {len(names)} classes have names")
    except (KeyError, TypeError, ValueError) as error:
        what = f"has no readable `names` ({error!s:.80})"
        line = error.line if isinstance(error, Unreadable) else 0
        source.bad(s.MALFORMED, NAMES, line, what, "list the class names there, each once")
        return {}
    lines = text.splitlines()
    for name in names.values():
        # 0: the file as a whole
        source.names[name] = (
            NAMES,
            next((i for i, line in enumerate(lines, 1) if name in line), 0),
        )
    return names


def _numbered(pairs: Iterable[tuple[Any, Any]]) -> dict[int, str]:
    """Number -> class name. Raises ValueError for what is neither, or stands twice."""
    names: dict[int, str] = {}
    spellings: dict[str, str] = {}
    for key, value in pairs:
        if not CLASS.fullmatch(str(key)) or isinstance(value, bool):
            raise ValueError(f"{key!r:.20}: {value!r:.20} is not a number and a name")
        if not isinstance(value, str | int | float):
            raise TypeError(f"{value!r:.40} is no name")
        if int(key) in names:
            raise ValueError(f"class {key} has two names")
        first = spellings.setdefault(normal(str(value)), str(key))
        if first != str(key):
            raise ValueError(f"classes {first} and {key} are both {value!r:.40}")
        names[int(key)] = str(value)
    return names


def _label_of(image: str) -> str:
    """images/a.jpg -> labels/a.txt, as ultralytics does it (the last folder of that name)."""
    path = "/" + Path(image).with_suffix(".txt").as_posix()  # "/": the first folder also counts
    return "/labels/".join(path.rsplit("/images/", 1)).removeprefix("/")
