"""The torchvision engine: Faster R-CNN, SSD and RetinaNet as compared systems of Table 4 used them.

What the paper leaves open, and what is done here: the networks start from random weights (no
download), and their anchors are made for small particles (torchvision's are for the objects of
COCO). ``engines/loop.py`` trains them.
"""

from __future__ import annotations

import functools
from typing import Any

from torch import nn
from torchvision.models import detection, resnet18
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from openurine_lib.inference import MAX_DETECTIONS
from openurine_lib.training.engines import loop, needed_by, two_stage

#: AdamW's, from random weights, by family.
LEARNING_RATE = {"fasterrcnn": 3e-4, "ssd": 1e-3, "retinanet": 3e-4}
SSD_SCALES = [0.03, 0.06, 0.12, 0.25, 0.4, 0.7, 1.0]  # default boxes' sides, of the image's
OURS = "retinanet_resnet18_fpn"  # the only one that torchvision has no builder for
ARCHITECTURES = (
    "fasterrcnn_resnet50_fpn_v2", "fasterrcnn_mobilenet_v3_large_320_fpn", "ssd300_vgg16",
    "ssdlite320_mobilenet_v3_large", "retinanet_resnet50_fpn_v2", OURS,
    *two_stage.DFPN, *two_stage.RESTORED,
)  # fmt: skip


def build(arch: str, n_classes: int, imgsz: int, conf: float = 0.001) -> nn.Module:
    """A network with random weights; images are brought to ``imgsz`` pixels inside.

    SSD stretches them to a square (its design), of about 300 pixels or more for ``ssd300_vgg16``;
    the others bring the longer side to ``imgsz``.
    """
    loop.check_name("torchvision", arch, ARCHITECTURES)
    if arch in two_stage.DFPN:
        return two_stage.dfpn(arch, n_classes, imgsz, conf)
    if arch in two_stage.RESTORED:
        return two_stage.on_restored(arch, n_classes, imgsz, conf)
    model = _retinanet(n_classes) if arch == OURS else _stock(arch, n_classes)
    if arch.startswith("ssd"):
        ratios = model.anchor_generator.aspect_ratios
        # torchvision's begin at 0.07 and 0.15: too large for most particles
        model.anchor_generator = DefaultBoxGenerator(ratios, scales=SSD_SCALES)
        model.transform.fixed_size = (imgsz, imgsz)
    else:
        model.transform.min_size = (imgsz,)
        model.transform.max_size = imgsz
        generator = model.rpn.anchor_generator if _two_stages(model) else model.anchor_generator
        sizes = [[side / 2 for side in level] for level in generator.sizes]  # for small particles
        # as many anchors a cell as before, so the heads' outputs fit
        generator.cell_anchors = AnchorGenerator(sizes, generator.aspect_ratios).cell_anchors
    loop.learn_statistics_faster(model)
    # the last stage is the one that drops boxes below the confidence
    (model.roi_heads if _two_stages(model) else model).score_thresh = conf
    return model


def _retinanet(n_classes: int) -> Any:
    """RetinaNet on ResNet-18 with 128 channels, where torchvision's has 256: heads cost time."""
    levels = {"layer2": "0", "layer3": "1", "layer4": "2"}
    pyramid = BackboneWithFPN(
        resnet18(weights=None), levels, [128, 256, 512], 128, LastLevelP6P7(128, 128)
    )
    model = detection.RetinaNet(pyramid, n_classes, detections_per_img=MAX_DETECTIONS)
    # three sizes a level, a third of an octave apart, as in the publication; ``build`` halves them
    sizes = [(side, side * 5 // 4, side * 8 // 5) for side in (32, 64, 128, 256, 512)]
    model.anchor_generator = AnchorGenerator(sizes, [(0.5, 1.0, 2.0)] * 5)
    return model


def _stock(arch: str, n_classes: int) -> Any:
    """A network of torchvision's own builders."""
    # one limit, two names
    limit = "box_detections_per_img" if arch.startswith("fasterrcnn") else "detections_per_img"
    options: dict[str, Any] = {limit: MAX_DETECTIONS}
    if arch.endswith("320_fpn"):
        # its settings drop most proposals of a young network; 128 samples train faster
        options |= {"rpn_score_thresh": 0.0, "rpn_pre_nms_top_n_test": 1000,
                    "rpn_post_nms_top_n_test": MAX_DETECTIONS,
                    "box_batch_size_per_image": 128}  # fmt: skip
    n_labels = n_classes + _background(arch)
    return getattr(detection, arch)(
        weights=None, weights_backbone=None, num_classes=n_labels, **options
    )


def _background(arch: str) -> int:
    """How many labels stand before the first class: Faster R-CNN and SSD keep 0 for background."""
    return 0 if arch.startswith("retinanet") else 1


def _two_stages(model: Any) -> bool:
    return hasattr(model, "rpn")


def recipe(arch: str, imgsz: int) -> loop.Recipe:
    """How ``engines/loop.py`` trains an architecture."""
    rate = next(rate for family, rate in LEARNING_RATE.items() if arch.startswith(family))
    prepare = None
    if arch in two_stage.RESTORED:
        with needed_by(arch):
            from openurine_lib.training.engines.restoration import restored
        prepare = functools.partial(restored, imgsz=imgsz)
    return loop.Recipe(rate, _background(arch), prepare, _bf16_parts)


def _bf16_parts(model: Any) -> list[nn.Module]:
    return two_stage.bf16_parts(model) if _two_stages(model) else [model.backbone, model.head]


ENGINE = loop.Engine("torchvision", build, recipe)
fit = ENGINE.fit
detector = ENGINE.detector
