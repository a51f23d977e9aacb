"""Classes, the super-categories (heads) they belong to, and how people spell them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
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
    """A taxonomy file that contradicts itself; the message names the file and the fault."""


def normal(name: str) -> str:
    """The name without case, spaces and punctuation: ``RBC cast (1)`` -> ``rbccast1``."""
    return "".join(c for c in str(name).casefold() if c.isalnum())


@dataclass(frozen=True)
class Taxonomy:
    """The classes of a data set. A class's id is its index in ``classes``."""

    name: str
    classes: tuple[str, ...]
    heads: dict[str, tuple[int, ...]]  # only heads that have classes, in the paper's order
    aliases: dict[str, str]  # other spelling -> class
    components: dict[str, tuple[int, ...]]  # clinical components of Table 8 -> class ids
    openurine: dict[int, tuple[str, ...]] = field(default_factory=dict)  # id -> OpenUrine's classes

    @property
    def n(self) -> int:
        return len(self.classes)

    @cached_property
    def _ids(self) -> dict[str, int]:
        ids = {normal(name): i for i, name in enumerate(self.classes)}
        # | ids: a class's own name prevails over an alias
        return {normal(alias): ids[normal(name)] for alias, name in self.aliases.items()} | ids

    def knows(self, name: str) -> bool:
        return normal(name) in self._ids

    def id(self, name: str) -> int:
        """Class id of a name or alias, in any case and punctuation. Raises UnknownClass."""
        if not self.knows(name):
            listing = ", ".join(self.classes)
            raise UnknownClass(f"class {name!r} is not in taxonomy {self.name!r} ({listing})")
        return self._ids[normal(name)]

    def head_of(self, cls_id: int) -> str:
        """The head that a class belongs to."""
        return next(head for head, ids in self.heads.items() if cls_id in ids)

    def without_head(self, head: str) -> Taxonomy:
        """Table 5's ablation: the head is gone, Others detects its classes; class ids stay.

        A head that has no class here leaves the taxonomy as it is. Raises ValueError for Others and
        for a name that is no head.
        """
        removable = [h for h in HEADS if h != REST]
        if head not in removable:
            raise ValueError(f"cannot remove head {head!r}; removable are {', '.join(removable)}")
        heads = dict(self.heads)
        freed = heads.pop(head, ())
        if freed:
            heads[REST] = tuple(sorted(heads.get(REST, ()) + freed))
        return dataclasses.replace(self, heads={h: heads[h] for h in HEADS if h in heads})


def parse(text: str, where: str) -> Taxonomy:
    """A taxonomy from the text of its YAML file; ``where`` names it. Raises TaxonomyError."""
    try:
        entry: dict[str, Any] = yaml.safe_load(text)
        name = entry["name"]
        head_of = {str(c): head for c, head in entry["classes"].items()}
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        needs = "needs `name` and `classes` (a mapping class -> head)"
        raise TaxonomyError(f"{where}: {needs}: {error}") from error
    wrong = {c: head for c, head in head_of.items() if head not in HEADS}
    if wrong:
        raise TaxonomyError(f"{where}: no such head: {wrong}; the heads are {', '.join(HEADS)}")
    aliases = {str(alias): str(c) for alias, c in (entry.get("aliases") or {}).items()}
    # aliases and classes are one list of spellings
    spellings = Counter(normal(spelling) for spelling in (*head_of, *aliases))
    twice = sorted(spelling for spelling, times in spellings.items() if times > 1)
    if twice:
        listing = ", ".join(twice)
        raise TaxonomyError(f"{where}: listed twice (case and punctuation do not count): {listing}")
    ids = {h: tuple(i for i, c in enumerate(head_of) if head_of[c] == h) for h in HEADS}
    heads = {h: ids[h] for h in HEADS if ids[h]}  # heads without classes are left out
    taxonomy = Taxonomy(name, tuple(head_of), heads, aliases, {})
    try:
        openurine = {
            taxonomy.id(c): tuple(map(str, names))
            for c, names in (entry.get("openurine") or {}).items()
        }
        components = {
            str(component): tuple(map(taxonomy.id, names))
            for component, names in (entry.get("components") or {}).items()
        }
        _ = taxonomy._ids  # KeyError for an alias of a class that is not listed
    except (KeyError, UnknownClass) as error:
        what = "an alias, component or `openurine` names a class that is not listed"
        raise TaxonomyError(f"{where}: {what}: {error}") from error
    return dataclasses.replace(taxonomy, components=components, openurine=openurine)


def from_json(entry: dict[str, Any]) -> Taxonomy:
    """The taxonomy that ``dataclasses.asdict`` and JSON turned into lists and text keys."""
    return Taxonomy(
        entry["name"],
        tuple(entry["classes"]),
        {head: tuple(ids) for head, ids in entry["heads"].items()},
        entry["aliases"],
        {component: tuple(ids) for component, ids in entry["components"].items()},
        {int(cls): tuple(names) for cls, names in entry["openurine"].items()},
    )


def shipped() -> dict[str, Taxonomy]:
    """The taxonomies of ``config/taxonomies``, by name."""
    files = sorted(Path(str(CONFIG / "taxonomies")).glob("*.yaml"))
    found = [parse(file.read_text(encoding="utf-8"), file.name) for file in files]
    return {taxonomy.name: taxonomy for taxonomy in found}


def load(name_or_path: str | Path) -> Taxonomy:
    """A shipped taxonomy by name, or one from a file. Raises TaxonomyError if there is neither."""
    name = str(name_or_path)
    by_name = shipped()
    if name in by_name:
        return by_name[name]
    if not Path(name).is_file():
        listing = ", ".join(by_name)
        raise TaxonomyError(f"no taxonomy {name!r}: neither a file nor one of {listing}")
    return parse(Path(name).read_text(encoding="utf-8"), name)


def closest(class_names: Iterable[str]) -> Taxonomy:
    """The shipped taxonomy that knows most of the names."""
    names = list(class_names)
    # of several the first by file name
    return max(shipped().values(), key=lambda t: sum(map(t.knows, names)))


def match(class_names: Iterable[str]) -> Taxonomy:
    """The shipped taxonomy that knows all the names. Raises UnknownClass with the others."""
    names = list(class_names)
    best = closest(names)
    missing = [name for name in names if not best.knows(name)]
    if missing:
        raise UnknownClass(
            f"no shipped taxonomy knows {', '.join(map(repr, missing))} (the closest is "
            f"{best.name!r}); add the class or an alias to it, "
            "or put a taxonomy.yaml into the data folder"
        )
    return best
