"""The ensemble engine: several detectors, each trained by its own engine, whose boxes are fused.

It serves Naznine et al. 2025 (https://doi.org/10.1109/ACCESS.2025.3577959), who merge YOLOv9-e and
KD-YOLOX-ViT. Their repository (github.com/naznine/An-Ensemble-Deep-Learning-Approach-for-Accurate-
Urinary-Sediment-Detection, UTI-Revision2) has a notebook for each of two fusions: weighted boxes
fusion (https://doi.org/10.1016/j.imavis.2021.104117) with equal weights, and non-maximum
suppression with weights that prefer YOLOv9-e. The setting ``fusion`` chooses.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor, nn

from openurine_lib.data.box_tensors import suppressed
from openurine_lib.data.boxes import XYXY
from openurine_lib.files import atomic_path
from openurine_lib.inference import predict_image
from openurine_lib.training.engines import engine, libreyolo, sahi_adapter
from openurine_lib.training.engines.composed import BoxDetector, as_file, stock, train_part
from openurine_lib.training.job import TrainJob
from openurine_lib.training.weights import read_weights, save
from openurine_lib.two_looks import fused

WBF, NMS = FUSIONS = ("wbf", "nms")
# As in the authors' notebooks: boxes that overlap more are taken for one particle, and boxes less
# sure than this are left out
WBF_IOU = 0.3
WBF_SURE = 0.001
NMS_IOU = 0.5
NMS_SURE = 0.1
WEIGHTS = (0.7, 0.3)  # of YOLOv9-e's and KD-YOLOX-ViT's scores before the suppression


def members(arch: str) -> dict[str, str]:
    """``yolov9e_kd-yolox-vit-s`` -> architecture: engine. ValueError unless there are several."""
    names = arch.split("_")
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(
            f"{arch!r} names no ensemble; write its members' architectures with _ between them"
        )
    of_libreyolo = libreyolo.ARCHITECTURES
    return {name: "libreyolo" if name in of_libreyolo else "ultralytics" for name in names}


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
    """Trains the members, each in a folder of its name; returns a file with the weights of all.

    ``log.csv`` has the members' losses, and ``loss`` is their sum. ValueError for a setting
    ``fusion`` that is none of FUSIONS."""
    settings = dict(job.settings)
    fusion = settings.pop("fusion", WBF)  # it concerns no member's training
    if fusion not in FUSIONS:
        raise ValueError(f"no fusion {fusion!r}; there are {', '.join(FUSIONS)}")
    job = dataclasses.replace(job, settings=settings)
    state: dict[str, Tensor] = {}
    metas: dict[str, Any] = {}
    losses = {}
    for arch, name in members(job.arch).items():
        weights = train_part(job, arch, name, arch)
        content = read_weights(weights)
        # the prefix keeps apart tensors that have one name in several members
        state |= {f"{arch}/{key}": tensor for key, tensor in content["state_dict"].items()}
        metas[arch] = content["meta"]
        log = pd.read_csv(weights.with_name("log.csv"), index_col="epoch")
        losses[f"{arch}/loss"] = log.loss
    table = pd.DataFrame(losses)
    table.insert(0, "loss", table.sum(axis=1))
    with atomic_path(job.dir / "log.csv") as temporary:
        table.to_csv(temporary)
    first = next(iter(metas.values()))  # classes and image size are the same for all
    meta = first | {"engine": "ensemble", "arch": job.arch, "members": metas, "fusion": fusion}
    save({"state_dict": state, "meta": meta}, job.dir / "weights.pt")
    return job.dir / "weights.pt"


class Fused(BoxDetector):
    """The members' boxes of an image, fused."""

    members: list[Any]  # sahi's adapters of the members
    fusion: str = WBF

    def boxes(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See ``BoxDetector``. Weighted fusion leaves 1/n of its score to a box that one of n
        members finds."""
        # None: without slices, since sahi has already cut the image
        found = [predict_image(member, image, None) for member in self.members]
        height, width = image.shape[:2]
        one = (
            surest_of(found)
            if self.fusion == NMS
            else fused(found, width, height, WBF_IOU, WBF_SURE)
        )
        return one[XYXY].to_numpy(), one["conf"].to_numpy(), one["cls"].to_numpy()


def surest_of(found: list[pd.DataFrame]) -> pd.DataFrame:
    """The boxes of all members but for those that overlap with a better one of their class.

    found: of each member [cls, conf, x1, y1, x2, y2]; the confidences come back times WEIGHTS.
    """
    weighed = [
        boxes[boxes["conf"] >= NMS_SURE].assign(conf=weight * boxes["conf"])
        for weight, boxes in zip(WEIGHTS, found, strict=True)
    ]
    together = pd.concat(weighed, ignore_index=True)
    return suppressed(together, NMS_IOU)


def detector(weights: Path, conf: float, device: str, imgsz: int) -> Fused:
    """The members as one detector."""
    content = read_weights(weights, "ensemble")
    opened = []
    for arch, meta in content["meta"]["members"].items():
        prefix = f"{arch}/"
        tensors = content["state_dict"].items()
        # this member's tensors
        state = {k.removeprefix(prefix): v for k, v in tensors if k.startswith(prefix)}
        with as_file({"state_dict": state, "meta": meta}) as path:
            opened.append(engine(meta["engine"]).detector(path, conf, device, imgsz))
    networks = nn.ModuleList(member.model for member in opened)
    adapter = sahi_adapter(Fused, networks, content["meta"]["classes"], conf, device, imgsz)
    adapter.members = opened
    adapter.fusion = content["meta"].get("fusion", WBF)
    return adapter
