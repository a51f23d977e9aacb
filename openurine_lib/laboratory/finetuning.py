"""A laboratory's own fields and classes: the detector that comes with the project, trained further.

Patients are cut in three: one of five folds is held out and scored at the end, a part of the rest
decides when to stop, the others are trained on. So the gain over the detector that it started from
is measured on patients that neither of them has seen.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from openurine_lib import default_weights
from openurine_lib.clinical import validation
from openurine_lib.data.boxes import with_room
from openurine_lib.data.dataset import Dataset, prepare
from openurine_lib.data.patients import by_image
from openurine_lib.data.taxonomy import Taxonomy, equals
from openurine_lib.evaluation import bootstrap
from openurine_lib.evaluation.shared_classes import renamed
from openurine_lib.experiments.methods import profile
from openurine_lib.files import atomic_path, digest_of_file, write_json
from openurine_lib.inference import CONFIDENCE, OVERLAP, predict_fields, read_predictions
from openurine_lib.laboratory import slice_sides
from openurine_lib.laboratory.predicting import BadOption
from openurine_lib.speed.processor import device
from openurine_lib.training.engines import engine
from openurine_lib.training.job import TrainJob
from openurine_lib.training.slices import slices_of
from openurine_lib.training.transfer import write_mean, write_start
from openurine_lib.training.trials import OBJECTIVE, held_out_scores, inner_split
from openurine_lib.training.weights import DETECTOR, read_weights, taxonomy_of, usual_room
from openurine_lib.ways import Way

FOLD = 0  # the held-out part
CHECKS = 5  # the training is looked at so often
PATIENCE = 2  # looks without a gain, after which it ends
SHOWN = 3200  # fields or slices that a training shows, about: 12 minutes of one core (six heads)
EPOCHS = (10, 150)  # at least and at most
SLICES = 9  # of a field at most, of which an epoch shows one
FEW = 50  # boxes of a known class; a guess: with 4 it was forgotten (docs/measured.md)
ALL = "all classes"


@dataclasses.dataclass(frozen=True)
class Finetuned:
    """What a fine-tuning leaves."""

    weights: Path
    gains: pd.DataFrame  # of ``gains``: AP50 of each class before and after, in percent
    components: pd.DataFrame  # of ``validation.judged``
    about: str  # the parts, how long, from what
    minutes: float  # of this call


def finetune(
    data: str | Path,
    out: str | Path = "finetuned",
    weights: str | Path | None = None,
    seed: int = 0,
    groups: str | None = None,
    epochs: int | None = None,
) -> Finetuned:
    """Trains a detector further on a laboratory's fields, and measures what that gained.

    Slices are as large as ``slice_sides`` says. Weights halfway to the start are kept if the fields
    hardly show a class that it knew. An interrupted call goes on where it was, if nothing changed.

    Args:
        data: folder of a data set (README), with boxes and patients.
        out: folder for weights.pt, validation.json, gains.csv and what they are made from.
        weights: what to start from; None: the detector that comes with the project.
        groups: "image" if nobody knows the patients: scores may then flatter.
        epochs: at most so many passes over the fields; None: as many as take some minutes.

    Raises DataError with all that is wrong in the data, WeightsError for weights that do not fit,
    BadOption for ``out`` inside of ``data`` or fewer than CHECKS epochs.
    """
    data, out = Path(data).resolve(), Path(out).resolve()
    if out.is_relative_to(data):
        raise BadOption("out", out, "it would become a part of the data; give another folder")
    if epochs is not None and epochs < CHECKS:
        raise BadOption("epochs", epochs, f"give at least {CHECKS}")
    base, meta, old = start_of(weights)
    out.mkdir(parents=True, exist_ok=True)
    with FileLock(out / ".lock"):  # a second call waits, and finds what the first one left
        d = prepare(data, out / "dataset", seed, groups)
        rest = d.train_images(FOLD)
        record = validation.read(base)
        usual = slice_sides.by_size(d, rest, old, meta["imgsz"], record)
        own = record.get("slice_px", 0)
        side = slice_sides.by_finds(d, rest, base, usual, own, seed, out / "sides")
        few = hardly_shown(d.boxes_of(rest), d.taxonomy, old)
        tuned = trained_further(d, base, side, out, seed, epochs, halfway=bool(few))
    if few:
        why = f"; the weights are halfway back to the start, lest {', '.join(few)} be forgotten"
        tuned = dataclasses.replace(tuned, about=tuned.about + why)
    return tuned


def hardly_shown(boxes: pd.DataFrame, new: Taxonomy, old: Taxonomy) -> list[str]:
    """The classes of ``new`` that ``old`` has, too, with fewer than FEW boxes: it unlearns them."""
    counts = boxes["cls"].value_counts()
    known = [cls for cls, ids in equals(new, old).items() if ids]
    return [new.classes[cls] for cls in known if counts.get(cls, 0) < FEW]


def start_of(weights: str | Path | None) -> tuple[Path, dict[str, Any], Taxonomy]:
    """The detector that a training starts from: its file, what that tells of it, its classes.

    None is the detector that comes with the project. Raises WeightsError for a file that is none,
    or whose tensors do not fit its network.
    """
    base = default_weights.path() if weights is None else Path(weights)
    meta = read_weights(base, "ultralytics", DETECTOR)["meta"]
    classes = taxonomy_of(meta, base)
    engine("ultralytics").load_model(base)
    return base, meta, classes


def trained_further(
    d: Dataset,
    base: Path,
    side: int,
    out: Path,
    seed: int,
    epochs: int | None = None,
    changed: dict[str, Any] | None = None,
    told: dict[str, Any] | None = None,
    halfway: bool = False,
    more: tuple[pd.DataFrame, pd.DataFrame] | None = None,
    before: Path | None = None,
) -> Finetuned:
    """What ``finetune`` does with a checked data set; nobody else may write to ``out`` meanwhile.

    side: of a slice in pixels. changed: settings other than the profile's ``study``. told: what
    else goes into the weights file. halfway: the mean of the first and the best weights is kept.
    more: images and boxes that are trained on besides. before: weights to compare with; None: base.
    """
    started = time.monotonic()
    meta = read_weights(base, "ultralytics", DETECTOR)["meta"]
    old = taxonomy_of(meta, base)
    held, rest = d.test_images(FOLD), d.train_images(FOLD)
    split = inner_split(rest, seed)
    origin = write_start(base, old, d.taxonomy, seed, out / "start.pt")
    cut = out / "slices"
    labelled = split.train, d.boxes_of(split.train)
    images, boxes = slices_of(*labelled, side, OVERLAP, SLICES, seed, cut)
    if more is not None:
        images, boxes = (
            pd.concat(pair, ignore_index=True) for pair in zip((images, boxes), more, strict=True)
        )
    settings = profile("study").settings | (changed or {})
    few, many = EPOCHS
    usual = int(np.clip(SHOWN // len(split.train), few, many))
    job = TrainJob(
        arch=meta["arch"], taxonomy=d.taxonomy, heads=meta["heads"], imgsz=meta["imgsz"],
        images=images, boxes=boxes, epochs=epochs or usual, settings=settings, seed=seed,
        dir=out, device=device(), pretrained=out / "start.pt",
        # the taxonomy travels with the weights: no other file has to
        meta={"synthetic": d.synthetic, "data": d.fingerprint, "finetuned_from": origin,
              "taxonomy_entry": dataclasses.asdict(d.taxonomy), **(told or {})},
    )  # fmt: skip
    # of other fields, settings or weights nothing is taken
    work = out / f"work-{job.signature()[:12]}"
    work.mkdir(exist_ok=True)
    job = dataclasses.replace(job, dir=work)
    best, looks = _train(job, split.validation, d, side)
    shutil.rmtree(cut)
    if halfway:
        best = write_mean([out / "start.pt", best], work / "halfway.pt")
    # as ``predict`` will see a field, but in slices of the side that was found
    way = dataclasses.replace(validation.usual_way(validation.read(base)), at_once=False)
    found = _on_held_out(best, held, side, way, work / "held_out.csv")
    first = _on_held_out(before or base, held, side, way, work / "before.csv")
    first = renamed(first, d.taxonomy, old)
    if not d.synthetic:  # as ``predict`` gives them
        first = with_room(first, usual_room(meta))
    truth = d.boxes_of(held)
    table = gains(truth, first, found, d.taxonomy, held, seed)
    content = validation.record(
        held, truth, found, d.taxonomy, rest, way,
        data=d.name, drawn=d.synthetic, alone=by_image(d.meta), slice_px=side,
        imgsz=meta["imgsz"],
    )  # fmt: skip
    final = out / "weights.pt"
    with atomic_path(final) as temporary:
        temporary.write_bytes(best.read_bytes())
    validation.write(content, final)
    with atomic_path(out / "gains.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.4g")
    minutes = (time.monotonic() - started) / 60
    about = (
        f"{len(split.train)} fields trained on, {len(split.validation)} to decide when to stop, "
        f"{len(held)} of {held['group'].nunique()} other patients or slides held out; "
        f"{looks[-1]['epochs']} of {job.epochs} passes, the best after {_best(looks)['epochs']}; "
        f"slices of {side} px; started from {base.name} "
        f"({origin['classes']} of {d.taxonomy.n} classes known to it)"
    )
    return Finetuned(final, table, validation.judged(content, d.taxonomy), about, minutes)


def _train(
    job: TrainJob, fields: pd.DataFrame, d: Dataset, side: int
) -> tuple[Path, list[dict[str, Any]]]:
    """The weights that are best on ``fields``, and the looks: [{epochs, map50, ...}]."""
    fitting = engine("ultralytics")
    file = job.dir / "looks.json"
    looks = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    for look in range(len(looks) + 1, CHECKS + 1):
        if looks and len(looks) - 1 - looks.index(_best(looks)) >= PATIENCE:
            break
        stop = math.ceil(look * job.epochs / CHECKS)
        one = dataclasses.replace(job, stop_after=stop)
        weights = fitting.fit(one)
        scores = held_out_scores(fitting, one, weights, fields, d.boxes_of(fields), (side, OVERLAP))
        with atomic_path(_weights_of(job, stop)) as temporary:
            temporary.write_bytes(weights.read_bytes())
        looks.append({"epochs": stop, **scores})
        write_json(file, looks)
    return _weights_of(job, _best(looks)["epochs"]), looks


def _best(looks: list[dict[str, Any]]) -> dict[str, Any]:
    """The first look of the highest objective."""
    return max(looks, key=lambda look: look[OBJECTIVE])


def _weights_of(job: TrainJob, epochs: int) -> Path:
    return job.dir / f"weights-{epochs}.pt"


def _on_held_out(weights: Path, held: pd.DataFrame, side: int, way: Way, out: Path) -> pd.DataFrame:
    """The boxes of a detector on the held-out fields; those of a finished call are read."""
    done = out.with_suffix(".json")
    made = {"weights": digest_of_file(weights), "slice_px": side, "fields": list(held["image"])}
    made |= dataclasses.asdict(way)
    if done.exists() and json.loads(done.read_text(encoding="utf-8")) == made:
        return read_predictions(out)
    imgsz = read_weights(weights)["meta"]["imgsz"]
    detector = engine("ultralytics").detector(weights, CONFIDENCE, device(), imgsz)
    boxes = predict_fields(detector, held, side or None, OVERLAP, out, way=way)
    write_json(done, made)
    return boxes


def gains(
    truth: pd.DataFrame,
    before: pd.DataFrame,
    after: pd.DataFrame,
    taxonomy: Taxonomy,
    held: pd.DataFrame,
    seed: int = 0,
) -> pd.DataFrame:
    """[class, boxes, before, after, gain, low, high]: AP50 in percent on the held-out fields.

    The ends are of 95 %, from resampling patients or slides (the same draws for both); NaN with
    fewer than bootstrap.MIN_GROUPS of them. The last row is the mean over classes with boxes.
    """
    groups = held["group"].nunique()
    whole = np.ones((1, groups), int)
    drawn = bootstrap.draws(groups, bootstrap.FOR_LIMITS, seed)
    both = []  # AP (1 + R, C + 1) of each, first the fields themselves, last the mean
    for boxes in (before, after):
        matched = bootstrap.match_groups(truth, boxes, taxonomy.n, held)
        value = bootstrap.average_precision(matched, whole)
        resampled = bootstrap.average_precision(matched, drawn)
        ap = np.concatenate([value, bootstrap.fill_missing(resampled, value[0])])
        both.append(100 * np.column_stack([ap, bootstrap.mean_over_classes(ap)]))
    difference = both[1] - both[0]
    ends = np.full((2, difference.shape[1]), np.nan)
    if groups >= bootstrap.MIN_GROUPS:
        ends = np.stack(bootstrap.symmetric_interval(difference[0], difference[1:]))
    counts = truth["cls"].value_counts().reindex(range(taxonomy.n), fill_value=0)
    return pd.DataFrame({
        "class": [*taxonomy.classes, ALL], "boxes": [*counts, counts.sum()],
        "before": both[0][0], "after": both[1][0], "gain": difference[0],
        "low": ends[0], "high": ends[1],
    })  # fmt: skip
