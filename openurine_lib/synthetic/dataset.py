"""The synthetic data set: fields one after another, the laboratory's report, and the folder that holds both."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import yaml
from tqdm.auto import tqdm

from openurine_lib.methods import read_config
from openurine_lib.provenance import atomic_path, write_json, write_text
from openurine_lib.synthetic.fields import Field, lay
from openurine_lib.synthetic.laboratories import LABORATORIES
from openurine_lib.synthetic.particles import CLASSES
from openurine_lib.synthetic.patients import Patient, contents, plan
from openurine_lib.taxonomy import load

SIMULATOR = "drawn-2"  # raise it when the drawing changes: a folder of another version is not added to
JPEG_QUALITY = 93
FOLDERS = {"labelled": "images", "unlabelled": "unlabelled", "cohort": "cohort"}
LEVELS = ("none", "rare", "few", "moderate", "many")
MISREAD = 0.10  # the technologist reports a neighbouring level instead, with this probability


def generate(spec: Mapping[str, int], seed: int) -> Iterator[Field]:
    """Every field of the data set: the labelled, then the unlabelled (boxes known, not written), then the cohort's."""
    for patient, j in _each(plan(spec, seed)):
        yield draw_field(patient, j, spec["field_px"], seed)


def draw_field(patient: Patient, j: int, px: int, seed: int) -> Field:
    """The patient's field ``j``, ``px`` pixels square; depends on nothing but its arguments."""
    rng = np.random.default_rng([seed, patient.first + j])
    names = contents(patient, j, rng)
    lab = LABORATORIES[patient.look % len(LABORATORIES)]
    um = 210 / px
    image, boxes = lay(names, px, um, lab, rng)
    return Field(image, boxes, patient.name, _name(patient, j), patient.split, um, lab.jpeg)


def laboratory(spec: Mapping[str, int], seed: int) -> pd.DataFrame:
    """A technologist's report on the cohort: [group, component, level], level one of LEVELS.

    The reading: the true mean count a field, graded by ``config/cutoffs.yaml`` (the level is the number of cut-offs
    that it reaches), then, with probability MISREAD, one level up or down.
    """
    components = load("openurine").components
    cutoffs = read_config("cutoffs.yaml")["components"]
    rng = np.random.default_rng([seed, 0, 2])
    rows = []
    for patient in (p for p in plan(spec, seed) if p.split == "cohort"):
        fields = [contents(patient, j, np.random.default_rng([seed, patient.first + j])) for j in range(patient.fields)]
        for component, classes in components.items():
            names = {CLASSES[c] for c in classes}
            mean = sum(name in names for names_of in fields for name in names_of) / patient.fields
            level = int(np.searchsorted(cutoffs[component], mean, side="right"))
            wrong, step = rng.random() < MISREAD, int(rng.choice([-1, 1]))
            rows.append((patient.name, component, LEVELS[min(max(level + wrong * step, 0), len(LEVELS) - 1)]))
    return pd.DataFrame(rows, columns=["group", "component", "level"])


def write(out_dir: str | Path, spec: Mapping[str, int], seed: int) -> Path:
    """Writes the data set as a YOLO folder and returns it; fields that are already there are not drawn again.

    images/ + labels/ (labelled), unlabelled/, cohort/ (images alone), data.yaml, patients.csv [image, patient, subset],
    laboratory.csv, meta.json. Raises ValueError when the folder holds a data set of another spec, seed or simulator.
    """
    out = Path(out_dir)
    patients = plan(spec, seed)
    meta = {
        "synthetic": True,
        "simulator": SIMULATOR,
        "seed": seed,
        "spec": dict(spec),
        "um_per_px": 210 / spec["field_px"],
    }
    _same_or_new(out / "meta.json", meta)
    for folder in ("labels", *FOLDERS.values()):
        (out / folder).mkdir(parents=True, exist_ok=True)
    write_json(out / "meta.json", meta)
    todo = [(p, j) for p, j in _each(patients) if not _image(out, p, j).exists()]
    for patient, j in tqdm(todo, desc="drawing synthetic fields", unit="field", disable=not todo):
        _write_field(out, draw_field(patient, j, spec["field_px"], seed), _image(out, patient, j))
    rows = [(_name(p, j), p.name, p.split) for p, j in _each(patients)]
    _write_csv(out / "patients.csv", pd.DataFrame(rows, columns=["image", "patient", "subset"]))
    _write_csv(out / "laboratory.csv", laboratory(spec, seed))
    names = {"path": ".", "train": "images", "val": "images", "names": dict(enumerate(CLASSES))}
    write_text(out / "data.yaml", yaml.safe_dump(names, sort_keys=False))
    return out


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


def _write_field(out: Path, field: Field, path: Path) -> None:
    """The labels first: a field counts as written when its image is there."""
    if field.split == "labelled":
        size = field.image.shape[0]
        lines = []
        for name, x1, y1, x2, y2 in field.boxes:
            centre_size = np.array([x1 + x2, y1 + y2, 2 * (x2 - x1), 2 * (y2 - y1)]) / (2 * size)
            lines.append(" ".join([str(CLASSES.index(name)), *(f"{v:.6f}" for v in centre_size)]))
        write_text(out / "labels" / f"{field.name}.txt", "\n".join(lines))
    with atomic_path(path) as temporary:
        if not cv2.imwrite(str(temporary), field.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
            raise OSError(f"could not write {path}; is the disk full?")


def _write_csv(path: Path, frame: pd.DataFrame) -> None:
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False)
