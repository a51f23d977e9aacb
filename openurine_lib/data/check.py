"""The one checking pass over a data set: everything that is wrong is told at once, what can be repaired is counted."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from openurine_lib.data import images, patients
from openurine_lib.data import problems as p
from openurine_lib.data.source import Source
from openurine_lib.data.taxonomy import Taxonomy, TaxonomyError, closest, load

SLIGHTLY = 0.01  # of the image's side: so far outside a box is clipped; ultralytics' tolerance for the same check
CORNERS = ["x1", "y1", "x2", "y2"]
TURNED = (5, 6, 7, 8)  # EXIF: the phone was held upright; every library here turns such an image

CLIPPED, TWICE = "box slightly outside its image", "box given twice"
COPY, IDLE = "copy of an image of the same group", "row of the groups file without an image"
EMPTY, UNSEEN = "labelled field without a box", "row of the report without a field"
REPAIRS = {CLIPPED: "clipped", TWICE: "kept once", COPY: "left out", IDLE: "ignored"}
REPAIRS |= {EMPTY: "kept as background", UNSEEN: "ignored"}


@dataclass
class Report:
    """What the pass looked at and found. ``repairs``: kind -> places; ``problems`` is empty for data that passed."""

    images: int = 0
    boxes: int = 0
    repairs: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in REPAIRS})
    problems: list[p.Problem] = field(default_factory=list)

    def frame(self) -> pd.DataFrame:
        """One row a check: what was looked for, how often it was found, what followed, and one example."""
        told = {kind: [str(q) for q in self.problems if q.kind == kind] for kind in p.KINDS}
        rows = [
            (kind, len(found), "stops the run", next(iter(found), ""))
            for kind, found in told.items()
        ]
        rows += [
            (kind, len(found), REPAIRS[kind], next(iter(found), ""))
            for kind, found in self.repairs.items()
        ]
        return pd.DataFrame(rows, columns=["check", "found", "then", "example"])


@dataclass
class Checked:
    """A data set that passed.

    ``images``: [file, split, width, height, sha, phash, group, um_per_px]; ``boxes``: [file, cls, x1, y1, x2, y2] in
    pixels.
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
    found, um_per_px, report.repairs[IDLE] = patients.groups(source)
    images["group"] = images["file"].map(found)
    images["um_per_px"] = images["file"].map(um_per_px).astype(float)
    taxonomy = choose_taxonomy(source)
    boxes = judge_boxes(source, taxonomy, images, report)
    images = drop_copies(source, images, boxes, report)
    judge_cohort(source, images)
    laboratory, report.repairs[UNSEEN] = patients.laboratory(
        source, taxonomy, set(images["group"].dropna())
    )
    labelled = images.loc[images["split"] == "labelled", "file"]
    report.repairs[EMPTY] = sorted(set(labelled) - set(boxes["file"]))
    if source.problems:
        raise p.DataError(str(source.folder), source.problems)
    return Checked(
        taxonomy,
        images,
        boxes[boxes["file"].isin(labelled)].reset_index(drop=True),
        laboratory,
        report,
    )


def scan(source: Source) -> pd.DataFrame:
    """Decodes every image: [file, split, width, height, sha, phash]; one that cannot be decoded becomes a problem.

    JPEGs are decoded at a quarter of their size: that still reads the file to its end, and it is four times as fast.
    """
    files = list(source.images)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        looked = pool.map(lambda file: _look(source.folder / file), files)
        seen = list(tqdm(looked, total=len(files), desc="checking images", unit="image"))
    rows = []
    for file, look in zip(files, seen, strict=True):
        if isinstance(look, str):
            source.bad(
                p.CORRUPT,
                file,
                0,
                f"cannot be read: {look}",
                "replace or remove the image and its labels",
            )
        else:
            rows.append((file, source.images[file], *look))
    return pd.DataFrame(rows, columns=["file", "split", "width", "height", "sha", "phash"])


def _look(path: Path) -> tuple[int, int, str, str] | str:
    try:
        content = path.read_bytes()
        with images.opened(io.BytesIO(content)) as image:
            width, height = image.size
            turned = image.getexif().get(images.ORIENTATION) in TURNED
            if images.plain(image):
                image.draft("L", (width // 4, height // 4))
                image.load()
                grey = image.convert("L")
            else:
                grey, turned = Image.fromarray(images.decode(content)).convert("L"), False
                width, height = grey.size
            phash = str(imagehash.phash(grey, hash_size=16))
    except Exception as error:  # a broken file can raise anything
        return str(error)
    width, height = (height, width) if turned else (width, height)
    return width, height, hashlib.sha256(content).hexdigest(), phash


def choose_taxonomy(source: Source) -> Taxonomy:
    """The folder's taxonomy.yaml, else the shipped one that knows most of the names; unknown names are problems."""
    own = source.folder / "taxonomy.yaml"
    used = {cls: (file, line) for _, cls, *_, file, line in reversed(source.found)} | source.names
    try:
        taxonomy = load(own) if own.is_file() else closest(used)
    except TaxonomyError as error:
        source.bad(p.LAYOUT, own.name, 0, str(error), "correct the file")
        return closest(used)
    remedy = f"correct it, or add it to taxonomy {taxonomy.name!r} or to a taxonomy.yaml in the data folder"
    declared = [(cls, *place) for cls, place in source.names.items()]
    undeclared = [
        (cls, file, line) for _, cls, *_, file, line in source.found if cls not in source.names
    ]
    for cls, file, line in [*declared, *undeclared]:
        if not taxonomy.knows(cls):
            source.bad(p.UNKNOWN, file, line, f"class {cls!r} is in no taxonomy", remedy)
    return taxonomy


def judge_boxes(
    source: Source, taxonomy: Taxonomy, images: pd.DataFrame, report: Report
) -> pd.DataFrame:
    """Boxes in pixels [file, cls, x1, y1, x2, y2], clipped, each once; bad ones become problems."""
    rows = source.rows.rename(columns={"file": "at", "image": "file"})
    rows = rows[rows["class"].map(taxonomy.knows).astype(bool)].merge(
        images[["file", "width", "height"]], on="file"
    )
    rows["cls"] = rows["class"].map(taxonomy.id).astype(int)
    size = rows[["width", "height", "width", "height"]].to_numpy(float)  # (n, 4)
    xyxy = rows[CORNERS].to_numpy(float) * (size if source.fractions else 1.0)
    inside = np.clip(xyxy, 0, size)
    beyond = np.abs(xyxy - inside)
    empty = (xyxy[:, 2] <= xyxy[:, 0]) | (xyxy[:, 3] <= xyxy[:, 1])
    gone = (inside[:, 2] <= inside[:, 0]) | (inside[:, 3] <= inside[:, 1])
    outside = ~empty & ((beyond > SLIGHTLY * size).any(axis=1) | gone)
    for bad, kind, remedy in (
        (empty, p.NO_AREA, "correct its corners or delete it"),
        (
            outside,
            p.OUTSIDE,
            f"correct or delete it (up to {SLIGHTLY:.0%} of the side would be clipped)",
        ),
    ):
        for row, corners in zip(rows[bad].itertuples(), xyxy[bad].round(1).tolist(), strict=True):
            what = f"{kind}: {corners} in an image of {row.width} x {row.height}"
            source.bad(kind, str(row.at), int(row.line), what, remedy)  # type: ignore[call-overload]
    rows[CORNERS] = inside
    clipped = (
        ~empty & ~outside & (beyond > 1e-6 * size).any(axis=1)
    )  # not what fractions lose in rounding
    report.repairs[CLIPPED] = _places(rows[clipped])
    rows = rows[~empty & ~outside]
    twice = rows.duplicated(["file", "cls", *CORNERS])
    report.repairs[TWICE] = _places(rows[twice])
    return rows.loc[~twice, ["file", "cls", *CORNERS]].reset_index(drop=True)


def _places(rows: pd.DataFrame) -> list[str]:
    return [f"{at}:{line}" for at, line in zip(rows["at"], rows["line"], strict=True)]


def drop_copies(
    source: Source, images: pd.DataFrame, boxes: pd.DataFrame, report: Report
) -> pd.DataFrame:
    """Leaves out copies of an image in its own group if they say nothing else; other copies become problems."""
    labels = {
        file: set(map(tuple, b[["cls", *CORNERS]].round(2).to_numpy()))
        for file, b in boxes.groupby("file")
    }
    copies: set[str] = set()
    for _, same in images[images.duplicated("sha", keep=False)].groupby("sha"):
        ordered = same.sort_values(
            "split", key=lambda s: s != "labelled", kind="stable"
        )  # the labelled one is kept
        kept, *others = ordered.itertuples()
        for other in others:
            agree = other.split != "labelled" or labels.get(other.file) == labels.get(kept.file)
            if other.group == kept.group and agree and "cohort" not in (other.split, kept.split):
                copies.add(other.file)
                report.repairs[COPY].append(f"{other.file} = {kept.file}")
            else:
                differs = "group" if other.group != kept.group else "boxes or part"
                what = f"has the same content as {kept.file}, but another {differs}"
                source.bad(p.DUPLICATE, other.file, 0, what, "keep one of the two")
    return images[~images["file"].isin(copies)].reset_index(drop=True)


def judge_cohort(source: Source, images: pd.DataFrame) -> None:
    """The patients of the clinical validation must be new to the detector."""
    both = set(images.loc[images["split"] == "cohort", "group"]) & set(
        images.loc[images["split"] != "cohort", "group"]
    )
    for group in sorted(both - {np.nan}, key=str):
        what = f"group {group!r} is in cohort/ and among the fields for training"
        source.bad(p.LEAK, "cohort", 0, what, "take its fields out of one of them")


def fingerprint(folder: Path, images: pd.DataFrame, files: Iterable[Path]) -> str:
    """Hash of all names and contents: the same on every machine, another one after any change."""
    lines = [f"{file} {sha}" for file, sha in zip(images["file"], images["sha"], strict=True)]
    seen = set(images["file"])
    others = ((f.relative_to(folder).as_posix(), f) for f in files)
    lines += [
        f"{name} {hashlib.sha256(f.read_bytes()).hexdigest()}"
        for name, f in others
        if name not in seen
    ]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]
