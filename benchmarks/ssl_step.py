"""A pretraining step: the autoencoder of this project against the same one in plain torch, float32.

yolo12n's backbone with the decoder, 8 images of 320 px, L1 + SSIM, AdamW. Each runs in a fresh process. `ssl_step` is
against plain torch as a user runs it, with the one thread that importing ultralytics leaves; `ssl_step_all_cores`
against plain torch with all cores, and the allocator as it comes.
"""

import pairs

BATCH, IMGSZ = 8, 320

START = """
import sys, time
import ultralytics  # before torch, whose threads it then sets to one
import torch
from openurine_lib.training.pretraining import Autoencoder, _step, reconstruction_loss, to_device
from openurine_lib.speed.processor import ready_for, use_cores
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
    ours = lambda: pairs.in_a_process(START + OURS, *arguments)  # noqa: E731
    what = f"plain torch in float32, yolo12n, {BATCH} images of {IMGSZ} px"
    pairs.compare("ssl_step", f"{what}, one thread (what importing ultralytics leaves a user with)",
                  lambda: pairs.in_a_process(START + PLAIN, *arguments), ours)  # fmt: skip
    pairs.compare("ssl_step_all_cores", f"{what}, all cores",
                  lambda: pairs.in_a_process(START + "use_cores()" + PLAIN, *arguments), ours)  # fmt: skip


if __name__ == "__main__":
    main()
