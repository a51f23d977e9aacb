"""Self-supervised pretraining (Fig. 3A): an autoencoder whose encoder is the detector's own backbone.

The pretext task is reconstruction: Xhat = Decoder(Encoder(X)), with the loss L1 + (1 - SSIM). Afterwards the encoder's
tensors, under the names that they have in the detector, are the detector's initial weights. The paper gives neither
decoder nor schedule; the decoder here is plain (upsample, convolve) and has no skip connections, so that all that it
knows passes through the encoder's last layer.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.optim.swa_utils import update_bn
from torchvision.transforms import v2
from tqdm.auto import tqdm

from openurine_lib.data.images import read_rgb
from openurine_lib.files import atomic_path
from openurine_lib.model.autoencoder import Autoencoder, reconstruction_loss
from openurine_lib.speed.processor import cpu_bf16, ready_for
from openurine_lib.training.weights import save

LEARNING_RATE = 2e-3  # AdamW, cosine to zero
BATCH = 8
SMALLEST_CROP = 0.25  # of a field's area: the detector sees whole fields and slices of them


def _load(path: str, longest: int) -> Tensor:
    """A field as (3, H, W) uint8 RGB, shrunk so that its longer side is at most ``longest`` pixels."""
    image = read_rgb(path)
    scale = longest / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def pretrain(
    arch: str,
    images: pd.DataFrame,
    imgsz: int,
    epochs: int,
    seed: int,
    out: Path,
    device: str = "cpu",
) -> Path:
    """Trains the autoencoder on unlabelled fields; resumes from ``out``'s folder. Returns ``out`` (``encoder.pt``).

    Writes ``log.csv`` (epoch, l1, ssim loss) and ``reconstructions.npz`` (eight fields, before and after) beside it.

    Args:
        images: frame with a column ``path``; its groups must not stand in the fold's test part.
        imgsz: side of the square crops, pixels (a multiple of 32).

    Raises:
        ValueError: there is no unlabelled field.
    """
    if images.empty:
        raise ValueError(
            "no unlabelled field to pretrain on: add an unlabelled/ folder to the data set"
        )
    torch.manual_seed(seed)
    ready_for(device)
    model = _laid_out(Autoencoder(arch).to(device))
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(epochs, 1))
    state_file, rows = out.parent / "state.pt", []
    if state_file.exists():
        state = torch.load(state_file, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])
        rows = state["rows"]
    augment = v2.Compose(
        [
            v2.RandomResizedCrop(imgsz, (SMALLEST_CROP, 1), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
        ]
    )
    fields = [
        _load(p, 2 * imgsz)
        for p in tqdm(images.path, desc="read unlabelled fields", unit="field", leave=False)
    ]
    bar = tqdm(
        total=epochs * len(fields),
        initial=len(rows) * len(fields),
        desc=f"pretrain {arch}",
        unit="field",
        mininterval=1,
    )
    for epoch in range(len(rows), epochs):
        random.seed(
            seed * 1_000_003 + epoch
        )  # so that a resumed run draws what an undisturbed one would
        torch.manual_seed(seed * 1_000_003 + epoch)
        sums = np.zeros(2)
        model.train()
        for batch in torch.randperm(len(fields)).split(BATCH):
            x = torch.stack([augment(fields[i]) for i in batch]).to(device).float().div(255)
            losses = _step(model, optimizer, x)
            sums += np.array(losses) * len(batch)
            bar.update(len(batch))
        scheduler.step()
        l1, dissimilarity = (
            sums / len(fields)
        ).tolist()  # plain numbers, as the checkpoint is read
        rows.append({"epoch": epoch + 1, "l1": l1, "ssim": dissimilarity})
        bar.set_postfix(loss=f"{sums.sum() / len(fields):.3f}")
        state = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
            "rows": rows,
        }
        save(state, state_file)
    bar.close()
    # as for the detector: after a short training the batch statistics are still those of the untrained network
    crops = (
        torch.stack([augment(fields[i]) for i in batch])
        for batch in torch.arange(len(fields)).split(BATCH)
    )
    update_bn((x.to(device).float().div(255) for x in crops), model)
    with atomic_path(out.parent / "log.csv") as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
    _save_examples(model, fields[:8], imgsz, out.parent / "reconstructions.npz", device)
    with atomic_path(out) as temporary:
        meta = {
            "engine": "ultralytics",
            "arch": arch,
            "epochs": epochs,
            "imgsz": imgsz,
            "fields": len(fields),
            "seed": seed,
        }
        torch.save({"state_dict": model.encoder_state(), "meta": meta}, temporary)
    state_file.unlink(missing_ok=True)
    return out


def _laid_out(model: Autoencoder) -> Autoencoder:
    """On a processor with channels last, as its images are: otherwise every layer turns its weights in every step."""
    on_cpu = next(model.parameters()).device.type == "cpu"
    return model.to(memory_format=torch.channels_last) if on_cpu else model  # type: ignore[call-overload]


def _step(model: Autoencoder, optimizer: torch.optim.Optimizer, x: Tensor) -> tuple[float, float]:
    """One optimisation step; the network in mixed precision, the losses in float32."""
    bf16 = x.device.type == "cuda" or cpu_bf16()
    if x.device.type == "cpu":
        x = x.contiguous(memory_format=torch.channels_last)
    with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=bf16):
        xhat = model(x)
    l1, dissimilarity = reconstruction_loss(xhat.float(), x)
    optimizer.zero_grad()
    (l1 + dissimilarity).backward()
    optimizer.step()
    return l1.item(), dissimilarity.item()


@torch.no_grad()
def _save_examples(
    model: Autoencoder, fields: Sequence[Tensor], imgsz: int, out: Path, device: str
) -> None:
    crop = v2.Compose([v2.Resize(imgsz, antialias=True), v2.CenterCrop(imgsz)])
    x = torch.stack([crop(f) for f in fields]).to(device).float().div(255)
    xhat = model.eval()(x)
    with atomic_path(out) as temporary:
        np.savez_compressed(temporary, before=_images(x), after=_images(xhat))


def _images(x: Tensor) -> np.ndarray:
    return (x.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()  # (B, H, W, 3)
