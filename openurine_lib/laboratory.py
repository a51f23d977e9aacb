"""What a laboratory does with a trained detector: fields of one patient -> boxes and a report."""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from PIL import Image

from openurine_lib.clinical.counts import patient_means, per_hpf
from openurine_lib.data import levels, taxonomy
from openurine_lib.data.images import look, read_rgb
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.experiments.formatting import defused
from openurine_lib.experiments.methods import STRIDE
from openurine_lib.files import atomic_path, write_json
from openurine_lib.inference import OVERLAP, boxes_on, digests, predict_fields, write_csv
from openurine_lib.speed.processor import device
from openurine_lib.training.engines import engine
from openurine_lib.training.weights import DETECTOR, WeightsError, check_taxonomy, read_weights

RECORD = "made_from.json"  # in a folder of results: the digests of their fields


class BadOption(ValueError):
    """A parameter of ``predict`` with an impossible value."""

    def __init__(self, parameter: str, value: Any, remedy: str):
        super().__init__(f"{parameter} {value}: {remedy}")
        self.parameter = parameter


class BadFolder(ValueError):
    """A folder for results that holds something else, or that another call is using."""


@dataclass(frozen=True)
class Prediction:
    """What was found on the fields of one patient."""

    boxes: pd.DataFrame  # [image, class, cls, conf, x1, y1, x2, y2], pixels of the original image
    report: pd.DataFrame  # [component, mean per HPF (or: mean per field), level]
    per_hpf: bool  # whether the counts are per high-power field, as the cut-offs are


def predict(
    images: Sequence[str | Path | np.ndarray],
    weights: str | Path,
    out: str | Path | None = None,
    slice_px: int | None = None,
    conf: float = 0.25,
    um_per_px: float | None = None,
) -> Prediction:
    """Detects particles on the fields of one patient and grades their counts in five levels.

    Args:
        images: files, or arrays (H, W, 3), uint8 RGB, which are then called field1, field2, ...
        weights: a ``weights.pt`` of this project, or the folder that ``export`` made of it.
        out: where pictures (``<field>.png``), ``boxes.csv`` and ``report.csv`` go, in a folder for
            these fields alone; None writes nothing. A call that was interrupted goes on there.
        slice_px: side of the slices in pixels; 0 predicts whole fields. By default two thirds of
            the size that the detector was trained at, as the paper's 640 px are of its 960.
        conf: least confidence of a box.
        um_per_px: micrometres a pixel, for counts per high-power field.

    Raises:
        ValueError: a number out of range (BadOption), two fields of one name, an unreadable image
            (BadField), weights that do not fit (WeightsError), ``out`` with results of other
            fields or with one of these fields (BadFolder).
        FileNotFoundError: there is no such image.
    """
    if not 0 <= conf <= 1:
        raise BadOption("conf", conf, "a confidence lies between 0 and 1")
    if um_per_px is not None and not 0 < um_per_px < math.inf:
        raise BadOption("um_per_px", um_per_px, "give micrometres a pixel, a number above 0")
    if slice_px is not None and slice_px < 0:
        raise BadOption("slice_px", slice_px, "give pixels, or 0 for the whole field at once")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if out is None else Path(out)
        fields = _fields(images, Path(scratch))
        detector, classes, imgsz = _open_detector(Path(weights), conf)
        if slice_px is None:
            # rounded up, as the paper's sizes are
            slice_px = math.ceil(imgsz * 2 / (3 * STRIDE)) * STRIDE
        # nothing is kept of a call without a folder
        with contextlib.nullcontext() if out is None else _held(folder, fields):
            # ``or None``: 0 stands for the whole field
            boxes = predict_fields(
                detector, fields, slice_px or None, OVERLAP, folder / "boxes.csv"
            )
            boxes.insert(1, "class", [classes.classes[c] for c in boxes.cls])
            write_csv(defused(boxes), folder / "boxes.csv")
            sizes = []
            for field in fields.itertuples():
                pixels = read_rgb(field.path)
                sizes.append(pixels.shape[1::-1])  # width, height
                if out is not None:
                    picture = boxes_on(pixels, boxes[boxes.image == field.image], classes)
                    with atomic_path(folder / f"{field.image}.png") as temporary:
                        Image.fromarray(picture).save(temporary)
            if um_per_px is not None:
                # only with a pixel size, since ``patient_means`` takes their area
                fields[["width", "height"]] = sizes
                fields["um_per_px"] = um_per_px
            report = _report(fields, boxes, classes)
            write_csv(defused(report), folder / "report.csv")
    return Prediction(boxes, report, per_hpf(fields))


@contextlib.contextmanager
def _held(folder: Path, fields: pd.DataFrame) -> Iterator[None]:
    """The folder, for the results of these fields and this call alone; BadFolder if it is not."""
    results = [*(f"{image}.png" for image in fields.image), "boxes.csv", "report.csv"]
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
            yield
    except Timeout as error:
        raise BadFolder(
            f"{folder}: another call is at work there; wait for it, or {remedy}"
        ) from error


def _identity(path: Path) -> tuple[int, int]:
    """Tells one file from another, whatever the path to it."""
    state = path.stat()
    return state.st_dev, state.st_ino


def _fields(images: Sequence[str | Path | np.ndarray], scratch: Path) -> pd.DataFrame:
    """[image, path, group] of images that are there and readable; arrays become files."""
    paths = []
    for number, image in enumerate(images, start=1):
        if isinstance(image, np.ndarray):
            paths.append(scratch / f"field{number}.png")
            # without loss, so that the detector sees the array's values
            Image.fromarray(image).save(paths[-1])
        else:
            paths.append(Path(image))
    names = pd.Series([path.stem for path in paths], dtype=object)
    if names.duplicated().any():
        raise ValueError(
            f"two fields are called {min(names[names.duplicated()])}; "
            "their results would overwrite each other, rename one"
        )
    for path in paths:
        if not path.is_file():
            what = "a folder, not an" if path.is_dir() else "no such"
            raise FileNotFoundError(f"{path}: {what} image")
        # all fields are looked at before the first is predicted
        look(path)
    return pd.DataFrame({"image": names, "path": list(map(str, paths)), "group": "patient"})


def _open_detector(weights: Path, conf: float) -> tuple[Any, Taxonomy, int]:
    """The detector, its classes, and the size (pixels) at which it was trained."""
    if weights.is_dir():
        from openurine_lib.training.engines import exported  # brings ultralytics

        meta = exported.read_meta(weights)
        open_detector = exported.detector
    else:
        meta = read_weights(weights, needed=DETECTOR)["meta"]
        open_detector = engine(meta["engine"]).detector
    try:
        classes = taxonomy.match(meta["classes"])  # the classes' components decide the report
    except taxonomy.UnknownClass as error:
        raise WeightsError(f"{weights} was trained on another taxonomy: {error}") from error
    check_taxonomy(meta, classes, weights)
    return open_detector(weights, conf, device(), meta["imgsz"]), classes, meta["imgsz"]


def _report(fields: pd.DataFrame, boxes: pd.DataFrame, classes: Taxonomy) -> pd.DataFrame:
    """Each clinical component's mean count and level."""
    means = patient_means(fields, boxes, classes)
    graded = levels.levels(means, levels.read_cutoffs())
    graded["level"] = graded["level"].map(dict(enumerate(levels.LEVELS)))
    unit = "mean per HPF" if per_hpf(fields) else "mean per field"
    return graded[["component", "count", "level"]].rename(columns={"count": unit})
