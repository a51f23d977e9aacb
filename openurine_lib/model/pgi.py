"""YOLOv9-e with the auxiliary branch that its authors train it with (PGI).

Wang et al. 2024 (https://doi.org/10.48550/arXiv.2402.13616) train YOLOv9-e with a second neck and a
second set of predictions on the first of its two backbones. Their loss counts a quarter; the branch
gives the first backbone gradients that have not passed through the second one. ultralytics builds
the network without it. Here the branch is added to ultralytics' network, as in the authors'
``yolov9-e.yaml`` and ``loss_tal_dual.py``; only the main predictions are used.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from ultralytics.nn.modules.head import Detect
from ultralytics.utils.loss import v8DetectionLoss

from openurine_lib.model.architectures import network_of
from openurine_lib.model.heads import FloatDetect, SingleHeadModel

SUFFIX = "-pgi"  # yolov9e-pgi is yolov9e with the branch
SHARE = 0.25  # of the auxiliary predictions' loss
# Layers 9, 7 and 5 are the first backbone's, at strides 32, 16 and 8.
NECK = [
    [9, 1, "SPPELAN", [512, 256]],  # stride 32
    [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
    [[-1, 7], 1, "Concat", [1]],
    [-1, 1, "RepNCSPELAN4", [512, 512, 256, 2]],  # stride 16
    [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
    [[-1, 5], 1, "Concat", [1]],
    [-1, 1, "RepNCSPELAN4", [256, 256, 128, 2]],  # stride 8
]
LEVELS = (6, 3, 0)  # the neck's layers that predict, finest first


class GuidedDetect(FloatDetect):
    """A head over six maps: three predict, and the three of the auxiliary neck guide in training.

    stock: a ``Detect`` over all six, finest first in each three.
    """

    def __init__(self, stock: Detect):
        super().__init__(stock)
        self.nl = stock.nl // 2  # levels that predict
        self.stride = stock.stride[: self.nl]

    def forward(self, x: list[Tensor]) -> Any:
        """Six maps (B, C, H, W) -> what ``Detect`` gives for the first three; in training with the
        raw output of the others as ``guide``."""
        main = super().forward(x[: self.nl])
        if not self.training:
            return main
        rest = self.forward_head(x[self.nl :], self.cv2[self.nl :], self.cv3[self.nl :])
        return main | {"guide": rest}


class GuidedLoss(v8DetectionLoss):
    """The stock loss of the main predictions and a share of the auxiliary ones'."""

    def loss(self, preds: dict[str, Any], batch: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        total, items = super().loss(preds, batch)
        if "guide" in preds:  # in training
            total = total + SHARE * super().loss(preds["guide"], batch)[0]
        return total, items


class GuidedModel(SingleHeadModel):
    """YOLOv9-e with its auxiliary branch; ``arch`` of another network raises ValueError."""

    def __init__(self, arch: str, nc: int):
        name = arch.removesuffix(SUFFIX)
        if name != "yolov9e":
            raise ValueError(f"{arch}: the auxiliary branch is that of yolov9e")
        network = network_of(name)
        *head, detect = network["head"]
        first = len(network["backbone"]) + len(head)  # number of the branch's first layer
        guides = [first + i for i in LEVELS]
        inputs = [*detect[0], *guides]
        network["head"] = [*head, *NECK, [inputs, *detect[1:]]]
        super().__init__(network, nc=nc, verbose=False)
        self.model[-1] = GuidedDetect(self.model[-1])
        self.stride = torch.as_tensor(self.model[-1].stride)

    def init_criterion(self) -> GuidedLoss:
        return GuidedLoss(self)
