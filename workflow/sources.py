"""The project's own notebooks, by number. Read by Snakemake at every call, so it stays light."""

from __future__ import annotations

from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def notebooks(folder: Path = NOTEBOOKS) -> list[Path]:
    """All numbered notebooks in order, without the copies that Jupyter makes of them."""
    return [f for f in sorted(folder.glob("[0-9][0-9]_*.ipynb")) if "-Copy" not in f.name]


def notebook(number: str, folder: Path = NOTEBOOKS) -> Path:
    """The notebook of a number, such as "04"; FileNotFoundError unless there is exactly one."""
    found = [path for path in notebooks(folder) if path.name.startswith(f"{number}_")]
    if len(found) != 1:
        names = " and ".join(path.name for path in found) or "none"
        raise FileNotFoundError(f"one notebook {number} is needed in {folder}, there is {names}")
    return found[0]
