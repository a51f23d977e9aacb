"""Which images an epoch shows.

Without slices and without ``repeat_threshold`` an epoch shows every field once, in random order.
With slices it shows as many slices as there are fields. So rows with and without slices see equally
many images in an epoch, and their epochs, logs and schedules can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import pandas as pd

from openurine_lib.files import epoch_seed
from openurine_lib.training.job import TrainJob


class Sampler(Protocol):
    """What torch's loaders take: the positions of an epoch's images."""

    def set_epoch(self, epoch: int) -> None: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[int]: ...


def sampler_of(job: TrainJob, rank: int = 0, world: int = 1) -> Sampler | None:
    """The sampler of a training; None where every image is shown once in an epoch.

    rank, world: the number of this process, and of all that train together; each gets its share.
    """
    threshold = job.settings.get("repeat_threshold")
    if threshold:
        return Balanced(job.images, job.boxes, threshold, job.seed, rank, world)
    if "field" in job.images:
        return OneOfEachField(job.images["field"], job.seed, rank, world)
    return None


class _Seeded:
    """A sampler whose choice is a function of seed and epoch, so a training can be resumed."""

    def __init__(self, per_epoch: int, seed: int, rank: int, world: int):
        self.per_epoch, self.seed, self.rank, self.world = per_epoch, seed, rank, world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.per_epoch // self.world

    def __iter__(self) -> Iterator[int]:
        epoch, self.epoch = self.epoch, self.epoch + 1  # a loader may ask for the next one early
        rng = np.random.default_rng(epoch_seed(self.seed, epoch))
        chosen = rng.permutation(self.chosen(epoch, rng))
        yield from chosen[self.rank :: self.world][: len(self)].tolist()

    def chosen(self, epoch: int, rng: np.random.Generator) -> np.ndarray:
        """Positions of the images of an epoch, in any order: (per_epoch,) integers."""
        raise NotImplementedError


class OneOfEachField(_Seeded):
    """One slice of every field; over as many epochs as a field has slices, each of them once.

    fields: for each slice, the image that it is of.
    """

    def __init__(self, fields: pd.Series, seed: int, rank: int = 0, world: int = 1):
        positions = pd.Series(range(len(fields))).groupby(fields.to_numpy(), sort=False)
        self.slices = [group.to_numpy() for _, group in positions]  # one array a field
        super().__init__(len(self.slices), seed, rank, world)

    def chosen(self, epoch: int, rng: np.random.Generator) -> np.ndarray:
        return np.array([self._slice(field, epoch) for field in range(len(self.slices))])

    def _slice(self, field: int, epoch: int) -> int:
        slices = self.slices[field]
        turn, place = divmod(epoch, len(slices))  # how often all were shown, and how many since
        order = np.random.default_rng([self.seed, field, turn]).permutation(len(slices))
        return int(slices[order[place]])


class Balanced(_Seeded):
    """Images with rare classes are shown more often: repeat-factor sampling (Gupta et al. 2019).

    The chance of an image is in proportion to its repeat factor. An epoch shows as many images as
    there are fields. https://doi.org/10.1109/CVPR.2019.00550, section 5.1
    """

    def __init__(
        self,
        images: pd.DataFrame,
        boxes: pd.DataFrame,
        threshold: float,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ):
        self.factors = repeat_factors(images, boxes, threshold)
        fields = images["field"] if "field" in images else images["image"]
        super().__init__(fields.nunique(), seed, rank, world)

    def chosen(self, epoch: int, rng: np.random.Generator) -> np.ndarray:
        order = rng.permutation(len(self.factors))
        expected = self.factors[order] * self.per_epoch / self.factors.sum()  # times in an epoch
        # systematic sampling: evenly spaced marks on the cumulated sum, so that every image comes
        # as often as expected, rounded down or up
        marks = rng.random() + np.arange(self.per_epoch)
        places = np.searchsorted(np.cumsum(expected), marks, side="right")
        return order[places.clip(max=len(order) - 1)]  # the sum may be short by a rounding


def repeat_factors(images: pd.DataFrame, boxes: pd.DataFrame, threshold: float) -> np.ndarray:
    """r_i = max over the classes c in image i of max(1, sqrt(t / f_c)); (N,), at least 1.

    f_c is the share of the images that show class c; t is ``threshold``.
    """
    shown = boxes[["image", "cls"]].drop_duplicates()
    share = shown.groupby("cls").size() / len(images)
    of_class = np.sqrt(threshold / share).clip(lower=1)
    of_image = shown["cls"].map(of_class).groupby(shown["image"]).max()
    return images["image"].map(of_image).fillna(1.0).to_numpy()
