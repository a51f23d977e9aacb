"""Small inputs that several tests share: drawn fields, a job, untrained weights, stored rows."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from openurine_lib import files
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.experiments import made_from
from openurine_lib.experiments.methods import method, profile
from openurine_lib.experiments.run import Run
from openurine_lib.training.job import TrainJob

NO_CLASS = pd.DataFrame(columns=["cls", "boxes", "precision", "recall", "ap50", "ap50_95"])
TAXONOMY = Taxonomy("tiny", ("disc", "square", "bar"), {"Cells": (0,), "Crystals": (1, 2)}, {}, {})


def frames(
    folder: Path, n: int = 8, side: int = 96, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``n`` fields with three plain shapes each, two fields a patient."""
    folder.mkdir(parents=True, exist_ok=True)
    images, boxes = [], []
    for i in range(n):
        rng = np.random.default_rng([seed, i])
        pixels = rng.normal(215, 3, (side, side, 3)).clip(0, 255).astype(np.uint8)
        yy, xx = np.mgrid[:side, :side]
        for cls in range(3):
            r = int(rng.integers(10, 14))
            x, y = (int(v) for v in rng.integers(r + 1, side - r - 1, 2))
            dx, dy = np.abs(xx - x), np.abs(yy - y)
            inside = [
                (dx**2 + dy**2 <= r * r),
                np.maximum(dx, dy) <= r,
                (dx <= r) & (dy <= r // 2),
            ][cls]
            pixels[inside] = [(120, 40, 40), (40, 120, 40), (40, 40, 120)][cls]
            h = r // 2 if cls == 2 else r
            boxes.append((f"field{i}", cls, x - r, y - h, x + r + 1, y + h + 1))
        path = folder / f"field{i}.png"
        Image.fromarray(pixels).save(path)
        images.append((f"field{i}", str(path), f"patient{i // 2}", side, side))
    return (
        pd.DataFrame(images, columns=["image", "path", "group", "width", "height"]),
        pd.DataFrame(boxes, columns=["image", "cls", "x1", "y1", "x2", "y2"]).astype(
            {c: float for c in ("x1", "y1", "x2", "y2")}
        ),
    )


def job(
    folder: Path,
    heads: str = "multi",
    arch: str = "yolo12n",
    epochs: int = 3,
    n: int = 8,
    **settings,
) -> TrainJob:
    """A training of seconds on ``frames``; ``settings`` override the smoke profile's."""
    encoder = settings.pop("encoder", None)
    images, boxes = frames(folder / "input", n)
    return TrainJob(
        arch=arch, taxonomy=TAXONOMY, heads=heads, imgsz=96, images=images, boxes=boxes,
        epochs=epochs, seed=0, settings=profile("smoke").settings | {"close_mosaic": 1} | settings,
        dir=folder / "out", device="cpu", encoder=encoder,
    )  # fmt: skip


def untrained(folder: Path) -> Path:
    """The weights of a six-head detector, untrained, whose scores pass a confidence of 0.25."""
    import torch

    from openurine_lib.data import taxonomy
    from openurine_lib.model.build import build_model

    t = taxonomy.load("openurine")
    torch.manual_seed(0)
    model = build_model("yolo12n", t, "multi")
    for head in model.model[-1].heads.values():
        for branch in head.cv3:
            torch.nn.init.constant_(branch[-1].bias, -0.5)
    meta = {
        "engine": "ultralytics",
        "arch": "yolo12n",
        "heads": "multi",
        "imgsz": 96,
        "classes": list(t.classes),
        "head_classes": {k: list(v) for k, v in t.heads.items()},
        "taxonomy": "openurine",
        "objectness_gain": 0.0,
    }
    path = folder / "weights.pt"
    torch.save({"state_dict": model.state_dict(), "meta": meta}, path)
    return path


@contextlib.contextmanager
def killed_after(calls: int, place: Any, name: str) -> Iterator[None]:
    """Within it, after so many calls of ``place.name`` the next one ends as if it were killed."""
    original = getattr(place, name)
    done = []

    def kill(*given: Any) -> Any:
        if len(done) == calls:
            raise KeyboardInterrupt
        done.append(1)
        return original(*given)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(place, name, kill)
        yield


def store(run: Run, name: str, fold: int = 0, **tables: pd.DataFrame) -> None:
    """Leaves a row as the steps leave it: empty weights, records, and sealed tables.

    tables: ``predictions`` and ``metrics``; one that is not given is empty, unless it is there.
    """
    m = method(name)
    sources = [("ssl", "encoder.pt")] * m.ssl + [("train", "weights.pt")]
    for kind, file in sources:
        made_from.check(run, kind, m, fold)
        (made_from.folder_of(run, kind, m, fold) / file).touch()
    made_from.check(run, "predict", m, fold)
    for stem in ("predictions", "metrics"):
        out = run.predict_dir(m, fold) / f"{stem}.csv"
        if stem in tables or not out.exists():
            tables.get(stem, NO_CLASS).to_csv(out, index=False)
            files.seal(out)
