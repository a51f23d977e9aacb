"""Self-supervised pretraining (Fig. 3A): an autoencoder whose encoder is the detector's backbone.

The pretext task is reconstruction, Xhat = Decoder(Encoder(X)), with the loss L1 + (1 - SSIM).
Afterwards the encoder's tensors, under the names that they have in the detector, are the detector's
initial weights. The paper gives neither decoder nor schedule; ``model.autoencoder`` says what
stands for the decoder, and the constants below are the schedule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.optim.swa_utils import update_bn
from torchvision.transforms import v2
from tqdm.auto import tqdm

from openurine_lib.files import atomic_path, digest, digest_of_file, epoch_seed
from openurine_lib.model.autoencoder import Autoencoder, reconstruction_loss
from openurine_lib.speed.layers import ready_to_train
from openurine_lib.speed.processor import cpu_bf16, ready_for
from openurine_lib.training.reading import Fields
from openurine_lib.training.weights import Checkpoint, write_log

LEARNING_RATE = 2e-3  # AdamW, cosine to zero
BATCH = 8  # fields a step
SMALLEST_CROP = 0.25  # of a field's area: the detector sees whole fields and slices of them


def pretrain(
    arch: str,
    images: pd.DataFrame,
    imgsz: int,
    epochs: int,
    seed: int,
    out: Path,
    device: str = "cpu",
    crop_px: int | None = None,
    stop_after: int | None = None,
) -> Path:
    """Trains the autoencoder on unlabelled fields; an interrupted call goes on. Returns ``out``.

    Beside ``out`` (``encoder.pt``) it writes ``log.csv`` (epoch, l1, ssim loss) and
    ``reconstructions.npz`` (eight fields, before and after). images: frame with a column ``path``,
    without the fold's test patients. imgsz: the detector's input, pixels (a multiple of 32).
    crop_px: side of the square crops, as large if None. A smaller crop shows a smaller part of the
    field: particles keep their size. stop_after: so many epochs are made, and only the log is left.
    Raises ValueError if there is no field.
    """
    if images.empty:
        raise ValueError("no field to pretrain on: add an unlabelled/ folder to the data set")
    side = crop_px or imgsz
    share = (side / imgsz) ** 2  # of the area that a crop as large as the input would show
    torch.manual_seed(seed)  # for the decoder, which starts from random weights
    ready_for(device)
    model = to_device(Autoencoder(arch), device)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE)
    # at least 1, as the cosine divides by it
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(epochs, 1))
    # all that decides the result; fields count by content and in order, as a name may be reused
    contents = [digest_of_file(path) for path in images.path]
    schedule = (epochs, LEARNING_RATE, BATCH, SMALLEST_CROP)
    checkpoint = Checkpoint(
        out.parent, digest(arch, contents, imgsz, side, schedule, seed, length=64), device,
        model=model, optimizer=optimizer, scheduler=scheduler,
    )  # fmt: skip
    earlier = checkpoint.resume()
    rows = earlier.get("rows", [])  # epochs that an interrupted call has done
    augment = v2.Compose([
        v2.RandomResizedCrop(side, (SMALLEST_CROP * share, share), antialias=True),
        v2.RandomHorizontalFlip(),  # a field has neither up nor down
        v2.RandomVerticalFlip(),
    ])  # fmt: skip
    # a crop of a quarter of the area has half the side: it keeps its pixels
    fields = Fields(images.path, 2 * imgsz)
    n = len(fields)

    def crops(order: Tensor) -> Iterator[Tensor]:
        """A random crop of each field, in batches of that order: (B, 3, side, side) in 0..1."""
        for batch in fields.batches(order.split(BATCH)):
            yield torch.stack([augment(field) for field in batch]).to(device).float().div(255)

    if "chance" in earlier:  # for the crops after the last epoch; every epoch sets its own
        torch.set_rng_state(earlier["chance"].cpu())
    bar = tqdm(
        total=(stop_after or epochs) * n,
        initial=len(rows) * n,
        desc=f"pretrain {arch}",
        unit="field",
        mininterval=1,
    )
    for epoch in range(len(rows), epochs):
        # order and crops of an epoch do not depend on the ones before
        torch.manual_seed(epoch_seed(seed, epoch))
        sums = np.zeros(2)  # L1 and 1 - SSIM
        model.train()
        for x in crops(torch.randperm(n)):
            # weighted by fields, as the last batch may be smaller
            sums += np.array(_step(model, optimizer, x)) * len(x)
            bar.update(len(x))
        scheduler.step()
        l1, dissimilarity = (sums / n).tolist()  # plain numbers, as the checkpoint is read
        rows.append({"epoch": epoch + 1, "l1": l1, "ssim": dissimilarity})
        bar.set_postfix(loss=f"{l1 + dissimilarity:.3f}")
        checkpoint.save(rows, chance=torch.get_rng_state())
        if len(rows) == stop_after:
            break
    bar.close()
    if stop_after is not None:
        write_log(out.with_name("log.csv"), rows)
        return out.with_name("log.csv")
    # as for the detector: after a short training the running averages of the batch norms are still
    # those of the untrained network; one pass over the fields sets them
    update_bn(crops(torch.arange(n)), model)
    write_log(out.with_name("log.csv"), rows)
    shown = [fields[i] for i in range(min(8, n))]
    _save_examples(model, shown, imgsz, out.with_name("reconstructions.npz"))
    meta = {
        "engine": "ultralytics", "arch": arch, "epochs": epochs, "imgsz": imgsz, "crop": side,
        "fields": n, "seed": seed,
    }  # fmt: skip
    return checkpoint.finish(model.encoder_state(), meta, out.name)


def to_device(model: Autoencoder, device: str) -> Autoencoder:
    """On its device; on a processor made ready for it."""
    if torch.device(device).type == "cpu":
        ready_to_train(model)
    return model.to(device)


def _step(model: Autoencoder, optimizer: torch.optim.Optimizer, x: Tensor) -> tuple[float, float]:
    """One optimisation step; the network in mixed precision, the losses in float32."""
    bf16 = x.device.type == "cuda" or cpu_bf16()
    if x.device.type == "cpu":
        x = x.contiguous(memory_format=torch.channels_last)
    with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=bf16):
        xhat = model(x)  # (B, 3, H, W)
    l1, dissimilarity = reconstruction_loss(xhat.float(), x)
    optimizer.zero_grad()
    (l1 + dissimilarity).backward()
    optimizer.step()
    return l1.item(), dissimilarity.item()


@torch.no_grad()
def _save_examples(model: Autoencoder, fields: Sequence[Tensor], imgsz: int, out: Path) -> None:
    """Stores the middles of some fields and their reconstructions, (N, H, W, 3) uint8 each."""
    # no chance: the middle
    crop = v2.Compose([v2.Resize(imgsz, antialias=True), v2.CenterCrop(imgsz)])
    device = next(model.parameters()).device
    x = torch.stack([crop(field) for field in fields]).to(device).float().div(255)
    pairs = torch.stack([x, model.eval()(x)]).clamp(0, 1)  # (2, N, 3, H, W)
    # (N, H, W, 3) each, as pictures are stored
    before, after = (pairs * 255).round().byte().permute(0, 1, 3, 4, 2).cpu().numpy()
    with atomic_path(out) as temporary:
        np.savez_compressed(temporary, before=before, after=after)
