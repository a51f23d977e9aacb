"""A number knows where it came from: tables and figures carry the state of what made them.

The csv, md and tex of a table hold results only, so two runs with one seed are identical to the
byte. What differs between runs (time, commit, device) stands in the JSON beside a table, and in the
metadata inside a PNG or PDF.
"""

from __future__ import annotations

import contextlib
import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from openurine_lib.experiments import formatting
from openurine_lib.experiments.run import Run
from openurine_lib.files import PACKAGE, atomic_path, plain, write_json, write_text

LIBRARIES = (
    *("openurine_lib", "numpy", "pandas", "matplotlib", "torch", "torchvision"),
    *("ultralytics", "sahi", "optuna", "grad-cam"),
    *("scikit-learn", "opencv-python-headless", "pillow", "scipy"),
)
PUBLISHED_ONLY = "published numbers only; no data set"
PNG_KEY = "OpenUrine"  # the text chunk of a PNG that holds the stamp


def stamp(run: Run, *, uses_data: bool = True, **extra: Any) -> dict[str, Any]:
    """All that one needs to make a result again. ``extra`` (method, fold, ...) is added as it is.

    uses_data: False for what is derived from published numbers alone; the data set is not touched.
    """
    dataset = None
    if uses_data:
        dataset = {
            "name": run.data_name,
            "fingerprint": run.dataset.fingerprint,
            "synthetic": run.dataset.synthetic,
        }
    commit, dirty = code_state()
    return {
        "face": run.banner() if uses_data else PUBLISHED_ONLY,
        "commit": commit,
        "dirty": dirty,
        "profile": run.profile.name,
        "folds": run.profile.folds,
        "seed": run.seed,
        "dataset": dataset,
        "settings": run.profile.settings,
        "versions": versions(),
        **_computed_on(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        **extra,
    }


def code_state() -> tuple[str | None, bool | None]:
    """Commit of the library's checkout, and whether files differ from it; (None, None) without."""
    try:
        # fails if git does not know this very file
        _git("ls-files", "--error-unmatch", "__init__.py")  # else it is another project's checkout
        # of the whole checkout, but for what runs write into it
        places = (":/", ":(exclude,top)paper_figures")
        return _git("rev-parse", "HEAD"), bool(_git("status", "--porcelain", "--", *places))
    except (subprocess.CalledProcessError, FileNotFoundError):
        return None, None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(PACKAGE), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def versions() -> dict[str, str]:
    """Versions of Python and of the installed libraries that results depend on."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _computed_on() -> dict[str, Any]:
    """The device, the threads that torch sums with, and whether it computes in bfloat16."""
    torch = sys.modules.get("torch")  # not imported for the sake of a stamp
    here: dict[str, Any] = {
        "processor": _processor(), "device": f"CPU ({platform.machine()})",
        "threads": None, "bfloat16": None,
    }  # fmt: skip
    if torch is None:
        return here
    from openurine_lib.speed.processor import cpu_bf16

    if torch.cuda.is_available():
        here["device"] = f"{torch.cuda.get_device_name(0)} (CUDA {torch.version.cuda})"
    # last digits depend on the threads, and bfloat16 moves boxes a little
    return here | {"threads": torch.get_num_threads(), "bfloat16": cpu_bf16()}


def _processor() -> str:
    """The processor's model, as Linux tells it; elsewhere what Python knows."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def save_table(
    run: Run,
    stem: str,
    df: pd.DataFrame,
    caption: str,
    *,
    decimals: int | Mapping[str, int] = 1,
    missing: str = "—",
    uses_data: bool = True,
    **extra: Any,
) -> None:
    """Writes ``run.figures/stem`` as csv, md and tex, and its stamp (with ``extra``) as json.

    The csv holds the numbers as they are, and an apostrophe before text that begins like a formula;
    md and tex show them as ``formatting.formatted`` does with ``decimals`` and ``missing``. The
    index is not written: make it a column.
    """
    record = stamp(run, uses_data=uses_data, **extra)
    shown = formatting.formatted(df, decimals, missing)
    full = f"{caption.rstrip('. ')}. ({record['face']})"  # the table says by itself on which data
    with atomic_path(run.figures / f"{stem}.csv") as temporary:
        # ten digits: those behind them depend on the order of sums
        cells = formatting.defused(df)
        cells.to_csv(temporary, index=False, float_format="%.10g", lineterminator="\n")
    write_text(run.figures / f"{stem}.md", formatting.markdown(shown, full))
    write_text(run.figures / f"{stem}.tex", formatting.latex(shown, full, stem))
    write_json(run.figures / f"{stem}.json", {"stem": stem, "caption": caption, **record})


def save_figure(
    run: Run, stem: str, fig: Figure, caption: str, *, uses_data: bool = True, **extra: Any
) -> None:
    """Writes ``run.figures/stem`` as png and pdf with the stamp in their metadata.

    The run's banner is written below the figure unless the figure already shows it.
    """
    record = {"stem": stem, "caption": caption, **stamp(run, uses_data=uses_data, **extra)}
    banner = record["face"]
    # no figure goes without its banner
    if not any(banner in text.get_text() for text in fig.findobj(Text)):
        fig.text(0.0, -0.01, banner, va="top", ha="left", fontsize=5, color="0.35")
    text = json.dumps(record, ensure_ascii=False, default=plain)
    inside = {
        "png": {"Title": caption, PNG_KEY: text},
        "pdf": {"Title": caption, "Subject": banner, "Keywords": text},
    }
    covered = _laid_out(fig)
    for suffix, entries in inside.items():
        with atomic_path(run.figures / f"{stem}.{suffix}") as temporary:
            fig.savefig(temporary, metadata=entries, bbox_inches=covered)


def _laid_out(fig: Figure) -> Bbox:
    """What the figure covers, in inches, with the banner that lies below it.

    Both files and the notebook show the figure as it is laid out here. By itself, matplotlib lays
    it out and measures it anew for each, which takes a figure of many panels several seconds.
    """
    fig.draw_without_rendering()
    fig.set_layout_engine("none")
    shown = fig.dpi
    # letters are fitted to pixels, so a line's length depends on their number
    saved = mpl.rcParams["savefig.dpi"]
    fig.dpi = shown if saved == "figure" else saved
    covered = fig.get_tightbbox().padded(mpl.rcParams["savefig.pad_inches"])
    fig.dpi = shown
    return covered


def read_stamp(path: str | Path) -> dict[str, Any]:
    """The stamp of a saved table (from its ``.json``) or figure (from inside its ``.png``)."""
    path = Path(path)
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    with Image.open(path) as image:
        return json.loads(image.info[PNG_KEY])
