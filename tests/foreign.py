"""Small labelled sets of somebody else: own classes, own heads, no table of ours in mind."""

import json
from pathlib import Path

import pandas as pd
import tiny

NAMES = ("disc", "square", "bar")  # of ``tiny.frames``; no particle of urine
SIDES = (96, 128)  # pixels: fields of two sizes
HEADS = {
    1: ("Others", "Others", "Others"),
    2: ("Cells", "Crystals", "Crystals"),
    3: ("Cells", "Crystals", "Casts"),
}
# What the sets with more heads share with OpenUrine; the one with one head shares nothing.
SHARED = {
    1: "",
    2: "openurine: {disc: [RBC]}\n",
    3: "components: {RBC: [disc], Crystals: [square]}\nopenurine: {disc: [RBC]}\n",
}


def write(folder: Path, heads: int, fields: int = 15) -> Path:
    """A CSV set without pixel sizes and without unlabelled fields.

    One image a patient; with three heads nobody knows the patients at all.
    """
    parts = []
    for i, side in enumerate(SIDES):
        half = fields // 2 + (i < fields % 2)
        images, boxes = tiny.frames(folder / f"drawn{side}", half, side, seed=i)
        for frame in (images, boxes):
            frame["image"] = f"{side}px_" + frame["image"]
        parts.append((images, boxes))
    images, boxes = (pd.concat(frames, ignore_index=True) for frames in zip(*parts, strict=True))
    (folder / "images").mkdir()
    for field in images.itertuples():
        Path(field.path).rename(folder / "images" / f"{field.image}.png")
    for side in SIDES:
        (folder / f"drawn{side}").rmdir()
    boxes.insert(1, "class", boxes.pop("cls").map(dict(enumerate(NAMES))))
    boxes.assign(image=boxes["image"] + ".png").to_csv(folder / "boxes.csv", index=False)
    if heads == 3:
        (folder / "meta.json").write_text(json.dumps({"groups": "image"}))
    else:
        names = images["image"]
        patients = pd.DataFrame({"image": names + ".png", "patient": "p" + names})
        patients.to_csv(folder / "patients.csv", index=False)
    classes = "".join(f"  {name}: {head}\n" for name, head in zip(NAMES, HEADS[heads], strict=True))
    text = f"name: foreign{heads}\nclasses:\n{classes}{SHARED[heads]}"
    (folder / "taxonomy.yaml").write_text(text)
    return folder
