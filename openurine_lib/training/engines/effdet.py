"""The effdet engine: EfficientDet (Tan et al. 2020, https://doi.org/10.48550/arXiv.1911.09070), losses and all.

What is done here: random weights, anchors half as large as the library's (for small particles), and a field brought to
the run's size on a canvas whose side is a multiple of 128, the stride of the coarsest level. ``engines/loop.py`` trains
it.
"""

from __future__ import annotations

import math
from pathlib import Path

from effdet import create_model_from_config, get_efficientdet_config
from torch import nn
from torchvision.transforms.v2.functional import normalize, resize

from openurine_lib.inference import MAX_DETECTIONS
from openurine_lib.training.engines import loop
from openurine_lib.training.job import TrainJob
from openurine_lib.training.weights import read_weights

ARCHITECTURES = ("efficientdet_d2", "efficientdet_lite0")
LEARNING_RATE = 1e-3  # AdamW's, from random weights
STRIDE = 128  # of the coarsest level


class EfficientDet(nn.Module):
    """effdet's network and losses with the manners of torchvision's detectors; labels start at 0."""

    def __init__(self, arch: str, n_classes: int, imgsz: int, conf: float):
        super().__init__()
        self.imgsz, self.conf = imgsz, conf
        self.side = math.ceil(imgsz / STRIDE) * STRIDE
        config = get_efficientdet_config(arch)
        config.image_size, config.num_classes = (self.side, self.side), n_classes
        config.anchor_scale /= 2
        config.max_det_per_image = MAX_DETECTIONS
        cells = sum(
            (self.side >> level) ** 2 for level in range(config.min_level, config.max_level + 1)
        )
        n_anchors = cells * config.num_scales * len(config.aspect_ratios)
        # it takes that many, and no fewer
        config.max_detection_points = min(config.max_detection_points, n_anchors * n_classes)
        self.bench = create_model_from_config(
            config, bench_task="train", bench_labeler=True, pretrained_backbone=False
        )
        self.mean, self.std = (
            config.get("mean", (0.485, 0.456, 0.406)),
            config.get("std", (0.229, 0.224, 0.225)),
        )
        anchors = self.bench.anchors
        anchors.register_buffer(
            "boxes", anchors.boxes, persistent=False
        )  # they go with the size, not with the weights

    def forward(self, images, targets=None):
        """images: list of float (3, H, W) in 0..1. In training a dict of losses, else detections in their pixels."""
        scales = [self.imgsz / max(image.shape[1:]) for image in images]
        canvas = images[0].new_zeros(len(images), 3, self.side, self.side)
        for image, here in zip(images, canvas, strict=True):
            small = normalize(
                resize(image, None, max_size=self.imgsz, antialias=False), self.mean, self.std
            )
            here[:, : small.shape[1], : small.shape[2]] = small
        if targets is None:
            targets = [{"boxes": canvas.new_zeros(0, 4), "labels": canvas.new_zeros(0)}] * len(
                images
            )
        out = self.bench(canvas, {
            "bbox": [t["boxes"][:, [1, 0, 3, 2]] * scale for t, scale in zip(targets, scales, strict=True)],  # yxyx
            "cls": [t["labels"].float() + 1 for t in targets],
            "img_scale": canvas.new_tensor([1 / scale for scale in scales]),
            "img_size": canvas.new_tensor([image.shape[:0:-1] for image in images]),  # width, height
        })  # fmt: skip
        if self.training:
            return {
                "class": out["class_loss"],
                "box": self.bench.config.box_loss_weight * out["box_loss"],
            }
        kept = [
            found[found[:, 4] > self.conf] for found in out["detections"]
        ]  # x1, y1, x2, y2, score, label from 1
        return [{"boxes": k[:, :4], "scores": k[:, 4], "labels": k[:, 5].long() - 1} for k in kept]


def build(arch: str, n_classes: int, imgsz: int, conf: float = 0.001) -> EfficientDet:
    """A network with random weights for ``n_classes`` classes; the longer side is brought to ``imgsz`` pixels.

    Raises ValueError for a name that is not in ``ARCHITECTURES``.
    """
    if arch not in ARCHITECTURES:
        raise ValueError(f"no effdet detector {arch!r}; known are {', '.join(ARCHITECTURES)}")
    model = EfficientDet(arch, n_classes, imgsz, conf)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1  # the library's 0.01 is made for hundreds of thousands of steps
    return model


def fit(job: TrainJob) -> Path:
    """Trains, or finishes an interrupted training. Returns ``job.dir / "weights.pt"``; errors as ``loop.fit``'s."""

    def network() -> nn.Module:
        model = build(job.arch, job.taxonomy.n, job.imgsz)
        loop.in_bf16(job.device, model.bench.model)
        return model

    return loop.fit(job, "effdet", network, LEARNING_RATE)


def detector(weights: Path, conf: float, device: str, imgsz: int) -> loop.Detector:
    """The trained detector behind sahi's door; ``imgsz``: the size (pixels) that images or slices are brought to.

    Raises WeightsError for a file of another engine, or none of ours.
    """
    content = read_weights(weights, "effdet")
    arch, classes = content["meta"]["arch"], content["meta"]["classes"]
    return loop.detector(content, build(arch, len(classes), imgsz, conf), conf, device, imgsz)
