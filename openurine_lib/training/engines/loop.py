"""The training loop and the adapter to sahi of the engines whose libraries bring no trainer.

They serve any network that behaves as torchvision's detectors do: in training
``model(images, targets)`` gives a dict of losses, whose sum is minimised; in evaluation
``model(images)`` gives boxes, labels and scores in the images' pixels. An engine's own module says
only how to build its networks, and gives a ``Recipe`` for each.

What the paper leaves open for these networks, and what is done here: Table 3 was searched for
YOLO12, so they take from it what does not depend on the network (batch, epochs, colour jitter,
flips, weight decay, warm-up and decay), but use AdamW and a learning rate of their own: with
Table 3's SGD the loss falls several times more slowly. Augmentation is flips and colour; there is
no mosaic. Nothing is validated while training; the last weights are kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sahi.models.torchvision import TorchVisionDetectionModel
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from tqdm.auto import tqdm

from openurine_lib.data.boxes import XYXY
from openurine_lib.data.images import read_rgb
from openurine_lib.files import atomic_path, epoch_seed
from openurine_lib.speed.processor import cpu_bf16, ready_for, to_float
from openurine_lib.training.coco_weights import load_matching
from openurine_lib.training.engines import sahi_adapter
from openurine_lib.training.job import TrainJob
from openurine_lib.training.sampling import sampler_of
from openurine_lib.training.weights import Checkpoint, WeightsError, fill, read_weights, write_log

CLIP = 5.0  # norm of the gradients
#: A field uint8 (H, W, 3) -> the same field, perhaps of another size.
Prepare = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Recipe:
    """What the loop must know of an architecture besides its network."""

    lr: float  # AdamW's, from random weights
    first_label: int = 0  # of class 0; 1 where the network keeps 0 for the background
    prepare: Prepare | None = None  # done to a field before the network sees it, and sets its size
    # Parts of the network that may compute in bfloat16. Backbones and heads belong here; anchors,
    # matching and losses, to which a pixel matters, do not.
    bf16_parts: Callable[[Any], Sequence[nn.Module]] = lambda model: ()
    # a pretrained network's parameters in groups with rates of their own: of (network, lr)
    groups: Callable[[Any, float], list[dict[str, Any]]] | None = None


@dataclass(frozen=True)
class Engine:
    """``fit`` and ``detector`` of an engine."""

    name: str
    build: Callable[..., nn.Module]  # (arch, n_classes, imgsz, conf)
    recipe: Callable[[str, int], Recipe]  # (arch, imgsz)

    def fit(self, job: TrainJob, **options: Any) -> Path:
        """Trains, or finishes an interrupted training. Returns ``job.dir / "weights.pt"``.

        Chance is a function of seed and epoch, so a resumed training ends with the weights of an
        undisturbed one (on a processor; a GPU's kernels add noise). ``options`` go to ``build``.

        Raises:
            WeightsError: the folder holds the checkpoint of another training.
            FloatingPointError: the loss is no longer a number.
        """
        job.dir.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(job.seed)  # for the first weights
        device = torch.device(job.device)
        ready_for(device)
        recipe = self.recipe(job.arch, job.imgsz)
        model = self.build(job.arch, job.taxonomy.n, job.imgsz, **options)
        if device.type == "cuda" or cpu_bf16():
            for part in recipe.bf16_parts(model):
                in_bf16(part, device.type)
        if job.pretrained is not None:
            job.meta["pretrained"] = load_matching(model, job.pretrained)
        model = model.to(device).train()
        batch = job.settings["batch"]
        fields = Fields(job, recipe.first_label, recipe.prepare)
        # one image alone is too little for the batch statistics of a last, one-pixel map
        drop_last = len(fields) > batch
        sampler = sampler_of(job)
        loader = DataLoader(
            fields, batch, shuffle=sampler is None, sampler=sampler, drop_last=drop_last,
            collate_fn=_collate,
        )  # fmt: skip
        grouped = recipe.groups if job.pretrained else None
        optimizer = torch.optim.AdamW(
            grouped(model, recipe.lr) if grouped else model.parameters(),
            recipe.lr, weight_decay=job.settings["weight_decay"],
        )  # fmt: skip
        scheduler = _warm_up_and_decay(optimizer, job, steps=len(loader))
        identity = job.described(self.name) | {"seed": job.seed}
        checkpoint = Checkpoint(
            job.dir, job.signature(), job.device,
            model=model, optimizer=optimizer, scheduler=scheduler,
        )  # fmt: skip
        rows = _resume(checkpoint, identity)
        bar = tqdm(
            total=job.epochs * len(loader), initial=len(rows) * len(loader),
            desc=f"train {job.arch}", unit="batch",
        )  # fmt: skip
        for epoch in range(len(rows), job.epochs):
            # for shuffling, augmentation, and the sampling of proposals
            torch.manual_seed(epoch_seed(job.seed, epoch))
            if sampler is not None:
                sampler.set_epoch(epoch)
            sums: dict[str, float] = {}
            for images, targets in loader:
                images = [image.to(device) for image in images]  # (3, H, W), of different sizes
                targets = [{k: v.to(device) for k, v in target.items()} for target in targets]
                losses = model(images, targets)
                loss = sum(losses.values())
                if not torch.isfinite(loss):
                    raise FloatingPointError(
                        f"{job.arch}: loss {loss} in epoch {epoch + 1}; lower its learning rate"
                    )
                optimizer.zero_grad()
                loss.backward()
                # one odd batch must not undo the rest
                nn.utils.clip_grad_norm_(model.parameters(), CLIP)
                optimizer.step()
                scheduler.step()  # after each step, not each epoch
                for name, value in {"loss": loss, **losses}.items():
                    sums[name] = sums.get(name, 0.0) + value.item()
                bar.update()
                bar.set_postfix(loss=f"{loss.item():.3g}")
            means = {name: value / len(loader) for name, value in sums.items()}
            rows.append({"epoch": epoch + 1, **means, "lr": float(scheduler.get_last_lr()[0])})
            write_log(job.dir / "log.csv", rows)
            checkpoint.save(rows, meta=identity)
        bar.close()
        # what ``prepare`` made of the fields
        shutil.rmtree(job.dir / "prepared", ignore_errors=True)
        return checkpoint.finish(model.state_dict(), job.meta | identity)

    def detector(self, weights: Path, conf: float, device: str, imgsz: int) -> Detector:
        """The trained network as sahi calls it."""
        content = read_weights(weights, self.name)
        meta = content["meta"]
        recipe = self.recipe(meta["arch"], imgsz)
        model = self.build(meta["arch"], len(meta["classes"]), imgsz, conf)
        fill(model, content["state_dict"], weights)
        detector = sahi_adapter(Detector, model, meta["classes"], conf, device, imgsz)
        detector.recipe = recipe
        return detector


class Fields(Dataset):
    """The job's fields: image float (3, H, W) in 0..1, and boxes (N, 4) xyxy with labels (N,).

    The longer side is ``imgsz``, unless ``prepare`` sets the size. What it made of a field is kept
    in ``job.dir`` as long as the training lasts.
    """

    def __init__(self, job: TrainJob, first_label: int = 0, prepare: Prepare | None = None):
        self.first_label = first_label
        self.prepare = prepare
        self.prepared = job.dir / "prepared" / job.signature()[:12]  # of this training alone
        self.rows = list(job.images.itertuples())
        self.boxes = dict(tuple(job.boxes.groupby("image")))
        self.no_boxes = job.boxes.iloc[:0]  # for a field without objects
        s = job.settings
        self.transform = v2.Compose([
            # as the network's own resizing at prediction
            v2.Identity() if prepare else v2.Resize(None, max_size=job.imgsz, antialias=False),
            v2.RandomHorizontalFlip(s["fliplr"]),
            v2.ColorJitter(brightness=s["hsv_v"], saturation=s["hsv_s"], hue=s["hsv_h"]),
            v2.ToDtype(torch.float32, scale=True),
            v2.ClampBoundingBoxes(),
            v2.SanitizeBoundingBoxes(min_size=1),  # drops what the edge has left too thin
        ])  # fmt: skip

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        row = self.rows[i]
        image = tv_tensors.Image(self._pixels(i).transpose(2, 0, 1).copy())  # (3, H, W)
        truth = self.boxes.get(row.image, self.no_boxes)
        xyxy = truth[XYXY].to_numpy(float)
        # from the original's pixels to those of the resized field
        corners = torch.tensor(xyxy, dtype=torch.float32) * (image.shape[-1] / row.width)
        boxes = tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=image.shape[-2:])  # type: ignore[call-overload]
        labels = torch.tensor(truth.cls.to_numpy(int) + self.first_label, dtype=torch.int64)
        return self.transform(image, {"boxes": boxes, "labels": labels})

    def _pixels(self, i: int) -> np.ndarray:
        if self.prepare is None:
            return read_rgb(self.rows[i].path)
        path = self.prepared / f"{i:06d}.png"  # a number, as ids may hold slashes
        if not path.exists():  # once, as it takes seconds a field
            with atomic_path(path) as temporary:
                Image.fromarray(self.prepare(read_rgb(self.rows[i].path))).save(temporary)
        return read_rgb(path)


class Detector(TorchVisionDetectionModel):
    """A trained network as sahi calls it, with its own resizing and our class ids."""

    recipe: Recipe

    def perform_inference(self, image: np.ndarray, image_size: int | None = None) -> None:
        """image: uint8 (H, W, 3) RGB. (sahi's own method would replace the network's resizing.)"""
        prepare = self.recipe.prepare
        seen = prepare(image) if prepare else image
        pixels = torch.from_numpy(seen).to(self.device).permute(2, 0, 1).float() / 255  # (3, H, W)
        with torch.inference_mode():
            found = self.model([pixels])[0]
        boxes = found["boxes"] * (image.shape[1] / seen.shape[1])  # the image's pixels
        labels = found["labels"] - self.recipe.first_label  # ids from 0
        self._original_predictions = [{"boxes": boxes, "labels": labels, "scores": found["scores"]}]


def check_name(engine: str, arch: str, known: Sequence[str]) -> None:
    """Raises ValueError for an architecture that the engine does not know."""
    if arch not in known:
        raise ValueError(f"no {engine} detector {arch!r}; known are {', '.join(known)}")


def learn_statistics_faster(model: nn.Module, momentum: float = 0.1) -> None:
    """Gives the batch norms PyTorch's momentum; the libraries' are made for a hundred times more
    steps."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = momentum


def in_bf16(part: nn.Module, device_type: str) -> None:
    """Lets a part of a network compute in bfloat16, and give float32 to the rest."""
    context = torch.autocast(device_type, torch.bfloat16)

    def enter(module: nn.Module, args: Any) -> None:
        context.__enter__()

    def leave(module: nn.Module, args: Any, output: Any) -> Any:
        context.__exit__(None, None, None)
        return to_float(output)

    # hooks, as a module around the part would change its tensors' names in the weights file
    part.register_forward_pre_hook(enter)
    part.register_forward_hook(leave, always_call=True)


def _warm_up_and_decay(optimizer: torch.optim.Optimizer, job: TrainJob, steps: int) -> LambdaLR:
    """A linear warm-up, then a linear decay to ``lrf``, by step; ``steps``: of an epoch."""
    lrf = job.settings["lrf"]
    total = job.epochs * steps
    # at most a fifth of a short training, and never 0 steps
    warm = min(job.settings["warmup_epochs"] * steps, total / 5) + 1

    def factor(step: int) -> float:
        return min((step + 1) / warm, 1.0) * (1 - (1 - lrf) * min(step / total, 1.0))

    return LambdaLR(optimizer, factor)


def _resume(checkpoint: Checkpoint, identity: dict[str, Any]) -> list[dict[str, float]]:
    """Goes on from a checkpoint, if there is one; returns its log. WeightsError if not ours."""
    state = checkpoint.read()
    if not state:
        return []
    differs = [name for name, value in identity.items() if state["meta"].get(name) != value]
    if differs or state["signature"] != checkpoint.signature:
        raise WeightsError(
            f"{checkpoint.path} is the checkpoint of another training "
            f"(other {', '.join(differs) or 'fields or settings'}); remove it to start anew"
        )
    return checkpoint.resume()["rows"]


def _collate(batch: list[Any]) -> tuple[Any, ...]:
    return tuple(zip(*batch, strict=True))  # fields differ in size: lists, no tensor
