"""What six heads cost: time of a training step, against what their FLOPs let one expect.

The expected time is that of the single-head model's step, times the ratio of the two models' FLOPs.
Above 1, six heads cost less time than their arithmetic says. The network is yolo12n, at 320 px,
batch 8. Both models run in this process, one after the other, on all cores.
"""

import functools
import time
from typing import Any

import pairs
import torch
from ultralytics.utils import DEFAULT_CFG
from ultralytics.utils.torch_utils import get_flops

from openurine_lib.data.taxonomy import load
from openurine_lib.model.build import build_model
from openurine_lib.speed.processor import keep_memory, use_cores

IMGSZ = 320
BATCH = 8
STEPS = 6


def _step(model: Any, optimizer: torch.optim.Optimizer, batch: dict[str, torch.Tensor]) -> None:
    optimizer.zero_grad()
    model.loss(batch)[0].sum().backward()
    optimizer.step()


def main() -> None:
    use_cores()
    keep_memory()
    taxonomy = load("openurine")
    torch.manual_seed(0)
    n = BATCH * 40
    batch = {
        "img": torch.rand(BATCH, 3, IMGSZ, IMGSZ),
        "batch_idx": torch.arange(BATCH).repeat_interleave(40).float(),
        "cls": torch.randint(0, taxonomy.n, (n, 1)).float(),
        "bboxes": torch.rand(n, 4) * 0.1 + 0.05,
    }
    batch["bboxes"][:, :2] += 0.4
    models = {heads: build_model("yolo12n", taxonomy, heads) for heads in ("single", "multi")}
    price = get_flops(models["multi"], IMGSZ) / get_flops(models["single"], IMGSZ)
    steps = {}
    for heads, model in models.items():
        model.args = DEFAULT_CFG
        optimizer = torch.optim.SGD(model.train().parameters(), 1e-4)
        steps[heads] = functools.partial(_step, model, optimizer, batch)
        steps[heads]()  # the first is slower, and does not count

    def seconds(heads: str) -> float:
        start = time.perf_counter()
        for _ in range(STEPS):
            steps[heads]()
        return (time.perf_counter() - start) / STEPS

    setting = f"yolo12n, {IMGSZ} px, batch {BATCH}"
    pairs.compare(
        "six_heads",
        f"{price:.2f} steps of the single-head model (its FLOPs ratio), {setting}",
        lambda: seconds("single") * price,
        lambda: seconds("multi"),
        rounds=5,
    )


if __name__ == "__main__":
    main()
