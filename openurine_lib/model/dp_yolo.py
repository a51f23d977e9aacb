"""DP-YOLO (Wang et al. 2023, https://doi.org/10.3390/app132111676) on YOLOv5.

Of the article abstract and headings could be read: "deformable convolution into the backbone
network of YOLOv5s", "the distinct properties of various deformable convolution operators", and
petals as positive samples. A reader of its section 3.2 told that the C3 blocks of every stage but
the last have Deformable ConvNets v2 (https://doi.org/10.1109/CVPR.2019.00953) and the last one
version 3 (https://doi.org/10.1109/CVPR52729.2023.01385), and that the network has 7.6 million
parameters and 17.7 GFLOPs at 640 pixels. Where the layers lie in a block was found by those sizes:

- version 2 takes the place of the 3 x 3 convolution in every bottleneck, and starts as that;
- version 3, with a group for 16 channels, follows the 3 x 3 convolution of the last stage.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.convnext import LayerNorm2d
from torchvision.ops import deform_conv2d
from ultralytics.nn.modules.block import C3
from ultralytics.nn.modules.conv import Conv
from ultralytics.utils.torch_utils import initialize_weights

from openurine_lib.model.anchors import AnchorDetect, AnchorLoss
from openurine_lib.model.architectures import network_of
from openurine_lib.model.heads import SingleHeadModel

SUFFIX = "-dp"  # yolov5s-dp is the DP-YOLO on yolov5s
STAGES = (2, 4, 6)  # layers of the backbone: its C3 stages at strides 4, 8 and 16
LAST = 8  # at stride 32
GROUP = 16  # channels that share a way of sampling in version 3
KERNEL = 3


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


class DeformableV3(nn.Module):
    """Version 3: a group of channels takes nine samples where it wants, in shares that add up to 1.

    Its result is added to its input, which at first it only blurs.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.groups = max(channels // GROUP, 1)
        K = KERNEL**2
        self.value = nn.Conv2d(channels, channels, 1)
        self.look = nn.Sequential(
            nn.Conv2d(channels, channels, KERNEL, padding=1, groups=channels),
            LayerNorm2d(channels),
            nn.GELU(),
        )
        # for each group and sample an offset (y, x), and a share
        self.offsets = nn.Conv2d(channels, self.groups * 2 * K, 1)
        self.shares = nn.Conv2d(channels, self.groups * K, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        for layer in (self.offsets, self.shares):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)  # at first the nine neighbours, in equal shares
        # a sample is taken as it is: one weight of 1 a channel
        self.register_buffer("ones", torch.ones(channels, 1, KERNEL, KERNEL), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        B, _, H, W = x.shape
        seen = self.look(x)
        offsets = self.offsets(seen).float().nan_to_num()
        shares = self.shares(seen).float().view(B, self.groups, -1, H, W).softmax(2).flatten(1, 2)
        samples = self.value(x).float()
        y = deform_conv2d(samples, offsets, self.ones.float(), padding=1, mask=shares)
        return x + self.out(y.to(x.dtype))


class DPModel(SingleHeadModel):
    """DP-YOLO. ``arch``: a YOLOv5 with the suffix; another backbone raises ValueError."""

    def __init__(self, arch: str, nc: int):
        super().__init__(network_of(arch.removesuffix(SUFFIX)), nc=nc, verbose=False)
        for i in (*STAGES, LAST):
            if not isinstance(self.model[i], C3):
                raise ValueError(f"{arch}: DP-YOLO is made of a YOLOv5; layer {i} is no C3 stage")
            for bottleneck in self.model[i].m:
                stock = bottleneck.cv2  # cv1 is 1 x 1, cv2 is 3 x 3
                moving = (
                    nn.Sequential(stock, DeformableV3(stock.conv.out_channels))
                    if i == LAST
                    else DeformableConv(stock)
                )
                bottleneck.cv2 = moving
                initialize_weights(bottleneck)
        stock_head: Any = self.model[-1]
        channels = [branch[0].conv.in_channels for branch in stock_head.cv2]
        head = AnchorDetect(nc, channels, stock_head.stride)
        # what ultralytics' parser writes on a layer
        head.i = stock_head.i
        head.f = stock_head.f
        head.type = f"{AnchorDetect.__module__}.AnchorDetect"
        head.np = sum(p.numel() for p in head.parameters())
        self.model[-1] = head

    def init_criterion(self) -> AnchorLoss:
        return AnchorLoss(self.model[-1])
