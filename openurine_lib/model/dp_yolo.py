"""DP-YOLO (Wang et al. 2023, https://doi.org/10.3390/app132111676) on ultralytics' YOLOv5.

Two changes: deformable convolutions in the backbone ("deformable YOLOv5 backbone"), and positive samples that spread
from the cell of a box's centre like petals ("petal-like sample amplification"). Only the abstract and the headings of
the paper could be read, so this is the nearest reading:

- deformable are the 3 x 3 convolutions of the bottlenecks in the backbone's last two stages (strides 16 and 32), as in
  Deformable ConvNets v2 (https://doi.org/10.1109/CVPR.2019.00953); they start as ordinary convolutions;
- candidates of a box are, at each level, the cell of its centre and the four cells that touch it, where YOLOv5 takes
  the centre's and two; the library's task-aligned assigner chooses among them, since its YOLOv5 has no anchor boxes.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torchvision.ops import deform_conv2d
from ultralytics.nn.modules.block import C3
from ultralytics.nn.modules.conv import Conv
from ultralytics.utils.loss import v8DetectionLoss
from ultralytics.utils.tal import TaskAlignedAssigner, make_anchors
from ultralytics.utils.torch_utils import initialize_weights

from openurine_lib.model.heads import SingleHeadModel

SUFFIX = "-dp"  # yolov5s-dp is the DP-YOLO on yolov5s
DEFORMABLE = (6, 8)  # layers of the backbone: its C3 stages at strides 16 and 32


class DeformableConv(nn.Module):
    """An ultralytics ``Conv`` whose samples move: offsets and weights of the samples are learned from the input.

    It is no subclass of ``Conv`` on purpose: when the library fuses batch norm into a ``Conv`` before it predicts, it
    puts an ordinary convolution in its place.
    """

    def __init__(self, stock: Conv):
        super().__init__()
        self.conv, self.bn, self.act = stock.conv, stock.bn, stock.act
        samples = stock.conv.kernel_size[0] * stock.conv.kernel_size[1]
        self.moves = nn.Conv2d(stock.conv.in_channels, 3 * samples, stock.conv.kernel_size, stock.conv.stride,
                               stock.conv.padding)  # fmt: skip
        nn.init.zeros_(self.moves.weight)
        nn.init.zeros_(self.moves.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        # (B, 2K + K, H', W'): an offset (y, x) and a weight for each of K samples. On a processor the kernel reads
        # outside its memory at an offset that is not a number, and the library counts operations on unset memory.
        moves = self.moves(x).float().nan_to_num()
        n = moves.shape[1] * 2 // 3
        offsets, weights = (
            moves[:, :n],
            2 * moves[:, n:].sigmoid(),
        )  # at the start, no offset and a weight of one
        # the kernel exists in float32 only, and its padding is the convolution's
        y = deform_conv2d(x.float(), offsets, self.conv.weight.float(), None, self.conv.stride, self.conv.padding,
                          mask=weights)  # type: ignore[arg-type]  # fmt: skip
        return self.act(self.bn(y))


class PetalAssigner(TaskAlignedAssigner):
    """The task-aligned assigner, with the petals of a box as its candidates."""

    strides: Tensor  # (A, 1), pixels of a cell of each anchor point's level; set before each call

    def select_candidates_in_gts(
        self, xy_centers: Tensor, gt_bboxes: Tensor, mask_gt: Tensor, eps: float = 1e-9
    ) -> Tensor:
        """xy_centers (A, 2), gt_bboxes (B, N, 4) xyxy, both in pixels -> candidates (B, N, A), bool."""
        inside = super().select_candidates_in_gts(xy_centers, gt_bboxes, mask_gt, eps)
        centre = ((gt_bboxes[..., :2] + gt_bboxes[..., 2:]) / 2).unsqueeze(2)  # (B, N, 1, 2)
        away = (centre / self.strides).floor() - (
            xy_centers / self.strides
        ).floor()  # (B, N, A, 2), cells
        return inside & (away.abs().sum(-1) <= 1)


class PetalLoss(v8DetectionLoss):
    """The stock loss of boxes and classes, with ``PetalAssigner``."""

    def __init__(self, model: nn.Module):
        super().__init__(model)
        self.assigner = PetalAssigner(
            topk=10, num_classes=self.nc, alpha=0.5, beta=6.0, stride=self.stride.tolist()
        )

    def get_assigned_targets_and_loss(
        self, preds: dict[str, Any], batch: dict[str, Any], **kwargs: Any
    ) -> Any:
        self.assigner.strides = make_anchors(preds["feats"], self.stride)[1]
        return super().get_assigned_targets_and_loss(preds, batch, **kwargs)


class DPModel(SingleHeadModel):
    """DP-YOLO.

    Args:
        arch: a YOLOv5 with the suffix, e.g. ``yolov5s-dp``.
        nc: number of classes.

    Raises:
        ValueError: an architecture whose backbone has no C3 stages where YOLOv5 has them.
    """

    def __init__(self, arch: str, nc: int):
        super().__init__(f"{arch.removesuffix(SUFFIX)}.yaml", nc=nc, verbose=False)
        for i in DEFORMABLE:
            if not isinstance(self.model[i], C3):
                raise ValueError(
                    f"{arch}: DP-YOLO is made of a YOLOv5; layer {i} of this backbone is no C3 stage"
                )
            for bottleneck in self.model[i].m:
                bottleneck.cv2 = DeformableConv(bottleneck.cv2)
                initialize_weights(bottleneck)

    def init_criterion(self) -> PetalLoss:
        return PetalLoss(self)
