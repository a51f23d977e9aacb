"""The synthetic data set: fields one after another, and the folder that holds them (YOLO and COCO, patients,
metadata)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import joblib
import numpy as np
import pandas as pd
import yaml
from tqdm.auto import tqdm

from openurine_lib.files import atomic_path, write_json, write_text
from synthurine.fields import Field, lay
from synthurine.laboratories import LABORATORIES
from synthurine.particles.classes import CLASSES
from synthurine.patients import Patient, contents, plan
from synthurine.report import report

SIMULATOR = (
    "optics-5"  # raise it when the drawing changes: a folder of another version is not added to
)
FOLDERS = {"labelled": "images", "unlabelled": "unlabelled", "cohort": "cohort"}
WORTH = 30  # fields for which another process is started


def generate(spec: Mapping[str, int], seed: int) -> Iterator[Field]:
    """Every field of the data set: the labelled, then the unlabelled (boxes known, not written), then the cohort's."""
    for patient, j in _each(plan(spec, seed)):
        yield draw_field(patient, j, spec, seed)


def draw_field(patient: Patient, j: int, spec: Mapping[str, int], seed: int) -> Field:
    """The patient's field ``j``; depends on nothing but its arguments. Random numbers: ``[seed, index of the
    field]``."""
    rng = np.random.default_rng([seed, patient.first + j])
    lab = LABORATORIES[patient.laboratory]
    um_per_px = um_a_pixel(patient, spec)
    image, boxes = lay(contents(patient, j, rng), spec["field_px"], um_per_px, lab, rng)
    return Field(image, boxes, patient.name, _name(patient, j), patient.split, um_per_px, lab.jpeg)


def um_a_pixel(patient: Patient, spec: Mapping[str, int]) -> float:
    """Of the patient's laboratory, micrometres."""
    return spec["field_um"] / spec["field_px"] / LABORATORIES[patient.laboratory].zoom


def write(
    out_dir: str | Path, spec: Mapping[str, int], seed: int, workers: int | None = None
) -> Path:
    """Writes the data set as a YOLO folder and returns it; fields that are already there are not drawn again.

    images/ + labels/ (labelled), unlabelled/, cohort/ (images alone), data.yaml; the same labels as COCO in
    annotations/coco.json; patients.csv [image, patient, subset, profile, laboratory, um_per_px], laboratory.csv,
    meta.json. workers: processes (None: one a core); the result does not depend on it. Raises ValueError when the
    folder holds a data set of another spec, seed or simulator.
    """
    out = Path(out_dir)
    patients = plan(spec, seed)
    meta = {
        "synthetic": True,
        "simulator": SIMULATOR,
        "seed": seed,
        "spec": dict(spec),
        "um_per_px": spec["field_um"] / spec["field_px"],
    }
    _same_or_new(out / "meta.json", meta)
    for folder in ("labels", *FOLDERS.values()):
        (out / folder).mkdir(parents=True, exist_ok=True)
    write_json(out / "meta.json", meta)
    todo = [(p, j) for p, j in _each(patients) if not _image(out, p, j).exists()]
    _draw_all(todo, partial(_write_field, out, dict(spec), seed), workers or os.cpu_count() or 1)
    rows = [
        (_name(p, j), p.name, p.split, p.profile, p.laboratory + 1, round(um_a_pixel(p, spec), 5))
        for p, j in _each(patients)
    ]
    columns = ["image", "patient", "subset", "profile", "laboratory", "um_per_px"]
    _write_csv(out / "patients.csv", pd.DataFrame(rows, columns=columns))
    cohort = [p for p in patients if p.split == "cohort"]
    sides = [spec["field_px"] * um_a_pixel(p, spec) for p in cohort]
    _write_csv(out / "laboratory.csv", report(cohort, sides, seed))
    names = {"path": ".", "train": "images", "val": "images", "names": dict(enumerate(CLASSES))}
    write_text(out / "data.yaml", yaml.safe_dump(names, sort_keys=False))
    _write_coco(
        out, [_name(p, j) for p, j in _each(patients) if p.split == "labelled"], spec["field_px"]
    )
    return out


def _draw_all(todo: list[tuple[Patient, int]], one: partial[None], workers: int) -> None:
    workers = min(workers, len(todo) // WORTH)
    if workers > 1:
        done = joblib.Parallel(workers, return_as="generator_unordered")(
            joblib.delayed(_on_one_core)(one, item) for item in todo
        )
    else:
        done = map(one, todo)
    for _ in tqdm(
        done, total=len(todo), desc="drawing synthetic fields", unit="field", disable=not todo
    ):
        pass


def _on_one_core(one: partial[None], item: tuple[Patient, int]) -> None:
    cv2.setNumThreads(1)
    one(item)


def _each(patients: list[Patient]) -> Iterator[tuple[Patient, int]]:
    return ((p, j) for p in patients for j in range(p.fields))


def _name(patient: Patient, j: int) -> str:
    return f"{patient.name}_{j + 1:02d}"


def _image(out: Path, patient: Patient, j: int) -> Path:
    return out / FOLDERS[patient.split] / f"{_name(patient, j)}.jpg"


def _same_or_new(path: Path, meta: dict[str, object]) -> None:
    if path.exists() and (there := json.loads(path.read_text(encoding="utf-8"))) != meta:
        raise ValueError(
            f"{path.parent} holds another synthetic data set ({there}); remove the folder or choose another"
        )


def _write_field(out: Path, spec: dict[str, int], seed: int, item: tuple[Patient, int]) -> None:
    """The labels first: a field counts as written when its image is there."""
    patient, j = item
    field, path = draw_field(patient, j, spec, seed), _image(out, patient, j)
    if field.split == "labelled":
        size = spec["field_px"]
        lines = []
        for name, x1, y1, x2, y2 in field.boxes:
            centre_size = np.array([x1 + x2, y1 + y2, 2 * (x2 - x1), 2 * (y2 - y1)]) / (2 * size)
            lines.append(" ".join([str(CLASSES.index(name)), *(f"{v:.6f}" for v in centre_size)]))
        write_text(out / "labels" / f"{field.name}.txt", "\n".join(lines))
    with atomic_path(path) as temporary:
        if not cv2.imwrite(
            str(temporary), field.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, field.jpeg]
        ):
            raise OSError(f"could not write {path}; is the disk full?")


def _write_coco(out: Path, names: list[str], px: int) -> None:
    """The label files again, as COCO instances: [x, y, width, height] in pixels, categories from 1."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, name in enumerate(names, start=1):
        images.append(
            {"id": image_id, "file_name": f"images/{name}.jpg", "width": px, "height": px}
        )
        for line in (out / "labels" / f"{name}.txt").read_text(encoding="utf-8").splitlines():
            c, x, y, w, h = map(float, line.split())
            box = [round(v * px, 2) for v in (x - w / 2, y - h / 2, w, h)]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image_id, "category_id": int(c) + 1, "bbox": box,
                 "area": round(box[2] * box[3], 2), "iscrowd": 0}
            )  # fmt: skip
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES, start=1)]
    (out / "annotations").mkdir(exist_ok=True)
    with atomic_path(out / "annotations" / "coco.json") as temporary:
        temporary.write_text(
            json.dumps({"images": images, "annotations": annotations, "categories": categories}),
            encoding="utf-8",
        )


def _write_csv(path: Path, frame: pd.DataFrame) -> None:
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False)
