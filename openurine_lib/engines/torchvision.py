"""The torchvision engine: Faster R-CNN, SSD and RetinaNet as the compared systems of Table 4 used them.

What the paper leaves open, and what is done here: the networks start from random weights (no download), their anchors
are made for small particles (torchvision's are for the objects of COCO), and since Table 3 was searched for YOLO12,
these take from it what is not a matter of the network (batch, epochs, colour jitter, flips, weight decay, warm-up and
decay), but an optimizer and a learning rate of their own. Augmentation is flips and colour; no mosaic.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sahi.models.torchvision import TorchVisionDetectionModel
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.models import detection, resnet18
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.transforms import v2
from tqdm.auto import tqdm

from openurine_lib.cpu import cpu_bf16, ready_for, to_float
from openurine_lib.engines import DETECTOR, MAX_DETECTIONS, TrainJob, WeightsError, fill, read_weights
from openurine_lib.inference import read_rgb
from openurine_lib.provenance import atomic_path

#: AdamW's, from random weights, by family. With Table 3's SGD the loss falls several times more slowly.
LEARNING_RATE = {"fasterrcnn": 3e-4, "ssd": 1e-3, "retinanet": 3e-4}
CLIP = 5.0  # norm of the gradients
SSD_SCALES = [0.03, 0.06, 0.12, 0.25, 0.4, 0.7, 1.0]  # sides of the default boxes, as parts of the image's
OURS = "retinanet_resnet18_fpn"  # the only one that torchvision has no builder for
ARCHITECTURES = (
    *("fasterrcnn_resnet50_fpn_v2", "fasterrcnn_mobilenet_v3_large_320_fpn", "ssd300_vgg16"),
    *("ssdlite320_mobilenet_v3_large", "retinanet_resnet50_fpn_v2", OURS),
)


def build(arch: str, n_classes: int, imgsz: int, conf: float = 0.001) -> nn.Module:
    """A network with random weights for ``n_classes`` classes; images are brought to ``imgsz`` pixels inside.

    SSD stretches to a square (its design); the others bring the longer side to ``imgsz``. ``ssd300_vgg16`` needs about
    300 pixels or more. Raises ValueError for a name that is not in ``ARCHITECTURES``.
    """
    if arch not in ARCHITECTURES:
        raise ValueError(f"no torchvision detector {arch!r}; known are {', '.join(ARCHITECTURES)}")
    if arch == OURS:
        # 128 channels where torchvision's builder has 256: the heads, not the backbone, are what costs time
        levels, channels = {"layer2": "0", "layer3": "1", "layer4": "2"}, [128, 256, 512]
        pyramid = BackboneWithFPN(resnet18(weights=None), levels, channels, 128, LastLevelP6P7(128, 128))
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
        model.anchor_generator = DefaultBoxGenerator(model.anchor_generator.aspect_ratios, scales=SSD_SCALES)
        model.transform.fixed_size = (imgsz, imgsz)
    else:
        model.transform.min_size, model.transform.max_size = (imgsz,), imgsz
        anchors = model.rpn.anchor_generator if arch.startswith("fasterrcnn") else model.anchor_generator
        halved = AnchorGenerator([[s / 2 for s in level] for level in anchors.sizes], anchors.aspect_ratios)
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


class Fields(Dataset):
    """The job's fields for torchvision: image float (3, H, W) in 0..1, and boxes (N, 4) xyxy with labels (N,)."""

    def __init__(self, job: TrainJob):
        s = job.settings
        self.rows = list(job.images.itertuples())
        self.boxes = dict(tuple(job.boxes.groupby("image")))
        self.shift = background(job.arch)
        self.transform = v2.Compose([
            v2.Resize(None, max_size=job.imgsz, antialias=False),  # as the network's own resizing at prediction
            v2.RandomHorizontalFlip(s["fliplr"]),
            v2.ColorJitter(brightness=s["hsv_v"], saturation=s["hsv_s"], hue=s["hsv_h"]),
            v2.ToDtype(torch.float32, scale=True),
            v2.ClampBoundingBoxes(),
            v2.SanitizeBoundingBoxes(min_size=1),
        ])  # fmt: skip

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        image = tv_tensors.Image(read_rgb(self.rows[i].path).transpose(2, 0, 1).copy())
        own = self.boxes.get(self.rows[i].image)
        xyxy = np.zeros((0, 4)) if own is None else own[["x1", "y1", "x2", "y2"]].to_numpy()
        labels = np.zeros(0) if own is None else own.cls.to_numpy() + self.shift
        corners = torch.tensor(xyxy, dtype=torch.float32)
        boxes = tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=image.shape[-2:])  # type: ignore[call-overload]
        return self.transform(image, {"boxes": boxes, "labels": torch.tensor(labels, dtype=torch.int64)})


def fit(job: TrainJob) -> Path:
    """Trains, or finishes an interrupted training. Returns ``job.dir / "weights.pt"``.

    A checkpoint is left after each epoch; chance is a function of seed and epoch, so a killed and resumed training ends
    with the same weights as an undisturbed one (on a processor; a GPU's kernels add noise of their own).

    Raises:
        WeightsError: the folder holds the checkpoint of another training.
        FloatingPointError: the loss is no longer a number.
    """
    job.dir.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(job.seed)
    device = torch.device(job.device)
    ready_for(device)
    model = build(job.arch, job.taxonomy.n, job.imgsz).to(device).train()
    if device.type == "cuda" or cpu_bf16():
        _in_bf16(model)
    batch, fields = job.settings["batch"], Fields(job)
    # one image alone is too little for the batch statistics of SSD's last, one-pixel map
    loader = DataLoader(fields, batch, shuffle=True, drop_last=len(fields) > batch, collate_fn=_collate)
    optimizer, scheduler = _optimizer(model, job, steps=len(loader))
    rows = _resume(job, model, optimizer, scheduler)
    total, done = job.epochs * len(loader), len(rows) * len(loader)
    with tqdm(total=total, initial=done, desc=f"train {job.arch}", unit="batch") as bar:
        for epoch in range(len(rows), job.epochs):
            torch.manual_seed((job.seed * 1_000_003 + epoch) % 2**32)  # shuffling, augmentation, sampling of proposals
            sums: dict[str, float] = {}
            for images, targets in loader:
                images = [image.to(device) for image in images]
                targets = [{k: v.to(device) for k, v in target.items()} for target in targets]
                losses = model(images, targets)
                loss = sum(losses.values())
                if not torch.isfinite(loss):
                    raise FloatingPointError(f"{job.arch}: loss {loss} in epoch {epoch + 1}; lower LEARNING_RATE")
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), CLIP)
                optimizer.step()
                scheduler.step()
                for name, value in {"loss": loss, **losses}.items():
                    sums[name] = sums.get(name, 0.0) + value.item()
                bar.update()
                bar.set_postfix(loss=f"{loss.item():.3g}")
            means = {name: value / len(loader) for name, value in sums.items()}
            rows.append({"epoch": epoch + 1, **means, "lr": float(scheduler.get_last_lr()[0])})
            _write_log(job.dir / "log.csv", rows)
            parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
            state = {name: part.state_dict() for name, part in parts.items()}
            _save({**state, "rows": rows, "meta": _meta(job)}, job.dir / "state.pt")
    _save({"state_dict": model.state_dict(), "meta": job.meta | _meta(job)}, job.dir / "weights.pt")
    (job.dir / "state.pt").unlink(missing_ok=True)
    return job.dir / "weights.pt"


def detector(weights: Path, conf: float, device: str, imgsz: int) -> Detector:
    """The trained detector behind sahi's door; ``imgsz``: the size (pixels) that images or slices are brought to.

    Raises WeightsError for a file of another engine, or none of ours.
    """
    content = read_weights(weights, DETECTOR)
    meta = content["meta"]
    if meta["engine"] != "torchvision":
        raise WeightsError(f"{weights} belongs to the {meta['engine']} engine")
    model = build(meta["arch"], len(meta["classes"]), imgsz, conf)
    fill(model, content["state_dict"], weights)
    names = {str(i): name for i, name in enumerate(meta["classes"])}
    found = Detector(model=model, confidence_threshold=conf, device=device, image_size=imgsz, category_mapping=names)
    found.shift = background(meta["arch"])
    return found


class Detector(TorchVisionDetectionModel):
    """sahi's wrapper for torchvision, with our resizing (its own replaces the network's) and our class ids."""

    shift: int

    def perform_inference(self, image: np.ndarray, image_size: int | None = None) -> None:
        """image: uint8 (H, W, 3) RGB."""
        pixels = torch.from_numpy(image).to(self.device).permute(2, 0, 1).float() / 255
        with torch.inference_mode():
            found = self.model([pixels])
        self._original_predictions = [{**one, "labels": one["labels"] - self.shift} for one in found]


def _optimizer(model: nn.Module, job: TrainJob, steps: int) -> tuple[Optimizer, LambdaLR]:
    """AdamW, with a linear warm-up, then a linear decay to ``lrf``, by step; ``steps``: of an epoch."""
    s = job.settings
    lr = next(rate for family, rate in LEARNING_RATE.items() if job.arch.startswith(family))
    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=s["weight_decay"])
    total = job.epochs * steps
    warm = min(s["warmup_epochs"] * steps, total / 5) + 1
    shape: Callable[[int], float] = lambda i: min((i + 1) / warm, 1.0) * (1 - (1 - s["lrf"]) * min(i / total, 1.0))  # noqa: E731
    return optimizer, LambdaLR(optimizer, shape)


def _resume(job: TrainJob, *parts: Any) -> list[dict[str, float]]:
    """Puts an interrupted training's state into model, optimizer and scheduler; returns its log."""
    path = job.dir / "state.pt"
    if not path.exists():
        return []
    state = torch.load(path, map_location=job.device, weights_only=True)
    if state["meta"] != _meta(job):
        differs = [k for k, v in _meta(job).items() if state["meta"].get(k) != v]
        what = f"is the checkpoint of another training (other {', '.join(differs)})"
        raise WeightsError(f"{path} {what}; remove it to start anew")
    for part, name in zip(parts, ("model", "optimizer", "scheduler"), strict=True):
        part.load_state_dict(state[name])
    return state["rows"]


def _in_bf16(model: Any) -> None:
    """Backbone and heads compute in bfloat16; anchors, matching and losses, to which a pixel matters, in float32."""
    parts = (
        [model.backbone, model.rpn.head, model.roi_heads.box_head]
        if hasattr(model, "rpn")
        else [model.backbone, model.head]
    )
    for part in parts:
        part.forward = functools.partial(_forward_in_bf16, part.forward)


def _forward_in_bf16(forward: Callable[..., Any], x: Any) -> Any:
    first = next(iter(x.values())) if isinstance(x, dict) else x[0]
    with torch.autocast(first.device.type, torch.bfloat16):
        return to_float(forward(x))


def _collate(batch: list[Any]) -> tuple[Any, ...]:
    return tuple(zip(*batch, strict=True))


def _meta(job: TrainJob) -> dict[str, Any]:
    return {
        "engine": "torchvision", "arch": job.arch, "heads": job.heads, "imgsz": job.imgsz, "epochs": job.epochs,
        "seed": job.seed, "classes": list(job.taxonomy.classes), "taxonomy": job.taxonomy.name,
        "head_classes": {k: list(v) for k, v in job.taxonomy.heads.items()},
    }  # fmt: skip


def _save(content: dict[str, Any], path: Path) -> None:
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def _write_log(path: Path, rows: list[dict[str, float]]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
