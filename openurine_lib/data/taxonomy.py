"""Classes, the super-categories (heads) they belong to, and how people spell them. One YAML file a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from openurine_lib.config import CONFIG

HEADS = ("Cells", "Casts", "Crystals", "Microorganisms", "Artifact", "Others")  # the paper's order
REST = "Others"  # takes the classes of a head that is removed (Table 5)


class UnknownClass(ValueError):
    """A class name that the taxonomy does not know."""


class TaxonomyError(ValueError):
    """A taxonomy file that contradicts itself."""


def normal(name: str) -> str:
    """The name without case, spaces and punctuation: ``Epithelial Cell (Renal)`` -> ``epithelialcellrenal``."""
    return "".join(c for c in str(name).casefold() if c.isalnum())


@dataclass(frozen=True)
class Taxonomy:
    """The classes of a data set. A class's id is its index in ``classes``."""

    name: str
    classes: tuple[str, ...]
    heads: dict[str, tuple[int, ...]]  # only heads that have classes, in the paper's order
    aliases: dict[str, str]  # other spelling -> class
    components: dict[str, tuple[int, ...]]  # clinical components of Table 8 -> class ids
    openurine: dict[int, tuple[str, ...]] = dataclasses.field(
        default_factory=dict
    )  # class id -> OpenUrine's classes

    @property
    def n(self) -> int:
        return len(self.classes)

    @cached_property
    def _ids(self) -> dict[str, int]:
        ids = {normal(name): i for i, name in enumerate(self.classes)}
        return {normal(alias): ids[normal(name)] for alias, name in self.aliases.items()} | ids

    def knows(self, name: str) -> bool:
        return normal(name) in self._ids

    def id(self, name: str) -> int:
        """Class id of a name or alias; case, spaces and punctuation do not matter. Raises UnknownClass."""
        if not self.knows(name):
            raise UnknownClass(
                f"class {name!r} is not in taxonomy {self.name!r} ({', '.join(self.classes)})"
            )
        return self._ids[normal(name)]

    def head_of(self, cls_id: int) -> str:
        """The head that a class belongs to."""
        return next(head for head, ids in self.heads.items() if cls_id in ids)

    def without_head(self, head: str) -> Taxonomy:
        """Table 5's ablation: the head is gone and its classes are detected by Others; class ids stay.

        A head that has no class here leaves the taxonomy as it is. Raises ValueError for Others and for
        a name that is no head.
        """
        if head not in HEADS or head == REST:
            raise ValueError(
                f"cannot remove head {head!r}; removable are {', '.join(h for h in HEADS if h != REST)}"
            )
        heads = dict(self.heads)
        freed = heads.pop(head, ())
        if freed:
            heads[REST] = tuple(sorted(heads.get(REST, ()) + freed))
        return dataclasses.replace(self, heads={h: heads[h] for h in HEADS if h in heads})


def parse(text: str, where: str) -> Taxonomy:
    """A taxonomy from the text of its YAML file. Raises TaxonomyError naming the file and what is wrong in it."""
    try:
        entry: dict[str, Any] = yaml.safe_load(text)
        name, classes = entry["name"], {str(c): head for c, head in entry["classes"].items()}
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise TaxonomyError(
            f"{where}: needs `name` and `classes` (a mapping class -> head): {error}"
        ) from error
    wrong = {c: head for c, head in classes.items() if head not in HEADS}
    if wrong:
        raise TaxonomyError(f"{where}: no such head: {wrong}; the heads are {', '.join(HEADS)}")
    aliases = {str(alias): str(c) for alias, c in (entry.get("aliases") or {}).items()}
    spelled = [normal(s) for s in (*classes, *aliases)]
    twice = sorted({s for s in spelled if spelled.count(s) > 1})
    if twice:
        raise TaxonomyError(
            f"{where}: listed twice (case and punctuation do not count): {', '.join(twice)}"
        )
    try:
        names = list(classes)
        heads = {h: tuple(i for i, c in enumerate(names) if classes[c] == h) for h in HEADS}
        taxonomy = Taxonomy(
            name, tuple(names), {h: ids for h, ids in heads.items() if ids}, aliases, {}
        )
        for target in aliases.values():
            taxonomy.id(target)
        same = {
            taxonomy.id(c): tuple(map(str, cs)) for c, cs in (entry.get("openurine") or {}).items()
        }
        parts = {
            str(k): tuple(taxonomy.id(c) for c in cs)
            for k, cs in (entry.get("components") or {}).items()
        }
    except (KeyError, UnknownClass) as error:
        raise TaxonomyError(
            f"{where}: an alias, component or `openurine` names a class that is not listed: {error}"
        ) from error
    return dataclasses.replace(taxonomy, components=parts, openurine=same)


def shipped() -> dict[str, Taxonomy]:
    """The taxonomies of ``config/taxonomies``, by name."""
    files = sorted(
        (f for f in (CONFIG / "taxonomies").iterdir() if f.name.endswith(".yaml")),
        key=lambda f: f.name,
    )
    return {t.name: t for t in (parse(f.read_text(encoding="utf-8"), f.name) for f in files)}


def load(name_or_path: str | Path) -> Taxonomy:
    """A shipped taxonomy by name, or one from a file. Raises TaxonomyError if there is neither."""
    ours = shipped()
    if str(name_or_path) in ours:
        return ours[str(name_or_path)]
    if not Path(name_or_path).is_file():
        raise TaxonomyError(
            f"no taxonomy {str(name_or_path)!r}: neither a file nor one of {', '.join(ours)}"
        )
    return parse(Path(name_or_path).read_text(encoding="utf-8"), str(name_or_path))


def closest(class_names: Iterable[str]) -> Taxonomy:
    """The shipped taxonomy that knows most of the names."""
    names = list(class_names)
    return max(shipped().values(), key=lambda t: sum(t.knows(name) for name in names))


def match(class_names: Iterable[str]) -> Taxonomy:
    """The shipped taxonomy that knows all the names. Raises UnknownClass with the names that the closest one lacks."""
    names = list(class_names)
    best = closest(names)
    missing = [name for name in names if not best.knows(name)]
    if missing:
        raise UnknownClass(
            f"no shipped taxonomy knows {', '.join(map(repr, missing))} (the closest is {best.name!r}); "
            "add the class or an alias to it, or put a taxonomy.yaml into the data folder"
        )
    return best
