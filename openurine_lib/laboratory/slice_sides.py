"""The side of a slice at which a detector meets a laboratory's particles as it learned them.

A slice is scaled to the network's input, so its side decides how large a particle looks there. Two
answers are tried in turn. ``by_size`` compares the labelled boxes with those that the detector was
scored on. But an annotator leaves room around a particle, and another laboratory's specimens of a
class may be larger. So ``by_finds`` has the detector look at some labelled fields in slices of
several sides, and takes the side at which it finds most. docs/measured.md says what that gains.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from openurine_lib.clinical.validation import usual_slice_px
from openurine_lib.data.boxes import area
from openurine_lib.data.dataset import Dataset
from openurine_lib.data.splits import subsample
from openurine_lib.data.taxonomy import Taxonomy, equals
from openurine_lib.evaluation.shared_classes import SAME, average_precision_of, renamed
from openurine_lib.files import digest, digest_of_file
from openurine_lib.inference import CONFIDENCE, OVERLAP, predict_fields
from openurine_lib.speed.processor import device
from openurine_lib.training.engines import engine
from openurine_lib.training.weights import read_weights, taxonomy_of

FIELDS = 24  # that are looked at, at most
LEAST_BOXES = 20  # of classes that the detector knows; with fewer, sizes alone decide
# of the side that sizes tell: a third of an octave apart
SHARES = tuple(2 ** (step / 3) for step in range(-3, 2))
APART = 2 ** (1 / 6)  # half of that step: sides that are nearer to one another count as one


def by_size(
    d: Dataset, images: pd.DataFrame, old: Taxonomy, imgsz: int, record: dict[str, Any]
) -> int:
    """The side in pixels that shows the median box as large as the detector saw its own.

    By the classes that both know; else by the sizes of a pixel; else as the detector's own slices.

    Args:
        images: the labelled fields that may be looked at.
        old: the classes of the detector.
        imgsz: the side of its input, pixels.
        record: of its held-out fields (``validation.read``).
    """
    boxes = d.boxes_of(images)
    sizes = np.sqrt(area(boxes)).groupby(boxes["cls"]).agg(["median", "size"])
    known = record.get("particle_px", {})
    ratios, counts = [], []
    for cls, ids in equals(d.taxonomy, old).items():
        there = [known[old.classes[i]] for i in ids if old.classes[i] in known]
        if there and cls in sizes.index:
            ratios.append(sizes["median"][cls] / np.mean(there))
            counts.append(int(sizes["size"][cls]))
    if ratios:
        # the middle one of all boxes' ratios
        return round(imgsz * float(np.median(np.repeat(ratios, counts))))
    um_per_px = images["um_per_px"].median() if images["um_per_px"].notna().all() else None
    # a detector of whole fields is trained further on slices
    return usual_slice_px(imgsz, record if record.get("slice_px") else {}, um_per_px)


def by_finds(
    d: Dataset, images: pd.DataFrame, weights: Path, usual: int, own: int, seed: int, folder: Path
) -> int:
    """The side among SHARES of the ``usual`` one, and its ``own``, at which a detector finds most.

    That is the highest average precision at an IoU of 0.3, at which a tight and a loose box of one
    particle agree; the mean of the classes that the detector knows, weighted by their boxes. Of
    equals the one nearest to ``usual`` is taken, and ``usual`` itself where the fields show too few
    boxes of such classes.

    Args:
        images: the labelled fields that may be looked at; FIELDS of them are, drawn by
            seed so that each class is among them.
        usual: a side in pixels, of ``by_size``.
        own: that of the slices that the detector was scored on, 0 for whole fields. Sizes may be
            far off, where annotators and drawn fields differ in what a class is.
        folder: for what is found; a call that was interrupted goes on there.
    """
    meta = read_weights(weights)["meta"]
    old = taxonomy_of(meta, weights)
    known = [cls for cls, ids in equals(d.taxonomy, old).items() if ids]
    boxes = d.boxes_of(images)
    shown = boxes[boxes["cls"].isin(known)]
    some = images[images["image"].isin(shown["image"])]
    some = subsample(some, shown, FIELDS, seed).reset_index(drop=True)
    truth = d.boxes_of(some)
    counts = truth.loc[truth["cls"].isin(known), "cls"].value_counts()
    if counts.sum() < LEAST_BOXES:
        return usual
    detector = engine("ultralytics").detector(weights, CONFIDENCE, device(), meta["imgsz"])
    names = list(some["image"])
    place = folder / digest(digest_of_file(weights), d.fingerprint, names)
    found_at = {}  # side -> mean AP
    for side in tqdm(_sides(usual, own, some), desc="trying sides of slices", unit="side"):
        found = predict_fields(detector, some, side, OVERLAP, place / f"{side}.csv")
        found = renamed(found, d.taxonomy, old)
        ap = average_precision_of(known, truth, found, d.taxonomy.n, names, SAME)
        found_at[side] = float(np.average(ap[counts.index], weights=counts))
    return max(found_at, key=lambda side: (found_at[side], -abs(side - usual)))


def _sides(usual: int, own: int, fields: pd.DataFrame) -> list[int]:
    """The sides to try, ascending; all that are longer than every field are one, the field's."""
    longest = int(fields[["width", "height"]].max(axis=None))
    sides = {min(round(usual * share), longest) for share in SHARES}
    if own and all(not 1 / APART < side / own < APART for side in sides):
        sides.add(min(own, longest))
    return sorted(sides)
