"""YOLO's layers made lean for a processor: the same numbers, with fewer passes over memory.

Everything here relies on channels last, the order in memory in which a processor's convolutions
are fastest. A replaced layer is a new module with the old one's tensors under the same names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.nn.modules.block import AAttn
from ultralytics.nn.modules.conv import Conv

from openurine_lib.speed.processor import cpu_bf16, to_float

ACTIVATIONS = {nn.SiLU: "swish", nn.Identity: "none"}  # torch's modules: oneDNN's names for them


class LeanAttention(AAttn):
    """YOLO12's area attention, without the library's reordering of q, k and v in memory."""

    def __init__(self, stock: AAttn):
        nn.Module.__init__(self)  # not AAttn's own, which would draw new weights
        self.__dict__.update(stock.__dict__)  # the same tensors, under the same names

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W): softmax(q k^T / sqrt(d)) v, plus a convolution of v."""
        if not x.is_contiguous(memory_format=torch.channels_last):
            return super().forward(x)  # in any other order a copy would be needed
        B, _, H, W = x.shape
        qkv = self.qkv(x).permute(0, 2, 3, 1)  # (B, H, W, 3C): as it lies in memory
        # an area is a band of rows, of N = H W / areas pixels, which attend to each other alone
        qkv = qkv.reshape(B * self.area, -1, self.num_heads, 3 * self.head_dim).transpose(1, 2)
        q, k, v = qkv.split(self.head_dim, 3)  # (B * areas, heads, N, d) each
        # q (N, d) is scaled, not the larger product (N, N)
        attended = ((q * self.head_dim**-0.5) @ k.transpose(-2, -1)).softmax(-1) @ v

        def as_image(tokens: Tensor) -> Tensor:  # (B * areas, heads, N, d) -> (B, C, H, W)
            return tokens.transpose(1, 2).reshape(B, H, W, -1).permute(0, 3, 1, 2)

        # pe: a depthwise convolution, for the positions
        return self.proj(as_image(attended) + self.pe(as_image(v)))


class MatrixConv(nn.Conv2d):
    """A convolution of one pixel (1 x 1), as the product of matrices that it is, for training.

    With one thread torch gives such a convolution in float32 to an old kernel. Its gradients come
    back in another order than channels last, and every layer below reads them slowly.
    """

    def __init__(self, stock: nn.Conv2d):
        nn.Module.__init__(self)  # not Conv2d's own, which would draw new weights
        self.__dict__.update(stock.__dict__)  # the same tensors, under the same names

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W)."""
        if not x.is_contiguous(memory_format=torch.channels_last):
            return super().forward(x)  # in any other order a copy would be needed
        pixels = x.permute(0, 2, 3, 1)  # (B, H, W, C): as it lies in memory
        return nn.functional.linear(pixels, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class OnePassConv(nn.Module):
    """A fused ``Conv`` whose convolution and activation are one call of oneDNN, torch's library."""

    def __init__(self, stock: Conv):
        super().__init__()
        self.__dict__.update(stock.__dict__)
        self.__dict__.pop("forward", None)  # the library's ``fuse`` has put its own there
        if cpu_bf16():
            self.conv.to(torch.bfloat16)  # under autocast it would be, at each call

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        conv: Any = self.conv
        # in the operator's order
        geometry = (conv.padding, conv.stride, conv.dilation, conv.groups)
        # what torch's own compiler emits; no document promises that it will stay
        operator = torch.ops.mkldnn._convolution_pointwise.default
        # [], "": SiLU has no parameters
        how: Any = (*geometry, ACTIVATIONS[type(self.act)], [], "")
        return operator(x.to(conv.weight.dtype), conv.weight, conv.bias, *how)


def use_lean_attention(model: nn.Module) -> None:
    """Puts a ``LeanAttention`` in the place of every area attention."""
    _replace(model, lambda module: type(module) is AAttn, LeanAttention)


def ready_to_train(model: nn.Module) -> None:
    """Prepares a model for a training on a processor: its weights lie channels last, or each step
    would reorder them, and a ``MatrixConv`` takes the place of every convolution of one pixel.
    With units for bfloat16 no convolution is replaced: there the library's kernel is good."""
    if not cpu_bf16():
        _replace(model, _is_of_one_pixel, MatrixConv)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _is_of_one_pixel(module: Any) -> bool:
    """Whether it mixes the channels of each pixel, and does nothing else."""
    if type(module) is not nn.Conv2d:
        return False
    return module.kernel_size == module.stride == (1, 1) and module.groups == 1


def fuse_activations(model: nn.Module) -> None:
    """Puts a ``OnePassConv`` in the place of every ``Conv`` of a fused model in evaluation, where
    torch has the operator. The model can then no longer be trained or exported."""
    if hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        _replace(model, lambda m: isinstance(m, Conv) and type(m.act) in ACTIVATIONS, OnePassConv)


def _replace(model: nn.Module, fits: Callable[[Any], bool], new: type[nn.Module]) -> None:
    for parent in list(model.modules()):  # a list, as modules are replaced below
        for name, child in parent.named_children():
            if fits(child):
                setattr(parent, name, new(child))


class ProcessorForward:
    """Mixed into an ultralytics model: on a processor it trains, and if ``fast`` predicts, channels
    last and where there are units for it in bfloat16. Losses and decoding stay in float32."""

    fast = False

    def loss(self, batch: dict[str, Any], preds: Any = None) -> Any:
        if preds is None and batch["img"].device.type == "cpu":
            preds = to_float(self._predict_fast(batch["img"]))  # bfloat16 has three digits
        return super().loss(batch, preds)  # type: ignore[misc]

    def predict(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        fast = self.fast and x.device.type == "cpu"
        return (self._predict_fast if fast else super().predict)(x, *args, **kwargs)  # type: ignore[misc]

    def _predict_fast(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=cpu_bf16()):
            return super().predict(x, *args, **kwargs)  # type: ignore[misc]
