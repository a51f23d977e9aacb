"""What a laboratory does with a trained detector: fields of patients -> boxes and a report."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from PIL import Image

from openurine_lib import default_weights
from openurine_lib.clinical import fhir, patient_report, result_files, validation
from openurine_lib.clinical.counts import CONFIDENCE, per_hpf
from openurine_lib.data import appearance
from openurine_lib.data.given import given_fields
from openurine_lib.data.images import read_rgb
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.experiments.formatting import defused
from openurine_lib.files import atomic_path, clear_unfinished, write_json
from openurine_lib.inference import OVERLAP, boxes_on, digests, predict_fields, write_csv
from openurine_lib.speed.processor import device
from openurine_lib.training.engines import engine
from openurine_lib.training.weights import DETECTOR, read_weights, taxonomy_of, usual_room
from openurine_lib.two_looks import shown_from

RECORD = "made_from.json"  # in a folder of results: the digests of their fields
PACKED = 3  # of 9: a picture takes 0.10 s in place of 0.26 at the usual 6, and 11 % more bytes


class BadOption(ValueError):
    """A parameter of ``predict`` with an impossible value."""

    def __init__(self, parameter: str, value: Any, remedy: str):
        super().__init__(f"{parameter} {value}: {remedy}")
        self.parameter = parameter


class BadFolder(ValueError):
    """A folder for results that holds something else, or that another call is using."""


def check_pixel_size(um_per_px: float | None) -> None:
    """Raises BadOption for a size of a pixel, in micrometres, that cannot be; None is unknown."""
    if um_per_px is not None and not 0 < um_per_px < math.inf:
        raise BadOption("um_per_px", um_per_px, "give micrometres a pixel, a number above 0")


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What was found on the fields of one patient, or of several."""

    boxes: pd.DataFrame  # [image, class, cls, conf, x1, y1, x2, y2], pixels of the original image
    report: pd.DataFrame  # of ``patient_report.report``: a row a patient and component
    per_hpf: bool  # whether the counts are per high-power field, as the cut-offs are
    fields: pd.DataFrame  # [image, path, group, width, height, unlike (in what; "" if in nothing)]
    trained_on: str  # the detector, and on what it was trained and validated
    remarks: dict[str, list[str]]  # patient -> what weakens every level


def predict(
    images: Sequence[str | Path | np.ndarray],
    weights: str | Path | None = None,
    out: str | Path | None = None,
    slice_px: int | None = None,
    conf: float = CONFIDENCE,
    um_per_px: float | None = None,
    formats: Sequence[str] = (),
    room: float | None = None,
    looks: int | None = None,
) -> Prediction:
    """Detects particles on fields and grades each patient's counts in five levels.

    Args:
        images: files, folders of files, or arrays (H, W, 3), uint8 RGB, which are then called
            field1, field2, ... Any number: memory holds a few at a time. They are of one patient,
            unless a folder's ``patients.csv`` says whose each field is (``data.given``).
        weights: a ``weights.pt`` of this project, or the folder that ``export`` made of it. None:
            the detector that comes with the project (``default_weights``).
        out: where pictures (``<field>.png``), ``boxes.csv`` and ``report.csv`` go, in a folder for
            these fields alone; None writes nothing. A call that was interrupted goes on there.
        slice_px: side of the slices in pixels; 0 predicts whole fields. By default as in the
            weights' record of held-out fields, and of the same size in micrometres where that is
            known of both. Where that record says ``at_once``, a field that is small enough is seen
            whole at the slices' scale (``looking``). Without a record two thirds of the size that
            the detector was trained at, as the paper's 640 px are of its 960.
        conf: least confidence of a box.
        um_per_px: micrometres a pixel, for counts per high-power field; of the fields of which no
            ``patients.csv`` gives it. If sizes differ, slices are as for the median.
        formats: what else goes into ``out``, of ``result_files.FORMATS``.
        room: that share of a box is added on each side of it. None: ``weights.usual_room``, since
            drawn boxes are tighter than an annotator's. What is found does not depend on it.
        looks: 1, or 2 at every field, whose finds are fused (``two_looks``). By default as in the
            weights' record.

    Raises:
        ValueError: a number out of range (BadOption), two fields of one name, an unreadable image
            (BadField), weights that do not fit (WeightsError), none that are there (NoWeights),
            ``out`` with results of other fields or with one of these fields (BadFolder), no field,
            a wrong table of patients (DataError), FHIR without its package (NoFhir).
        FileNotFoundError: there is no such image.
    """
    if not 0 <= conf <= 1:
        raise BadOption("conf", conf, "a confidence lies between 0 and 1")
    check_pixel_size(um_per_px)
    if slice_px is not None and slice_px < 0:
        raise BadOption("slice_px", slice_px, "give pixels, or 0 for the whole field at once")
    if room is not None and not 0 <= room <= 1:
        raise BadOption("room", room, "give a share of a box's side, between 0 and 1")
    if looks not in (None, 1, 2):
        raise BadOption("looks", looks, "give 1 or 2")
    unknown = [name for name in formats if name not in result_files.FORMATS]
    if unknown:
        raise BadOption("formats", unknown[0], f"give some of {', '.join(result_files.FORMATS)}")
    if "fhir" in formats:
        fhir.check_installed()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if out is None else Path(out)
        fields = given_fields(images, Path(scratch))
        if um_per_px is not None:
            fields["um_per_px"] = fields["um_per_px"].fillna(um_per_px)
        if not per_hpf(fields):  # all patients need one unit
            fields = fields.drop(columns="um_per_px")
        file = default_weights.path() if weights is None else Path(weights)
        known = validation.read(file)
        way = validation.usual_way(known)
        way = dataclasses.replace(
            way, looks=looks or way.looks, at_once=slice_px is None and way.at_once
        )
        detector, classes, meta = open_detector(file, shown_from(conf, way.looks))
        usual = validation.usual_slice_px(meta["imgsz"], known, _middle(fields))
        side = usual if slice_px is None else slice_px
        room = usual_room(meta) if room is None else room
        other = validation.at_other_setting(known, conf, side, usual, way)
        # nothing is kept of a call without a folder
        with contextlib.nullcontext() if out is None else _held(folder, fields):
            bare = folder / result_files.PATIENTS if "html" in formats else None
            eye = _Eye(classes, known, meta["imgsz"], side, None if out is None else folder, bare)
            cut = side or None  # 0 stands for the whole field
            boxes = predict_fields(
                detector, fields, cut, OVERLAP, folder / "boxes.csv", eye.look,
                way, room, conf,
            )  # fmt: skip
            boxes.insert(1, "class", [classes.classes[c] for c in boxes.cls])
            write_csv(defused(boxes), folder / "boxes.csv")
            fields = fields.join(eye.seen(fields))
            report = patient_report.report(fields, boxes, classes, known, other)
            trained_on = patient_report.trained_on(meta, known)
            remarks = {
                str(patient): patient_report.remarks(own, known)
                for patient, own in fields.groupby("group")
            }
            # also in a row that is copied out of its table
            said = report["patient"].map({p: "; ".join(own) for p, own in remarks.items()})
            kept = report.assign(remarks=said, detector=trained_on)
            write_csv(defused(kept), folder / "report.csv")
            found = result_files.Found(fields, boxes, report, remarks, trained_on, conf, classes)
            for name in formats:
                _, write = result_files.FORMATS[name]
                write(found, folder)
    return Prediction(boxes, report, per_hpf(fields), fields, trained_on, remarks)


class _Eye:
    """Looks at each field while it is predicted: its size, how it looks, and its picture."""

    def __init__(
        self,
        classes: Taxonomy,
        known: dict[str, Any],
        imgsz: int,
        side: int,
        folder: Path | None,
        bare: Path | None,
    ):
        self.classes, self.known, self.imgsz, self.side = classes, known, imgsz, side
        self.folder = folder  # for pictures; None draws none
        self.bare = bare  # for pictures without boxes, which a page draws itself
        self._seen: dict[str, tuple[int, int, str]] = {}  # field -> width, height, unlike

    def look(self, field: Any, pixels: np.ndarray, boxes: pd.DataFrame) -> None:
        """Notes what is asked of a field, and draws its boxes."""
        self._note(field.image, pixels)
        if self.folder is not None:
            picture = Image.fromarray(boxes_on(pixels, boxes, self.classes))
            with atomic_path(self.folder / f"{field.image}.png") as temporary:
                picture.save(temporary, compress_level=PACKED)

    def seen(self, fields: pd.DataFrame) -> pd.DataFrame:
        """[width, height, unlike] of every field; those of an interrupted call are read again."""
        for field in fields.itertuples():
            if field.image not in self._seen:
                self._note(field.image, read_rgb(field.path))
        rows = [self._seen[image] for image in fields["image"]]
        return pd.DataFrame(rows, fields.index, ["width", "height", "unlike"])

    def _note(self, image: str, pixels: np.ndarray) -> None:
        if self.bare is not None:
            picture = Image.fromarray(pixels)
            picture.thumbnail((result_files.LARGEST, result_files.LARGEST))
            with atomic_path(self.bare / f"{image}.jpg") as temporary:
                picture.save(temporary, quality=90)
        height, width = pixels.shape[:2]
        unlike = unlike_training(pixels, self.known, self.imgsz, self.side)
        self._seen[image] = (width, height, unlike)


def unlike_training(pixels: np.ndarray, known: dict[str, Any], imgsz: int, side: int) -> str:
    """In which numbers a field (H, W, 3) looks unlike those of training; "" if in none.

    known: the weights' record, or {}. imgsz, side: pixels of the network's input, and of a slice
    (0: the whole field), since a field is measured as large as the network sees it.
    """
    if not known:
        return ""
    seen = min(side or math.inf, max(pixels.shape[:2]))  # a slice is no larger than the field
    return patient_report.unlike(appearance.measured(pixels, imgsz / seen), known)


def _middle(fields: pd.DataFrame) -> float | None:
    """The median size of a pixel, micrometres; None where it is not known of every field."""
    return float(fields["um_per_px"].median()) if per_hpf(fields) else None


@contextlib.contextmanager
def _held(folder: Path, fields: pd.DataFrame) -> Iterator[None]:
    """The folder, for the results of these fields and this call alone; BadFolder if it is not."""
    results = [*(f"{image}.png" for image in fields.image), "boxes.csv", "report.csv"]
    results += [name for names, _ in result_files.FORMATS.values() for name in names]
    there = [name for name in [*results, "boxes.csv.partial"] if (folder / name).exists()]
    inputs = {_identity(Path(path)) for path in fields.path}
    over = next((name for name in there if _identity(folder / name) in inputs), None)
    remedy = "give another folder for the results"
    if over:
        raise BadFolder(f"{folder}: {over} is one of the fields and would be lost; {remedy}")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        # gone with the process, however it ends
        with FileLock(folder / ".lock", timeout=0):
            made_from = {"fields": digests(fields)}
            record = folder / RECORD
            if record.exists():
                with contextlib.suppress(ValueError):  # damaged, or of another program
                    if json.loads(record.read_text(encoding="utf-8")) == made_from:
                        there = []  # our own
            if there:
                raise BadFolder(f"{folder}: {there[0]} is not of these fields; {remedy}")
            write_json(record, made_from)
            clear_unfinished(folder, [*results, "boxes.csv.partial", RECORD])
            bare = [f"{image}.jpg" for image in fields.image]
            clear_unfinished(folder / result_files.PATIENTS, bare)
            yield
    except Timeout as error:
        raise BadFolder(
            f"{folder}: another call is at work there; wait for it, or {remedy}"
        ) from error


def _identity(path: Path) -> tuple[int, int]:
    """Tells one file from another, whatever the path to it."""
    state = path.stat()
    return state.st_dev, state.st_ino


def open_detector(weights: Path, conf: float) -> tuple[Any, Taxonomy, dict[str, Any]]:
    """The detector, its classes, and what its file tells of it. Raises WeightsError.

    weights: a file, or the folder of an export. conf: least confidence of a box.
    """
    if weights.is_dir():
        from openurine_lib.training.engines import exported  # brings ultralytics

        meta = exported.read_meta(weights)
        open_detector = exported.detector
    else:
        meta = read_weights(weights, needed=DETECTOR)["meta"]
        open_detector = engine(meta["engine"]).detector
    classes = taxonomy_of(meta, weights)
    return open_detector(weights, conf, device(), meta["imgsz"]), classes, meta
