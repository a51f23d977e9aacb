"""A pretraining step: the autoencoder of this project against the same one in plain torch, float32.

The step is that of yolo12n's backbone with the decoder, on 8 images of 320 px, with L1 + SSIM and
AdamW. Each side runs in a fresh process. `ssl_step` compares with plain torch as a user runs it,
with the one thread that importing ultralytics leaves. `ssl_step_all_cores` compares with plain
torch on all cores, with the allocator as it comes.
"""

import pairs

BATCH = 8
IMGSZ = 320

START = """
import sys, time
import ultralytics  # before torch, whose threads it then sets to one
import torch
from openurine_lib.model.autoencoder import Autoencoder, reconstruction_loss
from openurine_lib.speed.processor import ready_for, use_cores
from openurine_lib.training.pretraining import _step, to_device
torch.manual_seed(0)
x = torch.rand(int(sys.argv[1]), 3, int(sys.argv[2]), int(sys.argv[2]))
model = Autoencoder("yolo12n")
def timed(step, steps=4):
    step()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    print((time.perf_counter() - start) / steps)
"""

PLAIN = """
optimizer = torch.optim.AdamW(model.parameters())
def step():
    loss = sum(reconstruction_loss(model(x), x))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
timed(step)
"""

OURS = """
ready_for("cpu")
model = to_device(model, "cpu")
optimizer = torch.optim.AdamW(model.parameters())
timed(lambda: _step(model, optimizer, x))
"""


def main() -> None:
    arguments = (str(BATCH), str(IMGSZ))
    what = f"plain torch in float32, yolo12n, {BATCH} images of {IMGSZ} px"

    def seconds(code: str) -> float:
        return pairs.in_a_process(START + code, *arguments)

    pairs.compare(
        "ssl_step",
        f"{what}, one thread (what importing ultralytics leaves a user with)",
        lambda: seconds(PLAIN),
        lambda: seconds(OURS),
    )
    pairs.compare(
        "ssl_step_all_cores",
        f"{what}, all cores",
        lambda: seconds("use_cores()" + PLAIN),
        lambda: seconds(OURS),
    )


if __name__ == "__main__":
    main()
