"""LabelMe's JSON: a file an image, whose shapes are rectangles, polygons, or circles.

A polygon or a circle counts as the box around it. (supervision 0.31 reads COCO, YOLO and Pascal VOC
only; ``readers`` says why no library is used for those either.)
"""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath
from typing import Any

from openurine_lib.data import source as s
from openurine_lib.data.parsed import number
from openurine_lib.data.source import Source

HEAD = 4096  # characters in which LabelMe writes "shapes", before an image in base64
AREAS = ("rectangle", "polygon", "circle")


def is_labelme(path: Path) -> bool:
    """Whether a JSON file looks like LabelMe's."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        head = file.read(HEAD)
    return '"shapes"' in head and '"annotations"' not in head


def read_labelme(source: Source, path: Path) -> None:
    """LabelMe: ``imagePath`` and ``shapes`` (label, points [[x, y], ...], shape_type)."""
    file = source.relative(path)
    remedy = "correct it, or move it elsewhere"
    content = source.json(path, ("shapes",), "LabelMe's JSON", remedy)
    if content is None:
        return
    name = content.get("imagePath") or path.stem
    # paths of the annotator's machine: what counts is the name, beside this file if there
    called = PurePosixPath(str(name).replace("\\", "/")).name
    image = source.image(called, file) or source.image(path.stem, file)
    if image is None:
        source.missing(file, 0, str(name))
        return
    for shape in content["shapes"]:
        line = getattr(shape, "line", 0)
        corners = _box(shape)
        if corners is None:
            what = f"a shape is no {', '.join(AREAS)} with a label and its points"
            source.bad(s.MALFORMED, file, line, what, "draw it again, or delete it")
        else:
            source.add(image, str(shape["label"]), corners, file, line)


def _box(shape: Any) -> tuple[float, ...] | None:
    """(x1, y1, x2, y2) around a shape; None for what has no area or lacks something."""
    try:
        kind = shape.get("shape_type", "polygon")  # versions before 3.9 had polygons only
        points = [(number(x), number(y)) for x, y in shape["points"]]
        label = shape["label"]
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    enough = {"rectangle": len(points) == 2, "circle": len(points) == 2, "polygon": len(points) > 2}
    if not enough.get(kind) or label in (None, "") or any(map(math.isnan, sum(points, ()))):
        return None
    xs, ys = zip(*points, strict=True)
    if kind == "circle":  # its centre, and a point on it
        radius = math.dist(*points)
        return (xs[0] - radius, ys[0] - radius, xs[0] + radius, ys[0] + radius)
    return (min(xs), min(ys), max(xs), max(ys))
