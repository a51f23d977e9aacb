"""The torchvision engine: Faster R-CNN, SSD and RetinaNet as the compared systems of Table 4 used them.

What the paper leaves open, and what is done here: the networks start from random weights (no download) and their
anchors are made for small particles (torchvision's are for the objects of COCO). How they train: ``engines/loop.py``.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from torch import nn
from torchvision.models import detection, resnet18
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from openurine_lib.inference import MAX_DETECTIONS
from openurine_lib.training.engines import loop, needed_by, two_stage
from openurine_lib.training.job import TrainJob
from openurine_lib.training.weights import read_weights

#: AdamW's, from random weights, by family.
LEARNING_RATE = {"fasterrcnn": 3e-4, "ssd": 1e-3, "retinanet": 3e-4}
SSD_SCALES = [
    0.03,
    0.06,
    0.12,
    0.25,
    0.4,
    0.7,
    1.0,
]  # sides of the default boxes, as parts of the image's
OURS = "retinanet_resnet18_fpn"  # the only one that torchvision has no builder for
ARCHITECTURES = (
    *("fasterrcnn_resnet50_fpn_v2", "fasterrcnn_mobilenet_v3_large_320_fpn", "ssd300_vgg16"),
    *(
        "ssdlite320_mobilenet_v3_large",
        "retinanet_resnet50_fpn_v2",
        OURS,
        *two_stage.DFPN,
        *two_stage.RESTORED,
    ),
)


def build(arch: str, n_classes: int, imgsz: int, conf: float = 0.001) -> nn.Module:
    """A network with random weights for ``n_classes`` classes; images are brought to ``imgsz`` pixels inside.

    SSD stretches to a square (its design); the others bring the longer side to ``imgsz``. ``ssd300_vgg16`` needs about
    300 pixels or more. Raises ValueError for a name that is not in ``ARCHITECTURES``.
    """
    if arch not in ARCHITECTURES:
        raise ValueError(f"no torchvision detector {arch!r}; known are {', '.join(ARCHITECTURES)}")
    if arch in two_stage.DFPN or arch in two_stage.RESTORED:
        return (two_stage.dfpn if arch in two_stage.DFPN else two_stage.vgg)(
            arch, n_classes, imgsz, conf
        )
    if arch == OURS:
        # 128 channels where torchvision's builder has 256: the heads, not the backbone, are what costs time
        levels, channels = {"layer2": "0", "layer3": "1", "layer4": "2"}, [128, 256, 512]
        pyramid = BackboneWithFPN(
            resnet18(weights=None), levels, channels, 128, LastLevelP6P7(128, 128)
        )
        model = detection.RetinaNet(pyramid, n_classes, detections_per_img=MAX_DETECTIONS)
        model.anchor_generator = AnchorGenerator([(s, s * 5 // 4, s * 8 // 5) for s in (32, 64, 128, 256, 512)],
                                                 [(0.5, 1.0, 2.0)] * 5)  # fmt: skip
    else:
        # torchvision's settings for 320 pixels drop most proposals of a young network; 128 samples train faster
        few = {"rpn_score_thresh": 0.0, "rpn_pre_nms_top_n_test": 1000, "rpn_post_nms_top_n_test": MAX_DETECTIONS,
               "box_batch_size_per_image": 128}  # fmt: skip
        limit = "box_detections_per_img" if arch.startswith("fasterrcnn") else "detections_per_img"
        options = {limit: MAX_DETECTIONS} | (few if arch.endswith("320_fpn") else {})
        model = getattr(detection, arch)(
            weights=None, weights_backbone=None, num_classes=n_classes + background(arch), **options
        )
    if arch.startswith("ssd"):
        model.anchor_generator = DefaultBoxGenerator(
            model.anchor_generator.aspect_ratios, scales=SSD_SCALES
        )
        model.transform.fixed_size = (imgsz, imgsz)
    else:
        model.transform.min_size, model.transform.max_size = (imgsz,), imgsz
        anchors = (
            model.rpn.anchor_generator if arch.startswith("fasterrcnn") else model.anchor_generator
        )
        halved = AnchorGenerator(
            [[s / 2 for s in level] for level in anchors.sizes], anchors.aspect_ratios
        )
        anchors.cell_anchors = halved.cell_anchors
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1  # SSDlite's 0.03 is made for hundreds of thousands of steps
    scoring = model.roi_heads if arch.startswith("fasterrcnn") else model
    scoring.score_thresh = conf
    return model


def background(arch: str) -> int:
    """How many label ids stand before the first class: Faster R-CNN and SSD keep 0 for the background."""
    return 0 if arch.startswith("retinanet") else 1


def fit(job: TrainJob) -> Path:
    """Trains, or finishes an interrupted training. Returns ``job.dir / "weights.pt"``; errors as ``loop.fit``'s."""

    def network() -> nn.Module:
        model: Any = build(job.arch, job.taxonomy.n, job.imgsz)
        two_stages = hasattr(model, "rpn")
        heads = [model.rpn.head, model.roi_heads.box_head] if two_stages else [model.head]
        loop.in_bf16(job.device, model.backbone, *heads)
        return model

    lr = next(rate for family, rate in LEARNING_RATE.items() if job.arch.startswith(family))
    return loop.fit(
        job, "torchvision", network, lr, background(job.arch), _prepare(job.arch, job.imgsz)
    )


def detector(weights: Path, conf: float, device: str, imgsz: int) -> loop.Detector:
    """The trained detector behind sahi's door; ``imgsz``: the size (pixels) that images or slices are brought to.

    Raises WeightsError for a file of another engine, or none of ours.
    """
    content = read_weights(weights, "torchvision")
    arch, classes = content["meta"]["arch"], content["meta"]["classes"]
    model, prepare = build(arch, len(classes), imgsz, conf), _prepare(arch, imgsz)
    return loop.detector(content, model, conf, device, imgsz, background(arch), prepare)


def _prepare(arch: str, imgsz: int) -> loop.Prepare | None:
    """What is done to a field before the network sees it, in training and in prediction alike."""
    if arch not in two_stage.RESTORED:
        return None
    with needed_by(arch):
        from openurine_lib.training.engines.restoration import restored
    return functools.partial(restored, imgsz=imgsz)
