"""A fold as the files that ultralytics reads: images, a label file each, a listing."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from openurine_lib.data.images import plain, read_rgb
from openurine_lib.training.job import TrainJob


def write_fields(job: TrainJob, folder: Path) -> Path:
    """Links to the fold's images (or copies in plain RGB) and a YOLO label file each; returns the listing.

    They go by number, as ids may hold slashes.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir(exist_ok=True)
    by_image = dict(tuple(job.boxes.groupby("image")))
    links = []
    for i, row in enumerate(job.images.itertuples()):
        link = folder / "images" / f"{i:06d}{Path(row.path).suffix.lower()}"
        with Image.open(row.path) as image:
            as_it_is = plain(image)
        link = link if as_it_is else link.with_suffix(".png")
        link.unlink(missing_ok=True)
        if as_it_is:
            link.symlink_to(row.path)
        else:  # the library would read it otherwise than prediction does
            Image.fromarray(read_rgb(row.path)).save(link)
        lines = []
        if row.image in by_image:
            b = by_image[row.image]
            x, w = (b.x1 + b.x2) / 2 / row.width, (b.x2 - b.x1) / row.width
            y, h = (b.y1 + b.y2) / 2 / row.height, (b.y2 - b.y1) / row.height
            lines = [
                f"{c} {v[0]:.6f} {v[1]:.6f} {v[2]:.6f} {v[3]:.6f}"
                for c, *v in zip(b.cls, x, y, w, h, strict=True)
            ]
        (folder / "labels" / f"{i:06d}.txt").write_text("\n".join(lines) + "\n" * bool(lines))
        links.append(str(link))
    for name, part in (("train.txt", links), ("one.txt", links[:1])):
        (folder / name).write_text("\n".join(part) + "\n")
    return folder / "train.txt"
