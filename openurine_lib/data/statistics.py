"""What is in a data set: Tables 1 and 2, and the pictures of Figs 1 and 2."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib import pyplot as plt
from matplotlib.patches import Patch, Rectangle
from PIL import Image, ImageOps

from openurine_lib import style
from openurine_lib.data.dataset import Dataset
from openurine_lib.data.taxonomy import Taxonomy
from synthurine.fields import lay
from synthurine.laboratories import LABORATORIES
from synthurine.particles.classes import CLASSES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CORNERS = ["x1", "y1", "x2", "y2"]
MARGIN = 0.15  # of a particle's longer side, around it in Fig 2
HALO = [patheffects.withStroke(linewidth=1.2, foreground="white")]


def table1(d: Dataset) -> pd.DataFrame:
    """Images and boxes of the labelled and the unlabelled part: [row, images, boxes], as in the paper's Table 1."""
    count = d.images["split"].value_counts()
    labelled, unlabelled = count.get("labelled", 0), count.get("unlabelled", 0)
    rows = [("Labeled data", labelled, len(d.boxes)), ("Unlabeled data", unlabelled, None)]
    return pd.DataFrame(rows, columns=["row", "images", "boxes"])


def table2(d: Dataset) -> pd.DataFrame:
    """Boxes and images of each class: [row, head, boxes, images], and their total, as in the paper's Table 2."""
    boxes = d.boxes["cls"].value_counts()
    images = d.boxes.groupby("cls")["image"].nunique()
    rows = [
        (c, d.taxonomy.head_of(i), boxes.get(i, 0), images.get(i, 0))
        for i, c in enumerate(d.taxonomy.classes)
    ]
    rows.append(("Total", "", len(d.boxes), int(d.images["split"].eq("labelled").sum())))
    return pd.DataFrame(rows, columns=["row", "head", "boxes", "images"])


def parts(d: Dataset) -> pd.DataFrame:
    """Images, groups (patients or slides) and mean size in pixels of each part of the data set."""
    mean = {side: (side, "mean") for side in ("width", "height")}
    table = d.images.groupby("split").agg(
        images=("image", "size"), groups=("group", "nunique"), **mean
    )
    order = [part for part in ("labelled", "unlabelled", "cohort") if part in table.index]
    return table.loc[order].reset_index(names="part")


def alike(d: Dataset) -> pd.DataFrame:
    """Near-duplicates with what matters about them: [image_a, image_b, bits, part_a, part_b, across]."""
    at = d.images.set_index("image")
    found = d.near_duplicates.copy()
    for side in ("a", "b"):
        images = at.loc[found[f"image_{side}"]]
        found[f"part_{side}"] = [
            f"fold {i.fold}" if i.fold >= 0 else i.split for i in images.itertuples()
        ]
    found["across"] = found["part_a"] != found["part_b"]
    return found


def plot_fields(d: Dataset, face: str, n: int = 6) -> Figure:
    """Fig 1: ``n`` labelled fields rich in classes, boxes in their head's colour, each class named once a field."""
    fields = d.images.set_index("image", drop=False).loc[richest(d, n)]
    rows, shape = math.ceil(len(fields) / 3), (fields["height"] / fields["width"]).max()
    figure, axes = plt.subplots(
        rows, 3, figsize=style.size(style.PAGE, rows * shape / 3 + 0.07), squeeze=False
    )
    for axis in axes.flat:
        axis.axis("off")
    for axis, field in zip(axes.flat, fields.itertuples(), strict=False):
        axis.imshow(_pixels(field.path))
        _draw(axis, d, d.boxes[d.boxes["image"] == field.image], field.width)
    shown = [Patch(color=style.HEAD_COLOURS[head], label=head) for head in d.taxonomy.heads]
    figure.legend(
        handles=shown, loc="outside lower center", ncols=len(shown), title=face, title_fontsize=5
    )
    return figure


def richest(d: Dataset, n: int) -> list[str]:
    """Fields that show most classes not yet shown; among equals a new patient or slide, most classes, most boxes."""
    fields = (
        d.boxes.groupby("image")["cls"]
        .agg(shows=set, boxes="size")
        .join(d.images.set_index("image")["group"])
    )
    chosen: list[str] = []
    seen: set[int] = set()
    groups: set[str] = set()
    for _ in range(min(n, len(fields))):
        worth = [
            (len(f.shows - seen), f.group not in groups, len(f.shows), f.boxes)
            for f in fields.itertuples()
        ]
        image = fields.index[max(range(len(worth)), key=worth.__getitem__)]
        chosen.append(image)
        seen |= fields.at[image, "shows"]
        groups.add(fields.at[image, "group"])
        fields = fields.drop(image)
    return chosen


def plot_classes(d: Dataset, face: str, n: int = 3) -> Figure:
    """Fig 2: ``n`` particles of each class; a class without a box keeps an empty place."""
    return contact_sheet(d.taxonomy, lambda cls: examples(d, cls, n), face, n)


def contact_sheet(
    taxonomy: Taxonomy, pictures: Callable[[int], list[np.ndarray]], face: str, n: int
) -> Figure:
    """``n`` square pictures of each class, as ``pictures`` gives them, under its name in its head's colour."""
    across = max(1, round(9 / n))  # classes side by side
    rows = math.ceil(taxonomy.n / across)
    figure, axes = plt.subplots(
        rows, across, figsize=style.size(style.PAGE, 1.3 * rows / (n * across)), squeeze=False
    )
    for axis in axes.flat:
        axis.axis("off")
    for cls, axis in enumerate(axes.T.flat[: taxonomy.n]):
        name = taxonomy.classes[cls].replace("_", " ")
        axis.set_title(name, fontsize=6, color=style.HEAD_COLOURS[taxonomy.head_of(cls)], pad=2)
        _strip(axis, pictures(cls), n)
    figure.supxlabel(face, fontsize=5)
    return figure


def plot_beside(d: Dataset, face: str, n: int = 4) -> Figure:
    """``n`` particles of the data set, left, and of the simulator, right, for each class that the simulator draws.

    A set of other classes names its equals in its taxonomy file (``openurine``); a class without one is left out.
    """
    equals = {c: d.taxonomy.openurine.get(c, (name,)) for c, name in enumerate(d.taxonomy.classes)}
    known = {c: [name for name in names if name in CLASSES] for c, names in equals.items()}
    shown = [c for c, names in known.items() if names and (d.boxes["cls"] == c).any()]
    figure, axes = plt.subplots(
        len(shown), 2, figsize=style.size(style.PAGE, 0.5 * len(shown) / n), squeeze=False
    )
    for row, cls in zip(axes, shown, strict=True):
        drawn = [simulated(known[cls][i % len(known[cls])], i) for i in range(n)]
        for axis, what, pictures in zip(
            row, (d.name, "simulated"), (examples(d, cls, n), drawn), strict=True
        ):
            axis.axis("off")
            axis.set_title(f"{d.taxonomy.classes[cls]}, {what}", fontsize=6, pad=2)
            _strip(axis, pictures, n)
    figure.supxlabel(face, fontsize=5)
    return figure


def simulated(name: str, seed: int) -> np.ndarray:
    """One drawn particle (side, side, 3), whole, in the middle of its surroundings, as one of the laboratories sees
    it."""
    lab = LABORATORIES[seed % len(LABORATORIES)]
    for attempt in range(50):
        px = (
            500 if attempt < 3 else 1200
        )  # most particles lie whole on a small field; long casts do not
        image, boxes = lay([name], px, 0.2, lab, np.random.default_rng([seed, attempt]))
        whole = [b for b in boxes if min(b[1:]) > 0 and max(b[1:]) < px]
        if whole:
            break
    frame = pd.DataFrame([b[1:] for b in whole or boxes], columns=CORNERS).assign(
        width=px, height=px
    )
    x, y, side = _window(next(frame.itertuples()))
    return np.asarray(image[y : y + side, x : x + side])


def examples(d: Dataset, cls: int, n: int) -> list[np.ndarray]:
    """Square cut-outs (side, side, 3) around particles of the class: large, whole, free of others, of different groups.

    Of the whole boxes the 20 nearest to the upper quartile of area, those in least company first, then those of most
    contrast, one a patient or slide before a second one of the same.
    """
    images = d.images.set_index("image")
    boxes = d.boxes[d.boxes["cls"] == cls].join(
        images[["width", "height", "group", "path"]], on="image"
    )
    if boxes.empty:
        return []
    far = (boxes["x2"] > boxes["width"] - 1) | (boxes["y2"] > boxes["height"] - 1)
    cut_off = far | (boxes[["x1", "y1"]].min(axis=1) < 1)
    whole = boxes[~cut_off] if (~cut_off).any() else boxes
    area = (whole["x2"] - whole["x1"]) * (whole["y2"] - whole["y1"])
    few = whole.loc[(area - area.quantile(0.75)).abs().sort_values(kind="stable").index[:20]]
    company = [
        _centres_in(d.boxes[d.boxes["image"] == box.image], _window(box))
        for box in few.itertuples()
    ]
    few = few.assign(company=company, cut=[_cut(box) for box in few.itertuples()])
    few["faint"] = [-float(np.std(cut)) for cut in few["cut"]]
    few = few.sort_values(["company", "faint"], kind="stable")
    few = few.assign(turn=few.groupby("group").cumcount()).sort_values("turn", kind="stable")
    return list(few["cut"].head(n))


def _cut(box: Any) -> np.ndarray:
    x, y, side = _window(box)
    return np.asarray(_pixels(box.path)[y : y + side, x : x + side])


def _strip(axis: Axes, pictures: list[np.ndarray], n: int) -> None:
    """Square pictures side by side, each brought to the same size; places without a picture stay empty."""
    axis.set_aspect("equal")
    for i, picture in enumerate(pictures):
        axis.imshow(picture, extent=(i + 0.01, i + 0.99, 0.01, 0.99), interpolation="bilinear")
    axis.set_xlim(0, n)  # after the pictures, each of which sets them to its own place
    axis.set_ylim(0, 1)
    if not pictures:
        axis.text(n / 2, 0.5, "no box", ha="center", va="center", color="0.5")


def _window(box: object) -> tuple[int, int, int]:
    """(left, top, side) of the square around a box, moved into the image."""
    x1, y1, x2, y2, width, height = (getattr(box, c) for c in (*CORNERS, "width", "height"))
    side = int(min(max(x2 - x1, y2 - y1) * (1 + 2 * MARGIN) + 2, width, height))
    left, top = (x1 + x2 - side) / 2, (y1 + y2 - side) / 2
    return int(np.clip(left, 0, width - side)), int(np.clip(top, 0, height - side)), side


def _centres_in(boxes: pd.DataFrame, window: tuple[int, int, int]) -> int:
    left, top, side = window
    x, y = (boxes["x1"] + boxes["x2"]) / 2, (boxes["y1"] + boxes["y2"]) / 2
    return int((x.between(left, left + side) & y.between(top, top + side)).sum())


def _draw(axis: Axes, d: Dataset, boxes: pd.DataFrame, width: int) -> None:
    """All boxes; the name of a class at that of its boxes where it covers no other name, the largest boxes first."""
    line, letter = width * 0.035, width * 0.019  # height of a name, width of a letter
    taken: list[tuple[float, float, float, float]] = []
    area = (boxes["x2"] - boxes["x1"]) * (boxes["y2"] - boxes["y1"])
    ordered = boxes.assign(area=area).sort_values("area", ascending=False, kind="stable")
    for box in ordered.itertuples():
        colour = style.HEAD_COLOURS[d.taxonomy.head_of(box.cls)]
        axis.add_patch(
            Rectangle(
                (box.x1, box.y1), box.x2 - box.x1, box.y2 - box.y1, fill=False, color=colour, lw=0.6
            )
        )
    for cls, same in ordered.groupby("cls", sort=False):
        name = d.taxonomy.classes[cls]
        places = []
        for box in same.itertuples():
            x = min(box.x1, width - letter * len(name))
            above, below = box.y1, box.y2 + line
            places += [
                (x, y - line, x + letter * len(name), y)
                for y in ([above, below] if above > line else [below])
            ]
        x1, _, x2, y2 = place = next(
            (p for p in places if not any(_overlap(p, q) for q in taken)), places[0]
        )
        taken.append(place)
        colour = style.HEAD_COLOURS[d.taxonomy.head_of(cls)]
        axis.text(
            x1, y2, name, fontsize=4.5, color=colour, va="bottom", path_effects=HALO, clip_on=True
        )


def _overlap(p: tuple[float, ...], q: tuple[float, ...]) -> bool:
    return p[0] < q[2] and q[0] < p[2] and p[1] < q[3] and q[1] < p[3]


def _pixels(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
