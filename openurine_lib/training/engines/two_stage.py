"""Two-stage networks (Faster R-CNN) of Table 4 that torchvision has no builder for.

Each ends in torchvision's ``FasterRCNN``, whose losses, matching and coordinates they share. Anchors are half as large
as torchvision's, for small particles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torchvision.models.densenet import DenseNet
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.vgg import make_layers
from torchvision.ops import MultiScaleRoIAlign

from openurine_lib.inference import MAX_DETECTIONS

POOLED = 7  # side of a region's features, in cells
RATIOS = (0.5, 1.0, 2.0)
#: for the tiny networks, so that a step takes a fraction of a second on one core
FEW = {
    "rpn_post_nms_top_n_train": 300,
    "rpn_post_nms_top_n_test": MAX_DETECTIONS,
    "box_batch_size_per_image": 64,
}
SIDES = (16, 32, 64, 128, 256)  # of the anchors, in pixels
#: growth rate, blocks, channels of the stem and of the pyramid, width of the head; at full size DenseNet-121
DFPN = {
    "fasterrcnn_densenet121_dfpn": (32, (6, 12, 24, 16), 64, 256, 1024),
    "fasterrcnn_densenet_tiny_dfpn": (8, (2, 2, 2, 2), 16, 48, 128),
}
#: channels of the layers ("M" halves the map), width of the head; at full size VGG's configuration D, less its last "M"
RESTORED: dict[str, tuple[list[Any], int]] = {
    "fasterrcnn_vgg16_restored": (
        [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512],
        4096,
    ),
    "fasterrcnn_vgg_tiny_restored": ([16, "M", 32, "M", 64, "M", 96, 96], 128),
}


def two_stage(
    backbone: nn.Module, imgsz: int, conf: float, sides: Sequence[tuple[int, ...]], **parts: Any
) -> FasterRCNN:
    """torchvision's Faster R-CNN on ``backbone``; images are brought to ``imgsz`` pixels, their longer side.

    ``sides``: of the anchors, in those pixels, level by level. ``parts``: arguments of its own, e.g. ``box_predictor``.
    """
    return FasterRCNN(
        backbone, min_size=imgsz, max_size=imgsz,
        rpn_anchor_generator=AnchorGenerator(tuple(sides), (RATIOS,) * len(sides)), box_score_thresh=conf,
        box_detections_per_img=MAX_DETECTIONS, **parts,
    )  # fmt: skip


def dfpn(arch: str, n_classes: int, imgsz: int, conf: float) -> FasterRCNN:
    """Liang et al. 2018 (https://doi.org/10.1016/j.bbe.2018.05.004): a DenseNet's pyramid, attention in the head."""
    growth, blocks, stem, width, hidden = DFPN[arch]
    dense = DenseNet(growth, blocks, stem)
    channels, last = [], stem
    for n in blocks:  # a block adds n * growth channels, the transition after it halves them
        channels.append(last + n * growth)
        last = channels[-1] // 2
    levels = {f"denseblock{i + 1}": str(i) for i in range(len(blocks))}  # strides 4, 8, 16, 32
    pyramid = BackboneWithFPN(dense.features, levels, channels, width)
    predictor = AttentivePredictor(width, hidden, n_classes + 1)
    sides = [(s,) for s in SIDES]
    few = FEW if "tiny" in arch else {}
    return two_stage(
        pyramid, imgsz, conf, sides, box_head=nn.Identity(), box_predictor=predictor, **few
    )


class AttentivePredictor(nn.Module):
    """Scores and boxes of regions; every class looks at the region's cells with an attention of its own.

    The class-specific attention of Liang et al. 2018 as far as it is known: their formula is not open. Here a class's
    map is a softmax over the cells, and its score is read from the features averaged under that map, added to the
    score of the usual two-layer head.
    """

    def __init__(self, channels: int, hidden: int, n_labels: int):
        super().__init__()
        self.maps = nn.Conv2d(channels, n_labels, 1)
        self.seen = nn.Linear(channels, n_labels)
        self.whole = TwoMLPHead(channels * POOLED**2, hidden)
        self.score, self.boxes = nn.Linear(hidden, n_labels), nn.Linear(hidden, 4 * n_labels)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """x: (N, C, 7, 7) -> scores (N, K), boxes (N, 4K)."""
        maps = self.maps(x).flatten(2).softmax(-1)  # (N, K, 49)
        seen = torch.einsum("nkp,ncp->nkc", maps, x.flatten(2))  # (N, K, C)
        attended = (seen * self.seen.weight).sum(-1) + self.seen.bias
        whole = self.whole(x)
        return self.score(whole) + attended, self.boxes(whole)


def vgg(arch: str, n_classes: int, imgsz: int, conf: float) -> FasterRCNN:
    """Faster R-CNN on VGG16, for fields that ``restoration`` has made twice as large as ``imgsz``.

    With batch normalisation, without which VGG16 does not learn from random weights.
    """
    layers, hidden = RESTORED[arch]
    backbone = make_layers(layers, batch_norm=True)
    for module in backbone:
        if isinstance(module, nn.Conv2d):  # as torchvision's VGG starts
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    backbone.out_channels = width = layers[-1]
    pool, head = MultiScaleRoIAlign(["0"], POOLED, 2), TwoMLPHead(width * POOLED**2, hidden)
    predictor = FastRCNNPredictor(hidden, n_classes + 1)
    parts = {"box_roi_pool": pool, "box_head": head, "box_predictor": predictor} | (
        FEW if "tiny" in arch else {}
    )
    return two_stage(backbone, 2 * imgsz, conf, [SIDES], **parts)
