"""The training part of a fold as the folder that ultralytics reads."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from PIL import Image

from openurine_lib.data.images import opened, plain, read_rgb
from openurine_lib.training.job import TrainJob


def write_fields(job: TrainJob, folder: Path) -> Path:
    """The fold as the files that ultralytics reads: images, a label file each; returns a listing.

    Images are links, or copies in plain RGB where the library would read a file otherwise than
    prediction does. They go by number, as ids may hold slashes.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir(exist_ok=True)
    by_image = dict(tuple(job.boxes.groupby("image")))  # image -> its boxes
    links = []
    for i, field in enumerate(job.images.itertuples()):
        with Path(field.path).open("rb") as file, opened(file) as image:
            suffix = Path(field.path).suffix.lower() if plain(image) else None
        link = folder / "images" / f"{i:06d}{suffix or '.png'}"
        link.unlink(missing_ok=True)  # one of an interrupted call
        if suffix:
            link.symlink_to(field.path)
        else:
            Image.fromarray(read_rgb(field.path)).save(link)
        b = by_image.get(field.image, job.boxes.iloc[:0])
        label = pd.DataFrame({
            "cls": b.cls,
            "x": (b.x1 + b.x2) / 2 / field.width, "y": (b.y1 + b.y2) / 2 / field.height,
            "w": (b.x2 - b.x1) / field.width, "h": (b.y2 - b.y1) / field.height,  # in 0..1
        })  # fmt: skip
        text = label.to_csv(sep=" ", header=False, index=False, float_format="%.6f")
        (folder / "labels" / f"{i:06d}.txt").write_text(text)
        links.append(f"{link}\n")
    (folder / "train.txt").write_text("".join(links))
    (folder / "one.txt").write_text(links[0])  # a list to validate on must exist
    return folder / "train.txt"
