"""A data set is two frames, images and boxes; ``prepare`` makes them of a folder once."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from openurine_lib.config import CONFIG
from openurine_lib.data import splits
from openurine_lib.data import taxonomy as taxonomies
from openurine_lib.data.boxes import XYXY
from openurine_lib.data.check import Checked, Report, check
from openurine_lib.data.readers import read
from openurine_lib.data.source import DataError, Source, listed
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.files import atomic_path, digest, digest_of_file, write_json

BOX_COLUMNS = ["image", "cls", *XYXY]
IMAGE_COLUMNS = ["image", "path", "group", "width", "height", "um_per_px", "split", "fold"]
TEXTS = ["image", "path", "group", "split", "image_a", "image_b", "component", "level"]
NUMBERS = [*XYXY, "um_per_px", "count"]  # the last two may be empty


@dataclass(frozen=True, eq=False)
class Dataset:
    """A checked data set with its folds. All lengths are pixels of the original images."""

    name: str
    synthetic: bool
    taxonomy: Taxonomy
    fingerprint: str  # of all names and contents; the same on every machine
    images: pd.DataFrame  # IMAGE_COLUMNS; um_per_px NaN where not known, fold -1 where not labelled
    boxes: pd.DataFrame  # BOX_COLUMNS
    laboratory: pd.DataFrame | None  # [group, component, level, count (per HPF, or NaN)]
    near_duplicates: pd.DataFrame  # [image_a, image_b, bits, copy] of different groups
    report: pd.DataFrame  # the checking pass: [check, found, then, example]
    seed: int
    meta: dict[str, Any]  # the data set's own meta.json

    def _sample(self, images: pd.DataFrame, limit: int | None) -> pd.DataFrame:
        return splits.subsample(images, self.boxes, limit, self.seed).reset_index(drop=True)

    def train_images(self, fold: int, limit: int | None = None) -> pd.DataFrame:
        """Labelled images of the other folds, at most ``limit``, with all classes if they can."""
        labelled = self.images[self.images["split"] == "labelled"]
        return self._sample(labelled[labelled["fold"] != fold], limit)

    def test_images(self, fold: int, limit: int | None = None) -> pd.DataFrame:
        """Labelled images of the fold, at most ``limit``, with all classes if they can."""
        return self._sample(self.images[self.images["fold"] == fold], limit)

    def unlabelled_images(self, fold: int, limit: int | None = None) -> pd.DataFrame:
        """Images for pretraining, at most ``limit``, of no group that the fold tests.

        The unlabelled ones; where there is none, the training part's own, whose boxes are not used.
        """
        tested = self.images.loc[self.images["fold"] == fold, "group"]
        pool = self.images[self.images["split"] == "unlabelled"]
        # the encoder must not have seen the patients that are tested
        pool = pool[~pool["group"].isin(tested)]
        return self.train_images(fold, limit) if pool.empty else self._sample(pool, limit)

    def cohort_images(self) -> pd.DataFrame:
        """Fields of the clinical validation (Table 8), of patients in no fold; may be empty."""
        return self.images[self.images["split"] == "cohort"].reset_index(drop=True)

    def boxes_of(self, images: pd.DataFrame) -> pd.DataFrame:
        """The boxes of some images."""
        return self.boxes[self.boxes["image"].isin(images["image"])].reset_index(drop=True)


def prepare(folder: Path, place: Path, seed: int, groups: str | None = None) -> Dataset:
    """The data set of a folder: read, checked, split and stored in ``place``.

    It is only loaded if nothing changed. groups: "image" if nobody knows the patients, as meta.json
    may say, too. Raises DataError with everything that is wrong in the data; ``place/check.json``
    keeps the list.
    """
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / ".lock"):  # jobs that run side by side wait for the first one
        sources = _sources(folder, seed, groups)
        meta = place / "meta.json"
        if not meta.exists() or json.loads(meta.read_text())["sources"] != sources:
            _build(folder, place, seed, sources, groups)
    return load(place)


def _sources(folder: Path, seed: int, groups: str | None) -> str:
    """Digest of all that a prepared data set depends on; files count by name, size and time."""
    files = []
    for file in listed(folder):
        state = file.stat()
        files.append((file.relative_to(folder).as_posix(), state.st_size, state.st_mtime_ns))
    # Any change of this package counts: preparing anew costs seconds, a stale set a wrong result.
    code = sorted(Path(__file__).parent.glob("*.py"))
    code += sorted(Path(str(CONFIG / "taxonomies")).glob("*.yaml"))
    given = [str(folder), seed, files, *([groups] if groups else [])]
    return digest(*given, *(file.read_bytes() for file in code), length=16)


def _build(folder: Path, place: Path, seed: int, sources: str, groups: str | None) -> None:
    # The seal goes first: what follows replaces the frames and the report that it stands for.
    (place / "meta.json").unlink(missing_ok=True)
    source = Source(folder, {})
    try:
        source = read(folder)
        checked = check(source, groups)
    except DataError as error:
        # the list is kept even though the run stops
        _write_report(place, Report(len(source.images), len(source.found), problems=error.problems))
        raise
    images, boxes = _with_folds(folder, checked, seed)
    frames = {
        "images": images[IMAGE_COLUMNS],
        "boxes": boxes,
        "near_duplicates": splits.near_duplicates(images),
        "laboratory": checked.laboratory,
    }
    for name, frame in frames.items():
        if frame is None:
            (place / f"{name}.csv").unlink(missing_ok=True)  # one of an earlier state
            continue
        with atomic_path(place / f"{name}.csv") as temporary:
            frame.to_csv(temporary, index=False)
    _write_report(place, checked.report)
    content = {  # with the frames, the fields of a Dataset
        "name": folder.name,
        "synthetic": checked.meta.get("synthetic", False),
        "seed": seed,
        "sources": sources,
        "fingerprint": fingerprint(folder, checked.images),
        "meta": checked.meta,
        "taxonomy": dataclasses.asdict(checked.taxonomy),
    }
    write_json(place / "meta.json", content)  # last: it seals the rest


def _with_folds(folder: Path, checked: Checked, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(images, boxes) with ids and folds, in the order of the ids."""
    images = checked.images
    images["path"] = images["file"].map(lambda file: str((folder / file).resolve()))
    image_of = images.set_index("file")["image"]
    boxes = checked.boxes.assign(image=checked.boxes["file"].map(image_of))[BOX_COLUMNS]
    labelled = images["split"] == "labelled"
    images["fold"] = -1
    images.loc[labelled, "fold"] = splits.assign_folds(images[labelled], boxes, seed)
    splits.assert_disjoint(images)
    images = images.sort_values("image", ignore_index=True)
    return images, boxes.sort_values("image", kind="stable", ignore_index=True)


def fingerprint(folder: Path, images: pd.DataFrame) -> str:
    """Digest of all names and contents in a folder, the same on every machine.

    ``images``: [file, sha], whose contents need not be read again.
    """
    contents = dict(zip(images["file"], images["sha"], strict=True))
    for file in listed(folder):
        name = file.relative_to(folder).as_posix()
        if name not in contents:
            contents[name] = digest_of_file(file)
    lines = sorted(f"{name} {sha}" for name, sha in contents.items())
    return digest("\n".join(lines), length=16)


def _write_report(place: Path, report: Report) -> None:
    content = dataclasses.asdict(report)
    write_json(place / "check.json", content | {"table": report.frame().to_dict("records")})


def load(place: Path) -> Dataset:
    """A data set that ``prepare`` stored."""
    how: dict[str, Any] = {
        "dtype": dict.fromkeys(TEXTS, str) | dict.fromkeys(NUMBERS, float),
        "keep_default_na": False,  # "None" and "NA" may be names of patients
        "na_values": dict.fromkeys(NUMBERS, ""),
        "float_precision": "round_trip",  # the same float as was written
    }
    names = ("images", "boxes", "near_duplicates", "laboratory")
    files = {name: place / f"{name}.csv" for name in names}
    frames = {name: pd.read_csv(file, **how) for name, file in files.items() if file.exists()}
    meta = json.loads((place / "meta.json").read_text(encoding="utf-8"))
    report = json.loads((place / "check.json").read_text(encoding="utf-8"))
    del meta["sources"]
    meta["taxonomy"] = taxonomies.from_json(meta["taxonomy"])
    frames["report"] = pd.DataFrame(report["table"])
    return Dataset(**{"laboratory": None, **meta, **frames})
