"""A number knows where it came from: tables and figures are written with the state of everything that made them.

Tables (csv, md, tex) hold only results, so two runs with one seed are identical to the byte; what differs between runs
(time, commit, device) goes to the JSON beside a table and to the metadata inside a PNG or PDF.
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
from typing import TYPE_CHECKING, Any

from openurine_lib.experiments import formatting
from openurine_lib.files import PACKAGE, _plain, atomic_path, write_json, write_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from openurine_lib.experiments.run import Run

LIBRARIES = (
    *("openurine_lib", "numpy", "pandas", "matplotlib", "torch", "torchvision"),
    *("ultralytics", "sahi", "optuna", "grad-cam"),
)
PUBLISHED_ONLY = "published numbers only; no data set"
PNG_KEY = "OpenUrine"  # the text chunk of a PNG that holds the stamp


def stamp(run: Run, *, uses_data: bool = True, **extra: Any) -> dict[str, Any]:
    """All that one needs to make a result again. ``extra`` (method, fold, ...) is added under its own names.

    With ``uses_data=False`` the data set is not touched: for what is derived from published numbers alone.
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
        "face": run.face() if uses_data else PUBLISHED_ONLY,
        "commit": commit,
        "dirty": dirty,
        "profile": run.profile.name,
        "folds": run.profile.folds,
        "seed": run.seed,
        "dataset": dataset,
        "settings": run.profile.settings,
        "versions": versions(),
        "device": device_name(),
        "threads": threads(),
        "bfloat16": bfloat16(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        **extra,
    }


def code_state() -> tuple[str | None, bool | None]:
    """Commit of the checkout that holds the library, and whether files differ from it; (None, None) without one."""
    try:
        _git(
            "ls-files", "--error-unmatch", "__init__.py"
        )  # not a checkout of somebody else around us
        return _git("rev-parse", "HEAD"), bool(_git("status", "--porcelain", "--", ":/"))
    except (subprocess.CalledProcessError, FileNotFoundError):
        return None, None


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that results depend on, as far as they are installed."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def device_name() -> str:
    """What this process computes on. A process that has not imported torch computes on the CPU."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return f"{torch.cuda.get_device_name(0)} (CUDA {torch.version.cuda})"
    return f"CPU ({platform.machine()})"


def threads() -> int | None:
    """How many threads torch sums with, on which last digits depend; None in a process that computes without it."""
    torch = sys.modules.get("torch")
    return None if torch is None else torch.get_num_threads()


def bfloat16() -> bool | None:
    """Whether the processor computes in bfloat16 here, which moves boxes a little; None as for ``threads``."""
    if sys.modules.get("torch") is None:
        return None
    from openurine_lib.speed.processor import cpu_bf16

    return cpu_bf16()


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
    """Writes ``run.figures/stem`` as csv, md and tex, and its stamp as json.

    csv holds the numbers as they are. In md and tex, floats are shown with ``decimals`` (a number, or a dict by
    column, others 1), a column ``x`` with columns ``x_std``, or ``x_low`` and ``x_high``, as ``x ± std [low, high]``
    (alone where they are missing), and a missing value as ``missing``. The index is not written: make it a column.
    """
    record = stamp(run, uses_data=uses_data, **extra)
    shown = formatting.formatted(df, decimals, missing)
    full = f"{caption.rstrip('. ')}. ({record['face']})"
    target = run.figures / stem
    with atomic_path(target.with_name(f"{stem}.csv")) as temporary:
        df.to_csv(temporary, index=False, float_format="%.10g", lineterminator="\n")
    write_text(target.with_name(f"{stem}.md"), formatting.markdown(shown, full))
    write_text(target.with_name(f"{stem}.tex"), formatting.latex(shown, full, stem))
    write_json(target.with_name(f"{stem}.json"), {"stem": stem, "caption": caption, **record})


def save_figure(
    run: Run, stem: str, fig: Figure, caption: str, *, uses_data: bool = True, **extra: Any
) -> None:
    """Writes ``run.figures/stem`` as png and pdf with the stamp in their metadata.

    The run's face is written below the figure unless the figure already shows it.
    """
    from matplotlib.text import Text

    record = {"stem": stem, "caption": caption, **stamp(run, uses_data=uses_data, **extra)}
    if not any(record["face"] in text.get_text() for text in fig.findobj(Text)):
        fig.text(0.0, -0.01, record["face"], va="top", ha="left", fontsize=5, color="0.35")
    text = json.dumps(record, ensure_ascii=False, default=_plain)
    png = {"Title": caption, PNG_KEY: text}
    pdf = {"Title": caption, "Subject": record["face"], "Keywords": text}
    for suffix, inside in (("png", png), ("pdf", pdf)):
        with atomic_path(run.figures / f"{stem}.{suffix}") as temporary:
            fig.savefig(temporary, metadata=inside, bbox_inches="tight")


def read_stamp(path: str | Path) -> dict[str, Any]:
    """The stamp of a saved table (from its ``.json``) or figure (from inside its ``.png``)."""
    path = Path(path)
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    from PIL import Image

    with Image.open(path) as image:
        return json.loads(image.info[PNG_KEY])


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(PACKAGE), *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()
