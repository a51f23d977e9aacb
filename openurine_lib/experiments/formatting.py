"""How a table looks on paper: numbers as text, Markdown and LaTeX; and text that is no formula."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

# endings of columns: a metric's deviation over folds, and the two ends of its interval
SPREAD = ("_std", "_low", "_high")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with which a spreadsheet lets a formula begin
_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "—": "---", "–": "--",
    "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "≤": r"$\leq$", "≥": r"$\geq$",
    "≈": r"$\approx$", "→": r"$\rightarrow$", "µ": r"$\mu$", "μ": r"$\mu$", "κ": r"$\kappa$",
    "λ": r"$\lambda$", "Δ": r"$\Delta$", "σ": r"$\sigma$",
})  # fmt: skip


def formatted(
    df: pd.DataFrame, decimals: int | Mapping[str, int] = 1, missing: str = "—"
) -> pd.DataFrame:
    """The frame as text: a column ``x`` and its ``x_std``, ``x_low`` and ``x_high`` become one.

    A cell of it is ``mean ± deviation [low, high]``, without what is missing. decimals: of all
    floats, or by column (others 1).
    """
    numeric = [c for c in df if is_numeric_dtype(df[c]) and not is_bool_dtype(df[c])]
    # names that are not columns of their own
    spread = {f"{name}{end}" for name in df for end in SPREAD}
    shown = {}
    for name in [c for c in df if c not in spread]:
        places = decimals if isinstance(decimals, int) else decimals.get(name, 1)
        texts = [_number(value, places, missing) for value in df[name]]
        spread_of = [df.get(f"{name}{end}", [None] * len(df)) for end in SPREAD]
        for i, values in enumerate(zip(*spread_of, strict=True)):
            if texts[i] != missing:
                texts[i] += _spread(*(_number(value, places, "") for value in values))
        shown[str(name)] = pd.Series(texts, index=df.index, dtype=str)
    frame = pd.DataFrame(shown, index=df.index)
    frame.attrs["right"] = [str(name) for name in numeric]  # aligned there
    return frame


def defused(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame, with an apostrophe before each text that a spreadsheet would take for a formula.

    An image or a patient may be called ``=HYPERLINK(...)``. Numbers stay as they are.
    """
    # whole numbers of which some are missing would become decimal ones in a map
    return frame.apply(lambda column: column if is_numeric_dtype(column) else column.map(_defused))


def _defused(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _number(value: Any, places: int, missing: str) -> str:
    if pd.isna(value):
        return missing
    if isinstance(value, float):
        text = f"{value:.{places}f}"
        return text.removeprefix("-") if float(text) == 0 else text  # no "-0.0"
    if isinstance(value, bool | np.bool_):  # numpy's booleans are no Python bool
        return "yes" if value else "no"
    return str(value)


def _spread(deviation: str, low: str, high: str) -> str:
    interval = f" [{low}, {high}]" if low and high else ""
    return f" ± {deviation}{interval}" if deviation else interval


def markdown(shown: pd.DataFrame, caption: str) -> str:
    """A formatted frame as a Markdown table under its caption."""
    return f"**{caption}**\n\n{rows_of(shown)}"


def rows_of(shown: pd.DataFrame) -> str:
    """A formatted frame as a Markdown table; needs the package tabulate."""
    # a bar would end the cell
    cells = shown.map(lambda text: text.replace("|", r"\|").replace("\n", " "))
    align = ["right" if name in shown.attrs.get("right", []) else "left" for name in shown]
    # disable_numparse: tabulate must not round text that looks like a number
    return cells.to_markdown(
        index=False, disable_numparse=True, colalign=align if len(cells) else None
    )


def latex(shown: pd.DataFrame, caption: str, stem: str) -> str:
    """A formatted frame as a LaTeX table (booktabs) that starts with its caption."""
    cells = shown.map(_escape).rename(columns=_escape)
    align = ["r" if name in shown.attrs.get("right", []) else "l" for name in shown]
    return cells.style.hide(axis="index").to_latex(
        hrules=True,
        column_format="".join(align),
        caption=_escape(caption),
        label=f"tab:{stem}",
        position_float="centering",
    )


def _escape(text: str) -> str:
    return text.translate(_LATEX)
