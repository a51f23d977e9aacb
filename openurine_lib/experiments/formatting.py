"""How a table looks on paper: numbers as text, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

SPREAD = (
    "_std",
    "_low",
    "_high",
)  # endings: a metric's deviation over folds, and the ends of its interval
_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "—": "---", "–": "--", "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "≤": r"$\leq$",
    "≥": r"$\geq$", "≈": r"$\approx$", "→": r"$\rightarrow$", "µ": r"$\mu$", "μ": r"$\mu$", "κ": r"$\kappa$",
    "λ": r"$\lambda$", "Δ": r"$\Delta$", "σ": r"$\sigma$",
})  # fmt: skip


def formatted(
    df: pd.DataFrame, decimals: int | Mapping[str, int] = 1, missing: str = "—"
) -> pd.DataFrame:
    """The frame as text. ``x`` and ``x_std`` become one column ``x``: mean ± standard deviation; see save_table.

    So do ``x_low`` and ``x_high``: ``mean ± deviation [low, high]``.
    """
    shown = pd.DataFrame(index=df.index)
    for name in df.columns:
        if any(
            str(name).endswith(end) and str(name).removesuffix(end) in df.columns for end in SPREAD
        ):
            continue
        places = decimals if isinstance(decimals, int) else decimals.get(name, 1)
        text = [_number(value, places, missing) for value in df[name]]
        if f"{name}_std" in df.columns:
            std = [_number(value, places, "") for value in df[f"{name}_std"]]
            text = [
                f"{t} ± {s}" if s and t != missing else t for t, s in zip(text, std, strict=True)
            ]
        if {f"{name}_low", f"{name}_high"} <= set(df.columns):
            ends = [
                [_number(value, places, "") for value in df[f"{name}_{end}"]]
                for end in ("low", "high")
            ]
            text = [
                f"{t} [{a}, {b}]" if a and b and t != missing else t
                for t, a, b in zip(text, *ends, strict=True)
            ]
        shown[str(name)] = pd.Series(text, index=df.index, dtype=str)
    shown.attrs["right"] = [
        str(n) for n in df.columns if is_numeric_dtype(df[n]) and not is_bool_dtype(df[n])
    ]
    return shown


def markdown(shown: pd.DataFrame, caption: str) -> str:
    """A formatted frame as a Markdown table under its caption."""
    return f"**{caption}**\n\n{rows_of(shown)}"


def rows_of(shown: pd.DataFrame) -> str:
    """A formatted frame as a Markdown table; needs the package tabulate."""
    cells = shown.map(lambda text: text.replace("|", r"\|").replace("\n", " "))
    align = ["right" if name in shown.attrs.get("right", []) else "left" for name in shown.columns]
    return cells.to_markdown(
        index=False, disable_numparse=True, colalign=align if len(cells) else None
    )


def latex(shown: pd.DataFrame, caption: str, stem: str) -> str:
    """A formatted frame as a LaTeX table (booktabs) that starts with its caption."""
    cells = shown.map(escape).rename(columns=escape)
    align = "".join("r" if name in shown.attrs.get("right", []) else "l" for name in shown.columns)
    return cells.style.hide(axis="index").to_latex(
        hrules=True,
        column_format=align,
        caption=escape(caption),
        label=f"tab:{stem}",
        position_float="centering",
    )


def escape(text: str) -> str:
    """Text for LaTeX."""
    return text.translate(_LATEX)


def _number(value: Any, places: int, missing: str) -> str:
    if pd.isna(value):
        return missing
    if isinstance(value, float):
        text = f"{value:.{places}f}"
        return text.removeprefix("-") if float(text) == 0 else text  # no "-0.0"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return str(value)
