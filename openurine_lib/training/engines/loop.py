"""The training loop and the door to sahi, shared by the engines whose libraries bring no trainer.

It serves any network that behaves as torchvision's detectors do: in training ``model(images, targets)`` gives a dict
of losses, whose sum is minimised; in evaluation ``model(images)`` gives boxes, labels and scores in the images' pixels.

What the paper leaves open for these networks, and what is done here: since Table 3 was searched for YOLO12, they take
from it what is not a matter of the network (batch, epochs, colour jitter, flips, weight decay, warm-up and decay), but
AdamW and a learning rate of their own: with Table 3's SGD the loss falls several times more slowly. Augmentation is
flips and colour; no mosaic. Nothing is validated while training; the last weights are kept.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sahi.models.torchvision import TorchVisionDetectionModel
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from tqdm.auto import tqdm

from openurine_lib.data.images import read_rgb
from openurine_lib.files import atomic_path
from openurine_lib.speed.processor import cpu_bf16, ready_for, to_float
from openurine_lib.training.coco_weights import load_matching
from openurine_lib.training.job import TrainJob
from openurine_lib.training.weights import WeightsError, fill, save, write_log

CLIP = 5.0  # norm of the gradients
Prepare = Callable[
    [np.ndarray], np.ndarray
]  # a field uint8 (H, W, 3) -> the same field, of another size perhaps


class Fields(Dataset):
    """The job's fields: image float (3, H, W) in 0..1, longer side ``imgsz``; boxes (N, 4) xyxy with labels (N,).

    ``first_label``: the label of class 0 (1 where the network keeps 0 for the background). ``prepare``: what is done
    to a field before, once (the results are kept in ``job.dir`` while it trains); it decides the size then.
    """

    def __init__(self, job: TrainJob, first_label: int = 0, prepare: Prepare | None = None):
        s = job.settings
        self.prepare, self.prepared = prepare, job.dir / "prepared" / job.signature()[:12]
        self.rows = list(job.images.itertuples())
        self.boxes = dict(tuple(job.boxes.groupby("image")))
        self.first_label = first_label
        # as the network's own resizing at prediction
        resize = v2.Identity() if prepare else v2.Resize(None, max_size=job.imgsz, antialias=False)
        self.transform = v2.Compose([
            resize,
            v2.RandomHorizontalFlip(s["fliplr"]),
            v2.ColorJitter(brightness=s["hsv_v"], saturation=s["hsv_s"], hue=s["hsv_h"]),
            v2.ToDtype(torch.float32, scale=True),
            v2.ClampBoundingBoxes(),
            v2.SanitizeBoundingBoxes(min_size=1),
        ])  # fmt: skip

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        image = tv_tensors.Image(self._pixels(i).transpose(2, 0, 1).copy())
        own = self.boxes.get(self.rows[i].image)
        xyxy = np.zeros((0, 4)) if own is None else own[["x1", "y1", "x2", "y2"]].to_numpy()
        labels = np.zeros(0) if own is None else own.cls.to_numpy() + self.first_label
        corners = torch.tensor(xyxy, dtype=torch.float32) * (image.shape[-1] / self.rows[i].width)
        boxes = tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=image.shape[-2:])  # type: ignore[call-overload]
        return self.transform(
            image, {"boxes": boxes, "labels": torch.tensor(labels, dtype=torch.int64)}
        )

    def _pixels(self, i: int) -> np.ndarray:
        if self.prepare is None:
            return read_rgb(self.rows[i].path)
        kept = self.prepared / f"{i:06d}.png"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(kept) as temporary:
                Image.fromarray(self.prepare(read_rgb(self.rows[i].path))).save(temporary)
        return read_rgb(kept)


def fit(
    job: TrainJob,
    engine: str,
    build: Callable[[], nn.Module],
    lr: float,
    first_label: int = 0,
    prepare: Prepare | None = None,
) -> Path:
    """Trains what ``build`` makes, or finishes an interrupted training. Returns ``job.dir / "weights.pt"``.

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
    model = build()
    if job.pretrained is not None:
        job.meta["pretrained"] = load_matching(model, job.pretrained)
    model = model.to(device).train()
    batch, fields = job.settings["batch"], Fields(job, first_label, prepare)
    # one image alone is too little for the batch statistics of a last, one-pixel map
    loader = DataLoader(
        fields, batch, shuffle=True, drop_last=len(fields) > batch, collate_fn=_collate
    )
    optimizer, scheduler = _optimizer(model, job, lr, steps=len(loader))
    identity = job.described(engine) | {"seed": job.seed}
    rows = _resume(job, identity, model, optimizer, scheduler)
    total, done = job.epochs * len(loader), len(rows) * len(loader)
    with tqdm(total=total, initial=done, desc=f"train {job.arch}", unit="batch") as bar:
        for epoch in range(len(rows), job.epochs):
            torch.manual_seed(
                (job.seed * 1_000_003 + epoch) % 2**32
            )  # shuffling, augmentation, sampling of proposals
            sums: dict[str, float] = {}
            for images, targets in loader:
                images = [image.to(device) for image in images]
                targets = [{k: v.to(device) for k, v in target.items()} for target in targets]
                losses = model(images, targets)
                loss = sum(losses.values())
                if not torch.isfinite(loss):
                    raise FloatingPointError(
                        f"{job.arch}: loss {loss} in epoch {epoch + 1}; lower its learning rate"
                    )
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
            write_log(job.dir / "log.csv", rows)
            parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
            state = {name: part.state_dict() for name, part in parts.items()}
            save(
                {**state, "rows": rows, "meta": identity, "signature": job.signature()},
                job.dir / "state.pt",
            )
    save({"state_dict": model.state_dict(), "meta": job.meta | identity}, job.dir / "weights.pt")
    (job.dir / "state.pt").unlink(missing_ok=True)
    shutil.rmtree(job.dir / "prepared", ignore_errors=True)
    return job.dir / "weights.pt"


class Detector(TorchVisionDetectionModel):
    """A trained network behind sahi's door, with its own resizing (sahi's replaces it) and our class ids."""

    first_label: int
    prepare: Prepare | None

    def perform_inference(self, image: np.ndarray, image_size: int | None = None) -> None:
        """image: uint8 (H, W, 3) RGB."""
        seen = self.prepare(image) if self.prepare else image
        pixels = torch.from_numpy(seen).to(self.device).permute(2, 0, 1).float() / 255
        with torch.inference_mode():
            found = self.model([pixels])[0]
        boxes, labels = (
            found["boxes"] * (image.shape[1] / seen.shape[1]),
            found["labels"] - self.first_label,
        )
        self._original_predictions = [{"boxes": boxes, "labels": labels, "scores": found["scores"]}]


def detector(
    content: dict[str, Any],
    model: nn.Module,
    conf: float,
    device: str,
    imgsz: int,
    first_label: int = 0,
    prepare: Prepare | None = None,
) -> Detector:
    """``model`` with the weights of ``content`` (as ``read_weights`` gives them) behind sahi's door."""
    fill(model, content["state_dict"], f"the weights of {content['meta']['arch']}")
    names = {str(i): name for i, name in enumerate(content["meta"]["classes"])}
    found = Detector(
        model=model,
        confidence_threshold=conf,
        device=device,
        image_size=imgsz,
        category_mapping=names,
    )
    found.first_label, found.prepare = first_label, prepare
    return found


def in_bf16(device: str, *parts: Any) -> None:
    """Lets these parts compute in bfloat16 where there are units for it, and give float32 to the rest.

    Backbones and heads belong here; anchors, matching and losses, to which a pixel matters, do not.
    """
    if torch.device(device).type == "cuda" or cpu_bf16():
        for part in parts:
            part.forward = functools.partial(_forward_in_bf16, part.forward)


def _forward_in_bf16(forward: Callable[..., Any], x: Any, *more: Any) -> Any:
    first = next(iter(x.values())) if isinstance(x, dict) else x[0]
    with torch.autocast(first.device.type, torch.bfloat16):
        return to_float(forward(x, *more))


def _optimizer(
    model: nn.Module, job: TrainJob, lr: float, steps: int
) -> tuple[Optimizer, LambdaLR]:
    """AdamW, with a linear warm-up, then a linear decay to ``lrf``, by step; ``steps``: of an epoch."""
    s = job.settings
    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=s["weight_decay"])
    total = job.epochs * steps
    warm = min(s["warmup_epochs"] * steps, total / 5) + 1
    shape: Callable[[int], float] = lambda i: (
        min((i + 1) / warm, 1.0) * (1 - (1 - s["lrf"]) * min(i / total, 1.0))
    )  # noqa: E731
    return optimizer, LambdaLR(optimizer, shape)


def _resume(job: TrainJob, identity: dict[str, Any], *parts: Any) -> list[dict[str, float]]:
    """Puts an interrupted training's state into model, optimizer and scheduler; returns its log."""
    path = job.dir / "state.pt"
    if not path.exists():
        return []
    state = torch.load(path, map_location=job.device, weights_only=True)
    differs = [k for k, v in identity.items() if state["meta"].get(k) != v]
    if differs or state["signature"] != job.signature():
        what = f"is the checkpoint of another training (other {', '.join(differs) or 'fields or settings'})"
        raise WeightsError(f"{path} {what}; remove it to start anew")
    for part, name in zip(parts, ("model", "optimizer", "scheduler"), strict=True):
        part.load_state_dict(state[name])
    return state["rows"]


def _collate(batch: list[Any]) -> tuple[Any, ...]:
    return tuple(zip(*batch, strict=True))
