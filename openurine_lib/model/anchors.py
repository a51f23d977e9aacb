"""YOLOv5's head over anchor boxes, and its loss, with DP-YOLO's petals as positive samples.

ultralytics' own YOLOv5 is its anchor-free "u" form. DP-YOLO (Wang et al. 2023,
https://doi.org/10.3390/app132111676) works on the form before it: three anchor boxes a cell, and
for each one a box, an objectness and the classes. In YOLOv5 the cell of a box's centre and two of
its neighbours answer for the box. "Petal-like sample amplification" takes all four neighbours. A
neighbour's centre may lie up to a cell outside of it, so it reaches from -1 to 2 here, where
YOLOv5's reaches from -0.5 to 1.5.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.head import Detect
from ultralytics.utils.metrics import bbox_iou

#: Widths and heights in pixels, three a level (strides 8, 16, 32): YOLOv5's.
SIDES = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
ALIKE = 4.0  # an anchor box answers for boxes whose sides are up to so many times larger or smaller
# the centre's cell and its petals: left, right, above, below (x, y)
PETALS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
# YOLOv5's weights: of the loss's parts (Table 3's are for other losses), of the levels' objectness
GAINS = {"box": 0.05, "obj": 1.0, "cls": 0.5}
BALANCE = (4.0, 1.0, 0.4)


class AnchorDetect(Detect):
    """YOLOv5's head. ch, stride: of the neck's levels, channels and pixels of a cell's side."""

    def __init__(self, nc: int, ch: list[int], stride: Tensor):
        nn.Module.__init__(self)  # Detect's own would register convolutions that nobody trains
        self.nc = nc
        self.nl = len(ch)
        self.no = 4 + 1 + nc  # numbers a box
        self.stride = stride
        # empty, not absent: ultralytics iterates over both when it loads weights and when it fuses
        self.cv2 = ()
        self.cv3 = ()
        boxes = len(SIDES[0])
        levels: list[Any] = [nn.Conv2d(c, boxes * self.no, 1) for c in ch]
        self.maps: Any = nn.ModuleList(levels)
        for level, s in zip(levels, stride.tolist(), strict=True):
            bias = level.bias.detach().view(boxes, self.no)
            bias[:, 4] += math.log(8 / (640 / s) ** 2)  # 8 objects in a field of 640 pixels
            bias[:, 5:] += math.log(0.6 / (nc - 0.99))

    def forward(self, x: list[Tensor]) -> Any:
        """[(B, C, H, W)] -> the levels' raw outputs [(B, 3, H, W, 4 + 1 + nc)]; in evaluation
        ((B, 4 + nc, A), raw), boxes xywh in pixels and scores in 0..1."""
        raw = []
        for level, y in zip(self.maps, x, strict=True):
            y = level(y)  # (B, 3 * no, H, W)
            B, _, H, W = y.shape
            raw.append(y.view(B, -1, self.no, H, W).permute(0, 1, 3, 4, 2))
        if self.training:
            return raw
        y = torch.cat([self._decoded(i, level.float()) for i, level in enumerate(raw)], 1)
        y = y.transpose(1, 2)  # (B, 4 + nc, A)
        return y if self.export else (y, raw)

    def _decoded(self, i: int, raw: Tensor) -> Tensor:
        """A level's raw output -> (B, 3 * H * W, 4 + nc)."""
        H, W = raw.shape[2:4]
        ys, xs = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
        cells = torch.stack((xs, ys), -1).to(raw)  # (H, W, 2)
        sides = raw.new_tensor(SIDES[i])[:, None, None]  # (3, 1, 1, 2)
        xy = (centre(raw[..., :2]) + cells) * self.stride[i]
        wh = size(raw[..., 2:4]) * sides
        return torch.cat((xy, wh, _scores(raw)), -1).flatten(1, 3)

    def class_scores(self, raw: list[Tensor], ids: Collection[int]) -> Tensor:
        """The best score among some classes in each box, (B, A), of the levels' raw outputs."""
        best = [_scores(level.float())[..., list(ids)].amax(-1).flatten(1) for level in raw]
        return torch.cat(best, 1)


def _scores(raw: Tensor) -> Tensor:
    """A level's raw output -> (B, 3, H, W, nc): the object's score times the class's."""
    return raw[..., 4:5].sigmoid() * raw[..., 5:].sigmoid()


def centre(raw: Tensor) -> Tensor:
    """A box's centre, in cells from its cell's corner: -1 to 2."""
    return 3 * raw.sigmoid() - 1


def size(raw: Tensor) -> Tensor:
    """A box's sides as multiples of its anchor box's: 0 to 4."""
    return (2 * raw.sigmoid()) ** 2


class AnchorLoss:
    """YOLOv5's loss (CIoU, objectness that learns the IoU, classes) on the petals of every box."""

    def __init__(self, head: AnchorDetect):
        self.nc = head.nc
        self.strides = head.stride.tolist()
        self.bce = nn.functional.binary_cross_entropy_with_logits

    def __call__(self, preds: Any, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The head's output and the batch -> the three terms times the batch size, and by name.

        batch: batch_idx (N,), cls (N, 1), bboxes (N, 4), xywh as parts of the image.
        """
        raw = preds[1] if isinstance(preds, tuple) else preds
        terms = {name: raw[0].new_zeros(()) for name in GAINS}
        for i, level in enumerate(raw):
            image, anchor, y, x, boxes, cls = self.positives(i, level.shape[2:4], batch, level)
            objects = torch.zeros_like(level[..., 4])
            if len(image):
                found = level[image, anchor, y, x]  # (P, no)
                sides = level.new_tensor(SIDES[i])[anchor] / self.strides[i]  # in cells
                predicted = torch.cat((centre(found[:, :2]), size(found[:, 2:4]) * sides), 1)
                iou = bbox_iou(predicted, boxes, xywh=True, CIoU=True).squeeze(-1)  # (P,)
                terms["box"] = terms["box"] + (1 - iou).mean()
                objects[image, anchor, y, x] = iou.detach().clamp(0)
                classes = nn.functional.one_hot(cls, self.nc).to(level)
                terms["cls"] = terms["cls"] + self.bce(found[:, 5:], classes)
            terms["obj"] = terms["obj"] + BALANCE[i] * self.bce(level[..., 4], objects)
        gained = {name: GAINS[name] * term for name, term in terms.items()}
        logged = {name: term.detach() for name, term in gained.items()}
        return torch.stack(list(gained.values())) * len(raw[0]), logged

    def positives(self, i: int, shape: Any, batch: dict[str, Any], like: Tensor) -> Any:
        """Which anchor boxes of level i answer for which objects, P pairs.

        shape: (H, W) of the level. Returns image, anchor, y, x (P,) each, the objects' boxes (P, 4)
        with centres from the cell's corner, all in cells, and their classes (P,).
        """
        H, W = shape
        cells = like.new_tensor((W, H, W, H))
        boxes = batch["bboxes"].to(like) * cells  # (N, 4) xywh
        sides = like.new_tensor(SIDES[i]) / self.strides[i]  # (3, 2)
        ratio = boxes[None, :, 2:] / sides[:, None]  # (3, N, 2)
        alike = torch.maximum(ratio, 1 / ratio).amax(-1) < ALIKE  # (3, N)
        anchor, of = alike.nonzero(as_tuple=True)  # (M,) each
        petals = torch.tensor(PETALS, device=like.device)  # (5, 2)
        cell = boxes[of, :2].floor().long()[:, None] + petals  # (M, 5, 2)
        inside = ((cell >= 0) & (cell < petals.new_tensor((W, H)))).all(-1)  # (M, 5)
        pair, petal = inside.nonzero(as_tuple=True)  # (P,) each
        anchor, of, cell = anchor[pair], of[pair], cell[pair, petal]
        found = torch.cat((boxes[of, :2] - cell, boxes[of, 2:]), 1)
        image = batch["batch_idx"].to(like.device).long()[of]
        cls = batch["cls"].to(like.device).view(-1).long()[of]
        return image, anchor, cell[:, 1], cell[:, 0], found, cls
