"""The ensemble engine: several detectors, each trained by its own engine, whose boxes are fused.

It serves Naznine et al. 2025 (https://doi.org/10.1109/ACCESS.2025.3577959), who merge YOLOv9e and KD-YOLOX-ViT. The
fusion is weighted boxes fusion (https://doi.org/10.1016/j.imavis.2021.104117) with its authors' defaults and equal
weights; the publication's abstract does not say how it merges.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ensemble_boxes import weighted_boxes_fusion
from torch import Tensor, nn

from openurine_lib.files import atomic_path
from openurine_lib.inference import predict_image
from openurine_lib.training.engines import engine, libreyolo
from openurine_lib.training.engines.composed import BoxDetector, as_file, stock, train_part
from openurine_lib.training.job import TrainJob
from openurine_lib.training.weights import read_weights, save

FUSION_IOU = 0.55


def members(arch: str) -> dict[str, str]:
    """``yolov9e_kd-yolox-vit-s`` -> architecture: engine. Raises ValueError unless there are two different ones."""
    names = arch.split("_")
    if len(set(names)) < 2 or len(set(names)) < len(names):
        raise ValueError(
            f"{arch!r} names no ensemble; write its members' architectures with _ between them"
        )
    return {
        name: "libreyolo" if name in libreyolo.ARCHITECTURES else "ultralytics" for name in names
    }


class Members(nn.ModuleList):
    """The members' networks, one after the other."""

    def forward(self, images: list[Tensor]) -> list[Any]:
        return [network(images) for network in self]


def build(arch: str, n_classes: int, imgsz: int) -> nn.Module:
    """The untrained networks of all members, called with a list of images (3, H, W)."""
    return Members(
        stock(member, n_classes)
        if name == "ultralytics"
        else engine(name).build(member, n_classes, imgsz)
        for member, name in members(arch).items()
    )


def fit(job: TrainJob) -> Path:
    """Trains the members one after the other, each in a folder of ``job.dir`` with its name; finished ones are kept.

    Returns ``job.dir / "weights.pt"``, which holds all of them. ``log.csv`` has the members' losses, and ``loss`` is
    their sum. Errors are the members' engines'.
    """
    files = {arch: train_part(job, arch, name, arch) for arch, name in members(job.arch).items()}
    _log(
        {arch: pd.read_csv(path.parent / "log.csv") for arch, path in files.items()},
        job.dir / "log.csv",
    )
    contents = {arch: read_weights(path) for arch, path in files.items()}
    state = {f"{arch}/{k}": v for arch, c in contents.items() for k, v in c["state_dict"].items()}
    metas = {arch: c["meta"] for arch, c in contents.items()}
    meta = next(iter(metas.values())) | {"engine": "ensemble", "arch": job.arch, "members": metas}
    save({"state_dict": state, "meta": meta}, job.dir / "weights.pt")
    return job.dir / "weights.pt"


def _log(logs: dict[str, pd.DataFrame], path: Path) -> None:
    table = pd.DataFrame(
        {f"{arch}/loss": log.set_index("epoch").loss for arch, log in logs.items()}
    )
    table.insert(0, "loss", table.sum(axis=1))
    with atomic_path(path) as temporary:
        table.rename_axis("epoch").to_csv(temporary)


class Fused(BoxDetector):
    """The members' boxes of an image, fused."""

    doors: list[Any]

    def boxes(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See ``BoxDetector``. A box that one of n members finds keeps 1/n of its score."""
        height, width = image.shape[:2]
        size = np.array([width, height, width, height])
        found = [predict_image(door, image, None) for door in self.doors]
        corners = [(f[["x1", "y1", "x2", "y2"]].to_numpy() / size).clip(0, 1) for f in found]
        xyxy, scores, labels = weighted_boxes_fusion(
            corners,
            [f.conf.to_numpy() for f in found],
            [f.cls.to_numpy() for f in found],
            iou_thr=FUSION_IOU,
        )
        return xyxy * size, scores, labels


def detector(weights: Path, conf: float, device: str, imgsz: int) -> Fused:
    """The members behind one of sahi's doors; ``imgsz``: the size (pixels) that images or slices are brought to.

    Raises WeightsError for a file of another engine, or none of ours.
    """
    content = read_weights(weights, "ensemble")
    doors, networks = [], nn.ModuleList()
    for arch, meta in content["meta"]["members"].items():
        state = {
            k.removeprefix(f"{arch}/"): v
            for k, v in content["state_dict"].items()
            if k.startswith(f"{arch}/")
        }
        with as_file({"state_dict": state, "meta": meta}) as path:
            doors.append(engine(meta["engine"]).detector(path, conf, device, imgsz))
        # an ultralytics wrapper is a module as well, but one that takes eval() for a training
        networks.append(getattr(doors[-1].model, "model", doors[-1].model))
    names = {str(i): name for i, name in enumerate(content["meta"]["classes"])}
    fused = Fused(
        model=networks,
        confidence_threshold=conf,
        device=device,
        image_size=imgsz,
        category_mapping=names,
    )
    fused.doors = doors
    return fused
