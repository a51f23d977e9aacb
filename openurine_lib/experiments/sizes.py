"""How large a row's network is: parameters, and floating-point operations of one forward pass.

Torch's own counter counts the operations while the network looks at a square image of noise: two
operations a multiply-add, batch norms and activations left out. So every engine is counted alike.
Three sizes stand side by side: of the network that was trained here (stored with its predictions),
of the paper's at the paper's 960 pixels (``config/sizes.csv``, written by ``make docs``), and the
one that its authors or its library print.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
import torchvision  # noqa: F401  (it registers its operators)
from sahi.models.base import DetectionModel
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from openurine_lib.config import CONFIG
from openurine_lib.experiments.made_from import folds_of_today
from openurine_lib.experiments.methods import Method, rows_of_table
from openurine_lib.experiments.run import Run, first_record
from openurine_lib.inference import predict_image

FILE = "size.json"  # in the folder of a row's predictions
PAPER_SIZES = CONFIG / "sizes.csv"


def table4_sizes(run: Run, n: int = 4) -> pd.DataFrame:
    """The three sizes of each row of Table n: a row for each method, blank where there is none.

    Columns: row, method; network, params_m (millions), gflops, px (of what was trained here);
    paper_network, paper_params_m, paper_gflops, paper_px; published_params_m, published_gflops,
    published_px; gflops_at_published_px (the paper's network, counted at the published size).
    GFLOPs are of one forward pass; a sliced field takes one a slice.
    """
    paper = paper_sizes()
    lines = []
    for m in rows_of_table(n):
        here = size_of_run(run, m) | {"network": run.profile.arch(m)}
        ours = paper.get(m.id, {})
        line: dict[str, Any] = {"row": m.answers[n], "method": m.id}
        line |= {name: here.get(name) for name in ("network", "params_m", "gflops", "px")}
        line |= {f"paper_{k}": ours.get(k) for k in ("network", "params_m", "gflops", "px")}
        printed = {"params_m": "params_m", "gflops": "gflops", "px": "imgsz"}
        line |= {f"published_{k}": m.published_size.get(name) for k, name in printed.items()}
        line["gflops_at_published_px"] = ours.get("gflops_at_published_px")
        lines.append(line)
    frame = pd.DataFrame(lines)
    sizes = {c: float for c in frame if "params" in c or "gflops" in c}
    pixels = dict.fromkeys(["px", "paper_px", "published_px"], "Int64")  # Int64: may be missing
    return frame.astype(sizes | pixels)


def size_of_run(run: Run, m: Method) -> dict[str, Any]:
    """What was counted when the row was predicted (``of_detector``); empty if it was not."""
    return first_record(run.predict_dir(m, fold) / FILE for fold in folds_of_today(run, m))


def paper_sizes() -> dict[str, dict[str, Any]]:
    """``config/sizes.csv`` by method."""
    with PAPER_SIZES.open(encoding="utf-8") as file:
        return pd.read_csv(file).set_index("method", drop=False).to_dict("index")


def of_detector(detector: DetectionModel, imgsz: int) -> dict[str, float]:
    """Size of a trained detector: params_m (millions), gflops of a pass at ``imgsz`` pixels, px."""
    return counted(detector.model, lambda: predict_image(detector, noise(imgsz), None), imgsz)


def counted(network: torch.nn.Module, forward: Callable[[], Any], imgsz: int) -> dict[str, float]:
    """Parameters of a network, and what ``forward`` computes with it on ``imgsz`` pixels."""
    # a convolution and its activation in one call (``speed.layers``); torch's counter has no number
    # for it, and a processor without oneDNN has no such call
    fused = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
    own: dict[Any, Any] = {fused: _of_convolution} if fused else {}
    with torch.inference_mode(), FlopCounterMode(display=False, custom_mapping=own) as counter:
        try:
            forward()
        except RuntimeError as error:
            # The counter cannot look into a compiled function (effdet's suppression of double
            # boxes); the network has been passed by then.
            if "TorchScript interpreter" not in str(error):
                raise
    params = sum(p.numel() for p in network.parameters())
    return {"params_m": params / 1e6, "gflops": counter.get_total_flops() / 1e9, "px": imgsz}


def _of_convolution(x: Any, weight: Any, *rest: Any, out_shape: Any = None, **more: Any) -> int:
    """Operations of a convolution, from the shapes of its input, its weights and its output."""
    return conv_flop_count(x, weight, out_shape)


def noise(px: int) -> np.ndarray:
    """uint8 (px, px, 3), always the same: networks that propose regions work on what they see."""
    return np.random.default_rng(0).integers(0, 256, (px, px, 3), dtype=np.uint8)
