"""A moved convolution, forward and backward: torchvision's operator, against ``dp_yolo.moved``.

The maps are those of DP-YOLO's first stage on yolov5n at 448 px, batch 8: 16 channels at stride 4.
"""

import time
from collections.abc import Callable

import pairs
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from openurine_lib.model.dp_yolo import moved
from openurine_lib.speed.processor import keep_memory, use_cores

BATCH = 8
CHANNELS = 16
SIDE = 112  # cells of the map
STEPS = 3


def main() -> None:
    use_cores()
    keep_memory()
    torch.manual_seed(0)
    x = torch.rand(BATCH, CHANNELS, SIDE, SIDE, requires_grad=True)
    offsets = torch.randn(BATCH, 18, SIDE, SIDE, requires_grad=True)
    weights = torch.rand(BATCH, 9, SIDE, SIDE, requires_grad=True)
    kernel = torch.rand(CHANNELS, CHANNELS, 3, 3, requires_grad=True)

    def theirs() -> Tensor:
        return deform_conv2d(x, offsets, kernel, padding=1, mask=weights)

    def ours() -> Tensor:
        samples = moved(x, offsets, weights).flatten(1, 2)  # (B, C * 9, H, W)
        return F.conv2d(samples, kernel.flatten(1)[..., None, None])

    def seconds(forward: Callable[[], Tensor]) -> float:
        forward().sum().backward()  # the first is slower, and does not count
        start = time.perf_counter()
        for _ in range(STEPS):
            forward().sum().backward()
        return (time.perf_counter() - start) / STEPS

    setting = f"{CHANNELS} channels of {SIDE} x {SIDE} cells, batch {BATCH}, with gradients"
    pairs.compare(
        "deformable",
        f"torchvision's deform_conv2d, {setting}",
        lambda: seconds(theirs),
        lambda: seconds(ours),
    )


if __name__ == "__main__":
    main()
