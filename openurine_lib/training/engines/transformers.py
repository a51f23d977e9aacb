"""The transformers engine: RT-DETRv2 and ViTDet. ``engines/loop.py`` trains them.

RT-DETRv2 (Lv et al. 2024, https://doi.org/10.48550/arXiv.2407.17140) is the library's, with its matching and losses.
Of ViTDet (Li et al. 2022, https://doi.org/10.48550/arXiv.2203.16527) the library has the backbone; the simple pyramid
is here, the rest is torchvision's Faster R-CNN. Configurations are built in code and weights are random: no download.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.convnext import LayerNorm2d
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import box_convert
from transformers import (
    RTDetrResNetConfig,
    RTDetrV2Config,
    RTDetrV2ForObjectDetection,
    VitDetBackbone,
    VitDetConfig,
)

from openurine_lib.inference import MAX_DETECTIONS
from openurine_lib.training.engines import loop, two_stage
from openurine_lib.training.job import TrainJob
from openurine_lib.training.weights import read_weights

RTDETR: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # backbone, detector
    "rtdetrv2_l": ({}, {}),  # ResNet-50-D, 300 queries, 6 layers: the library's defaults
    "rtdetrv2_tiny": (
        {"embedding_size": 16, "hidden_sizes": [16, 32, 64, 64], "depths": [1, 1, 1, 1], "layer_type": "basic"},
        {"encoder_in_channels": [32, 64, 64], "encoder_hidden_dim": 64, "encoder_ffn_dim": 128, "d_model": 64,
         "decoder_in_channels": [64, 64, 64], "decoder_ffn_dim": 128, "decoder_layers": 2, "num_queries": 30,
         "encoder_attention_heads": 4, "decoder_attention_heads": 4, "num_denoising": 20},
    ),
}  # fmt: skip
VITDET: dict[str, tuple[dict[str, Any], int]] = {  # backbone, channels of the pyramid
    # ViT-B with global attention in the last layer of every quarter, as in the publication
    "vitdet_b": ({"image_size": 1024, "window_size": 14, "window_block_indices": [0, 1, 3, 4, 6, 7, 9, 10]}, 256),
    "vitdet_tiny": ({"image_size": 128, "hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
                     "window_size": 4, "window_block_indices": [0]}, 48),
}  # fmt: skip
ARCHITECTURES = (*RTDETR, *VITDET)
LEARNING_RATE = {"rtdetr": 2e-4, "vitdet": 3e-4}  # AdamW's, from random weights, by family


class RTDetr(nn.Module):
    """RT-DETRv2 with the manners of torchvision's detectors; labels start at 0. Images are stretched to a square."""

    def __init__(self, arch: str, n_classes: int, imgsz: int, conf: float):
        super().__init__()
        self.imgsz, self.conf = imgsz, conf
        backbone, detector = RTDETR[arch]
        config = RTDetrV2Config(  # type: ignore[call-arg]
            backbone_config=RTDetrResNetConfig(**backbone, out_features=["stage2", "stage3", "stage4"]),  # type: ignore[call-arg]
            freeze_backbone_batch_norms=False,  # they are frozen for pretrained weights
            num_labels=n_classes, **detector,
        )  # fmt: skip
        config.num_queries = min(
            config.num_queries, sum((imgsz // s) ** 2 for s in config.feat_strides)
        )
        self.net = RTDetrV2ForObjectDetection(config)

    def forward(self, images, targets=None):
        """images: list of float (3, H, W) in 0..1. In training a dict of losses, else detections in their pixels."""
        square = torch.stack([_stretched(image, self.imgsz) for image in images])  # (B, 3, S, S)
        sizes = [
            square.new_tensor(image.shape[:0:-1]).repeat(2) for image in images
        ]  # width, height, width, height
        if self.training:
            labels = [
                {
                    "class_labels": t["labels"],
                    "boxes": box_convert(t["boxes"] / size, "xyxy", "cxcywh"),
                }
                for t, size in zip(targets, sizes, strict=True)
            ]
            return _by_kind(self.net(square, labels=labels).loss_dict)
        out = self.net(square)
        scores, best = (
            out.logits.sigmoid().flatten(1).sort(descending=True, stable=True)
        )  # (B, queries * classes)
        n_classes, n = out.logits.shape[2], min(MAX_DETECTIONS, out.logits.shape[1])
        found = []
        for score, index, boxes, size in zip(
            scores[:, :n], best[:, :n], out.pred_boxes, sizes, strict=True
        ):
            kept = score > self.conf
            corners = box_convert(boxes[index[kept] // n_classes], "cxcywh", "xyxy") * size
            found.append(
                {"boxes": corners, "scores": score[kept], "labels": index[kept] % n_classes}
            )
        return found


def _stretched(image: torch.Tensor, side: int) -> torch.Tensor:
    return F.interpolate(image[None], (side, side), mode="bilinear", align_corners=False)[0]


def _by_kind(losses: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The library's losses, already weighted, one a layer, summed to three: vfl (class), bbox (L1) and giou."""
    kinds = ("loss_vfl", "loss_bbox", "loss_giou")
    return {
        kind: torch.stack([v for k, v in losses.items() if k.startswith(kind)]).sum()
        for kind in kinds
    }


class SimplePyramid(nn.Module):
    """ViTDet's pyramid (its section 3): from a transformer's last map, at stride 16, strides 4, 8, 16, 32 and 64."""

    def __init__(self, config: VitDetConfig, channels: int):
        super().__init__()
        self.vit, c, self.out_channels = VitDetBackbone(config), config.hidden_size, channels
        up = nn.Sequential(nn.ConvTranspose2d(c, c // 2, 2, 2), LayerNorm2d(c // 2), nn.GELU())
        to_4 = nn.Sequential(up, nn.ConvTranspose2d(c // 2, c // 4, 2, 2))
        to_8, to_16, to_32 = nn.ConvTranspose2d(c, c // 2, 2, 2), nn.Identity(), nn.MaxPool2d(2)
        scales = zip((to_4, to_8, to_16, to_32), (c // 4, c // 2, c, c), strict=True)
        self.levels = nn.ModuleList(
            nn.Sequential(
                scale, nn.Conv2d(n, channels, 1, bias=False), LayerNorm2d(channels),
                nn.Conv2d(channels, channels, 3, padding=1, bias=False), LayerNorm2d(channels),
            )
            for scale, n in scales
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """x: (B, 3, H, W) -> five maps (B, channels, H / stride, W / stride)."""
        last = self.vit(x).feature_maps[-1]  # (B, C, H / 16, W / 16)
        maps = {str(i): level(last) for i, level in enumerate(self.levels)}
        return maps | {"pool": F.max_pool2d(maps["3"], 1, 2)}


def vitdet(arch: str, n_classes: int, imgsz: int, conf: float) -> nn.Module:
    """Faster R-CNN on a plain vision transformer; its heads have two and four convolutions, as in the publication."""
    backbone, width = VITDET[arch]
    size = backbone[
        "image_size"
    ]  # of the embedded positions; for other fields the library interpolates them
    config = VitDetConfig(
        **backbone, pretrain_image_size=size, use_relative_position_embeddings=True
    )
    pyramid = SimplePyramid(config, width)
    head = FastRCNNConvFCHead(
        (width, two_stage.POOLED, two_stage.POOLED), [width] * 4, [4 * width], LayerNorm2d
    )
    sides = [(s,) for s in two_stage.SIDES]
    rpn = RPNHead(width, len(two_stage.RATIOS), conv_depth=2)
    predictor = FastRCNNPredictor(4 * width, n_classes + 1)
    parts = {"rpn_head": rpn, "box_head": head, "box_predictor": predictor} | (
        two_stage.FEW if "tiny" in arch else {}
    )
    return two_stage.two_stage(pyramid, imgsz, conf, sides, **parts)


def build(arch: str, n_classes: int, imgsz: int, conf: float = 0.001) -> nn.Module:
    """A network with random weights for ``n_classes`` classes; images are brought to ``imgsz`` pixels inside.

    RT-DETR stretches to a square (its design); ViTDet brings the longer side to ``imgsz``. Raises ValueError for a name
    that is not in ``ARCHITECTURES``.
    """
    if arch not in ARCHITECTURES:
        raise ValueError(f"no transformers detector {arch!r}; known are {', '.join(ARCHITECTURES)}")
    return (RTDetr if arch in RTDETR else vitdet)(arch, n_classes, imgsz, conf)


def background(arch: str) -> int:
    """How many label ids stand before the first class: ViTDet's Faster R-CNN keeps 0 for the background."""
    return int(arch in VITDET)


def fit(job: TrainJob) -> Path:
    """Trains, or finishes an interrupted training. Returns ``job.dir / "weights.pt"``; errors as ``loop.fit``'s."""

    def network() -> nn.Module:
        model: Any = build(job.arch, job.taxonomy.n, job.imgsz)
        parts = (
            [model.net.model.backbone]
            if job.arch in RTDETR
            else [model.backbone, model.rpn.head, model.roi_heads.box_head]
        )
        loop.in_bf16(job.device, *parts)
        return model

    lr = next(rate for family, rate in LEARNING_RATE.items() if job.arch.startswith(family))
    return loop.fit(job, "transformers", network, lr, background(job.arch))


def detector(weights: Path, conf: float, device: str, imgsz: int) -> loop.Detector:
    """The trained detector behind sahi's door; ``imgsz``: the size (pixels) that images or slices are brought to.

    Raises WeightsError for a file of another engine, or none of ours.
    """
    content = read_weights(weights, "transformers")
    arch, classes = content["meta"]["arch"], content["meta"]["classes"]
    return loop.detector(
        content, build(arch, len(classes), imgsz, conf), conf, device, imgsz, background(arch)
    )
