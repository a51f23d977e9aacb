"""What is in a data set: Tables 1 and 2, and the pictures of Figs 1 and 2."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib import pyplot as plt
from matplotlib.patches import Patch, Rectangle

from openurine_lib import style
from openurine_lib.data.boxes import XYXY, area, centres_in, square_around
from openurine_lib.data.dataset import Dataset
from openurine_lib.data.images import read_rgb
from openurine_lib.data.taxonomy import Taxonomy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HALO = [patheffects.withStroke(linewidth=1.2, foreground="white")]
PAIRS = 3  # strips of a data set and of the simulator in a row: 39 classes fit a page
LINE = 0.035  # height of a class name in Fig 1, as a part of the field's width
LETTER = 0.019  # width of one of its letters


def table1(d: Dataset) -> pd.DataFrame:
    """Table 1, images and boxes of the labelled and the unlabelled part: [row, images, boxes]."""
    images = d.images["split"].value_counts()
    rows = [
        ("Labeled data", images.get("labelled", 0), len(d.boxes)),
        ("Unlabeled data", images.get("unlabelled", 0), None),
    ]
    return pd.DataFrame(rows, columns=["row", "images", "boxes"])


def table2(d: Dataset) -> pd.DataFrame:
    """Table 2, boxes and images of each class and their total: [row, head, boxes, images]."""
    boxes = d.boxes["cls"].value_counts()
    images = d.boxes.groupby("cls")["image"].nunique()
    rows = [
        (name, d.taxonomy.head_of(cls), boxes.get(cls, 0), images.get(cls, 0))
        for cls, name in enumerate(d.taxonomy.classes)
    ]
    rows.append(("Total", "", len(d.boxes), int(d.images["split"].eq("labelled").sum())))
    return pd.DataFrame(rows, columns=["row", "head", "boxes", "images"])


def parts(d: Dataset) -> pd.DataFrame:
    """Images, groups (patients or slides) and mean size in pixels of each part of the data set."""
    size = {side: (side, "mean") for side in ("width", "height")}
    by_part = d.images.groupby("split")
    table = by_part.agg(images=("image", "size"), groups=("group", "nunique"), **size)
    order = [part for part in ("labelled", "unlabelled", "cohort") if part in table.index]
    return table.loc[order].reset_index(names="part")


def near_duplicates(d: Dataset) -> pd.DataFrame:
    """[image_a, image_b, bits, copy (how the second lies), part_a, part_b, across (parts)]."""
    fold = d.images["fold"]
    # a part is a fold, or its split
    part = d.images["split"].where(fold < 0, "fold " + fold.astype(str))
    part_of = dict(zip(d.images["image"], part, strict=True))
    pairs = d.near_duplicates.copy()
    for side in ("a", "b"):
        pairs[f"part_{side}"] = [part_of[image] for image in pairs[f"image_{side}"]]
    pairs["across"] = pairs["part_a"] != pairs["part_b"]
    return pairs


def fig1_fields(d: Dataset, banner: str, n: int = 6) -> Figure:
    """Fig 1: ``n`` labelled fields rich in classes; each class is named once a field."""
    fields = d.images.set_index("image", drop=False).loc[richest_fields(d, n)]
    rows = math.ceil(len(fields) / 3)
    shape = (fields["height"] / fields["width"]).max()
    figure, axes = _grid(rows, 3, rows * shape / 3 + 0.07)
    for axis, field in zip(axes.flat, fields.itertuples(), strict=False):
        axis.imshow(read_rgb(field.path))
        _draw_boxes(axis, d.taxonomy, d.boxes[d.boxes["image"] == field.image], field.width)
    heads = [Patch(color=style.HEAD_COLOURS[head], label=head) for head in d.taxonomy.heads]
    figure.legend(
        handles=heads, loc="outside lower center", ncols=len(heads), title=banner, title_fontsize=5
    )
    return figure


def richest_fields(d: Dataset, n: int) -> list[str]:
    """Fields that show most classes not yet shown; among equals a new patient or slide."""
    fields = d.boxes.groupby("image")["cls"].agg(classes=set, boxes="size")
    fields = fields.join(d.images.set_index("image")["group"])
    chosen: list[str] = []
    classes: set[int] = set()
    groups: set[str] = set()

    def worth(image: str) -> tuple[int, bool, int, int]:
        field = fields.loc[image]  # ranked by these, in turn
        new = len(field["classes"] - classes)
        return new, field["group"] not in groups, len(field["classes"]), field["boxes"]

    for _ in range(min(n, len(fields))):
        # ``max`` takes the first of equals
        best = max((image for image in fields.index if image not in chosen), key=worth)
        chosen.append(best)
        classes |= fields.at[best, "classes"]
        groups.add(fields.at[best, "group"])
    return chosen


def fig2_classes(d: Dataset, banner: str, n: int = 3) -> Figure:
    """Fig 2: ``n`` particles of each class; a class without a box keeps an empty place."""
    return contact_sheet(d.taxonomy, lambda cls: examples(d, cls, n), banner, n)


def contact_sheet(
    taxonomy: Taxonomy, pictures: Callable[[int], list[np.ndarray]], banner: str, n: int
) -> Figure:
    """``n`` square ``pictures(class id)`` of each class, under its name in its head's colour."""
    across = max(1, round(12 / n))  # classes side by side: 39 of three pictures fit a page
    rows = math.ceil(taxonomy.n / across)
    figure, axes = _grid(rows, across, 1.3 * rows / (n * across), banner)
    for cls, axis in enumerate(axes.T.flat[: taxonomy.n]):  # .T: down the columns
        title = taxonomy.classes[cls].replace("_", " ")
        _strip(axis, title, pictures(cls), n, style.HEAD_COLOURS[taxonomy.head_of(cls)])
    return figure


def fig2_beside_simulator(
    d: Dataset,
    banner: str,
    simulated: Callable[[str, int], np.ndarray],
    simulator_classes: Collection[str],
    n: int = 2,
) -> Figure | None:
    """``n`` particles of the data set, left, and of the simulator, right, of each class of both.

    Both stand under the name of the class, in the colour of its head. ``simulated(class, seed)``
    draws one particle (side, side, 3). A data set of other classes names their equals in its
    taxonomy file (``openurine``); a class without one is left out. None for a data set that the
    simulator drew: both sides would be its own.
    """
    if d.synthetic:
        return None
    equals = {}
    for cls, name in enumerate(d.taxonomy.classes):
        names = [c for c in d.taxonomy.openurine.get(cls, (name,)) if c in simulator_classes]
        if names and (d.boxes["cls"] == cls).any():
            equals[cls] = names
    rows = max(1, math.ceil(len(equals) / PAIRS))
    key = f"of each pair left: {d.name}; right: simulated\n{banner}"
    figure, axes = _grid(rows, 2 * PAIRS, 1.25 * rows / (2 * PAIRS * n), key)
    # down the columns of pairs; (pairs, 2)
    places = axes.reshape(rows, PAIRS, 2).transpose(1, 0, 2).reshape(-1, 2)
    for (left, right), (cls, names) in zip(places, equals.items(), strict=False):
        drawn = [simulated(names[i % len(names)], i) for i in range(n)]  # their equals in turn
        title = d.taxonomy.classes[cls].replace("_", " ")
        colour = style.HEAD_COLOURS[d.taxonomy.head_of(cls)]
        _strip(left, title, examples(d, cls, n), n, colour, "left")  # it may be longer than a strip
        _strip(right, "", drawn, n)
    return figure


def examples(d: Dataset, cls: int, n: int) -> list[np.ndarray]:
    """Square cut-outs (side, side, 3) around large, whole, free particles of the class.

    Of the whole boxes the 20 nearest to the upper quartile of area, those in least company first,
    then those of most contrast, one a patient or slide before a second one of the same.
    """
    fields = d.images[["image", "width", "height", "group", "path"]]
    boxes = d.boxes[d.boxes["cls"] == cls].merge(fields, on="image")
    if boxes.empty:
        return []
    # a box at the edge may be a part of a particle
    inside = boxes["x2"].le(boxes["width"] - 1) & boxes["y2"].le(boxes["height"] - 1)
    inside &= boxes[["x1", "y1"]].min(axis=1).ge(1)
    whole = boxes[inside] if inside.any() else boxes
    areas = area(whole)
    distance = (areas - areas.quantile(0.75)).abs()
    few = whole.loc[distance.sort_values(kind="stable").index[:20]]
    rows: list[dict[str, Any]] = []
    for box in few.to_dict("records"):
        square = square_around([box[c] for c in XYXY], box["width"], box["height"])
        left, top, side = square
        cut = read_rgb(box["path"])[top : top + side, left : left + side]
        company = centres_in(d.boxes[d.boxes["image"] == box["image"]], square)
        rows.append({"group": box["group"], "company": company, "faint": -cut.std(), "cut": cut})
    ranked = pd.DataFrame(rows).sort_values(["company", "faint"], kind="stable")
    turn = ranked.groupby("group").cumcount()  # 0 for a patient's first
    return list(ranked["cut"].loc[turn.sort_values(kind="stable").index[:n]])


def _grid(rows: int, columns: int, height: float, banner: str = "") -> tuple[Figure, np.ndarray]:
    """A page of places (rows, columns) without axes; ``height`` is a part of the page's width."""
    size = style.size(style.PAGE, height)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    if banner:
        figure.supxlabel(banner, fontsize=5)
    return figure, axes


def _strip(
    axis: Axes,
    title: str,
    pictures: list[np.ndarray],
    n: int,
    colour: str = "black",
    place: Literal["left", "center"] = "center",
) -> None:
    """Square pictures side by side, each brought to the same size, in ``n`` places."""
    axis.set_title(title, fontsize=6, color=colour, pad=2, loc=place)
    axis.set_aspect("equal")
    for i, picture in enumerate(pictures):
        axis.imshow(picture, extent=(i + 0.01, i + 0.99, 0.01, 0.99), interpolation="bilinear")
    axis.set_xlim(0, n)  # after the pictures, each of which sets them to its own place
    axis.set_ylim(0, 1)
    if not pictures:
        axis.text(n / 2, 0.5, "no box", ha="center", va="center", color="0.5")


def _draw_boxes(axis: Axes, taxonomy: Taxonomy, boxes: pd.DataFrame, width: int) -> None:
    """All boxes; a class is named at its largest box where the name covers no other name."""
    boxes = boxes.assign(area=area(boxes)).sort_values("area", ascending=False, kind="stable")
    names: list[tuple[float, float, float, float]] = []  # left, top, right, bottom of those drawn
    for cls, same in boxes.groupby("cls", sort=False):
        name = taxonomy.classes[cls]
        colour = style.HEAD_COLOURS[taxonomy.head_of(cls)]
        places = []
        for x1, y1, x2, y2 in same[XYXY].itertuples(index=False):
            axis.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color=colour, lw=0.6))
            left = min(x1, width * (1 - LETTER * len(name)))  # moved left, to end inside the field
            right = left + width * LETTER * len(name)
            if y1 > width * LINE:  # there is room above the box
                places.append((left, y1 - width * LINE, right, y1))
            places.append((left, y2, right, y2 + width * LINE))
        free = (p for p in places if not any(_overlap(p, q) for q in names))
        place = next(free, places[0])  # better covered than missing
        names.append(place)
        text = axis.text(place[0], place[3], name, fontsize=4.5, color=colour, va="bottom")
        text.set(path_effects=HALO, clip_on=True)


def _overlap(p: tuple[float, ...], q: tuple[float, ...]) -> bool:
    return p[0] < q[2] and q[0] < p[2] and p[1] < q[3] and q[1] < p[3]
