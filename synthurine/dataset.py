"""The synthetic data set: its fields one after another, and the folder that holds them."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import joblib
import numpy as np
import pandas as pd
import yaml
from tqdm.auto import tqdm

from synthurine.fields import Field, lay
from synthurine.files import atomic_path, write_json, write_text
from synthurine.laboratories import LABORATORIES, Laboratory, described, write_laboratories
from synthurine.particles.classes import CLASSES
from synthurine.patients import PROFILES, Patient, contents, of_profile, plan
from synthurine.report import laboratory_report
from synthurine.spec import LEAST

# To be raised when the drawing changes: nothing is added to a folder of another version.
SIMULATOR = "optics-5"
LABORATORIES_FILE = "laboratories.yaml"  # that can be edited, and drawn with again
FOLDERS = {"labelled": "images", "unlabelled": "unlabelled", "cohort": "cohort"}
FIELDS_PER_WORKER = 30  # with fewer, starting another process takes longer than it saves

Item = tuple[Patient, int]  # a patient and the number of one of their fields
Laboratories = Sequence[Laboratory]


def generate(spec: Mapping[str, int], seed: int) -> Iterator[Field]:
    """Yields every field: the labelled ones, the unlabelled (with boxes too), then the cohort's."""
    for patient, j in _items(plan(spec, seed)):
        yield draw_field(patient, j, spec, seed)


def draw_field(
    patient: Patient, j: int, spec: Mapping[str, int], seed: int, labs: Laboratories = LABORATORIES
) -> Field:
    """The patient's field ``j``. It depends on the arguments alone, not on other fields."""
    rng = np.random.default_rng([seed, patient.first + j])
    lab = labs[patient.laboratory]
    um_per_px = pixel_size(spec, lab)
    image, boxes = lay(contents(patient, j, rng), spec["field_px"], um_per_px, lab, rng)
    return Field(image, boxes, patient.name, _name(patient, j), patient.split, um_per_px, lab.jpeg)


def one_field(
    profile: str, laboratory: int, seed: int, focus: float = 0.0, px: int = 840, um: float = 240.0
) -> Field:
    """One field of a patient with that profile, as that laboratory shows it; it is of no data set.

    Args:
        profile: a key of ``patients.PROFILES``.
        laboratory: its index in LABORATORIES.
        seed: the same one draws the same particles in the same places, in whatever focus.
        focus: um, added to where the laboratory likes to focus.
        px, um: width and height in pixels and, at a zoom of 1, in micrometres.

    Raises ValueError for a profile or laboratory that is not there, and for a field too small.
    """
    if profile not in PROFILES:
        raise ValueError(f"no profile {profile!r}; there are {', '.join(PROFILES)}")
    if not 0 <= laboratory < len(LABORATORIES):
        raise ValueError(f"no laboratory {laboratory}; there are 0 to {len(LABORATORIES) - 1}")
    if px < LEAST["field_px"] or um < LEAST["field_um"]:
        least = f"{LEAST['field_px']} px and {LEAST['field_um']} um"
        raise ValueError(f"a field of {px} px and {um:g} um is too small; give at least {least}")
    rng = np.random.default_rng([seed, 0])
    patient = of_profile(profile, laboratory, um, rng)
    lab = LABORATORIES[laboratory]
    um_per_px = um / px / lab.zoom
    names = contents(patient, 0, rng)
    image, boxes = lay(names, px, um_per_px, dataclasses.replace(lab, focus=lab.focus + focus), rng)
    return Field(image, boxes, patient.name, _name(patient, 0), patient.split, um_per_px, lab.jpeg)


def pixel_size(spec: Mapping[str, int], lab: Laboratory) -> float:
    """Width of a pixel in that laboratory, in um."""
    return spec["field_um"] / spec["field_px"] / lab.zoom


def write(
    out_dir: str | Path,
    spec: Mapping[str, int],
    seed: int,
    workers: int | None = None,
    labs: Laboratories = LABORATORIES,
) -> Path:
    """Writes the data set as a YOLO folder and returns the folder. Resumes: what is there stays.

    The folder holds images/ and labels/ (labelled fields), unlabelled/ and cohort/ (images alone),
    data.yaml, the same labels as COCO in annotations/coco.json, patients.csv [image, patient,
    subset, profile, laboratory, um_per_px], laboratory.csv (the cohort's reports) and meta.json;
    laboratories.yaml, if they are not the usual ones.

    Args:
        spec: how many fields and patients and how large; ``synthurine.PAPER`` shows the keys.
        workers: processes; one a core if None. The result does not depend on it.
        labs: the laboratories that the patients' fields are taken in.

    Raises ValueError for a wrong spec, and if the folder holds a data set of another spec, seed or
    simulator.
    """
    out = Path(out_dir)
    patients = plan(spec, seed, len(labs))
    meta = {
        "synthetic": True,
        "simulator": SIMULATOR,
        "seed": seed,
        "spec": dict(spec),
        "um_per_px": spec["field_um"] / spec["field_px"],
    }
    if labs is not LABORATORIES:
        meta["laboratories"] = described(labs)
    _refuse_another_set(out / "meta.json", meta)
    for folder in ("labels", *FOLDERS.values()):
        (out / folder).mkdir(parents=True, exist_ok=True)
    write_json(out / "meta.json", meta)
    missing = [(p, j) for p, j in _items(patients) if not _image_path(out, p, j).exists()]
    _draw_all(
        missing, partial(_write_field, out, dict(spec), seed, labs), workers or os.cpu_count() or 1
    )
    _write_tables(out, patients, spec, seed, labs)
    if labs is not LABORATORIES:
        write_laboratories(out / LABORATORIES_FILE, labs, spec["field_um"] / spec["field_px"])
    names = {"path": ".", "train": "images", "val": "images", "names": dict(enumerate(CLASSES))}
    write_text(out / "data.yaml", yaml.safe_dump(names, sort_keys=False))
    labelled = [_name(p, j) for p, j in _items(patients) if p.split == "labelled"]
    _write_coco(out, labelled, spec["field_px"])
    return out


def _items(patients: list[Patient]) -> Iterator[Item]:
    return ((p, j) for p in patients for j in range(p.fields))


def _name(patient: Patient, j: int) -> str:
    return f"{patient.name}_{j + 1:02d}"


def _image_path(out: Path, patient: Patient, j: int) -> Path:
    return out / FOLDERS[patient.split] / f"{_name(patient, j)}.jpg"


def _refuse_another_set(path: Path, meta: dict[str, object]) -> None:
    if not path.exists():
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    if found != meta:
        raise ValueError(
            f"{path.parent} holds another synthetic data set ({found}); "
            "remove the folder or choose another"
        )


def _draw_all(items: list[Item], draw_one: partial[None], workers: int) -> None:
    workers = min(workers, len(items) // FIELDS_PER_WORKER)
    if workers > 1:
        jobs = (joblib.delayed(_on_one_core)(draw_one, item) for item in items)
        done = joblib.Parallel(workers, return_as="generator_unordered")(jobs)
    else:
        done = map(draw_one, items)
    progress = tqdm(
        done, total=len(items), desc="drawing synthetic fields", unit="field", disable=not items
    )
    for _ in progress:
        pass


def _on_one_core(draw_one: partial[None], item: Item) -> None:
    cv2.setNumThreads(1)
    draw_one(item)


def _write_field(
    out: Path, spec: dict[str, int], seed: int, labs: Laboratories, item: Item
) -> None:
    """Writes the labels, then the image: a field counts as written when its image exists."""
    field = draw_field(*item, spec, seed, labs)
    if field.split == "labelled":
        lines = [_yolo_line(box, spec["field_px"]) for box in field.boxes]
        write_text(out / "labels" / f"{field.name}.txt", "\n".join(lines))
    path = _image_path(out, *item)
    bgr = field.image[..., ::-1]
    with atomic_path(path) as temporary:
        if not cv2.imwrite(str(temporary), bgr, [cv2.IMWRITE_JPEG_QUALITY, field.jpeg]):
            raise OSError(f"could not write {path}; is the disk full?")


def _yolo_line(box: tuple[str, float, float, float, float], px: int) -> str:
    """Class number, centre x, centre y, width, height; lengths as parts of the field's width."""
    name, x1, y1, x2, y2 = box
    centre_size = np.array([x1 + x2, y1 + y2, 2 * (x2 - x1), 2 * (y2 - y1)]) / (2 * px)
    return " ".join([str(CLASSES.index(name)), *(f"{v:.6f}" for v in centre_size)])


def _write_tables(
    out: Path, patients: list[Patient], spec: Mapping[str, int], seed: int, labs: Laboratories
) -> None:
    """patients.csv: whose each image is. laboratory.csv: the reports on the cohort."""
    um = [round(pixel_size(spec, lab), 5) for lab in labs]
    rows = [
        (_name(p, j), p.name, p.split, p.profile, p.laboratory + 1, um[p.laboratory])
        for p, j in _items(patients)
    ]
    columns = ["image", "patient", "subset", "profile", "laboratory", "um_per_px"]
    _write_csv(out / "patients.csv", pd.DataFrame(rows, columns=columns))
    cohort = [p for p in patients if p.split == "cohort"]
    sides_um = [spec["field_px"] * um[p.laboratory] for p in cohort]
    _write_csv(out / "laboratory.csv", laboratory_report(cohort, sides_um, seed))


def _write_csv(path: Path, frame: pd.DataFrame) -> None:
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False)


def _write_coco(out: Path, names: list[str], px: int) -> None:
    """The label files as COCO instances: [x, y, width, height] in pixels, categories from 1 on."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, name in enumerate(names, start=1):
        file_name = f"images/{name}.jpg"
        images.append({"id": image_id, "file_name": file_name, "width": px, "height": px})
        for line in (out / "labels" / f"{name}.txt").read_text(encoding="utf-8").splitlines():
            cls, x, y, width, height = map(float, line.split())
            corner_size = (x - width / 2, y - height / 2, width, height)
            bbox = [round(v * px, 2) for v in corner_size]
            annotation = {
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": int(cls) + 1,
                "bbox": bbox,
                "area": round(bbox[2] * bbox[3], 2),
                "iscrowd": 0,
            }
            annotations.append(annotation)
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES, start=1)]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    with atomic_path(out / "annotations" / "coco.json") as temporary:
        temporary.write_text(json.dumps(coco), encoding="utf-8")
