"""A pretraining step: the autoencoder of this project against the same one in float32, as plain torch runs it.

yolo12n's backbone with the decoder, 8 images of 320 px, L1 + SSIM, AdamW, all cores for both.
"""

import time

import pairs
import torch

from openurine_lib.cpu import keep_memory, use_cores
from openurine_lib.ssl import Autoencoder, _step, reconstruction_loss

BATCH, IMGSZ, STEPS = 8, 320, 4


def main() -> None:
    use_cores()
    x = torch.rand(BATCH, 3, IMGSZ, IMGSZ)
    plain, ours = Autoencoder("yolo12n"), Autoencoder("yolo12n")
    optimizers = [torch.optim.AdamW(m.parameters()) for m in (plain, ours)]

    def by_torch() -> None:
        loss = sum(reconstruction_loss(plain(x), x))
        optimizers[0].zero_grad()
        loss.backward()
        optimizers[0].step()

    def seconds(step: object) -> float:
        start = time.perf_counter()
        for _ in range(STEPS):
            step()  # type: ignore[operator]
        return (time.perf_counter() - start) / STEPS

    by_torch()
    first = [seconds(by_torch) for _ in range(2)]
    print(f"  plain torch before the allocator is told to keep its memory: {min(first):.3f} s")
    keep_memory()
    _step(ours, optimizers[1], x)
    pairs.compare("ssl_step", f"the same in float32, yolo12n, {BATCH} images of {IMGSZ} px",
                  lambda: seconds(by_torch), lambda: seconds(lambda: _step(ours, optimizers[1], x)))  # fmt: skip


if __name__ == "__main__":
    main()
