"""What a prediction leaves beside ``boxes.csv`` and ``report.csv``: JSON, COCO, FHIR and pages.

Each writer takes a ``Found`` and a folder. A patient may be called anything; where a patient has a
file of its own, its name there is safe on every disk (``file_name``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from tqdm.auto import tqdm

from openurine_lib import pages
from openurine_lib.clinical import fhir
from openurine_lib.clinical.counts import per_hpf
from openurine_lib.clinical.validation import NOT_VALIDATED
from openurine_lib.data.boxes import XYXY
from openurine_lib.data.levels import CUTOFFS, LEVELS
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.files import write_json, write_text

TEMPLATES = Path(__file__).parent
REPORT, COCO, FHIR, PATIENTS, INDEX = "report.json", "coco.json", "fhir", "patients", "index.html"
LARGEST = 2000  # pixels of the longer side of a picture on a page
#: Columns of the report as a page heads them.
HEADS = {"mean per HPF": "per HPF", "mean per field": "per field", "why": "why it is not validated"}


@dataclass(frozen=True)
class Found:
    """All that the writers need; the frames are those of ``predicting.Prediction``."""

    fields: pd.DataFrame  # [image, path, group, width, height, unlike]
    boxes: pd.DataFrame  # [image, class, cls, conf, x1, y1, x2, y2]
    report: pd.DataFrame  # a row a patient and component
    remarks: Mapping[str, list[str]]  # patient -> sentences
    detector: str
    conf: float
    classes: Taxonomy

    @property
    def patients(self) -> list[str]:
        """In the order of the report."""
        return list(self.report["patient"].unique())

    def each(self, doing: str) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
        """(patient, its fields, its rows of the report) one by one; a bar says what is done."""
        fields, rows = (
            dict(tuple(frame.groupby(column)))
            for frame, column in ((self.fields, "group"), (self.report, "patient"))
        )
        for patient in tqdm(self.patients, desc=doing, unit="patient"):
            yield patient, fields[patient], rows[patient]


def file_name(patient: str) -> str:
    """A patient's name as that of a file: what is no letter, digit, ``_``, ``-`` or ``.`` in hex.

    A leading dot would hide the file, and ``..`` would leave the folder.
    """
    safe = quote(patient, safe="").replace("~", "%7E")
    return f"%2E{safe[1:]}" if safe.startswith(".") else safe


def write_report(found: Found, folder: Path) -> None:
    """``report.json``: everything, patient by patient."""
    boxes = dict(tuple(found.boxes.groupby("image")))
    patients = []
    for patient, fields, rows in found.each("gathering patients"):
        listed = [
            {
                "image": field.image, "width": field.width, "height": field.height,
                "unlike": field.unlike, "boxes": _records(boxes.get(field.image)),
            }
            for field in fields.itertuples()
        ]  # fmt: skip
        entry = {"patient": patient, "remarks": found.remarks[patient]}
        report = _records(rows.drop(columns="patient"))
        patients.append(entry | {"report": report, "fields": listed})
    about = {
        "detector": found.detector, "confidence": found.conf, "cutoffs": str(CUTOFFS.name),
        "per_hpf": per_hpf(found.fields), "use": fhir.NOT_FOR_DIAGNOSIS,
    }  # fmt: skip
    write_json(folder / REPORT, {"about": about, "patients": patients})


def write_coco(found: Found, folder: Path) -> None:
    """``coco.json``: images, categories, and annotations with a ``score``, as COCO's results have.

    A reader of COCO takes it as labels (https://cocodataset.org/#format-data): boxes to correct.
    """
    number = {image: i for i, image in enumerate(found.fields["image"], start=1)}
    images = [
        {
            "id": number[field.image], "file_name": Path(field.path).name, "width": field.width,
            "height": field.height, "patient": field.group,
        }
        for field in found.fields.itertuples()
    ]  # fmt: skip
    categories = [
        {"id": c, "name": name, "supercategory": found.classes.head_of(c)}
        for c, name in enumerate(found.classes.classes)
    ]
    annotations = [
        {
            "id": i, "image_id": number[box.image], "category_id": box.cls, "iscrowd": 0,
            "bbox": [box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1],
            "area": (box.x2 - box.x1) * (box.y2 - box.y1), "score": box.conf,
        }
        for i, box in enumerate(found.boxes.itertuples(), start=1)
    ]  # fmt: skip
    info = {"description": f"{fhir.NOT_FOR_DIAGNOSIS} Detector: {found.detector}"}
    content = {"info": info, "images": images, "categories": categories}
    write_json(folder / COCO, content | {"annotations": annotations})


def write_fhir(found: Found, folder: Path) -> None:
    """``fhir/<patient>.json``: a Bundle a patient."""
    for patient, _, rows in found.each("writing FHIR"):
        content = fhir.bundle(patient, rows, found.detector, found.remarks[patient])
        text = content.model_dump_json(indent=2)
        write_text(folder / FHIR / f"{file_name(patient)}.json", text)


def write_pages(found: Found, folder: Path) -> None:
    """``patients/<patient>.html``: fields, boxes and levels; ``index.html``: all patients."""
    from openurine_lib.style import HEAD_COLOURS  # brings matplotlib

    boxes = dict(tuple(found.boxes.groupby("image")))
    patients = [(patient, f"{file_name(patient)}.html") for patient in found.patients]
    shared: dict[str, Any] = {
        "detector": found.detector,
        "conf": found.conf,
        "use": fhir.NOT_FOR_DIAGNOSIS,
    }
    levels = {}
    used = {found.classes.head_of(c) for c in found.boxes["cls"].unique()}
    heads = {head: HEAD_COLOURS[head] for head in found.classes.heads if head in used}
    for patient, fields, rows in found.each("writing pages"):
        unit = next(u for u in fhir.UNITS if u in rows)
        shown = rows.assign(**{unit: rows[unit].map("{:.2f}".format)})
        columns = ["component", "level", unit, "why"]
        levels[patient] = dict(zip(rows["component"], rows["level"], strict=True))
        listed = [
            (field, _drawn(boxes.get(field.image), found.classes)) for field in fields.itertuples()
        ]
        text = pages.render(
            TEMPLATES / "patient.html.j2", patient=patient, fields=listed,
            header=[HEADS.get(c, c) for c in columns], report=shown[columns].to_numpy().tolist(),
            remarks=found.remarks[patient], heads=heads, **shared,
        )  # fmt: skip
        write_text(folder / PATIENTS / f"{file_name(patient)}.html", text)
    text = pages.render(
        TEMPLATES / "patients.html.j2", folder=PATIENTS, patients=patients, levels=levels,
        order=[NOT_VALIDATED, *LEVELS],
        components=list(found.classes.components), **shared,
    )  # fmt: skip
    write_text(folder / INDEX, text)


#: Name of a format -> (what it leaves in the folder, its writer).
FORMATS: dict[str, tuple[tuple[str, ...], Callable[[Found, Path], None]]] = {
    "json": ((REPORT,), write_report),
    "coco": ((COCO,), write_coco),
    "fhir": ((FHIR,), write_fhir),
    "html": ((INDEX, PATIENTS), write_pages),
}


def _records(frame: pd.DataFrame | None) -> list[dict[str, Any]]:
    """The rows of a frame as JSON has them: six digits, null for NaN."""
    if frame is None:
        return []
    plain = frame.drop(columns="image", errors="ignore")
    return json.loads(plain.to_json(orient="records", double_precision=6))


def _drawn(boxes: pd.DataFrame | None, classes: Taxonomy) -> list[dict[str, Any]]:
    """The boxes of a field as a page draws and lists them, in its pixels; the surest first."""
    from openurine_lib.style import HEAD_COLOURS  # brings matplotlib

    if boxes is None:
        return []
    drawn = []
    for box in boxes.to_dict("records"):
        x, y, right, low = (round(box[c], 1) for c in XYXY)
        head = classes.head_of(box["cls"])
        drawn.append({
            "class": box["class"], "conf": f"{box['conf']:.2f}", "head": head,
            "colour": HEAD_COLOURS[head], "x": x, "y": y,
            "width": round(right - x, 1), "height": round(low - y, 1),
        })  # fmt: skip
    return drawn
