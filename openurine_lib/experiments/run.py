"""A run: one data set at one profile, and where everything that it computes lives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from openurine_lib.experiments.methods import Method, Profile, predict_key, profile, train_key
from openurine_lib.files import root, write_json

if TYPE_CHECKING:  # this module is read by Snakemake, and stays light
    import pandas as pd

    from openurine_lib.data.dataset import Dataset

SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class Run:
    """Paths and contents of a run. Nothing is computed until it is asked for."""

    data: str  # "synthetic" or the folder of a data set
    profile: Profile
    seed: int = 0

    @property
    def data_name(self) -> str:
        """``synthetic``, or the name of the data set's folder."""
        return SYNTHETIC if self.data == SYNTHETIC else Path(self.data).resolve().name

    @property
    def name(self) -> str:
        """``demo`` on synthetic data, ``demo-urised2k`` on a folder so named: never one place."""
        parts = [self.profile.name]
        if self.data != SYNTHETIC:
            parts.append(self.data_name)
        if self.seed:  # seed 0 has no suffix
            parts.append(f"seed{self.seed}")
        return "-".join(parts)

    @property
    def dir(self) -> Path:
        """Heavy results: dataset, weights, predictions, executed notebooks."""
        return root() / "runs" / self.name

    @property
    def figures(self) -> Path:
        """What is left for readers: tables, figures, index.html."""
        return root() / "paper_figures" / self.name

    def ssl_dir(self, arch: str, fold: int) -> Path:
        return self.dir / "ssl" / arch / f"fold{fold}"

    def train_dir(self, m: Method, fold: int) -> Path:
        return self.dir / "train" / train_key(m, self.profile) / f"fold{fold}"

    def predict_dir(self, m: Method, fold: int) -> Path:
        return self.dir / "predict" / predict_key(m, self.profile) / f"fold{fold}"

    def search_dir(self, m: Method, fold: int) -> Path:
        return self.dir / "search" / m.id / f"fold{fold}"

    @cached_property
    def dataset(self) -> Dataset:
        """The checked data set with its folds; drawn (if synthetic) and prepared once.

        Raises DataError with everything that is wrong in the data.
        """
        from openurine_lib.data.dataset import prepare

        place = self.dir / "dataset"
        if self.data != SYNTHETIC:
            return prepare(Path(self.data), place, self.seed)
        return prepare(_drawn(place, self.profile.synthetic, self.seed), place, self.seed)

    def test_images(self, fold: int) -> pd.DataFrame:
        """The fields of the fold's test part that the profile scores (``Dataset.test_images``)."""
        return self.dataset.test_images(fold, self.profile.max_test_fields)

    def slicing(self, m: Method) -> tuple[int | None, float]:
        """How a field is cut: the side of a slice in pixels (None: whole field), the overlap."""
        sahi = self.profile.settings["sahi"]
        return (sahi["slice"] if m.sliced else None), sahi["overlap"]

    def banner(self) -> str:
        """What must stand beside every number: on which data, at what size it was computed."""
        from openurine_lib.data.patients import by_image

        kind = "synthetic data" if self.dataset.synthetic else f"real data ({self.data_name})"
        size = "the paper's size"
        if self.profile.name != "paper":
            size = f"{self.profile.name} profile: small, not the paper's size"
        folds = f"{len(self.profile.folds)} of 5 folds"
        parts = [kind, size, folds, f"seed {self.seed}"]
        if by_image(self.dataset.meta):
            parts.append("patients unknown: scores may flatter")
        # the record of a result that came with the repository (``carried``)
        if any(self.dir.glob("*/*/fold*/record.json")):
            parts.append("trained earlier, scored here")
        return "; ".join(parts)


def open_run(data: str = SYNTHETIC, profile_name: str = "smoke", seed: int = 0) -> Run:
    """A run by name.

    Raises UnknownName for a profile that is not listed, FileNotFoundError for a missing folder.
    """
    if data != SYNTHETIC and not Path(data).is_dir():
        raise FileNotFoundError(
            f"data folder {data!r} does not exist; give the folder of a data set, or 'synthetic'"
        )
    place = data if data == SYNTHETIC else str(Path(data).resolve())
    chosen = profile(profile_name)
    return Run(place, chosen if data == SYNTHETIC else chosen.for_given_data(), seed)


def first_record(files: Iterable[Path]) -> dict[str, Any]:
    """The content of the first JSON file that exists; empty if none does."""
    found = (file for file in files if file.is_file())
    return next((json.loads(file.read_text(encoding="utf-8")) for file in found), {})


def _drawn(place: Path, spec: dict[str, int], seed: int) -> Path:
    """The folder of the synthetic data set, under ``place``; an interrupted drawing goes on."""
    import synthurine

    asked = {"spec": spec, "seed": seed, "simulator": synthurine.SIMULATOR}
    folder = place / "fields"
    drawn = place / "drawn.json"  # what the folder holds, once it is complete
    begun = place / "drawing.json"
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / ".drawing.lock"):  # jobs that run side by side wait for the first one
        if first_record([drawn]) == asked:
            return folder
        drawn.unlink(missing_ok=True)  # from here on it is not complete
        if first_record([begun]) != asked:  # another size, seed or simulator
            shutil.rmtree(folder, ignore_errors=True)
            write_json(begun, asked)
        synthurine.write(folder, spec, seed)  # what is drawn already is kept
        begun.replace(drawn)  # complete: one rename
    return folder
