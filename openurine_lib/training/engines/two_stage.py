"""Two-stage networks (Faster R-CNN) of Table 4 that torchvision has no builder for.

Each ends in torchvision's ``FasterRCNN``, whose losses, matching and coordinates they share.
Anchors are half as large as torchvision's, for small particles.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
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
SIDES = (16, 32, 64, 128, 256)  # of the anchors, in pixels
BY_LEVEL = [(side,) for side in SIDES]  # one a level of a pyramid
#: growth rate, blocks, channels of the stem and of the pyramid, width of the head;
#: at full size DenseNet-121
DFPN = {
    "fasterrcnn_densenet121_dfpn": (32, (6, 12, 24, 16), 64, 256, 1024),
    "fasterrcnn_densenet_tiny_dfpn": (8, (2, 2, 2, 2), 16, 48, 128),
}
#: channels of the convolutions ("M" halves the map), width of the head, side of a region in cells;
#: at full size AlexNet's, and VGG's configuration D, less the last halving of both
RESTORED: dict[str, tuple[list[Any], int, int]] = {
    "fasterrcnn_alexnet_restored": ([64, 192, 384, 256, 256], 4096, 6),
    "fasterrcnn_alexnet_tiny_restored": ([16, 48, 96, 64, 64], 128, 6),
    "fasterrcnn_vgg16_restored": (
        [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512],
        4096, POOLED,
    ),
    "fasterrcnn_vgg_tiny_restored": ([16, "M", 32, "M", 64, "M", 96, 96], 128, POOLED),
}  # fmt: skip


def two_stage(
    backbone: nn.Module,
    imgsz: int,
    conf: float,
    tiny: bool,
    sides: Sequence[tuple[int, ...]] = BY_LEVEL,
    **parts: Any,
) -> FasterRCNN:
    """torchvision's Faster R-CNN on ``backbone``; images' longer side is brought to ``imgsz``.

    tiny: looks at fewer regions, so that a step takes a fraction of a second on one core.
    sides: of the anchors, in pixels, level by level. parts: more arguments of ``FasterRCNN``.
    """
    # the same ratios on every level
    anchors = AnchorGenerator(tuple(sides), (RATIOS,) * len(sides))
    if tiny:
        parts |= {"rpn_post_nms_top_n_train": 300, "rpn_post_nms_top_n_test": MAX_DETECTIONS,
                  "box_batch_size_per_image": 64}  # fmt: skip
    return FasterRCNN(
        backbone, min_size=imgsz, max_size=imgsz, rpn_anchor_generator=anchors,
        box_score_thresh=conf, box_detections_per_img=MAX_DETECTIONS, **parts,
    )  # fmt: skip


def bf16_parts(model: FasterRCNN) -> list[nn.Module]:
    """What may compute in bfloat16 (see ``loop.Recipe``)."""
    return [model.backbone, model.rpn.head, model.roi_heads.box_head]


def dfpn(arch: str, n_classes: int, imgsz: int, conf: float) -> FasterRCNN:
    """Liang et al. 2018 (https://doi.org/10.1016/j.bbe.2018.05.004): a DenseNet's pyramid, and
    attention in the head."""
    growth, blocks, stem, width, hidden = DFPN[arch]
    dense = DenseNet(growth, blocks, stem)
    channels = []
    last = stem
    for n in blocks:  # a block adds n * growth channels, the transition after it halves them
        channels.append(last + n * growth)
        last = channels[-1] // 2
    levels = {f"denseblock{i + 1}": str(i) for i in range(len(blocks))}  # strides 4, 8, 16, 32
    pyramid = BackboneWithFPN(dense.features, levels, channels, width)
    # one label more, for the background
    predictor = AttentivePredictor(width, hidden, n_classes + 1)
    # no box head: the predictor needs a region's map, not its vector
    return two_stage(
        pyramid, imgsz, conf, "tiny" in arch, box_head=nn.Identity(), box_predictor=predictor
    )


class AttentivePredictor(nn.Module):
    """Scores and boxes of regions; each class weighs the region's cells by its own attention.

    The formula of Liang et al. 2018 is not open. Here the map of a class is a softmax over the
    cells. Its score is read from the features averaged under that map, and added to the score of
    the usual two-layer head.
    """

    def __init__(self, channels: int, hidden: int, n_labels: int):
        super().__init__()
        # (N, K, 7, 7): an attention map for each label
        self.maps = nn.Conv2d(channels, n_labels, 1)
        self.seen = nn.Linear(channels, n_labels)  # a row of weights for each label
        self.whole = TwoMLPHead(channels * POOLED**2, hidden)
        self.score = nn.Linear(hidden, n_labels)
        self.boxes = nn.Linear(hidden, 4 * n_labels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x: (N, C, 7, 7) -> scores (N, K), boxes (N, 4K)."""
        maps = self.maps(x).flatten(2).softmax(-1)  # (N, K, 49)
        seen = torch.einsum("nkp,ncp->nkc", maps, x.flatten(2))  # (N, K, C)
        attended = (seen * self.seen.weight).sum(-1) + self.seen.bias  # (N, K)
        whole = self.whole(x)  # (N, hidden)
        return self.score(whole) + attended, self.boxes(whole)


def on_restored(arch: str, n_classes: int, imgsz: int, conf: float) -> FasterRCNN:
    """Faster R-CNN on AlexNet or VGG16, for fields that ``restoration`` has made twice as large as
    ``imgsz``.

    Both have batch normalisation, without which they do not learn from random weights.
    """
    layers, hidden, pooled = RESTORED[arch]
    width = layers[-1]  # channels of the last map
    backbone = alexnet(layers) if "alexnet" in arch else make_layers(layers, batch_norm=True)
    for module in backbone:
        if isinstance(module, nn.Conv2d):  # as torchvision's VGG starts
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    backbone.out_channels = width  # FasterRCNN reads it
    return two_stage(
        backbone, 2 * imgsz, conf, "tiny" in arch, [SIDES],
        # one map only; each of a region's cells is the mean of 2 x 2 samples
        box_roi_pool=MultiScaleRoIAlign(["0"], pooled, 2),
        box_head=TwoMLPHead(width * pooled**2, hidden),
        box_predictor=FastRCNNPredictor(hidden, n_classes + 1),
    )  # fmt: skip


def alexnet(channels: Sequence[int]) -> nn.Sequential:
    """AlexNet's five convolutions (https://doi.org/10.1145/3065386) without the last pooling.

    The layers have torchvision's numbers, so that its weights fit. They are padded until a cell of
    the map (stride 16) lies where it belongs: the anchors stand on cells.
    """
    c = [3, *channels]
    convolutions = {
        0: nn.Conv2d(c[0], c[1], 11, stride=4, padding=5),
        3: nn.Conv2d(c[1], c[2], 5, padding=2),
        6: nn.Conv2d(c[2], c[3], 3, padding=1),
        8: nn.Conv2d(c[3], c[4], 3, padding=1),
        10: nn.Conv2d(c[4], c[5], 3, padding=1),
    }
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, convolution in convolutions.items():
        layers[str(i)] = convolution
        layers[f"{i}_norm"] = nn.BatchNorm2d(convolution.out_channels)
        layers[str(i + 1)] = nn.ReLU(inplace=True)
        if i in (0, 3):
            layers[str(i + 2)] = nn.MaxPool2d(3, stride=2, padding=1)
    return nn.Sequential(layers)
