"""A run: one data set at one profile, and where everything that it computes lives."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from openurine_lib.experiments.methods import Method, Profile, predict_key, profile, train_key
from openurine_lib.files import root

if TYPE_CHECKING:
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
        return SYNTHETIC if self.data == SYNTHETIC else Path(self.data).resolve().name

    @property
    def name(self) -> str:
        """``demo`` on synthetic data, ``demo-urised2k`` on a folder of that name: never the same place."""
        parts = [
            self.profile.name,
            *([] if self.data == SYNTHETIC else [self.data_name]),
            *([f"seed{self.seed}"] if self.seed else []),
        ]
        return "-".join(parts)

    @property
    def dir(self) -> Path:
        """Heavy results: dataset, weights, predictions, executed notebooks."""
        return root() / "runs" / self.name

    @property
    def figures(self) -> Path:
        """What is left for readers: tables, figures, index.html."""
        return root() / "paper_figures" / self.name

    @cached_property
    def dataset(self) -> Dataset:
        """The checked data set with its folds; prepared (and, if synthetic, drawn) at the first call."""
        from openurine_lib.data.dataset import prepare

        return prepare(self)

    def face(self) -> str:
        """What must stand on the face of every number: on which data and at what size it was computed."""
        kind = "synthetic data" if self.dataset.synthetic else f"real data ({self.data_name})"
        size = (
            "the paper's size"
            if self.profile.name == "paper"
            else f"{self.profile.name} profile: small, not the paper's size"
        )
        folds = f"{len(self.profile.folds)} of 5 folds"
        return f"{kind}; {size}; {folds}; seed {self.seed}"

    def ssl_dir(self, arch: str, fold: int) -> Path:
        return self.dir / "ssl" / arch / f"fold{fold}"

    def train_dir(self, m: Method, fold: int) -> Path:
        return self.dir / "train" / train_key(m, self.profile) / f"fold{fold}"

    def predict_dir(self, m: Method, fold: int) -> Path:
        return self.dir / "predict" / predict_key(m, self.profile) / f"fold{fold}"


def open_run(data: str = SYNTHETIC, profile_name: str = "smoke", seed: int = 0) -> Run:
    """A run by name. Raises UnknownName for a profile that is not listed, FileNotFoundError for a missing folder."""
    if data != SYNTHETIC and not Path(data).is_dir():
        raise FileNotFoundError(
            f"data folder {data!r} does not exist; give the folder of a data set, or 'synthetic'"
        )
    return Run(
        data=data if data == SYNTHETIC else str(Path(data).resolve()),
        profile=profile(profile_name),
        seed=seed,
    )
