"""The experiment list as data: methods (rows of Tables 4-6), profiles (how big a run is), jobs."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

from openurine_lib.config import read_config
from openurine_lib.ways import Way

PAPER_IMGSZ = 960  # Table 3
OURS = "ours-yolo12m"  # the paper's method in methods.yaml
STRIDE = 32  # the coarsest level of every detector here; input sizes are rounded up to it


class UnknownName(ValueError):
    """A method or profile that the configuration does not list."""


@dataclass(frozen=True)
class Method:
    """One row of Tables 4-6; the fields are those of ``config/methods.yaml``."""

    id: str
    answers: dict[int, str]
    engine: str
    arch: str = ""
    heads: str = "single"
    without_head: str | None = None
    ssl: bool = False
    sliced: bool = False
    at_once: bool = False
    uncut: bool = False
    looks: int = 1
    imgsz: int = PAPER_IMGSZ
    fidelity: str = ""
    why: str = ""
    doi: str = ""
    published_size: dict[str, float] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    epochs: int | None = None
    starts_from: str = ""
    start: str = ""
    passes: float = 1.0

    @property
    def way(self) -> str:
        """How a field is looked at: ``whole``, ``sliced``, or in a way of ours (``ways``)."""
        if self.at_once:
            return "at-once"
        if self.uncut:
            return "uncut"
        if self.looks == 2:
            return "two-looks"
        return "sliced" if self.sliced else "whole"

    @property
    def looking(self) -> Way:
        """The same, as ``inference`` takes it."""
        return Way(self.at_once, self.uncut, self.looks)


@dataclass(frozen=True)
class Profile:
    """How big a run is; the fields are those of ``config/profiles.yaml``."""

    name: str
    about: str
    px_scale: float
    smaller: dict[str, str]
    folds: list[int]
    max_train_fields: int | None
    max_test_fields: int | None
    max_unlabelled_fields: int | None
    epochs: int
    ssl_epochs: int
    epochs_for: dict[str, int]
    search: dict[str, int]
    slices_per_field: int
    train: dict[str, Any]
    synthetic: dict[str, int] = field(default_factory=dict)
    rows: str | list[str] = "all"
    search_pruner: str | None = None
    search_workers: int = 1
    timing_rounds: int = 3
    ssl_crop: int | None = None
    path_only: list[str] = field(default_factory=list)
    given: dict[str, Any] = field(default_factory=dict)
    data_given: bool = False  # a folder of fields, not the drawn data set

    def for_given_data(self) -> Profile:
        """The profile with its exceptions for a data set that is given, not drawn."""
        changed = dict(self.given)
        train = self.train | changed.pop("train", {})
        return replace(self, given={}, data_given=True, train=train, **changed)

    @property
    def settings(self) -> dict[str, Any]:
        """Table 3 with the profile's overrides; ``imgsz`` and ``sahi.slice`` in its pixels."""
        # |: the profile's own prevail over Table 3's
        table3 = read_config("table3.yaml") | self.train | {"epochs": self.epochs}
        table3["imgsz"] = self.pixels(table3["imgsz"])
        table3["sahi"] = table3["sahi"] | {"slice": self.pixels(table3["sahi"]["slice"])}
        return table3

    def settings_of(self, method: Method) -> dict[str, Any]:
        """The settings that a method trains with: Table 3's, in their place its authors' own where
        ``methods.yaml`` has some, in their place the profile's."""
        of_authors = {name: value for name, value in method.train.items() if name not in self.train}
        # the one system that searches its settings by itself is told how long
        own_search = {"search": self.search} if method.engine == "genetic" else {}
        return self.settings | of_authors | own_search

    @property
    def named_rows(self) -> list[str]:
        """The rows that alone are made, by their methods' names; none where all are.

        Those that the profile lists, and those that need no training besides (``sharing``).
        """
        return sharing(self.rows, self) if isinstance(self.rows, list) else []

    @property
    def ssl_px(self) -> int:
        """Side of the crops that the autoencoder redraws, in pixels: by default the input size."""
        return self.ssl_crop or self.settings["imgsz"]

    def setting(self, name: str) -> Any:
        """One of the settings; ``head_weights.Casts`` looks inside."""
        return functools.reduce(lambda level, key: level[key], name.split("."), self.settings)

    def pixels(self, nominal: int) -> int:
        """Effective size of a nominal one: scaled, then rounded up to the stride."""
        # px_scale is a rounded fraction: 448.00000003 pixels must not gain a stride
        strides = math.ceil(round(nominal * self.px_scale, 6) / STRIDE)
        return max(STRIDE, strides * STRIDE)

    def arch(self, method: Method) -> str:
        """The network that stands for the method's in this profile."""
        return self.smaller.get(method.arch, method.arch)

    def networks(self, method: Method) -> list[str]:
        """All that are trained for the method: one, or the members of an ensemble."""
        return self.arch(method).split("_") if method.engine == "ensemble" else [self.arch(method)]

    def trains_on_slices(self, method: Method) -> bool:
        """Whether the method's training part is cut into slices, as its inference will be."""
        return self.slices_per_field > 0 and method.sliced

    def starts_carried(self, method: Method) -> bool:
        """Whether the method's training starts from a detector that is carried. That one has
        learned from drawn fields, so on drawn fields it would know patients of the test."""
        return bool(method.start) and self.data_given

    def epochs_of(self, method: Method) -> int:
        """Epochs of a training; each shows every field once, or one slice of it. Its authors' own
        number counts where the profile has time for it; ``passes`` says how many times more."""
        epochs = min(self.epochs, method.epochs or self.epochs)
        return round(method.passes * self.epochs_for.get(self.arch(method), epochs))


@functools.cache
def methods() -> dict[str, Method]:
    """Every row of ``methods.yaml``, in the order of the paper's tables."""
    return {name: Method(id=name, **entry) for name, entry in read_config("methods.yaml").items()}


def rows_of_table(n: int) -> list[Method]:
    """The methods that answer a row of the paper's Table n, in the order of ``methods.yaml``."""
    return [m for m in methods().values() if n in m.answers]


def method(name: str) -> Method:
    """The method of that name; raises UnknownName with the list of those there are."""
    return _listed("method", name, "methods.yaml", methods())


@functools.cache
def profile(name: str) -> Profile:
    """The profile of that name.

    Raises UnknownName, with the list of those there are, for it and for a row that it names.
    """
    # an entry whose name starts with a dot only holds what several profiles share
    entries = {k: v for k, v in read_config("profiles.yaml").items() if not k.startswith(".")}
    found = Profile(name=name, **_listed("profile", name, "profiles.yaml", entries))
    for row in found.rows if isinstance(found.rows, list) else []:
        method(row)
    return found


def _listed(kind: str, name: str, file: str, entries: dict[str, Any]) -> Any:
    if name not in entries:
        raise UnknownName(f"no {kind} {name!r} in {file}; it lists: {', '.join(entries)}")
    return entries[name]


def train_key(m: Method, p: Profile) -> str:
    """The name of a training. Rows with the same key are one training.

    In a small profile, for example, one network stands for YOLO12 n to x, and they have one key.
    """
    parts = [p.arch(m), m.heads]
    if m.ssl:
        parts.append("ssl")
    if p.starts_carried(m):
        parts.append("from-drawn")
    if m.without_head:
        parts.append(f"without-{m.without_head}")
    if m.passes != 1:
        parts.append(f"{m.passes:g}x")
    if p.trains_on_slices(m):
        parts.append("slices")
    # paths on disk ignore case on some systems
    return "-".join([*parts, str(p.pixels(m.imgsz))]).lower()


def sharing(names: Collection[str], p: Profile) -> list[str]:
    """The methods of these names and all that share a training with one, as in ``methods.yaml``."""
    trained = {train_key(method(name), p) for name in names}
    return [m.id for m in methods().values() if train_key(m, p) in trained]


def predict_key(m: Method, p: Profile) -> str:
    """The name of a set of stored predictions: a training and a way of inference."""
    return f"{train_key(m, p)}-{m.way}"


def first_of_each(
    key: Callable[[Method, Profile], str], rows: list[Method], p: Profile
) -> dict[str, Method]:
    """The first of the rows that share a key (``train_key`` or ``predict_key``), by that key."""
    first: dict[str, Method] = {}
    for m in rows:
        first.setdefault(key(m, p), m)
    return first


@dataclass(frozen=True)
class Plan:
    """The jobs of a run, for each fold: a method for each pretraining, training and prediction."""

    ssl: dict[str, Method]  # by the backbone's architecture
    train: dict[str, Method]  # by train_key
    predict: dict[str, Method]  # by predict_key


def plan(p: Profile, names: Collection[str] = ()) -> Plan:
    """What a profile has to compute for all rows, or for the methods of these names."""
    rows = [method(name) for name in names or methods()]
    return Plan(
        ssl=first_of_each(lambda m, p: p.arch(m), [m for m in rows if m.ssl], p),
        train=first_of_each(train_key, rows, p),
        predict=first_of_each(predict_key, rows, p),
    )
