"""The experiment list as data: methods (rows of Tables 4-6), profiles (how big a run is), and the jobs they make."""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass, field
from typing import Any

from openurine_lib.config import read_config

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
    imgsz: int = PAPER_IMGSZ
    fidelity: str = ""
    why: str = ""
    doi: str = ""
    published_size: dict[str, float] = field(default_factory=dict)

    @property
    def built(self) -> bool:
        """Whether an engine exists for it; rows without one are printed as not yet built."""
        return self.engine != "none"


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

    @property
    def settings(self) -> dict[str, Any]:
        """Table 3 with the profile's overrides; ``imgsz`` and ``sahi.slice`` scaled to the profile's pixels."""
        table3 = read_config("table3.yaml") | self.train | {"epochs": self.epochs}
        table3["imgsz"] = self.pixels(table3["imgsz"])
        table3["sahi"] = table3["sahi"] | {"slice": self.pixels(table3["sahi"]["slice"])}
        return table3

    def settings_of(self, method: Method) -> dict[str, Any]:
        """The settings that a method trains with; a system that searches settings by itself also has ``search``."""
        return self.settings | ({"search": self.search} if method.engine == "genetic" else {})

    def setting(self, name: str) -> Any:
        """One of the settings; ``head_weights.Casts`` looks inside."""
        return functools.reduce(lambda level, key: level[key], name.split("."), self.settings)

    def pixels(self, nominal: int) -> int:
        """Effective size of a nominal one: scaled, then rounded up to the stride (as ultralytics does)."""
        return max(STRIDE, math.ceil(round(nominal * self.px_scale, 6) / STRIDE) * STRIDE)

    def arch(self, method: Method) -> str:
        """The network that stands for the method's in this profile."""
        return self.smaller.get(method.arch, method.arch)

    def trains_on_slices(self, method: Method) -> bool:
        """Whether the method's training part is cut into slices, as its inference will be."""
        return self.slices_per_field > 0 and method.sliced

    def epochs_of(self, method: Method) -> int:
        """Epochs of a training; fewer where a field gives several slices, so that every row sees as many images."""
        epochs = self.epochs_for.get(self.arch(method), self.epochs)
        return (
            math.ceil(epochs / self.slices_per_field) if self.trains_on_slices(method) else epochs
        )


@functools.cache
def methods() -> dict[str, Method]:
    """Every row of ``methods.yaml``, in the order of the paper's tables."""
    return {name: Method(id=name, **entry) for name, entry in read_config("methods.yaml").items()}


def method(name: str) -> Method:
    """The method of that name; raises UnknownName with the list of those there are."""
    if name not in methods():
        raise UnknownName(f"no method {name!r} in methods.yaml; it lists: {', '.join(methods())}")
    return methods()[name]


@functools.cache
def profile(name: str) -> Profile:
    """The profile of that name; raises UnknownName with the list of those there are."""
    entries = {
        key: value for key, value in read_config("profiles.yaml").items() if not key.startswith(".")
    }
    if name not in entries:
        raise UnknownName(f"no profile {name!r} in profiles.yaml; it lists: {', '.join(entries)}")
    return Profile(name=name, **entries[name])


def train_key(m: Method, p: Profile) -> str:
    """Names a training. Rows with the same key are one training (e.g. YOLO12 n to x where all are replaced by n)."""
    parts = [
        p.arch(m),
        m.heads,
        *(["ssl"] if m.ssl else []),
        *([f"without-{m.without_head}"] if m.without_head else []),
    ]
    return "-".join(
        [*parts, *(["slices"] if p.trains_on_slices(m) else []), str(p.pixels(m.imgsz))]
    ).lower()


def predict_key(m: Method, p: Profile) -> str:
    """Names a set of stored predictions: a training and a way of inference."""
    return f"{train_key(m, p)}-{'sliced' if m.sliced else 'whole'}"


@dataclass(frozen=True)
class Plan:
    """The jobs of a run, before folds: representative methods of the distinct trainings and predictions."""

    ssl: dict[str, Method]  # by backbone architecture
    train: dict[str, Method]  # by train_key
    predict: dict[str, Method]  # by predict_key


def plan(p: Profile) -> Plan:
    """What a profile has to compute for all rows that are built."""
    built = [m for m in methods().values() if m.built]
    first: Plan = Plan({}, {}, {})
    for m in built:
        if m.ssl:
            first.ssl.setdefault(p.arch(m), m)
        first.train.setdefault(train_key(m, p), m)
        first.predict.setdefault(predict_key(m, p), m)
    return first


def as_dict(m: Method) -> dict[str, Any]:
    """A method as plain data, for provenance."""
    return dataclasses.asdict(m)
