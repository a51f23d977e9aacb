"""The loss of the six heads, Eqs. 1-7 of the paper, on ultralytics' detection loss.

``EQUATIONS``, at the end, says what computes which equation. What the paper leaves open:

- Eqs. 2 and 3 together would multiply DFL by the box gain too. In the library that the paper used
  the gains are independent, and Table 3's values have that library's scale. So they are here.
- Eqs. 2 and 6 name an objectness loss. Table 3 gives it no gain and YOLO12 has no such output, so
  there is none; ``gain_obj > 0`` adds one channel to each head.
- Eqs. 5-7 divide by N_i, M_i and P_i. The library divides by the sum of target scores, N_i below;
  here all heads are divided by the sum of all N_i. With a divisor of its own, a head without an
  object in the batch is divided by 1, and is as loud as an occupied one.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from ultralytics.utils.loss import DFLoss, v8DetectionLoss
from ultralytics.utils.metrics import bbox_iou
from ultralytics.utils.tal import TaskAlignedAssigner

Terms = dict[str, Tensor]  # "box", "cls", "dfl" and perhaps "obj", each with one number


class _Assigner(TaskAlignedAssigner):
    """The stock assigner, which remembers the sum N_i of the target scores that it gave last."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        out = super().forward(*args, **kwargs)
        self.N_i = out[2].sum()  # target scores (B, A, C_i)
        return out


class HeadLoss(v8DetectionLoss):
    """L_i of one head. ids: its classes, rising; gains: ``box``, ``cls`` and ``dfl`` of Table 3."""

    def __init__(self, container: Any, ids: tuple[int, ...], gains: Any):
        # The library reads a model's last layer, gains and device. The heads share the layer's
        # strides and bins; the gains are 1, since ours stand in Eqs. 2-3.
        ones = SimpleNamespace(box=1.0, cls=1.0, dfl=1.0)
        parameters = container.parameters
        super().__init__(SimpleNamespace(model=[container], args=ones, parameters=parameters))
        self.gains = gains
        self.ids = torch.tensor(ids, device=self.device)  # (C_i,), rising, as searchsorted needs
        # as in ultralytics' own loss
        settings = {"topk": 10, "alpha": 0.5, "beta": 6.0, "stride": self.stride.tolist()}
        self.assigner = _Assigner(num_classes=len(ids), **settings)

    def __call__(self, Y_i: dict[str, Any], batch: dict[str, Any]) -> tuple[Terms, Tensor, Tensor]:
        """The head's raw output, all objects -> N_i L_i, N_i, and which cells have one (B, A)."""
        cls = batch["cls"].view(-1).long()  # (objects,)
        of_head = torch.isin(cls, self.ids)  # (objects,) booleans
        objects = {name: batch[name][of_head] for name in ("batch_idx", "bboxes")}
        objects["cls"] = torch.searchsorted(self.ids, cls[of_head]).float()  # number in the head
        # the library's: it assigns objects to cells, and computes Eqs. 4, 7 and 5 there
        assigned, losses, _ = self.get_assigned_targets_and_loss(Y_i, objects)
        N_i = self.assigner.N_i
        L_i = self.with_gains(*losses)
        # times N_i: takes back the library's division (which is by 1 where N_i is smaller)
        return {term: L * N_i.clamp(min=1) for term, L in L_i.items()}, N_i, assigned[0]

    def with_gains(self, L_CIoU: Tensor, L_cls: Tensor, L_DFL: Tensor) -> Terms:
        """Eqs. 2-3: L_i = gain_box L_bbox + gain_cls L_cls, L_bbox = L_CIoU + gain_DFL L_DFL."""
        gain = self.gains  # three terms, for the log; DFL's gain is independent (see above)
        return {"box": gain.box * L_CIoU, "cls": gain.cls * L_cls, "dfl": gain.dfl * L_DFL}

    def objectness(self, o: Tensor, has_object: Tensor) -> Tensor:
        """Eq. 6, the binary cross-entropy of the logits o (B, A): a mean over all M_i cells."""
        return self.bce(o, has_object.to(o.dtype)).mean()  # M_i = B A cells


class MultiHeadLoss:
    """L_total. container: the heads; lambdas: lambda_i by head; gain_obj: 0 means no such term."""

    shared = True  # one normaliser for all heads, or one a head

    def __init__(self, container: Any, lambdas: Mapping, gains: Any, gain_obj: float = 0.0):
        self.heads = {i: HeadLoss(container, ids, gains) for i, ids in container.classes.items()}
        self.lambdas = lambdas
        self.gain_obj = gain_obj
        self.device = next(container.parameters()).device

    def __call__(self, preds: Any, batch: dict[str, Any]) -> tuple[Tensor, Terms]:
        """The container's output and the batch -> terms of L_total times the batch size (terms,).

        batch: batch_idx (objects,), cls (objects, 1), bboxes (objects, 4), xywh as parts of the
        image. The second value has the terms by name (``Casts/box``), for the log.
        """
        Y = preds[1] if isinstance(preds, tuple) else preds  # in evaluation it is decoded, too
        batch = {name: batch[name].to(self.device) for name in ("batch_idx", "cls", "bboxes")}
        L, N, L_obj = {}, {}, {}
        for i, head in self.heads.items():
            scores = Y[i]["scores"]  # (B, C_i [+1], A); the last is objectness
            Y_i = Y[i] | {"scores": scores[:, : len(head.ids)]}
            L[i], N[i], has_object = head(Y_i, batch)
            if self.gain_obj:
                L_obj[i] = {"obj": self.gain_obj * head.objectness(scores[:, -1], has_object)}
        N_total = torch.stack(list(N.values())).sum()
        # a batch without objects is divided by 1; objectness is a mean already, and is not divided
        for i in L:
            divisor = (N_total if self.shared else N[i]).clamp(min=1)
            L[i] = {term: value / divisor for term, value in L[i].items()} | L_obj.get(i, {})
        terms = self.weighted(L)  # Eq. 1
        logged = {name: term.detach() for name, term in terms.items()}
        return torch.stack(list(terms.values())) * len(scores), logged  # times B, as in ultralytics

    def weighted(self, L: dict[str, Terms]) -> Terms:
        """Eq. 1: L_total = sum_i lambda_i L_i. The trainer takes the sum, of these terms."""
        L_total = {}
        for i, L_i in L.items():
            for term, value in L_i.items():
                L_total[f"{i}/{term}"] = self.lambdas[i] * value
        return L_total


#: What computes an equation, for ``inspect.getsource``; for Eqs. 4, 5 and 7 it is the library.
EQUATIONS = {
    1: MultiHeadLoss.weighted,
    2: HeadLoss.with_gains,
    3: HeadLoss.with_gains,
    4: bbox_iou,  # ultralytics' BboxLoss calls it, with CIoU=True
    5: DFLoss.__call__,  # BboxLoss calls it
    6: HeadLoss.objectness,
    7: v8DetectionLoss.get_assigned_targets_and_loss,  # there: "Cls loss"
}
