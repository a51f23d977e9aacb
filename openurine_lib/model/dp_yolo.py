"""DP-YOLO (Wang et al. 2023, https://doi.org/10.3390/app132111676) on ultralytics' YOLOv5.

Only the abstract and the headings of that paper could be read, so this is the nearest reading:

- "deformable YOLOv5 backbone": the 3 x 3 convolutions of the bottlenecks in the backbone's last two
  stages (strides 16 and 32) are deformable, as in Deformable ConvNets v2
  (https://doi.org/10.1109/CVPR.2019.00953). They start as ordinary convolutions.
- "petal-like sample amplification": at each level the cell of a box's centre and the four cells
  that touch it may answer for the box; YOLOv5 takes the centre's and two. The library's
  task-aligned assigner chooses among them, since its YOLOv5 has no anchor boxes.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn
from torchvision.ops import deform_conv2d
from ultralytics.nn.modules.block import C3
from ultralytics.nn.modules.conv import Conv
from ultralytics.utils.loss import v8DetectionLoss
from ultralytics.utils.tal import TaskAlignedAssigner, make_anchors
from ultralytics.utils.torch_utils import initialize_weights

from openurine_lib.model.architectures import network_of
from openurine_lib.model.heads import SingleHeadModel

SUFFIX = "-dp"  # yolov5s-dp is the DP-YOLO on yolov5s
DEFORMABLE = (6, 8)  # layers of the backbone: its C3 stages at strides 16 and 32


class DeformableConv(nn.Module):
    """A ``Conv`` that learns from its input where to take samples (offsets), and their weights.

    It is no subclass of ``Conv``: before it predicts, the library would fuse it into a plain one.
    """

    def __init__(self, stock: Conv):
        super().__init__()
        self.conv, self.bn, self.act = stock.conv, stock.bn, stock.act
        geometry = (stock.conv.kernel_size, stock.conv.stride, stock.conv.padding)
        # for each sample of the kernel an offset (y, x) and a weight
        self.moves = nn.Conv2d(stock.conv.in_channels, 3 * math.prod(geometry[0]), *geometry)
        for parameter in self.moves.parameters():
            nn.init.zeros_(parameter)  # offsets 0, weights 1: at first an ordinary convolution

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        # (B, 2K + K, H', W'). At an offset that is not a number the kernel reads outside its
        # memory, and the library counts operations on unset memory.
        moves = self.moves(x).float().nan_to_num()
        K = moves.shape[1] // 3  # samples of the kernel: 9 for 3 x 3
        offsets = moves[:, : 2 * K]  # (B, 2K, H', W'), cells of the map
        weights = 2 * moves[:, 2 * K :].sigmoid()  # at the start, 1
        geometry = (self.conv.stride, self.conv.padding)
        weight = self.conv.weight.float()  # the operator exists in float32 only
        # (B, C', H', W'); no bias, as the batch norm has one
        y = deform_conv2d(x.float(), offsets, weight, None, *geometry, mask=weights)
        return self.act(self.bn(y))


class PetalAssigner(TaskAlignedAssigner):
    """The task-aligned assigner, with the petals of a box as its candidates."""

    strides: Tensor  # (A, 1), pixels of a cell of each anchor point's level; set before each call

    def select_candidates_in_gts(
        self, xy_centers: Tensor, gt_bboxes: Tensor, mask_gt: Tensor, eps: float = 1e-9
    ) -> Tensor:
        """xy_centers (A, 2) and gt_bboxes (B, N, 4) xyxy, pixels -> candidates (B, N, A), bool."""
        inside = super().select_candidates_in_gts(xy_centers, gt_bboxes, mask_gt, eps)  # (B, N, A)
        centre = ((gt_bboxes[..., :2] + gt_bboxes[..., 2:]) / 2).unsqueeze(2)  # (B, N, 1, 2)
        cell_of_box = (centre / self.strides).floor()  # (B, N, A, 2)
        cell = (xy_centers / self.strides).floor()  # (A, 2)
        # 0 steps away is the centre's cell, 1 step are the four that share a side with it
        return inside & ((cell_of_box - cell).abs().sum(-1) <= 1)


class PetalLoss(v8DetectionLoss):
    """The stock loss of boxes and classes, with ``PetalAssigner``."""

    def __init__(self, model: nn.Module):
        super().__init__(model)
        # as in ultralytics' own loss
        settings = {"topk": 10, "alpha": 0.5, "beta": 6.0, "stride": self.stride.tolist()}
        self.assigner = PetalAssigner(num_classes=self.nc, **settings)

    def get_assigned_targets_and_loss(self, preds: Any, batch: Any, **kwargs: Any) -> Any:
        # make_anchors gives points (A, 2) and strides (A, 1); A follows the batch's image size
        self.assigner.strides = make_anchors(preds["feats"], self.stride)[1]
        return super().get_assigned_targets_and_loss(preds, batch, **kwargs)


class DPModel(SingleHeadModel):
    """DP-YOLO. ``arch``: a YOLOv5 with the suffix; another backbone raises ValueError."""

    def __init__(self, arch: str, nc: int):
        super().__init__(network_of(arch.removesuffix(SUFFIX)), nc=nc, verbose=False)
        for i in DEFORMABLE:
            if not isinstance(self.model[i], C3):
                raise ValueError(f"{arch}: DP-YOLO is made of a YOLOv5; layer {i} is no C3 stage")
            for bottleneck in self.model[i].m:
                bottleneck.cv2 = DeformableConv(bottleneck.cv2)  # cv1 is 1 x 1, cv2 is 3 x 3
                initialize_weights(bottleneck)

    def init_criterion(self) -> PetalLoss:
        return PetalLoss(self)
