"""``docs/methods.md``: every row of ``methods.yaml`` on a page, with sizes and references.

``make docs`` calls this. It first measures the networks that are new, into ``config/sizes.csv``
and ``config/activations.csv``.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from openurine_lib.config import read_config
from openurine_lib.data import taxonomy
from openurine_lib.experiments import formatting, gpu_memory
from openurine_lib.experiments.activations import counted as counted_memory
from openurine_lib.experiments.methods import Method, methods, profile
from openurine_lib.experiments.sizes import PAPER_SIZES, counted, noise, paper_sizes
from openurine_lib.files import atomic_path, write_text
from openurine_lib.model.build import build_model
from openurine_lib.training.engines import engine

SMALL = ("smoke", "demo")
BRIEF = "demo"  # the profile whose budget some stand-ins cannot learn in
HEAD = """# The rows of Tables 4 to 6

Written from `openurine_lib/config/methods.yaml` by `make docs`; a test holds the two together.

- **fidelity**: *faithful*, as its authors describe it; *approximate*, where they leave something
  open or it is simplified; *substitute*, another thing in its place. *Why* says what. A run that
  lacks the paper's network, size, passes or settings calls the row *reduced*, and says in what.
- **size**: parameters (millions) and GFLOPs of one forward pass at the row's input size in the
  profile `paper`, with OpenUrine's 39 classes, counted by torch (two operations a multiply-add,
  attention included). A sliced row takes one pass a slice.
- **published**: what its authors or its library print, with COCO's classes, at the pixels given; in
  brackets what we count at the same pixels. From docs.ultralytics.com/models for YOLO, arXiv
  2304.08069 (Table 2) for RT-DETR, torchvision's weights for SSD (its multiply-adds doubled), and
  their article for DP-YOLO (Wang et al.).
- All rows train from random weights unless you give [pretrained ones](pretrained.md). Table 4's
  notes name the rows whose authors did not.
- *Could be read* means: found among stored public web pages (publishers, indexes, readers' notes),
  package documentation and public repositories, in November 2026. Where only an abstract or a title
  was found there, the row says so.
"""
STAND_INS = """## Stand-ins on small machines

The profiles `smoke`, `demo` and `study` train these networks in place of the larger ones. *Path
only*: in the budget of `demo` the network learns to find nothing, so its row shows only that the
path from fields to scores is whole.
"""
TITLES = {4: "Table 4: comparison", 5: "Table 5: a head removed", 6: "Table 6: the input size"}
LARGE_FIRST = ("paper", "study")  # a network of both is counted at the size of the first
COLUMNS = [
    *("method", "network", "heads", "px", "published_px"),
    *("params_m", "gflops", "gflops_at_published_px"),
]


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
    parts += [STAND_INS, formatting.rows_of(formatting.formatted(stand_ins()))]
    return "\n".join(parts).rstrip("\n") + "\n"


def stand_ins() -> pd.DataFrame:
    """The networks of small profiles: what they stand for and what they leave out."""
    p = profile(BRIEF)
    left_out = read_config("stand_ins.yaml")
    lines = []
    for small, what in left_out.items():
        full = [name for name, other in p.smaller.items() if other == small]
        kind = "path only" if small in p.path_only else ""
        lines.append({"network": small, "for": ", ".join(full), "leaves out": what, "demo": kind})
    lines += [
        {"network": name, "for": name, "leaves out": "nothing, but one pass", "demo": "path only"}
        for name in p.path_only
        if name not in left_out
    ]
    return pd.DataFrame(lines)


def _line(m: Method, n: int) -> dict[str, str]:
    way = {
        "six heads": m.heads == "multi",
        "pretrained by reconstruction": m.ssl,
        "slices": m.sliced,
        f"without {m.without_head}": m.without_head,
    }
    size = paper_sizes().get(m.id, {})
    return {
        "row in the paper": m.answers[n],
        "method": f"`{m.id}`",
        "engine": m.engine,
        "network": ", ".join([m.arch, *(word for word, true in way.items() if true)]),
        "in small profiles": _stand_ins(m),
        "size": _size(size.get("params_m"), size.get("gflops"), size.get("px")),
        "published": _published(m, size),
        "fidelity": m.fidelity,
        "why": m.why,
        "reference": f"[{m.doi}](https://doi.org/{m.doi})" if m.doi else "",
    }


def _stand_ins(m: Method) -> str:
    """The smaller networks, by profile where they differ."""
    archs = {name: profile(name).arch(m) for name in SMALL}
    others = {name: arch for name, arch in archs.items() if arch != m.arch}
    if len(set(others.values())) == 1 and len(others) == len(SMALL):
        return others[SMALL[0]]
    return ", ".join(f"{name}: {arch}" for name, arch in others.items())


def _size(params_m: Any, gflops: Any, px: Any) -> str:
    return f"{params_m:.1f} M, {gflops:.1f} at {px:.0f} px" if params_m else ""


def _published(m: Method, size: dict[str, Any]) -> str:
    printed = m.published_size
    if not printed:
        return ""
    text = _size(printed["params_m"], printed["gflops"], printed["imgsz"])
    ours = size.get("gflops_at_published_px")
    return f"{text} ({ours:.1f})" if ours else text


def write(folder: Path) -> Path:
    """Writes ``methods.md`` into the folder and returns its path."""
    out = folder / "methods.md"
    write_text(out, page())
    return out


def write_paper_sizes() -> None:
    """Measures the paper's network of every row, and writes ``config/sizes.csv``.

    Rows that stand there with the same network and sizes are kept. Without the file all are
    measured, which takes ten minutes; an interrupted call goes on where it was.
    """
    old = paper_sizes() if PAPER_SIZES.is_file() else {}
    measured: dict[tuple[Any, ...], dict[str, float]] = {}
    lines: dict[str, dict[str, Any]] = {}
    for m in tqdm(methods().values(), desc="counting", unit="row"):
        px = profile("paper").pixels(m.imgsz)
        published_px = m.published_size.get("imgsz", 0)
        line: dict[str, Any] = {"method": m.id, "network": m.arch, "heads": m.heads}
        line |= {"px": px, "published_px": published_px}
        if line.items() <= old.get(m.id, {}).items():
            lines[m.id] = old[m.id]
            continue
        sizes = []
        for side in (px, published_px):
            key = (m.engine, m.arch, m.heads, m.without_head, side)
            if side and key not in measured:
                measured[key] = of_untrained(m, side)
            sizes.append(measured.get(key, {}))
        lines[m.id] = line | sizes[0] | {"gflops_at_published_px": sizes[1].get("gflops")}
        _write(old | lines)
    _write(lines)


def _write(lines: dict[str, dict[str, Any]]) -> None:
    """Lines by method, in the order of ``methods.yaml``."""
    rows = pd.DataFrame([lines[name] for name in methods() if name in lines])
    with atomic_path(str(PAPER_SIZES)) as temporary:
        rows[COLUMNS].round(3).to_csv(temporary, index=False)


def write_activations() -> None:
    """Counts what the networks of all profiles hold in memory, into ``config/activations.csv``.

    Networks that stand there with the same size are kept; an interrupted call goes on.
    """
    todo: dict[gpu_memory.Network, tuple[str, int]] = {}
    for name in LARGE_FIRST:
        todo = gpu_memory.networks(profile(name)) | todo
    known = gpu_memory.activations() if gpu_memory.ACTIVATIONS.is_file() else {}
    lines: dict[gpu_memory.Network, dict[str, float]] = {}
    for network, (of, px) in tqdm(todo.items(), desc="counting memory", unit="network"):
        line = known.get(network, {})
        if line.get("px") != px:
            gc.collect()  # a network refers to itself in circles, and the next needs its memory
            line = counted_memory(network, of, px)
        lines[network] = line
        gpu_memory.write(known | lines)
    gpu_memory.write(lines)


def of_untrained(m: Method, imgsz: int) -> dict[str, float]:
    """Size of the paper's network for the row, with OpenUrine's 39 classes, at ``imgsz`` pixels."""
    classes = taxonomy.load("openurine")
    classes = classes.without_head(m.without_head) if m.without_head else classes
    image = torch.from_numpy(noise(imgsz)).permute(2, 0, 1).float() / 255  # (3, H, W)
    if m.engine == "ultralytics":
        network = build_model(m.arch, classes, m.heads).eval()
        return counted(network, lambda: network(image[None]), imgsz)  # (1, 3, H, W)
    network = engine(m.engine).build(m.arch, classes.n, imgsz).eval()
    return counted(network, lambda: network([image]), imgsz)


if __name__ == "__main__":
    write_paper_sizes()
    write_activations()
    print(write(Path(__file__).resolve().parent))
