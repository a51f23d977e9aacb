"""Six detection heads over one neck (Fig. 3B): Y_i = Head_i(F), on any ultralytics backbone.

A stock ``DetectionModel`` is built from its YAML. Then its one head is replaced by a container of
heads, one for each super-category that has classes. The container decodes their outputs into one
tensor over all classes, so that suppression, export and sahi see an ordinary detector.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.block import DFL
from ultralytics.nn.modules.head import Detect
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.torch_utils import initialize_weights

from openurine_lib.model.architectures import network_of
from openurine_lib.model.loss import MultiHeadLoss
from openurine_lib.speed.layers import ProcessorForward

HEAD_WEIGHTS = {"Artifact": 0.5, "Casts": 1.5, "Others": 1.5}  # Table 3's lambda_i that are not 1
Heads = Mapping[str, tuple[int, ...]]  # name of a head -> ids of its classes


class MultiHeadDetect(Detect):
    """A container of independent ``Detect`` heads that answers like one head over all classes.

    ch, stride: of the neck's levels, channels and pixels of the input along the side of a cell.
    objectness: whether each head has one more channel (Eq. 6).
    """

    def __init__(self, heads: Heads, ch: list[int], stride: Tensor, objectness: bool = False):
        nn.Module.__init__(self)  # Detect's own would register convolutions that nobody trains
        self.nc = sum(map(len, heads.values()))  # classes of all heads together
        self.nl = len(ch)  # levels of the neck; 3 in YOLO12
        self.reg_max = 16  # bins of each side's distribution (DFL), as in ultralytics
        self.dfl = DFL(self.reg_max)
        self.stride = stride
        # empty, not absent: ultralytics iterates over both when it loads weights and when it fuses
        self.cv2 = ()
        self.cv3 = ()
        # channel k of a head's scores is its k-th class
        self.classes = {name: tuple(sorted(ids)) for name, ids in heads.items()}
        self.objectness = objectness
        self.heads: Any = nn.ModuleDict()
        for name, ids in heads.items():
            head = Detect(len(ids) + objectness, ch=ch)  # objectness: one more channel, or none
            head.stride = stride
            head.bias_init()  # scores start near 0, as most cells hold nothing
            self.heads[name] = head

    def forward(self, F: list[Tensor]) -> Any:
        """The neck's levels F, [(B, C_l, H_l, W_l)] -> the heads' raw outputs Y, by name; in
        evaluation ((B, 4+nc, heads*A), Y), with the boxes of all heads beside each other."""
        Y = {}
        for i, head in self.heads.items():
            Y[i] = head.forward_head(F, **head.one2many)  # Y_i = Head_i(F)
        if self.training:
            return Y  # the loss takes raw outputs
        y = torch.cat([self._decode(self.classes[i], Y_i) for i, Y_i in Y.items()], 2)
        return y if self.export else (y, Y)  # an exported network has one output

    def _decode(self, ids: tuple[int, ...], Y_i: dict[str, Any]) -> Tensor:
        """One head's raw output -> (B, 4+nc, A), with zeros in the rows of other heads' classes."""
        Y_i = in_float(Y_i)
        boxes = self._get_decode_boxes(Y_i)  # (B, 4, A)
        # the last row, of zeros, stands for each class of another head; index writes do not export
        scores = nn.functional.pad(self._scores(Y_i), (0, 0, 0, 1))  # (B, C_i + 1, A)
        rows = [ids.index(c) if c in ids else len(ids) for c in range(self.nc)]  # of each class
        return torch.cat((boxes, scores[:, rows]), 1)  # (B, 4 + nc, A)

    def _scores(self, Y_i: dict[str, Any]) -> Tensor:
        """One head's raw output, in float32 -> the scores of its classes, (B, C_i, A)."""
        scores = Y_i["scores"].sigmoid()  # (B, C_i [+1], A)
        return scores[:, :-1] * scores[:, -1:] if self.objectness else scores  # class times object

    def class_scores(self, Y: dict[str, Any], ids: Collection[int]) -> Tensor:
        """The best score among some classes in each cell of the heads that have them, (B, A).

        Y: the heads' raw outputs, by name. Nothing else of them is touched, so that a gradient of
        the scores runs through these heads alone, and not through what predicts boxes.
        """
        best = []
        for i, Y_i in Y.items():
            rows = [k for k, c in enumerate(self.classes[i]) if c in ids]
            if rows:
                best.append(self._scores(in_float(Y_i))[:, rows].amax(1))  # (B, A)
        return torch.cat(best, 1)


class FloatDetect(Detect):
    """The stock head, which decodes in float32."""

    def __init__(self, stock: Detect):
        nn.Module.__init__(self)  # Detect's own would draw new weights
        self.__dict__.update(stock.__dict__)  # the same tensors, under the same names

    def _inference(self, x: dict[str, Any]) -> Tensor:
        return super()._inference(in_float(x))

    def class_scores(self, Y: dict[str, Any], ids: Collection[int]) -> Tensor:
        """The best score among some classes in each cell, (B, A), of the raw output Y."""
        if "one2one" in Y:  # two branches, of which one predicts
            Y = Y["one2one" if self.end2end else "one2many"]
        return Y["scores"].float().sigmoid()[:, list(ids)].amax(1)


def in_float(Y_i: dict[str, Any]) -> dict[str, Any]:
    """A head's raw output in float32, for decoding: bfloat16 would put the cells of images wider
    than 1024 px off by half a cell. Of the maps only size and type count: one channel will do."""
    maps = [level[:1, :1].float() for level in Y_i["feats"]]
    return Y_i | {"boxes": Y_i["boxes"].float(), "scores": Y_i["scores"].float(), "feats": maps}


class SingleHeadModel(ProcessorForward, DetectionModel):
    """The stock detector."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.model[-1] = FloatDetect(self.model[-1])  # the last layer is the head


class MultiHeadModel(ProcessorForward, DetectionModel):
    """The paper's detector: the stock one of an architecture, with several heads.

    lambdas: lambda_i of Eq. 1; a head that it does not name weighs 1.
    gain_obj: of Eq. 2. The paper gives none and YOLO12 has no such output, so 0: no such channel.
    """

    def __init__(
        self, arch: str, heads: Heads, lambdas: Mapping = HEAD_WEIGHTS, gain_obj: float = 0.0
    ):
        super().__init__(network_of(arch), nc=sum(map(len, heads.values())), verbose=False)
        stock = self.model[-1]
        # cv2: the branches that predict boxes, one for each level of the neck
        channels = [branch[0].conv.in_channels for branch in stock.cv2]
        head = MultiHeadDetect(heads, channels, stock.stride, objectness=gain_obj > 0)
        # what ultralytics' parser writes on a layer: its number, inputs, name and size
        head.i = stock.i
        head.f = stock.f
        head.type = f"{__name__}.MultiHeadDetect"
        head.np = sum(p.numel() for p in head.parameters())
        initialize_weights(head)  # batch norm's eps and momentum, as the stock model's were set
        self.model[-1] = head
        self.lambdas = {name: lambdas.get(name, 1.0) for name in heads}
        self.gain_obj = gain_obj

    def init_criterion(self) -> MultiHeadLoss:
        """The loss; its gains are in ``self.args``, where the trainer puts Table 3's."""
        return MultiHeadLoss(self.model[-1], self.lambdas, self.args, self.gain_obj)
