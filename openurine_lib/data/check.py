"""The one checking pass over a data set: tells all that is wrong, counts what can be repaired."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from openurine_lib.data import images as image_files
from openurine_lib.data import patients, splits
from openurine_lib.data import source as s
from openurine_lib.data.boxes import XYXY
from openurine_lib.data.images import MAX_PIXELS
from openurine_lib.data.proposed import choose_taxonomy
from openurine_lib.data.source import Problem, Source
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.files import digest

WORKERS = 8  # threads at most that decode images
SLIGHTLY = 0.01  # of the image's side; a box outside by so much is clipped, as ultralytics does
TURNED = (5, 6, 7, 8)  # EXIF: the phone was held upright; every library here turns such an image

CLIPPED = "box slightly outside its image"
TWICE = "box given twice"
COPY = "copy of an image of the same group"
ASIDE = "box of a field that is not labelled"
IDLE = "row of the groups file without an image"
EMPTY = "labelled field without a box"
UNSEEN = "row of the report without a field"
ALONE = "image of an unknown patient"
REPAIRS = {CLIPPED: "clipped", TWICE: "kept once", COPY: "left out", IDLE: "ignored"}
REPAIRS |= {EMPTY: "kept as background", UNSEEN: "ignored", ASIDE: "left out"}
REPAIRS[ALONE] = "counts as a patient of its own; scores may flatter"


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

    ``images``: [image (its id), file, split, width, height, sha, phash, group, um_per_px];
    ``boxes``: [file, cls, x1, y1, x2, y2] in pixels.
    """

    taxonomy: Taxonomy
    images: pd.DataFrame
    boxes: pd.DataFrame
    laboratory: pd.DataFrame | None
    report: Report
    meta: dict[str, Any]


def check(source: Source, groups: str | None = None) -> Checked:
    """Judges a data set. Raises DataError with every problem found, after a look at every file.

    groups: "image" if nobody knows the patients, as meta.json may say, too.
    """
    report = Report(images=len(source.images), boxes=len(source.found))
    images = scan(source)
    meta = patients.read_meta(source) | ({patients.GROUPS: groups} if groups else {})
    group_of, um_per_px, report.repairs[IDLE] = patients.groups(source, meta)
    if patients.by_image(meta):
        report.repairs[ALONE] = list(group_of)
    judge_groups(source, group_of)
    images["group"] = images["file"].map(group_of)
    images["um_per_px"] = images["file"].map(um_per_px).astype(float)
    taxonomy = choose_taxonomy(source)
    boxes = judge_boxes(source, taxonomy, images, report)
    images = drop_copies(source, images, boxes, report)
    images.insert(0, "image", judge_names(source, images["file"]))
    judge_cohort(source, images)
    seen = set(images["group"].dropna())
    laboratory, report.repairs[UNSEEN] = patients.laboratory(source, taxonomy, seen)
    labelled = images.loc[images["split"] == "labelled", "file"]
    report.repairs[EMPTY] = sorted(set(labelled) - set(boxes["file"]))
    if source.problems:
        raise s.DataError(str(source.folder), source.problems, source.proposal)
    boxes = boxes[boxes["file"].isin(labelled)].reset_index(drop=True)
    return Checked(taxonomy, images, boxes, laboratory, report, meta)


def labelled(source: Source) -> tuple[Taxonomy, pd.DataFrame]:
    """The taxonomy and boxes [image, cls, x1..y2] of a data set whose patients do not matter.

    Raises DataError with every problem of its images and labels.
    """
    images = scan(source)
    taxonomy = choose_taxonomy(source)
    boxes = judge_boxes(source, taxonomy, images, Report())
    images.insert(0, "image", judge_names(source, images["file"]))
    if source.problems:
        raise s.DataError(str(source.folder), source.problems, source.proposal)
    return taxonomy, images[["file", "image"]].merge(boxes, on="file", how="left")


def scan(source: Source) -> pd.DataFrame:
    """Decodes every image: [file, split, width, height, sha, phash]; failures become problems."""
    paths = {file: source.folder / file for file in source.images}
    large = {file for file, path in paths.items() if _pixels(path) > MAX_PIXELS // WORKERS}
    # those of them that are decoded at once have MAX_PIXELS together, however many cores there are
    small = [file for file in paths if file not in large]
    with ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1)) as pool:
        # threads are enough: Pillow decodes without Python's lock. Large images are decoded in this
        # one, as every thread keeps for itself what it has freed
        looks = chain(
            pool.map(lambda file: _look(paths[file]), small),
            (_look(paths[file]) for file in sorted(large)),
        )
        bar = tqdm(looks, total=len(paths), desc="checking images", unit="image")
        seen = dict(zip([*small, *sorted(large)], bar, strict=True))
    rows = []
    for file in paths:
        look = seen[file]
        if isinstance(look, str):
            remedy = "replace or remove the image and its labels"
            source.bad(s.CORRUPT, file, 0, f"cannot be read: {look}", remedy)
        else:
            rows.append((file, source.images[file], *look))
    return pd.DataFrame(rows, columns=["file", "split", "width", "height", "sha", "phash"])


def _pixels(path: Path) -> int:
    """How many pixels an image has, by its header; 0 for what is no image."""
    try:
        with path.open("rb") as file, image_files.opened(file) as image:
            return image.width * image.height
    except Exception:  # ``_look`` says what is wrong with it
        return 0


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


def judge_boxes(
    source: Source, taxonomy: Taxonomy, images: pd.DataFrame, report: Report
) -> pd.DataFrame:
    """Boxes in pixels [file, cls, x1, y1, x2, y2], clipped, each once; bad ones become problems."""
    rows = source.rows.rename(columns={"file": "label", "image": "file"})
    # the others are problems already, see ``choose_taxonomy``
    ids = {name: taxonomy.id(name) for name in rows["class"].unique() if taxonomy.knows(name)}
    rows = rows[rows["class"].isin(ids.keys())]
    rows = rows.merge(images[["file", "width", "height"]], on="file")
    rows["cls"] = rows["class"].map(ids).astype(int)
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
        for row, corners in zip(rows[bad].itertuples(), xyxy[bad].tolist(), strict=True):
            where = ", ".join(f"{corner:.6g}" for corner in corners)
            what = f"{kind}: [{where}] in an image of {row.width} x {row.height}"
            source.bad(kind, row.label, int(row.line), what, remedy)
    rows[XYXY] = inside
    good = ~empty & ~outside
    # A millionth of the side is no clipping: fractions lose as much in rounding.
    clipped = good & (beyond > 1e-6 * size).any(axis=1)
    report.repairs[CLIPPED] = rows.loc[clipped, "place"].tolist()
    rows = rows[good]
    aside = rows["file"].map(source.images) != "labelled"
    report.repairs[ASIDE] = rows.loc[aside, "place"].tolist()
    rows = rows[~aside]
    twice = rows.duplicated(["file", "cls", *XYXY])
    report.repairs[TWICE] = rows.loc[twice, "place"].tolist()
    return rows.loc[~twice, ["file", "cls", *XYXY]].reset_index(drop=True)


def _no_area(xyxy: np.ndarray) -> np.ndarray:
    return (xyxy[:, 2] <= xyxy[:, 0]) | (xyxy[:, 3] <= xyxy[:, 1])


def drop_copies(
    source: Source, images: pd.DataFrame, boxes: pd.DataFrame, report: Report
) -> pd.DataFrame:
    """Leaves out copies of an image in its own group if they say nothing else."""
    alike = images[images.duplicated("sha", keep=False)]
    labels = {
        file: set(map(tuple, rows[["cls", *XYXY]].round(2).to_numpy()))
        for file, rows in boxes[boxes["file"].isin(alike["file"])].groupby("file")
    }
    copies: set[str] = set()
    for _, same in alike.groupby("sha"):
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


def judge_names(source: Source, files: pd.Series) -> pd.Series:
    """An image's id: its stem, or its whole path where folders have images of the same name."""
    stems = files.map(lambda file: Path(file).stem)
    paths = files.map(lambda file: Path(file).with_suffix("").as_posix().replace("/", "_"))
    ids = stems if stems.is_unique else paths
    for file in files[ids.duplicated()]:
        what = "shares its name with another image"
        remedy = "give it a name of its own (suffixes do not count)"
        source.bad(s.LAYOUT, file, 0, what, remedy)
    return ids


def judge_groups(source: Source, group_of: dict[str, str]) -> None:
    """Every fold needs a patient or slide of its own."""
    labelled = [image for image, split in source.images.items() if split == "labelled"]
    if any(image not in group_of for image in labelled):
        return  # that is told, and the number of groups is not known
    shortage = splits.shortage(len({group_of[image] for image in labelled}), splits.FOLDS)
    if shortage:
        name = source.folder.name
        source.bad(s.LAYOUT, name, 0, shortage, "add data of more patients or slides")
