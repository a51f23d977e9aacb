"""Twelve small fields of six slides in each of the four label forms."""

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ["RBC", "WBC", "Bacteria"]
WIDTH, HEIGHT = 64, 48
IMAGES = [f"f{i:02d}" for i in range(12)]
BOXES = {
    name: [(i % 3, 4.0, 6.0, 20.0 + i, 30.0), (0, 40.0, 10.0, 60.0, 44.0)]
    for i, name in enumerate(IMAGES)
}


def images(folder: Path, under: str = "images", names: list[str] = IMAGES, first: int = 0) -> None:
    """Noise, so that no two images are alike; other ``first``, other images."""
    (folder / under).mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        pixels = np.random.default_rng(first + i).integers(
            0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8
        )
        Image.fromarray(pixels).save(folder / under / f"{name}.png")


def groups(folder: Path, extra: list[tuple[str, str]] = ()) -> None:
    rows = [(f"{name}.png", f"S{i // 2}") for i, name in enumerate(IMAGES)]
    write_csv(folder / "slides.csv", [("image", "slide"), *rows, *extra])


def write_csv(path: Path, rows: list[tuple]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def yolo(folder: Path) -> Path:
    images(folder)
    groups(folder)
    (folder / "data.yaml").write_text(
        "names:\n" + "".join(f"  {i}: {name}\n" for i, name in enumerate(NAMES))
    )
    (folder / "labels").mkdir()
    for name, boxes in BOXES.items():
        lines = []
        for c, x1, y1, x2, y2 in boxes:
            centre = f"{(x1 + x2) / 2 / WIDTH} {(y1 + y2) / 2 / HEIGHT}"
            lines.append(f"{c} {centre} {(x2 - x1) / WIDTH} {(y2 - y1) / HEIGHT}")
        (folder / "labels" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


def coco(folder: Path) -> Path:
    images(folder)
    groups(folder)
    content = {
        "info": {
            "annotations": [1, {"a": "]"}]
        },  # a decoy for whoever looks for the list by its name
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(NAMES)],
        "images": [{"id": i, "file_name": f"{name}.png"} for i, name in enumerate(IMAGES)],
        "annotations": [
            {"image_id": i, "category_id": c + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            for i, name in enumerate(IMAGES)
            for c, x1, y1, x2, y2 in BOXES[name]
        ],
    }
    (folder / "annotations.json").write_text(json.dumps(content, indent=1))
    return folder


def voc(folder: Path) -> Path:
    images(folder)
    groups(folder)
    (folder / "annotations").mkdir()
    for name, boxes in BOXES.items():
        objects = "".join(
            f"<object>\n<name>{NAMES[c]}</name>\n<bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin>"
            f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>\n</object>\n"
            for c, x1, y1, x2, y2 in boxes
        )
        text = f"<annotation>\n<filename>{name}.png</filename>\n{objects}</annotation>\n"
        (folder / "annotations" / f"{name}.xml").write_text(text)
    return folder


def table(folder: Path) -> Path:
    images(folder)
    groups(folder)
    rows = [
        (f"{name}.png", NAMES[c], *corners)
        for name, boxes in BOXES.items()
        for c, *corners in boxes
    ]
    write_csv(folder / "boxes.csv", [("image", "class", "x1", "y1", "x2", "y2"), *rows])
    return folder


FORMS = {"yolo": yolo, "coco": coco, "voc": voc, "csv": table}


def edit(path: Path, line: int, text: str) -> None:
    """Replaces a line (from 1) of a text file; the line after the last one is added."""
    lines = path.read_text().splitlines()
    lines[line - 1 : line] = [text]
    path.write_text("\n".join(lines) + "\n")
