"""The tables' own arithmetic: totals, averages, the same quantity in two tables, what a metric can be at all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ultralytics.utils.metrics import compute_ap

from openurine_lib.paper.audit_record import ROUNDED, ROUNDED_MEAN, Check, equal, none
from openurine_lib.published import METRICS, by_class, table

OURS = "Our method (YOLOv12-M backbone)"
FULL = "Full (all six heads)"
FOLDS = 5
PATIENTS, FIELDS = 84, (3, 5)  # Clinical validation: patients, fields of each


def totals() -> Iterator[Check]:
    """Tables 1 and 2: images, boxes, classes, categories."""
    one, two = table(1).set_index("row"), table(2, summaries=False)
    total = table(2).set_index("row").loc["Total"]
    images, boxes = int(two["images"].sum()), int(two["boxes"].sum())
    yield equal(
        "t1-images",
        "Table 1, text",
        "images, both parts",
        6430,
        int(one["images"].sum()),
        "sum of the column",
    )
    yield equal(
        "t2-boxes", "Table 2", "total of boxes", int(total["boxes"]), boxes, "sum over classes"
    )
    labelled = int(one.loc["Labeled data", "boxes"])
    yield equal(
        "t12-boxes",
        "Tables 1, 2",
        "boxes of the labelled images",
        labelled,
        boxes,
        "sum over classes",
    )
    how = "sum over classes; the cell holds the number of unique images instead"
    yield equal(
        "t2-images",
        "Table 2",
        "its total counts pairs of image and label",
        int(total["images"]),
        images,
        how,
    )
    yield equal("t2-classes", "Table 2, text", "classes", 39, len(two), "rows")
    yield equal(
        "t2-categories",
        "Table 2, text",
        "categories, a head each",
        6,
        two["category"].nunique(),
        "distinct",
    )
    more = two.loc[two["images"] > two["boxes"], "row"]
    yield none(
        "t2-pairs", "Table 2", "no class has more images than boxes", more, "classes that have"
    )


def class_averages() -> Iterator[Check]:
    """Table 7's two averages, from its own rows and Table 2's boxes."""
    classes, seven = by_class(), table(7).set_index("row")
    for m in METRICS:
        printed, mean = seven.loc["Unweighted average", m], classes[m].mean()
        how = f"mean of {len(classes)} rows; to reach it, one row would have to be {(printed - mean) * len(classes):+.2f}"
        yield equal(
            f"t7-mean-{m}",
            "Table 7",
            f"unweighted average of {m}",
            printed,
            mean,
            how,
            ROUNDED_MEAN,
        )
    for m in METRICS:
        printed = seven.loc["Weighted average", m]
        mean, by_images = (np.average(classes[m], weights=classes[w]) for w in ("boxes", "images"))
        how = f"weights: Table 2's boxes (by its images: {by_images:.2f})"
        yield equal(
            f"t7-weighted-{m}",
            "Tables 2, 7",
            f"weighted average of {m}",
            printed,
            mean,
            how,
            ROUNDED_MEAN,
        )


def best_row() -> Iterator[Check]:
    """Table 4's best row as Table 7's unweighted average (Eq. 10), as its weighted one, or as the mean of its folds."""
    seven, ours = table(7).set_index("row"), table(4).set_index("row").loc[OURS]
    for kind, why in (("Unweighted", " (Eq. 10)"), ("Weighted", "")):
        for m in METRICS:
            claim, how = (
                f"{m} is the {kind.lower()} mean over classes{why}",
                f"Table 7's {kind.lower()} average",
            )
            average = seven.loc[f"{kind} average", m]
            yield equal(
                f"t47-{kind.lower()}-{m}", "Tables 4, 7", claim, ours[m], average, how, ROUNDED_MEAN
            )
    for m in METRICS:
        # of n numbers none lies further from their mean than sqrt(n - 1) standard deviations (Samuelson 1968)
        limit = ours[m] + np.sqrt(FOLDS - 1) * ours[f"{m}_std"]
        value = seven.loc["Unweighted average", m]
        claim, how = (
            f"Table 7 may be the best fold alone: {m}",
            f"{ours[m]:.2f} + √{FOLDS - 1} · {ours[f'{m}_std']:.2f}",
        )
        holds = bool(value <= limit + ROUNDED_MEAN)
        yield Check(
            f"t47-best-fold-{m}",
            "Tables 4, 7",
            claim,
            f"at most {limit:.2f}",
            value,
            holds,
            how,
            ROUNDED_MEAN,
        )


def class_rows() -> Iterator[Check]:
    """Table 7's rows: what average precision and five folds allow."""
    d = by_class().set_index("row")
    yield none(
        "t7-order",
        "Table 7",
        "mAP50-95 is at most mAP50",
        d.index[d["map50_95"] > d["map50"]],
        "larger in",
    )
    # precision · recall >= precision + recall - 1 in every fold, so the bound holds for means over folds too
    low = d.index[d["map50"] < d["precision"] + d["recall"] - 100 - 3 * ROUNDED]
    yield none(
        "t7-least",
        "Table 7",
        "AP50 is at least what one point of the curve gives",
        low,
        "AP50 < P + R - 100 in",
    )
    few = [f"{c} ({n} images)" for c, n in d.loc[d["images"] < FOLDS, "images"].items()]
    how = f"classes in fewer than {FOLDS} images, so in fewer than {FOLDS} patients"
    yield none(
        "t7-folds", "Tables 2, 7", f"each class can be tested in each of {FOLDS} folds", few, how
    )

    cells = d[METRICS].to_numpy()
    fifths = int(np.isclose(cells * 50, np.round(cells * 50), rtol=0, atol=1e-6).sum())
    how = "cells that are multiples of 0.02, as a mean of five numbers printed to 0.1 % is (by chance: half of them)"
    yield Check(
        "t7-fifths",
        "Table 7",
        "one model, or five folds?",
        "—",
        f"{fifths} of {cells.size}",
        None,
        how,
    )
    perfect, curve = d[d["map50"] == 100], np.arange(1, 101) / 100
    ceiling = float(100 * compute_ap(curve.tolist(), np.ones_like(curve).tolist())[0])
    how = f"its compute_ap on a perfect curve; {len(perfect)} classes print 100"
    claim = "highest AP50, if ultralytics scored it (the paper names no evaluator)"
    yield Check("t7-ceiling", "Table 7", claim, d["map50"].max(), ceiling, None, how)
    exact = d.index[d["map50_95"] == 100]
    claim = "classes whose every box is found with an IoU of 0.95 or more, in every fold"
    yield Check(
        "t7-exact", "Table 7", claim, "—", len(exact), None, "mAP50-95 of 100: " + ", ".join(exact)
    )
    odd = perfect[(perfect["precision"] < 100) | (perfect["recall"] < 100)]
    rows = ", ".join(
        f"{c} (P {row.precision:.2f}, R {row.recall:.2f})" for c, row in odd.iterrows()
    )
    how = f"possible where one confidence serves all classes: {rows}"
    yield Check(
        "t7-perfect",
        "Table 7",
        "AP50 of 100 beside a lower precision or recall",
        "—",
        len(odd),
        None,
        how,
    )


def clinical() -> Iterator[Check]:
    """Table 8: the mean, and whether a count of patients or fields can give the percentages."""
    eight, n = table(8, summaries=False), PATIENTS
    mean = table(8)["accuracy"].iloc[-1]
    how = f"mean of {len(eight)} rows"
    yield equal(
        "t8-mean", "Table 8", "mean accuracy", mean, eight["accuracy"].mean(), how, ROUNDED_MEAN
    )
    for id, claim, sizes in (
        ("t8-patients", f"each accuracy is k of {n} patients", range(n, n + 1)),
        ("t8-fewer", f"each accuracy is k of {n} patients or fewer", range(1, n + 1)),
    ):
        fit = [
            c
            for c, a in zip(eight["row"], eight["accuracy"], strict=True)
            if denominators(a, sizes)
        ]
        how = "a count rounds to the printed percentage for: " + (", ".join(fit) or "none")
        yield Check(
            id, "Table 8, text", claim, len(eight), len(fit), len(fit) == len(eight), how, ROUNDED
        )
    sizes = range(n * FIELDS[0], n * FIELDS[1] + 1)
    common = set.intersection(*(denominators(a, sizes) for a in eight["accuracy"]))
    claim, how = (
        "each accuracy is k of the fields, three to five a patient",
        f"{sizes.start} to {sizes.stop - 1} fields",
    )
    yield Check(
        "t8-fields",
        "Table 8, text",
        claim,
        "a number of fields",
        len(common),
        bool(common),
        how,
        ROUNDED,
    )


def denominators(percent: float, sizes: range) -> set[int]:
    """The n among sizes for which some k/n rounds to the percentage."""
    return {n for n in sizes if abs(100 * round(percent * n / 100) / n - percent) <= ROUNDED + 1e-9}


def same_rows() -> Iterator[Check]:
    """A row that is printed twice is the same twice; and how the deviations of Table 4 spread."""
    four, five, six = (table(n).set_index("row") for n in (4, 5, 6))
    for id, where, claim, a, b in (
        ("t45-full", "Tables 4, 5", "the full model", four.loc[OURS], five.loc[FULL]),
        (
            "t46-nano",
            "Tables 4, 6",
            "YOLO12-nano at 960 px",
            four.loc["YOLO12-nano"],
            six.loc["960"],
        ),
    ):
        how = "largest difference of the eight numbers"
        yield equal(
            id, where, f"{claim} is the same row in both", 0.0, float((a - b).abs().max()), how
        )
    steady = four.index[four["map50_std"] < 0.1]
    medians = f"{four['map50_std'].median():.2f} (precision: {four['precision_std'].median():.2f})"
    how = "median of the column; below 0.1 in: " + ", ".join(steady)
    yield Check(
        "t4-std",
        "Table 4",
        "deviation of mAP50 over folds of different patients",
        "—",
        medians,
        None,
        how,
    )
    place = int(four["map50_std"].rank(ascending=False)[OURS])
    how = f"place {place} of {len(four)}, the largest first"
    yield Check(
        "t4-std-ours",
        "Table 4",
        "deviation of the method's mAP50",
        "—",
        four.loc[OURS, "map50_std"],
        None,
        how,
    )
