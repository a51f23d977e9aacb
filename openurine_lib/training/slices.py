"""Slices to train on, as inference will see them (Akyon et al. 2022)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sahi.slicing import get_slice_bboxes
from tqdm.auto import tqdm

from openurine_lib.data.boxes import XYXY
from openurine_lib.data.images import read_rgb
from openurine_lib.files import atomic_path

MIN_AREA = 0.5  # a cut box stays if at least this part of its area lies inside the slice


def slices_of(
    images: pd.DataFrame,
    boxes: pd.DataFrame,
    slice_px: int,
    overlap: float,
    per_field: int,
    seed: int,
    folder: Path,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The frames (images, boxes) of a training part, every field replaced by some of its slices.

    The slices are those of inference, ``slice_px`` pixels of the original image, and neighbours
    share the part ``overlap`` of it. ``per_field`` of each field are drawn by seed, those with
    boxes first, and written to ``folder``, which is of no use after the training. A field no larger
    than a slice stays as it is. A column ``field`` is added: the image that a slice is of.
    """
    folder.mkdir(parents=True, exist_ok=True)
    by_image = dict(tuple(boxes.groupby("image")))  # image -> its boxes
    rng = np.random.default_rng(seed)
    new_images: list[dict] = []
    new_boxes = []
    for field in tqdm(
        list(images.itertuples(index=False)), "cut slices", unit="field", leave=False
    ):
        truth = by_image.get(field.image, boxes.iloc[:0])  # no boxes: an empty frame
        slices = get_slice_bboxes(
            field.height, field.width, slice_px, slice_px,
            overlap_height_ratio=overlap, overlap_width_ratio=overlap,
        )  # fmt: skip
        if len(slices) == 1:  # the field is no larger than a slice
            new_images.append(field._asdict() | {"field": field.image})
            new_boxes.append(truth)
            continue
        pixels = read_rgb(field.path)
        # frames of boxes, one for each slice
        inside = [boxes_inside(truth, *corners) for corners in slices]
        # the sort keeps the drawn order within slices with and slices without boxes
        order = sorted(rng.permutation(len(slices)), key=lambda i: inside[i].empty)
        for i in order[:per_field]:
            left, top, right, bottom = slices[i]
            path = folder / f"{len(new_images):06d}.bmp"  # a number, as ids may hold slashes
            with atomic_path(path) as temporary:
                # without compression, which would take longer than the rest of the cutting; the
                # file is read once, and its training holds the slice in memory anyway
                Image.fromarray(pixels[top:bottom, left:right]).save(temporary)
            # what is not named here (the patient, the scale) stays the field's
            changed = {
                "image": f"{field.image}#{i}", "field": field.image, "path": str(path),
                "width": right - left, "height": bottom - top,
            }  # fmt: skip
            new_images.append(field._asdict() | changed)
            new_boxes.append(inside[i].assign(image=changed["image"]))
    columns = [*images.columns, "field"]
    return pd.DataFrame(new_images, columns=columns), pd.concat(new_boxes, ignore_index=True)


def boxes_inside(boxes: pd.DataFrame, left: int, top: int, right: int, bottom: int) -> pd.DataFrame:
    """The boxes of a slice in its own pixels, cut at its edges; those mostly outside are dropped.

    (sahi's own ``slice_image`` would round the boxes to whole pixels.)
    """
    whole = boxes[XYXY].to_numpy(float)
    cut = (whole - [left, top, left, top]).clip(0, [right - left, bottom - top] * 2)  # (N, 4)
    enough = _area(cut) >= MIN_AREA * _area(whole)  # (N,) booleans
    return boxes.assign(**dict(zip(XYXY, cut.T, strict=True)))[enough]  # cut.T: (4, N)


def _area(corners: np.ndarray) -> np.ndarray:
    return (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
