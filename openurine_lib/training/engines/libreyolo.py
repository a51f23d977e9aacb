"""The libreyolo engine: YOLOX and YOLOv7, and what three systems of Table 4 made of them.

Networks and losses are libreyolo's (importing them opens no connection and writes nothing).
``engines/loop.py`` trains them, since libreyolo's trainer resumes from pickled objects and chooses
weights on a validation set. What the authors leave open, and what is done here:

- YUS-Net (Lyu et al. 2023, https://doi.org/10.1016/j.bbe.2023.09.003): YOLOX, "the attention
  module" on "the critical feature transfer path", varifocal loss. Here: CBAM on the three maps that
  go from backbone to neck; varifocal instead of cross-entropy for classes and objectness.
- Komori et al. 2023: YOLOv7 with attention modules in the backbone. Here: CBAM behind each of its
  four ELAN blocks.
- KD-YOLOX-ViT (as Naznine et al. 2025 name it; https://arxiv.org/abs/2403.09313, and its authors'
  github.com/remaro-network/KD-YOLOX-ViT): the backbone's last stage ends in a transformer with four
  heads, and a larger network of the same design teaches: L = hard + soft / 2. The soft loss is
  theirs (``_distance``) but for two oddities of their code: it takes the student's objectness
  through the sigmoid twice, and softmax along a row of the map instead of over the classes.

All three: AdamW, no mosaic; YOLOX with the L1 term that its authors use once mosaic is off.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml
from libreyolo.models.yolo7.loss import YOLOv7Loss
from libreyolo.models.yolo7.net import _V7_YAML, YOLOv7Model
from libreyolo.models.yolox.nn import LibreYOLOXModel
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import batched_nms, box_convert, clip_boxes_to_image
from ultralytics.nn.modules.block import C3TR
from ultralytics.nn.modules.conv import CBAM
from ultralytics.utils.loss import VarifocalLoss

from openurine_lib.inference import MAX_DETECTIONS
from openurine_lib.training.engines import loop
from openurine_lib.training.engines.composed import train_part
from openurine_lib.training.job import TrainJob
from openurine_lib.training.weights import read_weights

BOX_GAIN = 5.0  # YOLOX's weight of the loss of boxes
SOFT = 0.5  # weight of what the teacher says
LEARNING_RATE = 1e-3  # AdamW's, from random weights
NANO_RATE = 4e-3  # YOLOX-n's depthwise filters learn slowly
NMS_IOU = 0.65  # YOLOX's
CANDIDATES = 3000  # a slow processor would not get through tens of thousands
TEACHER = {"kd-yolox-vit-s": "yolox-vit-l", "kd-yolox-vit-n": "yolox-vit-t"}
ARCHITECTURES = (
    "yusnet-s", "yusnet-n", "yolov7-cbam", "yolov7-cbam-n",
    "yolox-vit-l", "yolox-vit-t", "kd-yolox-vit-s", "kd-yolox-vit-n",
)  # fmt: skip


class Attended(nn.Module):
    """A YOLOX backbone with a CBAM on each of its maps; dict of (B, C, H, W) out."""

    def __init__(self, backbone: nn.Module, channels: dict[str, int]):
        super().__init__()
        self.backbone = backbone
        self.attention = nn.ModuleDict({name: CBAM(c) for name, c in channels.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {name: self.attention[name](y) for name, y in self.backbone(x).items()}


class Varifocal(VarifocalLoss):
    """ultralytics' varifocal loss (https://arxiv.org/abs/2008.13367) as YOLOX's head calls it."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:  # type: ignore[override]
        # (N, 1): each score by itself
        logits, target = logits.reshape(-1, 1), target.reshape(-1, 1)
        return super().forward(logits, target, (target > 0).float())  # last: where an object is


def yolox(arch: str, n_classes: int) -> LibreYOLOXModel:
    """The YOLOX behind ``yusnet-s``, ``yolox-vit-l`` and the like; the last letter is its size."""
    net = LibreYOLOXModel(arch[-1], n_classes)
    width = net.CONFIGS[arch[-1]]["width"]
    if "vit" in arch:
        stage = net.backbone.backbone.dark5  # stride 32
        channels = int(1024 * width)  # of this stage; 1024 at width 1
        # C3 with a transformer in the place of its convolutions, as many layers deep
        stage[-1] = C3TR(channels, channels, n=len(stage[-1].m))
    else:
        # maps of strides 8, 16 and 32, and their channels
        maps = {f"dark{i}": int(128 * 2 ** (i - 2) * width) for i in (3, 4, 5)}
        net.backbone.backbone = Attended(net.backbone.backbone, maps)
        net.head.bcewithlog_loss = Varifocal()  # of classes and of objectness
    net.head.use_l1 = True
    net.init_weights()
    return net


def yolov7(arch: str, n_classes: int) -> YOLOv7Model:
    """YOLOv7 with CBAM; ``yolov7-cbam-n`` has a quarter of its channels."""
    cfg = yaml.safe_load(_V7_YAML.read_text(encoding="utf-8"))
    backbone = cfg["model"]["backbone"]
    if arch.endswith("-n"):
        for layer in (*backbone, *cfg["model"]["head"]):
            for block in layer.values():  # a layer is a dict: name of the block -> its arguments
                if "out_channels" in block.get("args", {}):
                    block["args"]["out_channels"] //= 4
    with tempfile.TemporaryDirectory() as folder:  # the class reads a file
        path = Path(folder) / "v7.yaml"
        path.write_text(yaml.safe_dump(cfg), encoding="utf-8")
        net = YOLOv7Model(n_classes, path)
    # every second concatenation closes an ELAN block, with a 1 x 1 convolution behind it; the
    # others join two ways of halving the map
    concatenations = [i for i, layer in enumerate(backbone) if "Concat" in layer]
    for i in concatenations[::2]:
        assert net._block_types[i + 1] == "Conv"
        convolution = net.layers[i + 1]
        # as wide as what it attends to
        net.layers[i + 1] = nn.Sequential(convolution, CBAM(convolution.out_channels))
    net.initialize_biases()
    return net


class Network(nn.Module):
    """One of ``ARCHITECTURES``, called as torchvision's detectors are.

    An image's longer side is brought to ``imgsz`` pixels. ``teacher``: a trained network to learn
    from; it is no part of this one's weights.
    """

    def __init__(
        self, arch: str, n_classes: int, imgsz: int, conf: float = 0.001, teacher: Any = None
    ):
        super().__init__()
        loop.check_name("libreyolo", arch, ARCHITECTURES)
        self.v7 = arch.startswith("yolov7")
        self.conf = conf
        self.net = (yolov7 if self.v7 else yolox)(arch, n_classes)
        loop.learn_statistics_faster(self)
        unit = 1.0 if self.v7 else 1 / 255  # YOLOX wants 0..255
        self.transform = GeneralizedRCNNTransform(
            imgsz, imgsz, [0.0] * 3, [unit] * 3, size_divisible=32
        )
        self.teacher = (teacher,)  # in a tuple, nn.Module does not see it

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        """[(3, H, W) in 0..1] -> losses in training, else detections in the images' pixels."""
        sizes = [(image.shape[-2], image.shape[-1]) for image in images]
        batch, scaled = self.transform(images, targets)
        if self.training:
            return self._losses(batch.tensors, _padded(scaled))
        found = [
            self._suppressed(flat, size)  # flat: (A, 4 + C)
            for flat, size in zip(self._decoded(batch.tensors), batch.image_sizes, strict=True)
        ]
        return self.transform.postprocess(found, batch.image_sizes, sizes)  # pixels of the images

    def _losses(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """x: (B, 3, H, W). labels: (B, M, 5), class and cxcywh in pixels, or zeros for no box."""
        if self.v7:
            return _named(self.net.compute_loss(self.net(x), labels))
        head = self.net.head
        outputs, *grid, origins = head.forward_train_maps(self.net.backbone(x))
        hard = _named(head.get_losses(x, *grid, labels, outputs, origins, dtype=x.dtype))
        teacher = self.teacher[0]
        if teacher is None:
            return hard
        return hard | _distance(_levels(outputs, origins), teacher.taught(x))

    @torch.no_grad()
    def taught(self, x: Tensor) -> list[Tensor]:
        """What a teacher says of images (B, 3, H, W): see ``_levels``."""
        outputs, *_, origins = self.net.head.forward_train_maps(self.net.backbone(x))
        return _levels(outputs, origins)

    def _decoded(self, x: Tensor) -> Tensor:
        """x (B, 3, H, W) -> (B, A, 4 + C): boxes cxcywh in pixels, scores in 0..1."""
        if self.v7:
            loss = YOLOv7Loss(self.net.num_classes, self.net.anchors, self.net.strides)
            flat = loss._decode(self.net(x))[0]  # (B, A, 4 + 1 + C)
            scores = flat[..., 4:].sigmoid()
        else:
            self.net.head.export = True  # decodes boxes, and gives scores after the sigmoid
            flat = self.net(x)
            scores = flat[..., 4:]
        # a class's score is the object's times the class's
        return torch.cat((flat[..., :4], scores[..., :1] * scores[..., 1:]), -1)

    def _suppressed(self, flat: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        """(A, 4 + C) -> boxes after suppression within a class, one class a box, best first."""
        scores, labels = flat[:, 4:].max(1)  # (A,) each: the best class
        best = scores.topk(min(CANDIDATES, len(scores))).indices
        best = best[scores[best] > self.conf]
        # clipped, as boxes may reach into the padding
        boxes = clip_boxes_to_image(box_convert(flat[best, :4], "cxcywh", "xyxy"), size)
        # batched: boxes of different classes do not suppress each other
        left = batched_nms(boxes, scores[best], labels[best], NMS_IOU)[:MAX_DETECTIONS]
        best = best[left]
        return {"boxes": boxes[left], "scores": scores[best], "labels": labels[best]}


def _levels(outputs: Tensor, origins: list[Tensor]) -> list[Tensor]:
    """YOLOX's raw output, level by level: (B, A_l, 4 + 1 + C), box, logits of object and classes.

    outputs: (B, A, 4 + 1 + C) of all levels, boxes decoded. origins: (B, A_l, 4), not decoded.
    """
    raw = torch.cat((torch.cat(origins, 1), outputs[..., 4:]), -1)
    return list(raw.split([level.shape[1] for level in origins], 1))


def _distance(student: list[Tensor], teacher: list[Tensor]) -> dict[str, Tensor]:
    """The soft loss between two raw outputs (``_levels``), a mean over levels.

    Squared error of boxes, cross-entropy of objectness, divergence of the classes' softmax.
    """
    losses: dict[str, list[Tensor]] = {"soft_iou": [], "soft_obj": [], "soft_cls": []}
    for ours, theirs in zip(student, teacher, strict=True):
        sees = theirs[..., 4].sigmoid()
        shares, wanted = (level[..., 5:].log_softmax(-1) for level in (ours, theirs))
        losses["soft_iou"].append(BOX_GAIN * F.mse_loss(ours[..., :4], theirs[..., :4]))
        losses["soft_obj"].append(F.binary_cross_entropy_with_logits(ours[..., 4], sees))
        apart = F.kl_div(shares, wanted, reduction="none", log_target=True)
        losses["soft_cls"].append(apart.mean())
    return {name: SOFT * torch.stack(levels).mean() for name, levels in losses.items()}


def _padded(targets: list[dict[str, Tensor]]) -> Tensor:
    """(B, M, 5): class and cxcywh, with rows of zeros for images that have fewer boxes."""
    rows = [
        torch.cat((t["labels"][:, None], box_convert(t["boxes"], "xyxy", "cxcywh")), 1)
        for t in targets
    ]
    padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)  # (B, M, 5)
    # at least one row, as the losses expect
    return padded if padded.shape[1] else padded.new_zeros(len(rows), 1, 5)


def _named(losses: dict[str, Any]) -> dict[str, Tensor]:
    """The parts of libreyolo's loss, without their sum and what is no tensor."""
    return {
        name.removesuffix("_loss"): loss
        for name, loss in losses.items()
        if name.endswith("_loss") and name != "total_loss" and isinstance(loss, Tensor)
    }


build = Network  # of (arch, n_classes, imgsz)


def recipe(arch: str, imgsz: int) -> loop.Recipe:
    """How ``engines/loop.py`` trains an architecture."""
    nano = arch.endswith("-n") and not arch.startswith("yolov7")
    return loop.Recipe(NANO_RATE if nano else LEARNING_RATE, bf16_parts=_bf16_parts)


def _bf16_parts(model: Network) -> list[nn.Module]:
    if model.v7:
        return [model.net]
    head = model.net.head
    # YOLOX computes its loss inside the head: only the convolutions before it
    return [model.net.backbone, *head.stems, *head.cls_convs, *head.reg_convs]


ENGINE = loop.Engine("libreyolo", build, recipe)
detector = ENGINE.detector


def fit(job: TrainJob) -> Path:
    """Trains; first the teacher, in ``job.dir / "teacher"``, if the architecture has one."""
    if job.arch not in TEACHER:
        return ENGINE.fit(job)
    arch = TEACHER[job.arch]
    content = read_weights(train_part(job, "teacher", "libreyolo", arch))
    teacher = Network(arch, job.taxonomy.n, job.imgsz)
    # in evaluation mode: its batch norms must not follow the student's batches
    teacher.load_state_dict(content["state_dict"])
    return ENGINE.fit(job, teacher=teacher.to(job.device).eval())
