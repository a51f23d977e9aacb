"""Slices in training: beside every field one slice of it (Akyon et al. 2022, "slicing aided ... fine-tuning")."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sahi.slicing import get_slice_bboxes
from tqdm.auto import tqdm

from openurine_lib.inference import read_rgb
from openurine_lib.provenance import atomic_path

OVERLAP = 0.25
KEPT = 0.5  # a box cut by a slice's edge is kept if at least this part of its area is inside


def with_slices(
    images: pd.DataFrame, boxes: pd.DataFrame, slice_px: int, seed: int, folder: Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The frames of a training part, with one slice (drawn by seed, written to ``folder``) added for every field.

    The slices are those of inference, ``slice_px`` pixels of the original image; among a field's slices those with
    boxes are preferred. Fields no larger than a slice are left alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    by_image = dict(tuple(boxes.groupby("image")))
    rng = np.random.default_rng(seed)
    new_images, new_boxes = [], []
    for field in tqdm(list(images.itertuples()), desc="cut slices", unit="field", leave=False):
        cuts = get_slice_bboxes(
            image_height=field.height, image_width=field.width, slice_height=slice_px, slice_width=slice_px,
            overlap_height_ratio=OVERLAP, overlap_width_ratio=OVERLAP,
        )  # fmt: skip
        if len(cuts) == 1:
            continue
        inside = [_inside(by_image.get(field.image, boxes.iloc[:0]), *cut) for cut in cuts]
        filled = [i for i, b in enumerate(inside) if len(b)] or range(len(cuts))
        chosen = int(rng.choice(list(filled)))
        x1, y1, x2, y2 = cuts[chosen]
        path = folder / f"{len(new_images):06d}.png"
        with atomic_path(path) as temporary:
            Image.fromarray(read_rgb(field.path)[y1:y2, x1:x2]).save(temporary)
        name = f"{field.image}#{chosen}"
        new_images.append(field._asdict() | {"image": name, "path": str(path), "width": x2 - x1, "height": y2 - y1})
        new_boxes.append(inside[chosen].assign(image=name))
    added = pd.DataFrame(new_images, columns=["Index", *images.columns])[images.columns]
    return pd.concat([images, added], ignore_index=True), pd.concat([boxes, *new_boxes], ignore_index=True)


def _inside(boxes: pd.DataFrame, x1: int, y1: int, x2: int, y2: int) -> pd.DataFrame:
    """The boxes of a slice in its own pixels, cut at its edges; those mostly outside are dropped."""
    cut = boxes.assign(
        x1=boxes.x1.clip(x1, x2) - x1,
        x2=boxes.x2.clip(x1, x2) - x1,
        y1=boxes.y1.clip(y1, y2) - y1,
        y2=boxes.y2.clip(y1, y2) - y1,
    )
    area = (boxes.x2 - boxes.x1) * (boxes.y2 - boxes.y1)
    return cut[(cut.x2 - cut.x1) * (cut.y2 - cut.y1) >= KEPT * area]
