"""What the text says of the tables, and of itself."""

from __future__ import annotations

from collections.abc import Iterator

from openurine_lib.paper.audit_record import ROUNDED_MEAN, Check, equal, none
from openurine_lib.paper.audit_tables import FOLDS, FULL, OURS
from openurine_lib.published import METRICS, by_class, table

NO_SSL = "YOLOv12-M + SAHI + Multi-head"
NO_HEADS = "YOLOv12-M + SAHI + Self-supervised + Single-head"
WITHOUT_MICROORGANISMS = "Without microorganisms head"
ABSTRACT = {"precision": 76.59, "map50": 64.15}
BOXES = 31285  # "over"
TRAIN, TEST = 80, 20  # shares of the split, percent
CONFUSED = {
    ("RBC", "WBC"): 43,
    ("WBC", "RBC"): 38,
}  # percent of the missed ones of the first that are taken for the second
SAID = [  # of classes, against Table 7's unweighted average
    ("Bacteria", "precision", "high"),
    ("Bacteria", "recall", "low"),
    *(
        (c, m, "high")
        for c in ("Calcium oxalate", "Bilirubin", "Calcium carbonate")
        for m in ("precision", "recall")
    ),
    ("Fat droplets", "map50", "low"),
    ("Epithelial cell (renal)", "map50", "low"),
]
ACCESS = {"Dataset": "publicly available", "Data availability": "on reasonable request, by a form"}


def heads() -> Iterator[Check]:
    """The abstract; Tables 4 and 5: what is best, what losing the heads or one of them costs."""
    four, five = table(4).set_index("row"), table(5).set_index("row")
    full, removed = five.loc[FULL], five.drop(FULL)
    for m, stated in ABSTRACT.items():
        yield equal(
            f"abstract-{m}",
            "Abstract, Table 4",
            f"{m} of the method",
            stated,
            four.loc[OURS, m],
            "best row",
        )
    for m in METRICS:
        best = four[m].idxmax()
        yield Check(
            f"t4-best-{m}",
            "Table 4",
            f"who has the highest {m}",
            OURS,
            best,
            best == OURS,
            "row of the maximum",
        )
    for m in METRICS:
        cost = {
            "multi-head": full[m] - four.loc[NO_HEADS, m],
            "self-supervision": full[m] - four.loc[NO_SSL, m],
        }
        worst = max(cost, key=lambda name: cost[name])
        how = (
            ", ".join(f"{name} {x:.2f}" for name, x in cost.items())
            + "; no row leaves out slicing alone"
        )
        claim = f"leaving out which costs the most {m}"
        yield Check(
            f"t4-module-{m}",
            "Table 4, text",
            claim,
            "multi-head",
            worst,
            worst == "multi-head",
            how,
        )
    kept = removed.index[(removed[METRICS] >= full[METRICS]).any(axis=1)]
    yield none(
        "t5-all",
        "Table 5, text",
        "removing any head lowers every metric",
        kept,
        "rows where one did not fall",
    )
    for m in METRICS:
        drops = full[m] - removed[m]
        worst = drops.idxmax()
        how = ", ".join(f"{row.removeprefix('Without ')} {x:.2f}" for row, x in drops.items())
        claim, holds = f"removing which head costs the most {m}", worst == WITHOUT_MICROORGANISMS
        yield Check(
            f"t5-worst-{m}", "Table 5, text", claim, WITHOUT_MICROORGANISMS, worst, holds, how
        )
    for m in METRICS:
        all_six, one = full[m] - four.loc[NO_HEADS, m], float((full[m] - removed[m]).max())
        claim = f"losing all head independence costs more {m} than losing one head"
        how = "largest drop of Table 5 against the drop of Table 4's single head"
        holds = bool(one <= all_six + ROUNDED_MEAN)
        yield Check(
            f"t45-one-or-all-{m}",
            "Tables 4, 5, text",
            claim,
            f"{all_six:.2f}",
            one,
            holds,
            how,
            ROUNDED_MEAN,
        )


def input_sizes() -> Iterator[Check]:
    """Table 6: what a smaller and a larger input do."""
    six = table(6).set_index("row")
    for m in METRICS:
        best = six[m].idxmax()
        how = f"{six.loc[best, m]:.2f} at {best} px, {six.loc['960', m]:.2f} at 960 px"
        yield Check(
            f"t6-best-{m}",
            "Table 6, bold row",
            f"input size of the best {m}",
            "960",
            best,
            best == "960",
            how,
        )
    for m in METRICS:
        rising = six.loc[:"960", m]
        falls = int((rising.diff() < 0).sum())
        how = " → ".join(f"{x:.2f}" for x in rising)
        claim = f"{m} grows with the input size, up to 960 px: steps down"
        yield Check(f"t6-rise-{m}", "Table 6, caption", claim, 0, falls, falls == 0, how)
    highest, best = six.loc["40", "precision"], table(4)["precision"].max()
    how = f"at a recall of {six.loc['40', 'recall']:.2f}; the highest of Table 4 is {best:.2f}"
    yield Check(
        "t6-40px", "Tables 4, 6", "precision of the smallest input", "—", highest, None, how
    )
    for m in ("recall", "map50"):
        drop, spread = (
            six.loc["960", m] - six.loc["640", m],
            six.loc[["640", "960"], f"{m}_std"].max(),
        )
        claim, how = (
            f"{m} falls sharply below 960 px (by more than its deviation)",
            "960 → 640 px; larger deviation",
        )
        holds = bool(drop > spread)
        yield Check(
            f"t6-sharp-{m}",
            "Table 6, text",
            claim,
            f"more than {spread:.2f}",
            float(drop),
            holds,
            how,
        )
    for px in ("80", "40"):
        lost = {m: 100 * (1 - six.loc[px, m] / six.loc["960", m]) for m in METRICS}
        worst = max(lost, key=lambda m: lost[m])
        how = "lost of the value at 960 px: " + ", ".join(f"{m} {x:.1f} %" for m, x in lost.items())
        claim = f"which metric collapses most at {px} px"
        yield Check(
            f"t6-collapse-{px}", "Table 6, text", claim, "recall", worst, worst == "recall", how
        )


def classes() -> Iterator[Check]:
    """Tables 2 and 7: what is said of single classes."""
    d, average = by_class().set_index("row"), table(7).set_index("row").loc["Unweighted average"]
    casts = d[d.index.str.contains(r"\bcast\b", case=False) & (d["category"] != "Casts")]
    astray = casts.index + " in " + casts["category"]
    yield none(
        "t2-casts",
        "Table 2, text",
        "the categories follow clinical taxonomy: casts",
        astray,
        "not in Casts",
    )
    boxes = int(d["boxes"].sum())
    yield Check(
        "abstract-boxes",
        "Abstract",
        "more boxes than",
        BOXES,
        boxes,
        boxes > BOXES,
        "sum over classes",
    )
    for name, m, level in SAID:
        holds = bool(d.loc[name, m] > average[m]) == (level == "high")
        side = "above" if level == "high" else "below"
        how = f"against the average; place {int(d[m].rank(ascending=False, method='min')[name])} of {len(d)}"
        id = f"t7-{name}-{m}".lower().replace(" ", "-").replace("(", "").replace(")", "")
        claim, published = f"{name}: {level} {m}", f"{side} {average[m]:.2f}"
        yield Check(id, "Table 7, text", claim, published, d.loc[name, m], holds, how)
    others = table(7).columns.drop(["row", *METRICS])
    claim, how = (
        "most classes improve on earlier methods",
        "columns of Table 7 for any other method",
    )
    yield Check(
        "t7-baselines", "Table 7, text", claim, "more than 0", len(others), len(others) > 0, how
    )
    hits = d["recall"] / 100 * d["boxes"]
    false = hits * (100 / d["precision"] - 1)
    for (a, b), share in CONFUSED.items():
        taken = share / 100 * (d.loc[a, "boxes"] - hits[a])
        claim, how = (
            f"missed {a} taken for {b}: no more than {b}'s false ones",
            "share · missed boxes ≤ TP · (1/P - 1)",
        )
        id, holds = f"t7-{a}-as-{b}".lower(), bool(taken <= false[b])
        yield Check(
            id, "Tables 2, 7, text", claim, f"at most {false[b]:.0f}", f"{taken:.0f}", holds, how
        )


def protocol() -> Iterator[Check]:
    """The text against itself: splits, settings, availability."""
    three = table(3).set_index("setting")["value"]
    yield equal(
        "split-folds",
        "Data partitioning",
        "test share of the split and of a fold, %",
        TEST,
        100 // FOLDS,
        "100 / 5",
    )
    left = 100 - TRAIN - TEST
    claim, how = "the search was scored on a validation part, %", "100 - training - test share"
    yield Check(
        "split-validation", "Data partitioning, search", claim, "more than 0", left, left > 0, how
    )
    lacking = [gain for gain in ("box", "obj", "cls") if gain not in three.index]
    yield none(
        "eq2-gains",
        "Eq. 2, Table 3",
        "Table 3 gives the three gains of Eq. 2",
        lacking,
        "gains that it lacks",
    )
    how = f"lr0 · lrf; as a rate it would end at {100 * three['lrf'] / three['lr0']:.0f} % of lr0"
    claim, final = (
        "final rate, if lrf is ultralytics' fraction of lr0",
        f"{three['lr0'] * three['lrf']:.1e}",
    )
    yield Check("t3-lrf", "Table 3", claim, f"{three['lrf']:g}", final, None, how)
    first, second = ACCESS.values()
    where, how = " and ".join(ACCESS), "the two places compared"
    yield Check(
        "availability", where, "how the data set can be had", first, second, first == second, how
    )
