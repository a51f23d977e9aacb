"""YOLO's layers made lean for a processor: the same numbers, fewer passes over memory.

Both rely on channels last, the order in memory in which convolutions on a processor are fastest.

- YOLO12's area attention takes queries, keys and values as the convolution before it has written them; the library's
  own brings them into another order and back, in training twice (``attend_in_order``).
- In prediction a convolution and its activation are one pass. The library that torch calls for convolutions (oneDNN)
  does both at once; torch reaches it through the operator that its own compiler emits, which is without a documented
  promise: where it is missing, both stay as they are (``in_one_pass``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.block import AAttn
from ultralytics.nn.modules.conv import Conv

from openurine_lib.speed.processor import cpu_bf16, to_float

ACTIVATIONS = {nn.SiLU: "swish", nn.Identity: "none"}  # as oneDNN calls them


class _AreaAttention(AAttn):
    """The library's, with a shorter way for what is channels last."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W): softmax(q k^T / sqrt(d)) v in each area and head, plus the position's convolution of v."""
        if not x.is_contiguous(memory_format=torch.channels_last):
            return super().forward(x)
        B, _, H, W = x.shape
        areas = (B * self.area, H * W // self.area, self.num_heads, 3 * self.head_dim)
        qkv = self.qkv(x).permute(0, 2, 3, 1).reshape(areas).transpose(1, 2)
        q, k, v = qkv.split(self.head_dim, 3)  # (B * areas, heads, N, d)
        seen = ((q * self.head_dim**-0.5) @ k.transpose(-2, -1)).softmax(-1) @ v
        seen, own = (
            t.transpose(1, 2).reshape(B, H, W, -1).permute(0, 3, 1, 2) for t in (seen, v)
        )  # (B, C, H, W)
        return self.proj(seen + self.pe(own))


def attend_in_order(model: nn.Module) -> None:
    """Changes the area attention of ``model``: same tensors, same names."""
    for module in model.modules():
        if type(module) is AAttn:
            module.__class__ = _AreaAttention


def in_one_pass(model: nn.Module) -> nn.Module:
    """Changes the convolutions of ``model``, which is fused and in evaluation, and returns it; it can no longer be
    trained or exported."""
    if hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        for module in model.modules():
            if isinstance(module, Conv) and type(module.act) in ACTIVATIONS:
                module.forward = _convolve(module.conv, ACTIVATIONS[type(module.act)])  # type: ignore[method-assign]
    return model


def _convolve(conv: nn.Conv2d, activation: str) -> Callable[[Tensor], Tensor]:
    """(B, C, H, W) -> the convolution and its activation."""
    if cpu_bf16():
        conv.to(torch.bfloat16)  # under autocast it would be, at each call
    weight, bias = conv.weight, conv.bias
    how: tuple[Any, ...] = (
        conv.padding,
        conv.stride,
        conv.dilation,
        conv.groups,
        activation,
        [],
        "",
    )
    operator = torch.ops.mkldnn._convolution_pointwise.default
    return lambda x: operator(x.to(weight.dtype), weight, bias, *how)


class _OnCPU:
    """On a processor the forward pass is channels last, and in bfloat16 where there are units for it.

    Training's always, prediction's when ``fast``. Losses, and the decoding of boxes and scores, stay in float32.
    """

    fast = False

    def loss(self, batch: dict[str, Any], preds: Any = None) -> Any:
        if preds is None and batch["img"].device.type == "cpu":
            preds = to_float(self._predict_fast(batch["img"]))
        return super().loss(batch, preds)  # type: ignore[misc]

    def predict(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        if self.fast and x.device.type == "cpu":
            return self._predict_fast(x, *args, **kwargs)
        return super().predict(x, *args, **kwargs)  # type: ignore[misc]

    def _predict_fast(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=cpu_bf16()):
            return super().predict(x.contiguous(memory_format=torch.channels_last), *args, **kwargs)  # type: ignore[misc]
