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

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.convnext import LayerNorm2d
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
KERNEL = 3  # side, in cells


def moved(x: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """The samples that a 3 x 3 kernel takes of a map, moved and weighted.

    torchvision's ``deform_conv2d`` takes the same. On a processor its gradient takes eight times
    as long, as it goes from number to number.

    Args:
        x: (B, C, H, W); beyond it are zeros.
        offsets: (B, G * 2 * 9, H, W), of each group of channels and sample (y, x), in cells.
        weights: (B, G * 9, H, W), of each group and sample.

    Returns: (B, C, 9, H, W), float32.
    """
    B, C, H, W = x.shape
    K = KERNEL**2
    G = weights.shape[1] // K
    # (G of) a batch's maps one after another, since a map has one grid for all of its channels
    place = offsets.float().reshape(B * G, KERNEL, KERNEL, 2, H, W)
    cells = torch.arange(max(H, W, KERNEL), dtype=torch.float32, device=x.device)
    aside = cells[:KERNEL] - KERNEL // 2  # of a sample from the kernel's middle: -1, 0, 1
    y = place[:, :, :, 0] + aside[:, None, None, None] + cells[:H, None]  # (BG, 3, 3, H, W)
    at_x = place[:, :, :, 1] + aside[:, None, None] + cells[:W]
    # grid_sample counts from -1, the map's left or upper edge, to 1, its right or lower edge
    grid = torch.stack(((2 * at_x + 1) / W - 1, (2 * y + 1) / H - 1), -1)
    maps = x.float().contiguous().view(B * G, C // G, H, W)
    samples = F.grid_sample(maps, grid.view(B * G, K * H, W, 2), align_corners=False)
    samples = samples.view(B, G, C // G, K, H, W) * weights.float().reshape(B, G, 1, K, H, W)
    return samples.view(B, C, K, H, W)


class DeformableConv(nn.Module):
    """A ``Conv`` of 3 x 3 that learns from its input where to take samples, and their weights.

    It is no subclass of ``Conv``: before it predicts, the library would fuse it into a plain one.
    """

    def __init__(self, stock: Conv):
        super().__init__()
        self.conv, self.bn, self.act = stock.conv, stock.bn, stock.act
        # for each sample of the kernel an offset (y, x) and a weight
        self.moves = nn.Conv2d(stock.conv.in_channels, 3 * KERNEL**2, KERNEL, padding=1)
        for parameter in self.moves.parameters():
            nn.init.zeros_(parameter)  # offsets 0, weights 1: at first an ordinary convolution

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W)."""
        # (B, 3 * 9, H, W); the library counts operations on unset memory, which may be no numbers
        moves = self.moves(x).float().nan_to_num()
        offsets, weights = moves.split((2 * KERNEL**2, KERNEL**2), 1)
        samples = moved(x, offsets, 2 * weights.sigmoid())  # at the start, weights are 1
        # a convolution is one of 1 x 1 over the samples; no bias, as the batch norm has one
        y = F.conv2d(samples.flatten(1, 2), self.conv.weight.flatten(1)[..., None, None])
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

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        B, _, H, W = x.shape
        seen = self.look(x)
        offsets = self.offsets(seen).float().nan_to_num()
        shares = self.shares(seen).float().view(B, self.groups, -1, H, W).softmax(2).flatten(1, 2)
        y = moved(self.value(x), offsets, shares).sum(2)  # (B, C, H, W)
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
