"""What a drawn set holds, counted from its files: for the descriptions that lie beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from synthurine.dataset import FOLDERS

SUBSETS = tuple(FOLDERS)  # labelled, unlabelled, cohort
NEEDED = ("meta.json", "patients.csv", "laboratory.csv", "annotations/coco.json")


@dataclass(frozen=True)
class Contents:
    """A drawn set in numbers."""

    simulator: str
    seed: int
    spec: dict[str, int]
    fields: dict[str, int]  # images on disk, by subset
    patients: dict[str, int]  # by subset
    taken: pd.DataFrame  # patients.csv: [image, patient, subset, profile, laboratory, um_per_px]
    boxes: pd.DataFrame  # [image, name, px (longest side), um]
    megabytes: float  # of the pictures
    learned: bool  # whether its laboratories were learned from other fields (``likeness``)

    @property
    def in_a_sentence(self) -> str:
        """What the set is, how much of it there is, and that it is drawn."""
        return (
            f"Drawn fields of urine sediment, {self.spec['field_px']} px wide: "
            f"{self.fields['labelled']} labelled ones with {len(self.boxes)} boxes of "
            f"{self.boxes['name'].nunique()} classes, {self.fields['unlabelled']} unlabelled, "
            f"{self.fields['cohort']} of {self.patients['cohort']} patients with a laboratory's "
            "report. Synthetic: a program computed every picture and every box."
        )

    def classes(self) -> pd.DataFrame:
        """[name, boxes, fields, um], the most frequent first; um: the median of longest sides."""
        table = self.boxes.groupby("name", as_index=False).agg(
            boxes=("name", "size"), fields=("image", "nunique"), um=("um", "median")
        )
        return table.sort_values(["boxes", "name"], ascending=[False, True], ignore_index=True)


def count(folder: Path) -> Contents:
    """Counts the files of a folder that ``synthurine.write`` left.

    Raises FileNotFoundError if a file of it is missing.
    """
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder} is no whole drawn set: {', '.join(missing)} missing; draw it with "
            "`openurine synthesize`"
        )
    meta: dict[str, Any] = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    taken = pd.read_csv(folder / "patients.csv")
    by_subset = taken.groupby("subset")["patient"].nunique()
    pictures = {name: [*(folder / place).glob("*.jpg")] for name, place in FOLDERS.items()}
    return Contents(
        simulator=meta["simulator"],
        seed=meta["seed"],
        spec=meta["spec"],
        fields={name: len(files) for name, files in pictures.items()},
        patients={name: int(by_subset.get(name, 0)) for name in SUBSETS},
        taken=taken,
        boxes=_boxes(folder, taken),
        megabytes=sum(file.stat().st_size for file in chain(*pictures.values())) / 1e6,
        learned="laboratories" in meta,
    )


def _boxes(folder: Path, taken: pd.DataFrame) -> pd.DataFrame:
    """The boxes of the COCO file, with their longest sides in pixels and micrometres."""
    coco = json.loads((folder / "annotations" / "coco.json").read_text(encoding="utf-8"))
    names = {entry["id"]: entry["name"] for entry in coco["categories"]}
    images = {entry["id"]: Path(entry["file_name"]).stem for entry in coco["images"]}
    um_per_px = taken.set_index("image")["um_per_px"]
    rows = [
        (images[box["image_id"]], names[box["category_id"]], max(box["bbox"][2:]))
        for box in coco["annotations"]
    ]
    boxes = pd.DataFrame(rows, columns=["image", "name", "px"])
    return boxes.assign(um=boxes["px"] * boxes["image"].map(um_per_px))
