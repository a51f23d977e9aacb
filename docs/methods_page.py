"""``docs/methods.md``: every row of ``methods.yaml`` on a page, with sizes and references. ``make docs`` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from openurine_lib.experiments import formatting
from openurine_lib.experiments.methods import Method, methods, profile
from openurine_lib.experiments.sizes import paper_sizes
from openurine_lib.files import write_text

SMALL = ("smoke", "demo")
HEAD = """# The rows of Tables 4 to 6

Written from `openurine_lib/config/methods.yaml` by `make docs`; a test holds the two together.

- **fidelity**: *faithful*, as its authors describe it; *approximate*, where they leave something open or it is
  simplified; *substitute*, another thing in its place. *Why* says what. In a small profile a smaller network stands in,
  and that run's tables call the row a substitute.
- **size**: parameters (millions) and GFLOPs of one forward pass at the row's input size in the profile `paper`, with
  OpenUrine's 39 classes, counted by torch (two operations a multiply-add, attention included). A sliced row takes one
  pass a slice.
- **published**: what its authors or its library print, with COCO's classes, at the pixels given; in brackets what we
  count at the same pixels. From docs.ultralytics.com/models for YOLO, arXiv 2304.08069 (Table 2) for RT-DETR,
  torchvision's weights for SSD (its multiply-adds doubled).
- All rows train from random weights unless you give [pretrained ones](pretrained.md).
"""
TITLES = {4: "Table 4: comparison", 5: "Table 5: a head removed", 6: "Table 6: the input size"}
LATER = "not yet built"


def page() -> str:
    """The page's text."""
    parts = [HEAD]
    for n, title in TITLES.items():
        rows = [m for m in methods().values() if min(m.answers) == n]
        parts += [
            f"## {title}\n",
            formatting.rows_of(formatting.formatted(pd.DataFrame([_line(m, n) for m in rows]))),
            "",
        ]
    return "\n".join(parts).rstrip("\n") + "\n"


def _line(m: Method, n: int) -> dict[str, str]:
    way = [
        *(["six heads"] if m.heads == "multi" else []),
        *(["pretrained by reconstruction"] if m.ssl else []),
    ]
    way += [
        *(["slices"] if m.sliced else []),
        *([f"without {m.without_head}"] if m.without_head else []),
    ]
    size = paper_sizes().get(m.id, {})
    return {
        "row in the paper": m.answers[n],
        "method": f"`{m.id}`",
        "engine": m.engine if m.built else LATER,
        "network": ", ".join([m.arch, *way]),
        "in small profiles": _stand_ins(m),
        "size": _size(size.get("params_m"), size.get("gflops"), size.get("px")),
        "published": _published(m, size),
        "fidelity": m.fidelity,
        "why": m.why,
        "reference": f"[{m.doi}](https://doi.org/{m.doi})" if m.doi else "",
    }


def _stand_ins(m: Method) -> str:
    """The smaller networks, by profile where they differ."""
    others = {
        name: profile(name).arch(m) for name in SMALL if m.built and profile(name).arch(m) != m.arch
    }
    if len(set(others.values())) == 1 and len(others) == len(SMALL):
        return others[SMALL[0]]
    return ", ".join(f"{name}: {arch}" for name, arch in others.items())


def _size(params_m: Any, gflops: Any, px: Any) -> str:
    return f"{params_m:.1f} M, {gflops:.1f} at {px:.0f} px" if params_m else ""


def _published(m: Method, size: dict[str, Any]) -> str:
    said = m.published_size
    if not said:
        return ""
    ours = size.get("gflops_at_published_px")
    return _size(said["params_m"], said["gflops"], said["imgsz"]) + (
        f" ({ours:.1f})" if ours else ""
    )


def write(folder: Path) -> Path:
    """Writes ``methods.md`` into the folder and returns its path."""
    out = folder / "methods.md"
    write_text(out, page())
    return out


if __name__ == "__main__":
    print(write(Path(__file__).resolve().parents[1] / "docs"))
