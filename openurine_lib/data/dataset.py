"""A data set is two frames, images and boxes; ``prepare`` draws or reads, checks and splits it once, and stores it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from filelock import FileLock

from openurine_lib.data import splits
from openurine_lib.data.check import Checked, Report, check, fingerprint
from openurine_lib.data.problems import LAYOUT, DataError, Problem
from openurine_lib.data.readers import read
from openurine_lib.data.source import listed
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.files import PACKAGE, atomic_path, write_json

if TYPE_CHECKING:
    from openurine_lib.experiments.run import Run

MADE_BY = (
    "data/dataset",
    "data/source",
    "data/readers",
    "data/patients",
    "data/check",
    "data/images",
    "data/splits",
    "data/taxonomy",
)  # a change here prepares anew
BOX_COLUMNS = ["image", "cls", "x1", "y1", "x2", "y2"]
IMAGE_COLUMNS = ["image", "path", "group", "width", "height", "um_per_px", "split", "fold"]
TEXT = dict.fromkeys(
    ("image", "path", "group", "split", "image_a", "image_b", "component", "level"), str
)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A checked data set with its folds. All lengths are pixels of the original images."""

    name: str
    synthetic: bool
    taxonomy: Taxonomy
    fingerprint: str  # of all names and contents; the same on every machine
    # [image, path, group, width, height, um_per_px (NaN: not known), split, fold]; fold -1 where not "labelled"
    images: pd.DataFrame
    boxes: pd.DataFrame  # [image, cls, x1, y1, x2, y2]
    laboratory: (
        pd.DataFrame | None
    )  # [group, component, level, count (per HPF, or NaN)]; None without a report
    near_duplicates: pd.DataFrame  # [image_a, image_b, bits] of different groups
    report: pd.DataFrame  # the checking pass: [check, found, then, example]
    seed: int
    meta: dict[str, Any]  # the data set's own meta.json

    def _part(self, split: str) -> pd.DataFrame:
        return self.images[self.images["split"] == split]

    def train_images(self, fold: int, limit: int | None = None) -> pd.DataFrame:
        """Labelled images of the other folds, at most ``limit``, all classes kept where that many images can."""
        labelled = self._part("labelled")
        return splits.subsample(
            labelled[labelled["fold"] != fold], self.boxes, limit, self.seed
        ).reset_index(drop=True)

    def test_images(self, fold: int, limit: int | None = None) -> pd.DataFrame:
        """Labelled images of the fold, at most ``limit``, all classes kept where that many images can."""
        labelled = self._part("labelled")
        return splits.subsample(
            labelled[labelled["fold"] == fold], self.boxes, limit, self.seed
        ).reset_index(drop=True)

    def unlabelled_images(self, fold: int, limit: int | None = None) -> pd.DataFrame:
        """Unlabelled images for pretraining, at most ``limit``, none of a patient or slide in the fold's test part."""
        tested = set(self.images.loc[self.images["fold"] == fold, "group"])
        pool = self._part("unlabelled")
        pool = pool[~pool["group"].isin(tested)]
        return splits.subsample(pool, self.boxes, limit, self.seed).reset_index(drop=True)

    def cohort_images(self) -> pd.DataFrame:
        """Fields of the clinical validation (Table 8), of patients that no fold has; may be empty."""
        return self._part("cohort").reset_index(drop=True)

    def boxes_of(self, images: pd.DataFrame) -> pd.DataFrame:
        """The boxes of some images."""
        return self.boxes[self.boxes["image"].isin(images["image"])].reset_index(drop=True)


def prepare(run: Run) -> Dataset:
    """The run's data set: drawn (if synthetic), read, checked, split and stored, or only loaded if nothing changed.

    Raises DataError with everything that is wrong in the data; the list is kept in ``run.dir/dataset/check.json``.
    """
    place = run.dir / "dataset"
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / ".lock"):  # jobs that run side by side wait for the first one
        folder = _drawn(run, place) if run.data == "synthetic" else Path(run.data)
        sources = _sources(folder, run.seed)
        stored = place / "meta.json"
        if not stored.exists() or json.loads(stored.read_text())["sources"] != sources:
            _build(folder, run.seed, sources, place)
    return load(place)


def _drawn(run: Run, place: Path) -> Path:
    """The folder of the synthetic data set; drawn again if another size, seed or simulator is asked for."""
    import synthurine

    asked = {"spec": run.profile.synthetic, "seed": run.seed, "simulator": synthurine.SIMULATOR}
    folder, drawn, begun = place / "fields", place / "drawn.json", place / "drawing.json"
    if not drawn.exists() or json.loads(drawn.read_text()) != asked:
        drawn.unlink(missing_ok=True)
        if (
            not begun.exists() or json.loads(begun.read_text()) != asked
        ):  # else it goes on where it was interrupted
            shutil.rmtree(folder, ignore_errors=True)
            write_json(begun, asked)
        synthurine.write(folder, run.profile.synthetic, run.seed)
        begun.replace(drawn)
    return folder


def _sources(folder: Path, seed: int) -> str:
    """Hash of all that a prepared data set depends on, from names, sizes and times: quick."""
    files = [
        (f.relative_to(folder).as_posix(), s.st_size, s.st_mtime_ns)
        for f in listed(folder)
        for s in [f.stat()]
    ]
    code = [(PACKAGE / f"{name}.py").read_bytes() for name in MADE_BY]
    code += [f.read_bytes() for f in sorted((PACKAGE / "config" / "taxonomies").glob("*.yaml"))]
    return _hash([repr((str(folder), seed, files)).encode(), *code])


def _hash(contents: list[bytes]) -> str:
    digest = hashlib.sha256()
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]


def _build(folder: Path, seed: int, sources: str, place: Path) -> None:
    source = read(folder)
    try:
        checked = check(source)
        images, boxes, near = _split(folder, checked, seed)
    except DataError as error:
        _write_report(place, Report(len(source.images), len(source.found), problems=error.problems))
        raise
    own = folder / "meta.json"
    meta = json.loads(own.read_text(encoding="utf-8")) if own.exists() else {}
    frames: dict[str, pd.DataFrame | None] = {
        "images": images[IMAGE_COLUMNS],
        "boxes": boxes,
        "near_duplicates": near,
    }
    frames["laboratory"] = checked.laboratory
    for name, frame in frames.items():
        if frame is None:
            (place / f"{name}.csv").unlink(missing_ok=True)
            continue
        with atomic_path(place / f"{name}.csv") as temporary:
            frame.to_csv(temporary, index=False)
    _write_report(place, checked.report)
    described = {
        "name": folder.name,
        "synthetic": bool(meta.get("synthetic", False)),
        "seed": seed,
        "sources": sources,
    }
    described |= {"fingerprint": fingerprint(folder, checked.images, listed(folder)), "meta": meta}
    described |= {"taxonomy": dataclasses.asdict(checked.taxonomy)}
    write_json(place / "meta.json", described)  # last: it seals the rest


def _split(
    folder: Path, checked: Checked, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """(images, boxes, near duplicates) with ids and folds."""
    images = checked.images
    stems = images["file"].map(lambda f: Path(f).stem)
    paths = images["file"].map(lambda f: Path(f).with_suffix("").as_posix().replace("/", "_"))
    images["image"] = stems if stems.is_unique else paths
    if not images["image"].is_unique:
        twice = images.loc[images["image"].duplicated(), "file"]
        what, remedy = (
            "shares its name with another image",
            "give it a name of its own (suffixes do not count)",
        )
        raise DataError(str(folder), [Problem(LAYOUT, file, 0, what, remedy) for file in twice])
    images["path"] = images["file"].map(lambda f: str((folder / f).resolve()))
    boxes = checked.boxes.assign(
        image=checked.boxes["file"].map(images.set_index("file")["image"])
    )[BOX_COLUMNS]
    labelled = images["split"] == "labelled"
    images["fold"] = -1
    try:
        images.loc[labelled, "fold"] = splits.assign_folds(images[labelled], boxes, seed)
        splits.assert_disjoint(images)
    except splits.SplitError as error:
        problem = Problem(LAYOUT, folder.name, 0, str(error), "add data of more patients or slides")
        raise DataError(str(folder), [problem]) from error
    images = images.sort_values("image", ignore_index=True)
    return (
        images,
        boxes.sort_values(["image"], kind="stable", ignore_index=True),
        splits.near_duplicates(images),
    )


def _write_report(place: Path, report: Report) -> None:
    problems = [dataclasses.asdict(q) for q in report.problems]
    content = {
        "images": report.images,
        "boxes": report.boxes,
        "repairs": report.repairs,
        "problems": problems,
    }
    write_json(place / "check.json", content | {"table": report.frame().to_dict("records")})


def load(place: Path) -> Dataset:
    """A data set that ``prepare`` stored."""

    def frame(name: str) -> pd.DataFrame:
        types: Any = TEXT
        return pd.read_csv(
            place / f"{name}.csv", dtype=types, keep_default_na=False, float_precision="round_trip"
        )

    meta = json.loads((place / "meta.json").read_text(encoding="utf-8"))
    entry = meta["taxonomy"]
    ids = {key: {k: tuple(v) for k, v in entry[key].items()} for key in ("heads", "components")}
    return Dataset(
        name=meta["name"],
        synthetic=meta["synthetic"],
        taxonomy=Taxonomy(
            entry["name"],
            tuple(entry["classes"]),
            ids["heads"],
            entry["aliases"],
            ids["components"],
            {int(c): tuple(names) for c, names in entry["openurine"].items()},
        ),
        fingerprint=meta["fingerprint"],
        images=_numbers(frame("images"), "um_per_px"),
        boxes=frame("boxes").astype({c: float for c in ("x1", "y1", "x2", "y2")}),
        laboratory=_numbers(frame("laboratory"), "count")
        if (place / "laboratory.csv").exists()
        else None,
        near_duplicates=frame("near_duplicates"),
        report=pd.DataFrame(
            json.loads((place / "check.json").read_text(encoding="utf-8"))["table"]
        ),
        seed=meta["seed"],
        meta=meta["meta"],
    )


def _numbers(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """The column as floats, NaN where it is empty."""
    return frame.assign(**{column: pd.to_numeric(frame[column], errors="coerce").astype(float)})
