"""The effdet engine: EfficientDet (Tan et al. 2020, https://doi.org/10.48550/arXiv.1911.09070).

Network and losses are effdet's. What is done here: random weights, anchors half as large as the
library's (for small particles), and a field brought to the run's size on a canvas whose side is a
multiple of 128, the stride of the coarsest level. ``engines/loop.py`` trains it.
"""

from __future__ import annotations

import math
from typing import Any

from effdet import create_model_from_config, get_efficientdet_config
from torch import Tensor, nn
from torchvision.transforms.v2.functional import normalize, resize

from openurine_lib.inference import MAX_DETECTIONS
from openurine_lib.training.engines import loop

ARCHITECTURES = ("efficientdet_d2", "efficientdet_lite0")
STRIDE = 128  # of the coarsest level
MEAN = (0.485, 0.456, 0.406)  # ImageNet's, where a configuration names none
STD = (0.229, 0.224, 0.225)


class EfficientDet(nn.Module):
    """effdet's network and losses, called as torchvision's detectors are; labels start at 0."""

    def __init__(self, arch: str, n_classes: int, imgsz: int, conf: float):
        super().__init__()
        self.imgsz = imgsz
        self.conf = conf
        self.side = math.ceil(imgsz / STRIDE) * STRIDE  # of the square canvas, pixels
        config = get_efficientdet_config(arch)
        config.image_size = (self.side, self.side)
        config.num_classes = n_classes
        config.anchor_scale /= 2  # for small particles
        config.max_det_per_image = MAX_DETECTIONS
        # the library takes exactly so many candidates, so there must be as many
        levels = range(config.min_level, config.max_level + 1)
        # a cell of level l has a side of 2^l pixels
        cells = sum((self.side >> level) ** 2 for level in levels)
        # at each cell an anchor of every scale and ratio
        n_anchors = cells * config.num_scales * len(config.aspect_ratios)
        config.max_detection_points = min(config.max_detection_points, n_anchors * n_classes)
        self.bench = create_model_from_config(
            config, bench_task="train", bench_labeler=True, pretrained_backbone=False
        )
        self.mean = config.get("mean", MEAN)
        self.std = config.get("std", STD)
        # the anchors go with the size, not with the weights
        anchors = self.bench.anchors
        anchors.register_buffer("boxes", anchors.boxes, persistent=False)

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        """[(3, H, W) in 0..1] -> losses in training, else detections in the images' pixels."""
        # canvas pixels in a pixel of the image
        scales = [self.imgsz / max(image.shape[1:]) for image in images]
        # (B, 3, S, S); zero is the mean colour, once pixels are normalised
        canvas = images[0].new_zeros(len(images), 3, self.side, self.side)
        for image, place in zip(images, canvas, strict=True):
            small = resize(image, None, max_size=self.imgsz, antialias=False)
            # at the upper left, so that boxes are scaled but not moved
            place[:, : small.shape[1], : small.shape[2]] = normalize(small, self.mean, self.std)
        # the library asks for targets in evaluation too; without boxes they cost nothing
        if targets is None:
            empty = {"boxes": canvas.new_zeros(0, 4), "labels": canvas.new_zeros(0)}
            targets = [empty] * len(images)
        yxyx = [target["boxes"][:, [1, 0, 3, 2]] for target in targets]  # the library's order
        out = self.bench(canvas, {
            "bbox": [boxes * scale for boxes, scale in zip(yxyx, scales, strict=True)],
            "cls": [target["labels"].float() + 1 for target in targets],  # 0 is its background
            # back to the image's pixels
            "img_scale": canvas.new_tensor([1 / scale for scale in scales]),
            # (3, H, W) -> width, height
            "img_size": canvas.new_tensor([image.shape[:0:-1] for image in images]),
        })  # fmt: skip
        if self.training:
            box_loss = self.bench.config.box_loss_weight * out["box_loss"]
            return {"class": out["class_loss"], "box": box_loss}
        # a row is x1, y1, x2, y2, score, label from 1
        found = [rows[rows[:, 4] > self.conf] for rows in out["detections"]]
        return [
            {"boxes": rows[:, :4], "scores": rows[:, 4], "labels": rows[:, 5].long() - 1}
            for rows in found
        ]


def build(arch: str, n_classes: int, imgsz: int, conf: float = 0.001) -> EfficientDet:
    """A network with random weights; a field's longer side is brought to ``imgsz`` pixels."""
    loop.check_name("effdet", arch, ARCHITECTURES)
    model = EfficientDet(arch, n_classes, imgsz, conf)
    loop.learn_statistics_faster(model)
    return model


def recipe(arch: str, imgsz: int) -> loop.Recipe:
    """How ``engines/loop.py`` trains the network."""
    return loop.Recipe(1e-3, bf16_parts=lambda model: [model.bench.model])


ENGINE = loop.Engine("effdet", build, recipe)
fit = ENGINE.fit
detector = ENGINE.detector
