"""Packs what a run's trainings left into ``carried/``, small enough for the repository.

    python workflow/carry.py --profile study [--data FOLDER] [--weights ROW ...]

``carried/<run>/<row>/fold<k>/`` then holds, for every finished row and fold:

- ``predictions.npz``: the most confident boxes on the fold's test fields, at most LIMIT a field;
- ``log.csv``: the training's losses, one line an epoch;
- ``metrics.csv``: precision, recall and average precision of each class, from all stored boxes;
- ``record.json``: what was trained, from which data, with which settings, when and at which commit;
- ``weights.safetensors``: for the rows that ``--weights`` names, the tensors in half precision.

A row and fold that is packed already is packed again only if its predictions are newer.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from openurine_lib import open_run, plan  # noqa: E402
from openurine_lib.data.boxes import XYXY  # noqa: E402
from openurine_lib.data.splits import FOLDS  # noqa: E402
from openurine_lib.experiments.methods import Method  # noqa: E402
from openurine_lib.experiments.run import Run  # noqa: E402
from openurine_lib.files import atomic_path, write_json  # noqa: E402
from openurine_lib.inference import read_predictions  # noqa: E402
from openurine_lib.training.weights import read_weights  # noqa: E402

LIMIT = 300  # boxes a field, as one forward pass gives at most
STEPS = 65535  # a coordinate or a confidence is stored as a 16-bit share of its range


def main() -> None:
    options = _options()
    run = open_run(options.data, options.profile, 0)
    for key, row in plan(run.profile).predict.items():
        for fold in range(FOLDS):
            source = run.predict_dir(row, fold)
            target = REPOSITORY / "carried" / run.name / key / f"fold{fold}"
            if not (source / "metrics.csv").exists() or _is_newer(target, source):
                continue
            carry(run, row, fold, target, with_weights=row.id in options.weights)
            size = sum(f.stat().st_size for f in target.iterdir())
            print(f"{target.relative_to(REPOSITORY)}: {size / 1e6:.2f} MB")


def carry(run: Run, row: Method, fold: int, target: Path, with_weights: bool) -> None:
    """Writes one row and fold into ``target``; ``record.json`` last, since it seals the rest."""
    training, predicted = run.train_dir(row, fold), run.predict_dir(row, fold)
    with atomic_path(target / "predictions.npz") as temporary:
        boxes = read_predictions(predicted / "predictions.csv")
        temporary.write_bytes(pack(boxes, run.test_images(fold)))
    shutil.copyfile(training / "log.csv", target / "log.csv")
    shutil.copyfile(predicted / "metrics.csv", target / "metrics.csv")
    if with_weights:
        save_weights(training / "weights.pt", target / "weights.safetensors")
    record = {
        "method": row.id,
        "fold": fold,
        "seed": run.seed,
        "profile": run.profile.name,
        "network": run.profile.arch(row),
        "epochs": run.profile.epochs_of(row),
        "settings": run.profile.settings_of(row),
        "synthetic": run.profile.synthetic if run.dataset.synthetic else None,
        "simulator": run.dataset.meta.get("simulator"),
        "scored": json.loads((predicted / "metrics.json").read_text(encoding="utf-8")),
    }
    write_json(target / "record.json", record)


def pack(boxes: pd.DataFrame, images: pd.DataFrame) -> bytes:
    """Predictions [image, cls, conf, x1, y1, x2, y2] as a compressed npz of a few bytes a box.

    The arrays ``names``, ``sides`` (the longer side, pixels) and ``counts`` (of boxes) have one
    entry an image. In the same order follow all boxes: ``cls`` (uint8), ``conf`` (uint16, a share
    of 1) and ``xyxy`` (N, 4) (uint16, a share of the side).
    """
    ranked = boxes.sort_values("conf", ascending=False, kind="stable")
    best = ranked.groupby("image", sort=False).head(LIMIT)
    by_image = dict(tuple(best.groupby("image", sort=False)))
    parts = [by_image.get(name, boxes.iloc[:0]) for name in images["image"]]
    sides = images[["width", "height"]].max(axis=1).to_numpy(float)
    counts = np.array([len(part) for part in parts])
    together = pd.concat(parts)
    corners = together[XYXY].to_numpy(float)  # (N, 4)
    shares = corners / np.repeat(sides, counts)[:, None]
    content = io.BytesIO()
    np.savez_compressed(
        content,
        names=images["image"].to_numpy(str),
        sides=sides,
        counts=counts,
        cls=together["cls"].to_numpy(np.uint8),
        conf=np.round(together["conf"].to_numpy(float) * STEPS).astype(np.uint16),
        xyxy=np.round(shares * STEPS).clip(0, STEPS).astype(np.uint16),
    )
    return content.getvalue()


def unpack(path: Path) -> pd.DataFrame:
    """What ``pack`` was given, to a 16-bit step: [image, cls, conf, x1, y1, x2, y2] in pixels."""
    with np.load(path, allow_pickle=False) as stored:
        counts, sides = stored["counts"], stored["sides"]
        corners = stored["xyxy"] / STEPS * np.repeat(sides, counts)[:, None]
        columns: dict[str, Any] = {
            "image": np.repeat(stored["names"], counts),
            "cls": stored["cls"].astype(int),
            "conf": stored["conf"] / STEPS,
        }
    return pd.DataFrame(columns).join(pd.DataFrame(corners, columns=XYXY))


def save_weights(weights: Path, target: Path) -> None:
    """Writes a weights file's tensors in half precision, and its description as metadata."""
    from safetensors.torch import save_file

    content = read_weights(weights)
    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in content["state_dict"].items()
    }
    with atomic_path(target) as temporary:
        save_file(tensors, temporary, {"meta": json.dumps(content["meta"], default=str)})


def _is_newer(target: Path, source: Path) -> bool:
    record = target / "record.json"
    return record.exists() and record.stat().st_mtime > (source / "metrics.csv").stat().st_mtime


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", default="study")
    parser.add_argument(
        "--data", default="synthetic", help="'synthetic' or the folder of a data set"
    )
    parser.add_argument(
        "--weights", nargs="*", default=[], metavar="ROW", help="rows whose weights are kept"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
