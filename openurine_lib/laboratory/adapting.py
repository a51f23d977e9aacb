"""A laboratory's fields without a single box: the detector trained further on drawn ones like them.

The simulator learns the laboratory's cameras from the unlabelled fields (``synthurine.likeness``)
and draws fields as they would look there, with boxes. The detector is trained further on these, and
the mean of its weights before and after is kept: it forgets less. Then it is trained on drawn
fields and on its own finds in the real ones (``finds``). How well it does there cannot be measured
without labels, so what is reported is of drawn fields that it has not seen, and the record says so.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

import synthurine
from openurine_lib.clinical import validation
from openurine_lib.clinical.counts import per_hpf
from openurine_lib.data import taxonomy
from openurine_lib.data.boxes import XYXY
from openurine_lib.data.dataset import Dataset, prepare
from openurine_lib.data.given import given_fields
from openurine_lib.data.images import read_rgb
from openurine_lib.files import digest, digest_of_file
from openurine_lib.inference import digests
from openurine_lib.laboratory.finds import confident
from openurine_lib.laboratory.finetuning import CHECKS, Finetuned, start_of, trained_further
from openurine_lib.laboratory.predicting import BadOption, check_pixel_size
from openurine_lib.training.weights import check_taxonomy
from synthurine.laboratories import Laboratory, described, read_laboratories, write_laboratories

DRAWN = 240  # fields
LEAST_DRAWN = 30  # fewer leave no patient to hold out
LEAST_PX = 5.0  # a drawn particle whose longer side is shorter is no longer a particle to find
# gentler than from random weights, and nearer to the shares in which particles occur
CHANGED = {"lr0": 0.0015, "repeat_threshold": 0.1}
GENTLY = {"lr0": 0.001, "repeat_threshold": 0, "mosaic": 0.0}
DRAWN_ALONE, WITH_FINDS = 10, 5  # passes


@dataclasses.dataclass(frozen=True)
class Adapted(Finetuned):
    """What an adaptation leaves; ``gains`` and ``components`` are of drawn fields."""

    laboratories: Path  # a YAML file: what was learned of the cameras
    cameras: tuple[str, ...]  # the same, a sentence a camera


def adapt(
    fields: Sequence[str | Path],
    out: str | Path = "adapted",
    weights: str | Path | None = None,
    seed: int = 0,
    drawn: int = DRAWN,
    um_per_px: float | None = None,
    epochs: int | None = None,
) -> Adapted:
    """Trains a detector further on drawn fields that look like a laboratory's unlabelled ones.

    An interrupted call goes on where it was, if nothing changed.

    Args:
        fields: images, or folders of images (not of folders); boxes there are not read.
        out: folder for weights.pt, validation.json, gains.csv, the drawn fields and the cameras.
        weights: a detector of the 39 classes to start from; None: the one that comes with the
            project.
        drawn: so many fields are drawn.
        um_per_px: micrometres a pixel, where no ``patients.csv`` gives it; None: as red cells tell.
        epochs: at most so many passes over the drawn fields; None: as many as take some minutes.

    Raises ValueError for an option out of range (BadOption), fields that ``predict`` would refuse,
    or weights that do not fit (WeightsError); FileNotFoundError for a field that is not there.
    """
    started = time.monotonic()
    out = Path(out).resolve()
    if any(out.is_relative_to(Path(given).resolve()) for given in fields):
        raise BadOption("out", out, "it would become one of the fields; give another folder")
    if drawn < LEAST_DRAWN:
        raise BadOption("drawn", drawn, f"give at least {LEAST_DRAWN}")
    if epochs is not None and epochs < CHECKS:
        raise BadOption("epochs", epochs, f"give at least {CHECKS}")
    check_pixel_size(um_per_px)
    base, meta, _ = start_of(weights)
    check_taxonomy(meta, taxonomy.load("openurine"), base)  # the classes that are drawn
    with tempfile.TemporaryDirectory() as scratch:
        given = given_fields(fields, Path(scratch))
    if per_hpf(given):
        um_per_px = float(given["um_per_px"].median())
    out.mkdir(parents=True, exist_ok=True)
    with FileLock(out / ".lock"):  # a second call waits, and finds what the first one left
        key = digest(digests(given), um_per_px, seed)
        cameras = out / f"laboratories-{key}.yaml"
        if not cameras.exists():
            labs, um = synthurine.laboratories_like(list(given["path"]), um_per_px, seed, read_rgb)
            write_laboratories(cameras, labs, um)
        labs, um = read_laboratories(cameras)  # also after an edit
        side = validation.usual_slice_px(meta["imgsz"], validation.read(base), um)
        d = _draw(labs, um, drawn, side, seed, out)
        told = {"adapted_to": {"fields": len(given), "laboratories": [lab.about for lab in labs]}}
        first = out / "first"
        first.mkdir(exist_ok=True)
        passes = epochs or DRAWN_ALONE
        start = trained_further(d, base, side, first, seed, passes, CHANGED, halfway=True).weights
        finds = out / f"finds-{digest_of_file(start, 12)}"
        more = confident(start, given, side, seed, finds)
        passes = epochs or WITH_FINDS
        done = trained_further(
            d, start, side, out, seed, passes, GENTLY, told, more=more, before=base
        )
        shutil.rmtree(finds / "slices")
    done = dataclasses.replace(done, minutes=(time.monotonic() - started) / 60)
    return Adapted(**vars(done), laboratories=cameras, cameras=tuple(lab.about for lab in labs))


def _draw(
    labs: Sequence[Laboratory], um: float, n: int, side: int, seed: int, out: Path
) -> Dataset:
    """The drawn data set, each field as large as a slice, without what is too small to see."""
    spec = synthurine.spec_like(um, n, side)
    folder = out / f"drawn-{digest(described(labs), spec, seed)}"
    synthurine.write(folder, spec, seed, labs=labs)
    d = prepare(folder, out / "dataset", seed)
    return dataclasses.replace(d, boxes=visible(d.boxes))


def visible(boxes: pd.DataFrame) -> pd.DataFrame:
    """The boxes with a longer side of LEAST_PX at least: a weak objective shows others as dots."""
    x1, y1, x2, y2 = boxes[XYXY].to_numpy(float).T
    return boxes[np.maximum(x2 - x1, y2 - y1) >= LEAST_PX].reset_index(drop=True)
