"""Slices in training, as inference will see them (Akyon et al. 2022: "slicing aided ... fine-tuning")."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sahi.slicing import get_slice_bboxes
from tqdm.auto import tqdm

from openurine_lib.data.images import read_rgb
from openurine_lib.files import atomic_path

OVERLAP = 0.25
KEPT = 0.5  # a box cut by a slice's edge is kept if at least this part of its area is inside


def slices_of(
    images: pd.DataFrame,
    boxes: pd.DataFrame,
    slice_px: int,
    per_field: int,
    seed: int,
    folder: Path,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The frames of a training part, every field replaced by some of its slices (drawn by seed, written to ``folder``).

    The slices are those of inference, ``slice_px`` pixels of the original image; those with boxes come first. A field
    no larger than a slice stays as it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    by_image = dict(tuple(boxes.groupby("image")))
    rng = np.random.default_rng(seed)
    new_images, new_boxes = [], []
    for field in tqdm(
        list(images.itertuples(index=False)), desc="cut slices", unit="field", leave=False
    ):
        mine = by_image.get(field.image, boxes.iloc[:0])
        cuts = get_slice_bboxes(
            image_height=field.height, image_width=field.width, slice_height=slice_px, slice_width=slice_px,
            overlap_height_ratio=OVERLAP, overlap_width_ratio=OVERLAP,
        )  # fmt: skip
        if len(cuts) == 1:
            new_images.append(field._asdict())
            new_boxes.append(mine)
            continue
        pixels = read_rgb(field.path)
        inside = [_inside(mine, *cut) for cut in cuts]
        order = sorted(rng.permutation(len(cuts)), key=lambda i: len(inside[i]) == 0)
        for i in order[:per_field]:
            x1, y1, x2, y2 = cuts[i]
            path = folder / f"{len(new_images):06d}.png"
            with atomic_path(path) as temporary:
                Image.fromarray(pixels[y1:y2, x1:x2]).save(temporary)
            name = f"{field.image}#{i}"
            size = {"width": x2 - x1, "height": y2 - y1}
            new_images.append(field._asdict() | size | {"image": name, "path": str(path)})
            new_boxes.append(inside[i].assign(image=name))
    return pd.DataFrame(new_images, columns=images.columns), pd.concat(new_boxes, ignore_index=True)


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
