"""How large a row's network is: parameters, and floating-point operations of one forward pass.

Counted by torch's own counter while the network looks at a square image of noise, two operations a multiply-add, batch
norms and activations left out. So the same way counts for every engine. Three sizes stand beside each other: of the
network that was trained here (kept beside its predictions), of the paper's at the paper's 960 pixels
(``config/sizes.csv``, written by ``make docs``), and the one that its authors or its library print.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from openurine_lib.config import CONFIG
from openurine_lib.experiments.methods import Method, methods, profile
from openurine_lib.files import atomic_path

if TYPE_CHECKING:
    from sahi.models.base import DetectionModel

    from openurine_lib.experiments.run import Run

FILE = "size.json"  # in the folder of a row's predictions
PAPER_SIZES = CONFIG / "sizes.csv"
COLUMNS = [
    "method",
    "network",
    "heads",
    "px",
    "published_px",
    "params_m",
    "gflops",
    "gflops_at_published_px",
]


def of_detector(detector: DetectionModel, imgsz: int) -> dict[str, float]:
    """Size of a trained detector behind sahi's door: params_m (millions) and gflops of a pass at ``imgsz`` pixels."""
    from openurine_lib.inference import predict_image

    return _counted(detector.model, lambda: predict_image(detector, _noise(imgsz), None)) | {
        "px": imgsz
    }


def of_untrained(m: Method, imgsz: int) -> dict[str, float]:
    """Size of the paper's network for the row, with OpenUrine's 39 classes, at ``imgsz`` pixels."""
    import torch

    from openurine_lib.data import taxonomy
    from openurine_lib.model.build import build_model
    from openurine_lib.training.engines import engine

    classes = taxonomy.load("openurine")
    classes = classes.without_head(m.without_head) if m.without_head else classes
    image = torch.from_numpy(_noise(imgsz)).permute(2, 0, 1).float() / 255  # (3, H, W)
    if m.engine == "ultralytics":
        network = build_model(m.arch, classes, m.heads).eval()
        return _counted(network, lambda: network(image[None])) | {"px": imgsz}
    network = engine(m.engine).build(m.arch, classes.n, imgsz).eval()
    return _counted(network, lambda: network([image])) | {"px": imgsz}


def table(run: Run, n: int = 4) -> pd.DataFrame:
    """The three sizes of each row of Table n: a row for each method, blank where there is none.

    Columns: row, method; network, params_m, gflops, px (that was trained here); paper_network, paper_params_m,
    paper_gflops, paper_px; published_params_m, published_gflops, published_px, and gflops_at_published_px: ours,
    counted at the published size. GFLOPs are of one forward pass; a sliced field takes one a slice.
    """
    paper = paper_sizes()
    lines = []
    for m in (m for m in methods().values() if n in m.answers):
        here, own = of_run(run, m) if m.built else {}, paper.get(m.id, {})
        lines.append(
            {"row": m.answers[n], "method": m.id, "network": run.profile.arch(m) if m.built else None}
            | {name: here.get(name) for name in ("params_m", "gflops", "px")}
            | {f"paper_{name}": own.get(name) for name in ("network", "params_m", "gflops", "px")}
            | {f"published_{k}": m.published_size.get(v) for k, v in
               {"params_m": "params_m", "gflops": "gflops", "px": "imgsz"}.items()}
            | {"gflops_at_published_px": own.get("gflops_at_published_px")}
        )  # fmt: skip
    frame = pd.DataFrame(lines)
    numbers = [c for c in frame if "params" in c or "gflops" in c]
    return frame.astype(
        {
            **dict.fromkeys(numbers, float),
            "px": "Int64",
            "paper_px": "Int64",
            "published_px": "Int64",
        }
    )


def of_run(run: Run, m: Method) -> dict[str, Any]:
    """What ``of_detector`` left beside the row's predictions; empty if there are none."""
    files = [run.predict_dir(m, fold) / FILE for fold in run.profile.folds]
    return next(
        (json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()), {}
    )


def paper_sizes() -> dict[str, dict[str, Any]]:
    """``config/sizes.csv`` by method."""
    with PAPER_SIZES.open(encoding="utf-8") as file:
        frame = pd.read_csv(file)
    return frame.set_index("method", drop=False).to_dict("index")


def write_paper_sizes() -> None:
    """Measures the paper's network of every row that can be built, and writes ``config/sizes.csv``.

    Rows that stand there with the same network and sizes are kept; without the file all are measured (ten minutes).
    """
    from tqdm import tqdm

    old = paper_sizes() if PAPER_SIZES.is_file() else {}
    known: dict[tuple[Any, ...], dict[str, float]] = {}
    lines: dict[str, dict[str, Any]] = {}
    for m in tqdm([m for m in methods().values() if m.built], desc="counting", unit="row"):
        sizes = {
            "px": profile("paper").pixels(m.imgsz),
            "published_px": m.published_size.get("imgsz", 0),
        }
        line: dict[str, Any] = {"method": m.id, "network": m.arch, "heads": m.heads, **sizes}
        if line.items() <= old.get(m.id, {}).items():
            lines[m.id] = old[m.id]
            continue
        for px in filter(None, sizes.values()):
            key = m.engine, m.arch, m.heads, m.without_head, px
            known[key] = known.get(key) or of_untrained(m, px)
        own, theirs = (
            known.get((m.engine, m.arch, m.heads, m.without_head, px), {}) for px in sizes.values()
        )
        lines[m.id] = line | own | {"gflops_at_published_px": theirs.get("gflops")}
        _write(old | lines)  # an interrupted call goes on here
    _write(lines)


def _write(lines: dict[str, dict[str, Any]]) -> None:
    """Lines by method, in the order of ``methods.yaml``."""
    with atomic_path(str(PAPER_SIZES)) as temporary:
        kept = pd.DataFrame([lines[name] for name in methods() if name in lines])
        kept[COLUMNS].round(3).to_csv(temporary, index=False)


def _counted(network: Any, forward: Callable[[], Any]) -> dict[str, float]:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        try:
            forward()
        except RuntimeError as error:
            # a compiled function (effdet's suppression of double boxes) cannot be watched; the network comes before it
            if "TorchScript interpreter" not in str(error):
                raise
    params = sum(p.numel() for p in network.parameters())
    return {"params_m": params / 1e6, "gflops": counter.get_total_flops() / 1e9}


def _noise(px: int) -> np.ndarray:
    """uint8 (px, px, 3); always the same. Networks that propose regions work on what they see."""
    return np.random.default_rng(0).integers(0, 256, (px, px, 3), dtype=np.uint8)


if __name__ == "__main__":
    write_paper_sizes()
