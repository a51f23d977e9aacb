"""The transformers engine: RT-DETRv2 and ViTDet. ``engines/loop.py`` trains them.

RT-DETRv2 (Lv et al. 2024, https://doi.org/10.48550/arXiv.2407.17140) is the library's, with its
matching and losses. Of ViTDet (Li et al. 2022, https://doi.org/10.48550/arXiv.2203.16527) the
library has the backbone; the simple pyramid is here, and the rest is torchvision's Faster R-CNN.
Stochastic depth and, from pretrained weights, rates that fall layer by layer are as in its authors'
configuration (detectron2, projects/ViTDet, mask_rcnn_vitdet_b_100ep). Configurations are built in
code and weights are random unless the user gives some: nothing is downloaded.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
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

RTDETR: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # backbone, detector
    "rtdetrv2_l": ({}, {}),  # ResNet-50-D, 300 queries, 6 layers: the library's defaults
    "rtdetrv2_tiny": (
        {"embedding_size": 16, "hidden_sizes": [16, 32, 64, 64], "depths": [1, 1, 1, 1],
         "layer_type": "basic"},
        {"encoder_in_channels": [32, 64, 64], "encoder_hidden_dim": 64, "encoder_ffn_dim": 128,
         "decoder_in_channels": [64, 64, 64], "decoder_ffn_dim": 128, "decoder_layers": 2,
         "encoder_attention_heads": 4, "decoder_attention_heads": 4, "d_model": 64,
         "num_queries": 30, "num_denoising": 20},
    ),
}  # fmt: skip
VITDET: dict[str, tuple[dict[str, Any], int]] = {  # backbone, channels of the pyramid
    # ViT-B with global attention in the last layer of every quarter, as in the publication
    "vitdet_b": ({"image_size": 1024, "pretrain_image_size": 224, "window_size": 14,
                  "drop_path_rate": 0.1,
                  "window_block_indices": [0, 1, 3, 4, 6, 7, 9, 10]}, 256),
    "vitdet_tiny": ({"image_size": 128, "pretrain_image_size": 128, "hidden_size": 96,
                     "num_hidden_layers": 2,
                     "num_attention_heads": 4, "window_size": 4, "window_block_indices": [0]}, 48),
}  # fmt: skip
ARCHITECTURES = (*RTDETR, *VITDET)
LEARNING_RATE = {"rtdetr": 2e-4, "vitdet": 3e-4}  # AdamW's, from random weights, by family
LAYER_DECAY = 0.7  # a pretrained ViT-B's layer learns at this part of the next one's rate
LOSSES = ("loss_vfl", "loss_bbox", "loss_giou")  # RT-DETR's: of classes, L1, generalised IoU


class RTDetr(nn.Module):
    """RT-DETRv2 on images stretched to a square, called as torchvision's detectors are."""

    def __init__(self, arch: str, n_classes: int, imgsz: int, conf: float):
        super().__init__()
        self.imgsz = imgsz
        self.conf = conf
        backbone, detector = RTDETR[arch]
        stages = ["stage2", "stage3", "stage4"]  # strides 8, 16, 32
        config = RTDetrV2Config(  # type: ignore[call-arg]
            backbone_config=RTDetrResNetConfig(**backbone, out_features=stages),  # type: ignore[call-arg]
            freeze_backbone_batch_norms=False,  # they are frozen for pretrained weights
            num_labels=n_classes,
            **detector,
        )
        # the decoder starts from the best positions of the encoder's maps: there must be as many
        cells = sum((imgsz // stride) ** 2 for stride in config.feat_strides)
        config.num_queries = min(config.num_queries, cells)
        self.net = RTDetrV2ForObjectDetection(config)

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        """[(3, H, W) in 0..1] -> losses in training, else detections in the images' pixels."""
        side = (self.imgsz, self.imgsz)
        stretched = [F.interpolate(image[None], side, mode="bilinear") for image in images]
        square = torch.cat(stretched)  # (B, 3, S, S)
        # width, height, width, height
        sizes = [square.new_tensor(image.shape[:0:-1]).repeat(2) for image in images]
        if self.training:
            return self._losses(square, targets or [], sizes)
        out = self.net(square)
        n_queries, n_classes = out.logits.shape[1:]
        # every query may give a box of each class; the most confident of all are taken
        ranked = out.logits.sigmoid().flatten(1).sort(descending=True, stable=True)  # (B, Q * C)
        found = []
        for i, size in enumerate(sizes):
            scores = ranked.values[i, : min(MAX_DETECTIONS, n_queries)]  # all are in 0..1
            scores = scores[scores > self.conf]
            best = ranked.indices[i, : len(scores)]  # query * n_classes + class
            boxes = box_convert(out.pred_boxes[i, best // n_classes], "cxcywh", "xyxy") * size
            found.append({"boxes": boxes, "scores": scores, "labels": best % n_classes})
        return found

    def _losses(
        self, square: Tensor, targets: list[dict[str, Tensor]], sizes: list[Tensor]
    ) -> dict[str, Tensor]:
        """The library's losses, which are weighted and one a layer, summed by kind."""
        labels = [
            # boxes as parts of the image, as the library wants them
            {"class_labels": t["labels"], "boxes": box_convert(t["boxes"] / s, "xyxy", "cxcywh")}
            for t, s in zip(targets, sizes, strict=True)
        ]
        losses = self.net(square, labels=labels).loss_dict
        return {
            # a kind has an entry a layer: ``loss_vfl`` of the last, ``loss_vfl_aux_0`` of the first
            kind: torch.stack([v for k, v in losses.items() if k.startswith(kind)]).sum()
            for kind in LOSSES
        }


class SimplePyramid(nn.Module):
    """ViTDet's pyramid (its section 3): a transformer's last map at strides 4, 8, 16, 32 and 64."""

    def __init__(self, config: VitDetConfig, channels: int):
        super().__init__()
        self.vit = VitDetBackbone(config)
        self.out_channels = channels
        c = config.hidden_size
        # the last map has stride 16; each level brings it to its own
        up = nn.Sequential(nn.ConvTranspose2d(c, c // 2, 2, 2), LayerNorm2d(c // 2), nn.GELU())
        to_4 = nn.Sequential(up, nn.ConvTranspose2d(c // 2, c // 4, 2, 2))
        to_8 = nn.ConvTranspose2d(c, c // 2, 2, 2)
        # for strides 4, 8, 16 and 32: how the last map gets there, and its channels then
        scales = {to_4: c // 4, to_8: c // 2, nn.Identity(): c, nn.MaxPool2d(2): c}
        self.levels = nn.ModuleList(
            nn.Sequential(
                scale, nn.Conv2d(n, channels, 1, bias=False), LayerNorm2d(channels),
                nn.Conv2d(channels, channels, 3, padding=1, bias=False), LayerNorm2d(channels),
            )
            for scale, n in scales.items()
        )  # fmt: skip

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """x: (B, 3, H, W) -> five maps (B, channels, H / stride, W / stride)."""
        last = self.vit(x).feature_maps[-1]  # (B, C, H / 16, W / 16)
        maps = {str(i): level(last) for i, level in enumerate(self.levels)}
        return maps | {"pool": F.max_pool2d(maps["3"], 1, 2)}  # stride 64: every second cell


def vitdet(arch: str, n_classes: int, imgsz: int, conf: float) -> nn.Module:
    """Faster R-CNN on a vision transformer, with two and four convolutions in its heads."""
    backbone, width = VITDET[arch]
    # positions are embedded for fields of ``pretrain_image_size``; for others they are interpolated
    config = VitDetConfig(**backbone, use_relative_position_embeddings=True)
    pooled = (width, two_stage.POOLED, two_stage.POOLED)  # a region's features (C, 7, 7)
    return two_stage.two_stage(
        SimplePyramid(config, width), imgsz, conf, "tiny" in arch,
        box_head=FastRCNNConvFCHead(pooled, [width] * 4, [4 * width], LayerNorm2d),
        rpn_head=RPNHead(width, len(two_stage.RATIOS), conv_depth=2),
        box_predictor=FastRCNNPredictor(4 * width, n_classes + 1),
    )  # fmt: skip


def build(arch: str, n_classes: int, imgsz: int, conf: float = 0.001) -> nn.Module:
    """A network with random weights; images are brought to ``imgsz`` pixels inside.

    RT-DETR stretches them to a square (its design); ViTDet brings the longer side to ``imgsz``."""
    loop.check_name("transformers", arch, ARCHITECTURES)
    return (RTDetr if arch in RTDETR else vitdet)(arch, n_classes, imgsz, conf)


def recipe(arch: str, imgsz: int) -> loop.Recipe:
    """How ``engines/loop.py`` trains an architecture; ViTDet keeps label 0 for the background."""
    if arch in RTDETR:
        return loop.Recipe(LEARNING_RATE["rtdetr"], bf16_parts=lambda m: [m.net.model.backbone])
    rate = LEARNING_RATE["vitdet"]
    return loop.Recipe(rate, 1, groups=layerwise, bf16_parts=two_stage.bf16_parts)


def layerwise(model: Any, lr: float) -> list[dict[str, Any]]:
    """A ViTDet's parameters, a group a layer: the deeper in the backbone, the lower its rate."""
    vit = model.backbone.vit
    blocks = [vit.embeddings, *vit.encoder.layer]  # the first is ``len(blocks)`` steps below
    groups: list[dict[str, Any]] = [
        {"params": list(block.parameters()), "lr": lr * LAYER_DECAY ** (len(blocks) - i)}
        for i, block in enumerate(blocks)
    ]
    grouped = {id(p) for group in groups for p in group["params"]}
    rest = [p for p in model.parameters() if id(p) not in grouped]  # pyramid and heads: the rate
    return [{"params": rest, "lr": lr}, *groups]


ENGINE = loop.Engine("transformers", build, recipe)
fit = ENGINE.fit
detector = ENGINE.detector
