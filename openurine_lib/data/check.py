"""The one checking pass over a data set: tells all that is wrong, counts what can be repaired."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from openurine_lib.data import images as image_files
from openurine_lib.data import patients
from openurine_lib.data import source as s
from openurine_lib.data import taxonomy as taxonomies
from openurine_lib.data.boxes import XYXY
from openurine_lib.data.source import Problem, Source
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.files import digest

SLIGHTLY = 0.01  # of the image's side; a box outside by so much is clipped, as ultralytics does
TURNED = (5, 6, 7, 8)  # EXIF: the phone was held upright; every library here turns such an image

CLIPPED = "box slightly outside its image"
TWICE = "box given twice"
COPY = "copy of an image of the same group"
IDLE = "row of the groups file without an image"
EMPTY = "labelled field without a box"
UNSEEN = "row of the report without a field"
REPAIRS = {CLIPPED: "clipped", TWICE: "kept once", COPY: "left out", IDLE: "ignored"}
REPAIRS |= {EMPTY: "kept as background", UNSEEN: "ignored"}


@dataclass
class Report:
    """What the pass looked at and found; ``repairs``: kind -> places."""

    images: int = 0
    boxes: int = 0
    repairs: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in REPAIRS})
    problems: list[Problem] = field(default_factory=list)

    def frame(self) -> pd.DataFrame:
        """One row a check: [check, found (how often), then (what followed), example]."""
        places = {kind: [str(p) for p in self.problems if p.kind == kind] for kind in s.KINDS}
        places |= self.repairs
        frame = pd.DataFrame({"check": list(places), "found": [len(p) for p in places.values()]})
        frame["then"] = [REPAIRS.get(kind, "stops the run") for kind in places]
        return frame.assign(example=[p[0] if p else "" for p in places.values()])


@dataclass
class Checked:
    """A data set that passed.

    ``images``: [file, split, width, height, sha, phash, group, um_per_px];
    ``boxes``: [file, cls, x1, y1, x2, y2] in pixels.
    """

    taxonomy: Taxonomy
    images: pd.DataFrame
    boxes: pd.DataFrame
    laboratory: pd.DataFrame | None
    report: Report


def check(source: Source) -> Checked:
    """Judges a data set. Raises DataError with every problem found, after a look at every file."""
    report = Report(images=len(source.images), boxes=len(source.found))
    images = scan(source)
    group_of, um_per_px, report.repairs[IDLE] = patients.groups(source)
    images["group"] = images["file"].map(group_of)
    images["um_per_px"] = images["file"].map(um_per_px).astype(float)
    taxonomy = choose_taxonomy(source)
    boxes = judge_boxes(source, taxonomy, images, report)
    images = drop_copies(source, images, boxes, report)
    judge_cohort(source, images)
    groups = set(images["group"].dropna())
    laboratory, report.repairs[UNSEEN] = patients.laboratory(source, taxonomy, groups)
    labelled = images.loc[images["split"] == "labelled", "file"]
    report.repairs[EMPTY] = sorted(set(labelled) - set(boxes["file"]))
    if source.problems:
        raise s.DataError(str(source.folder), source.problems)
    boxes = boxes[boxes["file"].isin(labelled)].reset_index(drop=True)
    return Checked(taxonomy, images, boxes, laboratory, report)


def scan(source: Source) -> pd.DataFrame:
    """Decodes every image: [file, split, width, height, sha, phash]; failures become problems."""
    files = list(source.images)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # threads are enough: Pillow decodes without Python's lock
        looks = pool.map(lambda file: _look(source.folder / file), files)
        seen = list(tqdm(looks, total=len(files), desc="checking images", unit="image"))
    rows = []
    for file, look in zip(files, seen, strict=True):
        if isinstance(look, str):
            remedy = "replace or remove the image and its labels"
            source.bad(s.CORRUPT, file, 0, f"cannot be read: {look}", remedy)
        else:
            rows.append((file, source.images[file], *look))
    return pd.DataFrame(rows, columns=["file", "split", "width", "height", "sha", "phash"])


def _look(path: Path) -> tuple[int, int, str, str] | str:
    """(width, height, SHA-256, perceptual hash) of an image file, or what is wrong with it."""
    try:
        content = path.read_bytes()
        with image_files.opened(io.BytesIO(content)) as image:
            if image_files.plain(image):
                width, height = image.size
                if image.getexif().get(image_files.ORIENTATION) in TURNED:
                    width, height = height, width
                # A JPEG is decoded at a quarter of its size: to its end, and four times as fast.
                image.draft("L", (image.width // 4, image.height // 4))
                grey = image.convert("L")
            else:
                grey = Image.fromarray(image_files.decode(content)).convert("L")
                width, height = grey.size
        phash = str(imagehash.phash(grey, hash_size=16))  # 16 x 16 = 256 bits
    except Exception as error:  # a broken file can raise anything
        return str(error)
    return width, height, digest(content, length=64), phash


def choose_taxonomy(source: Source) -> Taxonomy:
    """The folder's taxonomy.yaml, else the shipped one that knows most of the names."""
    # (class, file, line); a declared class counts once, where it is declared.
    found = [(cls, *place) for cls, place in source.names.items()]
    found += [(box[1], *box[-2:]) for box in source.found if box[1] not in source.names]
    names = {cls for cls, *_ in found}
    path = source.folder / "taxonomy.yaml"
    try:
        taxonomy = taxonomies.load(path) if path.is_file() else taxonomies.closest(names)
    except taxonomies.TaxonomyError as error:
        source.bad(s.LAYOUT, path.name, 0, str(error), "correct the file")
        return taxonomies.closest(names)
    where = f"taxonomy {taxonomy.name!r} or to a taxonomy.yaml in the data folder"
    for cls, file, line in found:
        if not taxonomy.knows(cls):
            what = f"class {cls!r} is in no taxonomy"
            source.bad(s.UNKNOWN, file, line, what, f"correct it, or add it to {where}")
    return taxonomy


def judge_boxes(
    source: Source, taxonomy: Taxonomy, images: pd.DataFrame, report: Report
) -> pd.DataFrame:
    """Boxes in pixels [file, cls, x1, y1, x2, y2], clipped, each once; bad ones become problems."""
    rows = source.rows.rename(columns={"file": "label", "image": "file"})
    # the others are problems already, see ``choose_taxonomy``
    rows = rows[rows["class"].map(taxonomy.knows).astype(bool)]
    rows = rows.merge(images[["file", "width", "height"]], on="file")
    rows["cls"] = rows["class"].map(taxonomy.id).astype(int)
    rows["place"] = rows["label"] + ":" + rows["line"].astype(str)
    size = rows[["width", "height", "width", "height"]].to_numpy(float)  # (N, 4)
    xyxy = rows[XYXY].to_numpy(float) * (size if source.fractions else 1.0)  # (N, 4)
    inside = np.clip(xyxy, 0, size)  # clipped, (N, 4)
    beyond = np.abs(xyxy - inside)  # pixels over the edge
    empty = _no_area(xyxy)
    outside = ~empty & ((beyond > SLIGHTLY * size).any(axis=1) | _no_area(inside))
    tolerance = f"correct or delete it (up to {SLIGHTLY:.0%} of the side would be clipped)"
    for bad, kind, remedy in (
        (empty, s.NO_AREA, "correct its corners or delete it"),
        (outside, s.OUTSIDE, tolerance),
    ):
        for i in np.flatnonzero(bad):
            row = rows.iloc[i]
            corners = xyxy[i].round(1).tolist()
            what = f"{kind}: {corners} in an image of {row['width']} x {row['height']}"
            source.bad(kind, row["label"], int(row["line"]), what, remedy)
    rows[XYXY] = inside
    good = ~empty & ~outside
    # A millionth of the side is no clipping: fractions lose as much in rounding.
    clipped = good & (beyond > 1e-6 * size).any(axis=1)
    report.repairs[CLIPPED] = rows.loc[clipped, "place"].tolist()
    rows = rows[good]
    twice = rows.duplicated(["file", "cls", *XYXY])
    report.repairs[TWICE] = rows.loc[twice, "place"].tolist()
    return rows.loc[~twice, ["file", "cls", *XYXY]].reset_index(drop=True)


def _no_area(xyxy: np.ndarray) -> np.ndarray:
    return (xyxy[:, 2] <= xyxy[:, 0]) | (xyxy[:, 3] <= xyxy[:, 1])


def drop_copies(
    source: Source, images: pd.DataFrame, boxes: pd.DataFrame, report: Report
) -> pd.DataFrame:
    """Leaves out copies of an image in its own group if they say nothing else."""
    labels = {
        file: set(map(tuple, rows[["cls", *XYXY]].round(2).to_numpy()))
        for file, rows in boxes.groupby("file")
    }
    copies: set[str] = set()
    for _, same in images[images.duplicated("sha", keep=False)].groupby("sha"):
        # The labelled one is the original, if there is one.
        same = same.sort_values("split", key=lambda split: split != "labelled", kind="stable")
        original, *others = same.itertuples()
        for copy in others:
            agree = copy.split != "labelled" or labels.get(copy.file) == labels.get(original.file)
            cohort = "cohort" in (copy.split, original.split)
            if copy.group == original.group and agree and not cohort:
                copies.add(copy.file)
                report.repairs[COPY].append(f"{copy.file} = {original.file}")
            else:
                differs = "group" if copy.group != original.group else "boxes or part"
                what = f"has the same content as {original.file}, but another {differs}"
                source.bad(s.DUPLICATE, copy.file, 0, what, "keep one of the two")
    return images[~images["file"].isin(copies)].reset_index(drop=True)


def judge_cohort(source: Source, images: pd.DataFrame) -> None:
    """The patients of the clinical validation must be new to the detector."""
    in_cohort = images["split"] == "cohort"
    both = set(images.loc[in_cohort, "group"].dropna()) & set(images.loc[~in_cohort, "group"])
    for group in sorted(both):
        what = f"group {group!r} is in cohort/ and among the fields for training"
        source.bad(s.LEAK, "cohort", 0, what, "take its fields out of one of them")
