"""What a detector is known to find: a record beside its weights, and what a report may say by it.

The record (``validation.json`` in the weights' folder) holds recall, precision, kappa and numbers
of each component, measured on held-out fields, and how training fields look. A component that was
not found well enough, or never looked for, is reported as NOT_VALIDATED and never as "none".
"""

from __future__ import annotations

import dataclasses
import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from openurine_lib import default_weights
from openurine_lib.clinical.agreement import MEASURES, table8_components
from openurine_lib.clinical.counts import CONFIDENCE, paired_levels, patient_means, per_hpf
from openurine_lib.data import appearance
from openurine_lib.data.boxes import area
from openurine_lib.data.images import read_rgb
from openurine_lib.data.levels import levels, read_cutoffs
from openurine_lib.data.patients import by_image
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.evaluation.metrics import matches, surest_first
from openurine_lib.experiments.methods import STRIDE, Method
from openurine_lib.experiments.run import Run
from openurine_lib.experiments.steps import ensure_predictions, ensure_weights
from openurine_lib.files import digest_of_file, write_json
from openurine_lib.inference import predict_fields
from openurine_lib.speed.processor import device
from openurine_lib.training.engines import engine
from openurine_lib.two_looks import shown_from
from openurine_lib.ways import Way
from synthurine.laboratories import LABORATORIES

FILE = default_weights.RECORD
FORMAT = 1
NOT_VALIDATED = "not validated"
# From which on a component counts as found well enough. Ours: half of the particles found, half of
# the detections right, and levels that agree at least moderately (Landis and Koch 1977 call kappa
# from 0.41 so, doi:10.2307/2529310).
LEAST = {"recall": 0.5, "precision": 0.5, "kappa": 0.41}
LEAST_BOXES = 10  # true boxes: of fewer, a recall says little
LEAST_PATIENTS = 5  # with fewer, agreement of levels says little
COLUMNS = ["component", "recall", "precision", "kappa", "boxes", "fields", "patients"]


def table8_validation(
    images: pd.DataFrame, truth: pd.DataFrame, predictions: pd.DataFrame, taxonomy: Taxonomy
) -> pd.DataFrame:
    """COLUMNS of each component at CONFIDENCE and IoU 0.5, on held-out ``images``.

    images [image, group, and perhaps width, height, um_per_px]; truth [image, cls, x1..y2];
    predictions [image, cls, conf, x1..y2]. A detection is right if it covers a true box of the
    component, of whichever of its classes. Kappa: of the patients' five levels, truth against
    detections, with quadratic weights. ``fields`` have a true box, ``boxes`` are true ones. NaN is
    0 of 0.
    """
    sure = predictions[predictions["conf"] >= CONFIDENCE]
    cuts = read_cutoffs()
    known, seen = (levels(patient_means(images, b, taxonomy), cuts) for b in (truth, sure))
    names = list(taxonomy.components)
    scores = table8_components(paired_levels(known, seen), names).set_index("row")
    rows = []
    for component, classes in taxonomy.components.items():
        # all classes of a component are one
        true = truth[truth["cls"].isin(classes)].assign(cls=0)
        found = surest_first(sure[sure["cls"].isin(classes)]).assign(cls=0)
        right = matches(true, found)[:, 0].sum()
        kappa = scores[MEASURES[-1]].get(component, math.nan)
        shares = [right / n if n else math.nan for n in (len(true), len(found))]
        numbers = (len(true), true["image"].nunique(), images["group"].nunique())
        rows.append((component, *shares, kappa, *numbers))
    return pd.DataFrame(rows, columns=COLUMNS)


def record(
    images: pd.DataFrame,
    truth: pd.DataFrame,
    predictions: pd.DataFrame,
    taxonomy: Taxonomy,
    training: pd.DataFrame,
    way: Way,
    **setting: Any,
) -> dict[str, Any]:
    """What is kept beside weights, but for the weights' digest (``write`` adds it).

    images, truth, predictions: held out, see ``table8_validation``. training: [path] of the fields
    that the detector was trained on. setting: data (a name), drawn (whether the fields are), alone
    (whether every field counts as a patient), cameras (how many laboratories' drawn fields come
    from, 0 for real ones), slice_px (0: whole fields), imgsz (pixels), way (of looking at a field).
    """
    scale = setting["imgsz"] / (setting["slice_px"] or images[["width", "height"]].max().max())
    fields = appearance.spread(list(training["path"]))
    bar = tqdm(fields, desc="measuring training fields", unit="field", leave=False)
    sides = np.sqrt(area(truth)) * scale  # pixels, as the network sees them
    table = table8_validation(images, truth, predictions, taxonomy)
    return {
        "format": FORMAT, "conf": CONFIDENCE, **setting, **dataclasses.asdict(way),
        # the middle of them, where all are known: cameras of one set differ little
        "um_per_px": float(images["um_per_px"].median()) if per_hpf(images) else None,
        "fields": len(images), "patients": int(images["group"].nunique()),
        # NaN is no JSON
        "components": json.loads(table.to_json(orient="records", double_precision=4)),
        "appearance": appearance.ranges(appearance.measured(read_rgb(p), scale) for p in bar),
        "particle_px": {
            taxonomy.classes[int(cls)]: round(float(side), 2)
            for cls, side in sides.groupby(truth["cls"]).median().items()
        },
    }  # fmt: skip


def of_run(run: Run, m: Method, fold: int, way: Way | None = None) -> dict[str, Any]:
    """The record of a row of a run, from its predictions on the fold's test fields.

    way: how they are looked at; in another way than the row's own they are predicted now.
    """
    images, data = run.test_images(fold), run.dataset
    if way is None or way == m.looking:
        way, found = m.looking, ensure_predictions(run, m, fold)
    else:
        found = _seen_so(run, m, fold, way)
    training = data.train_images(fold, run.profile.max_train_fields)
    return record(
        images, data.boxes_of(images), found, data.taxonomy, training, way,
        data=run.data_name, drawn=data.synthetic, alone=by_image(data.meta),
        cameras=len(data.meta.get("laboratories", LABORATORIES)) if data.synthetic else 0,
        slice_px=run.slicing(m)[0] or 0, imgsz=run.profile.pixels(m.imgsz),
    )  # fmt: skip


def _seen_so(run: Run, m: Method, fold: int, way: Way) -> pd.DataFrame:
    px = run.profile.pixels(m.imgsz)
    least = shown_from(CONFIDENCE, way.looks)
    detector = engine(m.engine).detector(ensure_weights(run, m, fold), least, device(), px)
    images = run.test_images(fold)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "predictions.csv"
        return predict_fields(detector, images, *run.slicing(m), out, way=way)


def keep(run: Run, m: Method, fold: int) -> pd.DataFrame:
    """Writes the record beside the row's weights; returns its components with a column ``why``."""
    content = of_run(run, m, fold)
    write(content, ensure_weights(run, m, fold))
    return judged(content, run.dataset.taxonomy)


def write(content: dict[str, Any], weights: Path) -> None:
    """Writes a record beside a weights file, bound to the file by its SHA-256."""
    write_json(weights.parent / FILE, content | {"weights_sha256": digest_of_file(weights)})


def read(weights: Path) -> dict[str, Any]:
    """The record of a weights file, or of an export's folder; empty if there is none of these
    weights, or none that can be read."""
    folder = weights if weights.is_dir() else weights.parent
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if weights.is_dir():  # an export says of which weights it is
            meta = json.loads((folder / "export.json").read_text(encoding="utf-8"))
            whole = meta["weights_sha256"]
        else:
            whole = digest_of_file(weights)
        mine = content["format"] == FORMAT and content["weights_sha256"] == whole
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return content if mine else {}


def judged(content: Mapping[str, Any], taxonomy: Taxonomy) -> pd.DataFrame:
    """COLUMNS of each component of a taxonomy and ``why`` it is not validated; "" if it is.

    content: a record, or {}.
    """
    known = pd.DataFrame(content.get("components", []), columns=COLUMNS).set_index("component")
    table = known.reindex(list(taxonomy.components)).rename_axis("component").reset_index()
    numbers = [c for c in COLUMNS if c != "component"]
    table[numbers] = table[numbers].astype(float)
    table["why"] = [_why(row, component in known.index) for component, row in
                    zip(table["component"], table.to_dict("records"), strict=True)]  # fmt: skip
    return table


def _why(row: Mapping[Any, float], recorded: bool) -> str:
    """What a component lacks; "" if nothing."""
    if not recorded:
        return "no record of held-out fields beside the weights"
    if row["boxes"] < LEAST_BOXES:
        return f"{row['boxes']:.0f} held-out particles, fewer than {LEAST_BOXES}"
    if row["patients"] < LEAST_PATIENTS:
        return f"{row['patients']:.0f} held-out patients, fewer than {LEAST_PATIENTS}"
    low = [
        f"no {name}" if math.isnan(row[name]) else f"{name} {row[name]:.2f}, below {least}"
        for name, least in LEAST.items()
        if not row[name] >= least  # also where it is NaN
    ]
    return "; ".join(low)


def usual_slice_px(imgsz: int, known: dict[str, Any], um_per_px: float | None) -> int:
    """The usual side of a slice in pixels, see ``predicting.predict``; 0: whole fields.

    known: the record, or {}. um_per_px: of the fields, if known.
    """
    if not known:
        # rounded up, as the paper's sizes are
        return math.ceil(imgsz * 2 / (3 * STRIDE)) * STRIDE
    if um_per_px is None or known["um_per_px"] is None:
        return known["slice_px"]
    return round(known["slice_px"] * known["um_per_px"] / um_per_px)


def usual_way(known: dict[str, Any]) -> Way:
    """How a field is looked at by default: as in the record (or {}), and else in slices."""
    # a record that is older than a way lacks its name
    return Way(**{f.name: known.get(f.name, f.default) for f in dataclasses.fields(Way)})


def at_other_setting(known: dict[str, Any], conf: float, side: int, usual: int, way: Way) -> str:
    """What of confidence and slices differs from the weights' record; "" if nothing does.

    side, usual: of the slices, in pixels, as they are and as the record asks; 0: the whole field.
    way: how a field is looked at.
    """
    if not known:
        return ""
    then = usual_way(known)
    if side != usual or dataclasses.replace(way, looks=then.looks) != then:
        whole = "whole fields at the scale of " if then.at_once else ""
        cut = " without finds at a cut" if then.uncut and not then.at_once else ""
        slices = f"{whole}slices of {usual} px{cut}"
        return f"validated on {slices if usual else 'whole fields'}"
    if way.looks != then.looks:
        return f"validated on fields seen {'twice' if then.looks == 2 else 'once'}"
    return "" if known.get("conf", conf) == conf else f"validated at confidence {known['conf']}"
