"""The loss of the six heads: Eqs. 1-7 of the paper, on ultralytics' detection loss.

What the paper leaves open, and how it is read here:

- Eq. 2 with Eq. 3 would multiply DFL by the box gain too. In the library that the paper used the two gains are
  independent, and Table 3's values have that library's scale; so they are independent here.
- Eq. 2 and 6 name an objectness loss, Table 3 gives it no gain and YOLO12 has no such output. The default is no such
  branch; ``objectness_gain > 0`` adds one channel a head.
- N_i, M_i and P_i, the normalisers: one for all heads by default. Normalised a head, a head without an object in the
  batch is divided by 1 and its classification loss is as large as an occupied one's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from ultralytics.nn.modules.head import Detect
from ultralytics.utils.loss import v8DetectionLoss
from ultralytics.utils.tal import TaskAlignedAssigner

if TYPE_CHECKING:
    from openurine_lib.model.heads import MultiHeadModel


class _Assigner(TaskAlignedAssigner):
    """The stock assigner, remembering the sum of target scores and the foreground of its last call."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        out = super().forward(*args, **kwargs)
        self.score_sum, self.foreground = out[2].sum(), out[3]
        return out


class HeadLoss(v8DetectionLoss):
    """L_i of one head, not yet weighted: CIoU (Eq. 4), BCE over its classes (Eq. 7), DFL (Eq. 5)."""

    def __init__(self, model: MultiHeadModel, head: Detect, ids: tuple[int, ...]):
        super().__init__(model)
        self.nc, self.no = len(ids), len(ids) + self.reg_max * 4
        self.ids = torch.tensor(ids, device=self.device)
        self.assigner = _Assigner(
            topk=10, num_classes=self.nc, alpha=0.5, beta=6.0, stride=self.stride.tolist()
        )

    def __call__(self, preds: dict[str, Any], batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Raw predictions of the head -> (box, cls, dfl) times their gains and times the normaliser; the normaliser."""
        mine = torch.isin(batch["cls"].view(-1).long(), self.ids)
        local = torch.searchsorted(self.ids, batch["cls"].view(-1)[mine].long())
        targets = {
            "batch_idx": batch["batch_idx"][mine],
            "cls": local.float(),
            "bboxes": batch["bboxes"][mine],
        }
        _, loss, _ = self.get_assigned_targets_and_loss(preds, targets)
        return loss * self.assigner.score_sum.clamp(min=1), self.assigner.score_sum


class MultiHeadLoss:
    """L_total = sum_i lambda_i L_i (Eq. 1).

    Args:
        model: the multi-head model; its ``args`` carry the gains box, cls, dfl (Table 3).
        shared: one normaliser for all heads (the default), or one a head.
    """

    def __init__(self, model: MultiHeadModel, shared: bool = True):
        container = model.model[-1]
        self.heads = {
            n: HeadLoss(model, h, container.classes[n]) for n, h in container.heads.items()
        }
        self.weights = model.head_weights
        self.objectness_gain = model.objectness_gain
        self.shared = shared

    def __call__(self, preds: Any, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Raw predictions by head -> (losses of heads and parts times the batch size; the same by name, detached)."""
        preds = preds[1] if isinstance(preds, tuple) else preds
        batch = {
            k: v.to(next(iter(self.heads.values())).device)
            for k, v in batch.items()
            if k in ("batch_idx", "cls", "bboxes")
        }
        losses, sums, extra = {}, {}, {}
        for name, head in self.heads.items():
            p = preds[name]
            if self.objectness_gain:
                scores, objectness = p["scores"][:, :-1], p["scores"][:, -1]  # (B, C_i, A), (B, A)
                p = p | {"scores": scores}
            losses[name], sums[name] = head(p, batch)
            if self.objectness_gain:  # Eq. 6: the mean over the head's anchors
                target = head.assigner.foreground.to(objectness.dtype)
                extra[name] = self.objectness_gain * head.bce(objectness, target).mean()
        total = torch.stack(list(sums.values())).sum().clamp(min=1)
        parts: dict[str, Tensor] = {}
        for name, loss in losses.items():
            loss = loss / (total if self.shared else sums[name].clamp(min=1))
            parts |= {
                f"{name}/{part}": self.weights[name] * x
                for part, x in zip(("box", "cls", "dfl"), loss, strict=True)
            }
            if name in extra:
                parts[f"{name}/obj"] = self.weights[name] * extra[name]
        batch_size = next(iter(preds.values()))["boxes"].shape[0]
        return torch.stack(list(parts.values())) * batch_size, {
            k: v.detach() for k, v in parts.items()
        }
