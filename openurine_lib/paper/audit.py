"""The paper's numbers checked against themselves: sums, means, tables against tables and text.

The checks need nothing but the published tables. Their texts are data (``config/audit.yaml``);
every verdict is computed here. A claim that the ledger tests (``paper/claims``) is not repeated.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from ultralytics.utils.metrics import compute_ap

from openurine_lib.config import read_config
from openurine_lib.data.splits import FOLDS
from openurine_lib.paper import convention
from openurine_lib.published import METRICS, by_class, table

ADDS_UP, DOES_NOT, OBSERVATION = "adds up", "does not add up", "observation"
ROUNDED = 0.005  # what printing a percentage to two decimals can hide
ROUNDED_MEAN = 2 * ROUNDED  # a mean is rounded, and so are the numbers that it is the mean of
OURS, FULL = "Our method (YOLOv12-M backbone)", "Full (all six heads)"
SINGLE_HEAD = "YOLOv12-M + SAHI + Self-supervised + Single-head"
TRAIN, TEST = 80, 20  # shares of the split, percent
PATIENTS, FIELDS = 84, (3, 5)  # Clinical validation: patients, and fields of each patient
IMAGES, CATEGORIES = 6430, 6
ABSTRACT_BOXES = 31285  # the abstract says "over"


class Check(NamedTuple):
    """One comparison: what the paper states, what its own numbers give, and whether they agree."""

    id: str
    where: str
    claim: str
    published: str
    computed: str
    tolerance: str
    verdict: str
    computation: str


def audit_arithmetic() -> pd.DataFrame:
    """The table ``audit_arithmetic``: a row a check, numbers as text with the paper's digits."""
    return pd.DataFrame(checks()).rename(columns={"id": "check"})


def checks() -> list[Check]:
    """All checks: first the tables' own arithmetic, then what the text says of them."""
    arithmetic = (*totals(), *best_row(), *class_rows(), *clinical(), *same_rows())
    return [*arithmetic, *of_text()]


@functools.cache
def texts() -> dict[str, dict[str, Any]]:
    """The texts of the checks, by entry: where, claim, how, and for some a tolerance."""
    return read_config("audit.yaml")


def make(
    entry: str, published: float | str, computed: float | str, holds: bool | None, **fields: Any
) -> Check:
    """A check with the texts of its entry; ``fields`` fill in what stands there in braces.

    ``holds`` is None for an observation: worth knowing, but the paper says nothing against it.
    """
    text = texts()[entry]
    return Check(
        id=entry.format(**fields),
        where=text["where"],
        claim=text["claim"].format(**fields),
        published=as_text(published),
        computed=as_text(computed),
        tolerance=f"{text.get('tolerance', 0):g}",
        verdict={None: OBSERVATION, True: ADDS_UP, False: DOES_NOT}[holds],
        computation=text["how"].format(**fields),
    )


def as_text(value: float | str) -> str:
    """Counts as they are, percentages to two decimals as the paper prints them."""
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def equal(entry: str, published: float, computed: float, **fields: Any) -> Check:
    """Holds if the two numbers differ by the tolerance of the entry at most."""
    holds = agree(published, computed, texts()[entry].get("tolerance", 0.0))
    return make(entry, published, computed, holds, **fields)


def agree(published: float, computed: float, tolerance: float = 0.0) -> bool:
    """Whether two numbers differ by the tolerance at most; 1e-9 is for floating point."""
    return abs(float(published) - float(computed)) <= tolerance + 1e-9


def none(entry: str, offenders: Iterable[str]) -> Check:
    """Holds if there are no offenders."""
    names = ", ".join(offenders)
    return make(entry, "none", names or "none", not names)


def observed(entry: str, computed: float | str, **fields: Any) -> Check:
    """An observation beside which the paper prints no number."""
    return make(entry, "—", computed, None, **fields)


def totals() -> Iterator[Check]:
    """Tables 1 and 2: images, boxes and categories."""
    table1 = table(1).set_index("row")
    classes = table(2, summaries=False)
    total = table(2).set_index("row").loc["Total"]
    boxes = int(classes["boxes"].sum())
    yield equal("t1-images", IMAGES, int(table1["images"].sum()))
    yield equal("t2-boxes", int(total["boxes"]), boxes)
    yield equal("t12-boxes", int(table1.loc["Labeled data", "boxes"]), boxes)
    yield equal("t2-images", int(total["images"]), int(classes["images"].sum()))
    yield equal("t2-categories", CATEGORIES, classes["category"].nunique())
    yield none("t2-pairs", classes.loc[classes["images"] > classes["boxes"], "row"])


def best_row() -> Iterator[Check]:
    """Table 4's best row as Table 7's unweighted average (Eq. 10), weighted one, or one fold."""
    averages = table(7).set_index("row")
    unweighted = averages.loc["Unweighted average"]
    weighted = averages.loc["Weighted average"]
    ours = table(4).set_index("row").loc[OURS]
    for m in ("precision", "recall"):
        yield equal("t47-unweighted-{m}", ours[m], unweighted[m], m=m)
    for m in METRICS:
        yield equal("t47-weighted-{m}", ours[m], weighted[m], m=m)
    for m in METRICS:
        # Of n numbers none lies further from their mean than sqrt(n - 1) standard deviations
        # (Samuelson 1968), so no fold can be better than this.
        mean = ours[m]
        std = ours[f"{m}_std"]
        limit = mean + np.sqrt(FOLDS - 1) * std
        possible = bool(unweighted[m] <= limit + ROUNDED_MEAN)
        bound = f"at most {limit:.2f}"
        yield make("t47-best-fold-{m}", bound, unweighted[m], possible, m=m, mean=mean, std=std)


def class_rows() -> Iterator[Check]:
    """Table 7's rows: what average precision and five folds allow."""
    rows = by_class().set_index("row")
    yield none("t7-order", rows.index[rows["map50_95"] > rows["map50"]])
    # the stricter AP cannot be larger

    # precision · recall >= precision + recall - 1 in every fold, so the bound holds for means too
    least = rows["precision"] + rows["recall"] - 100 - 3 * ROUNDED  # percent: 1 is 100
    yield none("t7-least", rows.index[rows["map50"] < least])

    images = rows.loc[rows["images"] < FOLDS, "images"]
    yield none("t7-folds", [f"{name} ({n} images)" for name, n in images.items()])

    # A mean of five percentages with one decimal is a multiple of 0.02.
    # * 50: multiples of 0.02 become whole
    cells = rows[METRICS].to_numpy() * 50  # (39, 4)
    multiples = int(np.isclose(cells, np.round(cells), rtol=0, atol=1e-6).sum())
    yield observed("t7-fifths", f"{multiples} of {cells.size}")

    perfect = rows[rows["map50"] == 100]
    recall = (np.arange(1, 101) / 100).tolist()  # a perfect detector, box by box
    ceiling = float(100 * compute_ap(recall, [1.0] * len(recall))[0])
    yield make("t7-ceiling", rows["map50"].max(), ceiling, None, n=len(perfect))

    exact = rows.index[rows["map50_95"] == 100]
    yield observed("t7-exact", len(exact), names=", ".join(exact))

    odd = perfect[(perfect["precision"] < 100) | (perfect["recall"] < 100)]
    names = [f"{name} (P {row.precision:.2f}, R {row.recall:.2f})" for name, row in odd.iterrows()]
    yield observed("t7-perfect", len(odd), names=", ".join(names))


def clinical() -> Iterator[Check]:
    """Table 8: whether a count of fewer patients, or of fields, can give the percentages."""
    rows = table(8, summaries=False).set_index("row")["accuracy"]
    patients = range(1, PATIENTS + 1)
    possible = [name for name, accuracy in rows.items() if denominators(accuracy, patients)]
    names = ", ".join(possible) or "none"
    yield make("t8-fewer", len(rows), len(possible), len(possible) == len(rows), names=names)

    least, most = (PATIENTS * n for n in FIELDS)  # 3 to 5 fields a patient
    common = set.intersection(*(denominators(a, range(least, most + 1)) for a in rows))
    yield make("t8-fields", "a number of fields", len(common), bool(common), least=least, most=most)


def denominators(percent: float, sizes: range) -> set[int]:
    """The n among sizes for which some k/n rounds to the percentage."""
    # k is the nearest whole number
    return {n for n in sizes if abs(100 * round(percent * n / 100) / n - percent) <= ROUNDED + 1e-9}


def same_rows() -> Iterator[Check]:
    """A row that is printed twice is the same twice; and how the deviations of Table 4 spread."""
    table4, table5, table6 = (table(n).set_index("row") for n in (4, 5, 6))
    twice = {
        "t45-full": (table4.loc[OURS], table5.loc[FULL]),
        "t46-nano": (table4.loc["YOLO12-nano"], table6.loc["960"]),
    }
    for entry, (one, other) in twice.items():
        yield equal(entry, 0.0, float((one - other).abs().max()))  # no cell differs

    std = table4["map50_std"]
    medians = f"{std.median():.2f} (precision: {table4['precision_std'].median():.2f})"
    yield observed("t4-std", medians, names=", ".join(std.index[std < 0.1]))
    place = int(std.rank(ascending=False)[OURS])  # the first is the largest
    yield observed("t4-std-ours", std[OURS], place=place, n=len(std))


def of_text() -> Iterator[Check]:
    """What the text says of the tables, and of itself: heads, input sizes, classes, protocol."""
    precision = table(5).set_index("row")["precision"]
    table4 = table(4).set_index("row")
    every_head = precision[FULL] - table4.loc[SINGLE_HEAD, "precision"]
    one_head = float((precision[FULL] - precision.drop(FULL)).max())
    less = bool(one_head <= every_head + ROUNDED_MEAN)
    yield make("t45-one-or-all-precision", f"{every_head:.2f}", one_head, less)

    table6 = table(6).set_index("row")
    smallest = table6.loc["40"]
    best = table4["precision"].max()
    yield observed("t6-40px", smallest["precision"], recall=smallest["recall"], best=best)
    possible = convention.at_size()["undetected"]
    yield observed("t6-convention", f"{possible.min()} to {possible.max()} of {convention.CLASSES}")

    classes = by_class().set_index("row")
    is_cast = classes.index.str.contains(r"\bcast\b", case=False)
    elsewhere = classes.loc[is_cast & (classes["category"] != "Casts"), "category"]
    yield none("t2-casts", elsewhere.index + " in " + elsewhere)
    boxes = int(classes["boxes"].sum())
    yield make("abstract-boxes", ABSTRACT_BOXES, boxes, boxes > ABSTRACT_BOXES)
    others = table(7).columns.drop(["row", *METRICS])
    yield make("t7-baselines", "more than 0", len(others), len(others) > 0)

    settings = table(3).set_index("setting")["value"]
    yield equal("split-folds", TEST, 100 // FOLDS)
    validation = 100 - TRAIN - TEST
    yield make("split-validation", "more than 0", validation, validation > 0)
    yield none("eq2-gains", [gain for gain in ("box", "obj", "cls") if gain not in settings.index])
    lr0 = settings["lr0"]
    lrf = settings["lrf"]
    # lrf: ultralytics multiplies lr0 by it
    yield make("t3-lrf", f"{lrf:g}", f"{lr0 * lrf:.1e}", None, percent=100 * lrf / lr0)
    dataset, statement = "publicly available", "on reasonable request, by a form"
    yield make("availability", dataset, statement, dataset == statement)
