"""Six detection heads over one neck (Fig. 3B): Y_i = Head_i(F), on any ultralytics backbone.

A stock ``DetectionModel`` is built from its YAML, then its one head is replaced by a container of heads, one a
super-category that has classes. Each head has its own boxes and its own class scores; the container decodes them into
one tensor over all classes, so that validation, NMS, export and sahi see an ordinary detector.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.block import DFL
from ultralytics.nn.modules.head import Detect
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.torch_utils import initialize_weights

from openurine_lib.speed.layers import _OnCPU

HEAD_WEIGHTS = {
    "Artifact": 0.5,
    "Casts": 1.5,
    "Others": 1.5,
}  # lambda_i of Eq. 1 (Table 3); the other heads 1.0


class MultiHeadDetect(Detect):
    """A container of independent ``Detect`` heads that answers like one head over all classes.

    Args:
        heads: head name -> ids of its classes; the ids of all heads together are 0 .. nc-1.
        ch: channels of the neck's levels.
        stride: pixels of the input a cell of each level.
        objectness: adds one channel a head (Eq. 6), an ablation: YOLO12 has none.
    """

    def __init__(
        self,
        heads: Mapping[str, tuple[int, ...]],
        ch: list[int],
        stride: Tensor,
        objectness: bool = False,
    ):
        nn.Module.__init__(
            self
        )  # not Detect's own: it would register convolutions that nobody trains
        self.nc = sum(len(ids) for ids in heads.values())
        self.nl, self.reg_max, self.no = len(ch), 16, self.nc + 64
        self.cv2 = (
            self.cv3
        ) = ()  # empty, not absent: ultralytics iterates over them when it loads and fuses
        self.dfl = DFL(self.reg_max)
        self.stride = stride
        self.classes = {
            name: tuple(sorted(ids)) for name, ids in heads.items()
        }  # channel k of a head is its k-th class
        self.objectness = objectness
        self.heads: Any = nn.ModuleDict()
        for name, ids in heads.items():
            self.heads[name] = head = Detect(len(ids) + objectness, ch=ch)
            head.stride = stride
            head.bias_init()

    def forward(self, x: list[Tensor]) -> Any:
        """Neck levels [(B, C_l, H_l, W_l)] -> raw predictions by head; in evaluation ((B, 4+nc, heads*A), raw)."""
        preds = {name: head.forward_head(x, **head.one2many) for name, head in self.heads.items()}
        if self.training:
            return preds
        y = torch.cat([self._decode(self.classes[name], p) for name, p in preds.items()], 2)
        return y if self.export else (y, preds)

    def _decode(self, ids: tuple[int, ...], p: dict[str, Any]) -> Tensor:
        """One head's raw output -> (B, 4+nc, A), its scores in the rows of its classes, zero in the others."""
        p = _in_float(p)
        boxes = self._get_decode_boxes(p)  # (B, 4, A)
        scores = p["scores"].sigmoid()  # (B, C_i [+1], A)
        if self.objectness:
            scores = scores[:, :-1] * scores[:, -1:]
        # a row of zeros stands in for the classes of other heads (an assignment by index cannot be exported)
        rows = [ids.index(c) if c in ids else len(ids) for c in range(self.nc)]
        return torch.cat((boxes, nn.functional.pad(scores, (0, 0, 0, 1))[:, rows]), 1)


def _in_float(p: dict[str, Any]) -> dict[str, Any]:
    """A head's raw output in float32, for decoding. Of the maps only their size is used, and their precision for the
    anchors: in bfloat16 these would be off by half a cell in images wider than 1024 px."""
    feats = [f[:1, :1].float() for f in p["feats"]]
    return p | {"boxes": p["boxes"].float(), "scores": p["scores"].float(), "feats": feats}


class _Detect(Detect):
    """The stock head; decodes in float32."""

    def _inference(self, x: dict[str, Any]) -> Tensor:
        return super()._inference(_in_float(x))


class SingleHeadModel(_OnCPU, DetectionModel):
    """The stock detector."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.model[-1].__class__ = _Detect  # same tensors, same names


class MultiHeadModel(_OnCPU, DetectionModel):
    """The paper's detector: a stock backbone and neck with one head a super-category.

    Args:
        cfg: an ultralytics model YAML, e.g. ``yolo12m.yaml``.
        heads: head name -> ids of its classes.
        head_weights: lambda_i of Eq. 1; heads that it does not name weigh 1.
        objectness_gain: gain_obj of Eq. 2. The paper gives none and YOLO12 has no such output, so 0: no branch.
    """

    def __init__(
        self,
        cfg: str,
        heads: Mapping[str, tuple[int, ...]],
        head_weights: Mapping[str, float] = HEAD_WEIGHTS,
        objectness_gain: float = 0.0,
    ):
        super().__init__(cfg, nc=sum(map(len, heads.values())), verbose=False)
        stock = self.model[-1]
        channels = [branch[0].conv.in_channels for branch in stock.cv2]
        head = MultiHeadDetect(heads, channels, stock.stride, objectness=objectness_gain > 0)
        head.i, head.f, head.type = stock.i, stock.f, "openurine_lib.model.heads.MultiHeadDetect"
        head.np = sum(p.numel() for p in head.parameters())
        initialize_weights(head)  # batch-norm eps and momentum, as the stock model's were
        self.model[-1] = head
        self.head_weights = {name: head_weights.get(name, 1.0) for name in heads}
        self.objectness_gain = objectness_gain

    def init_criterion(self) -> Any:
        from openurine_lib.model.loss import MultiHeadLoss

        return MultiHeadLoss(self)
