"""Classes, the super-categories (heads) they belong to, and how people spell them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from openurine_lib.config import CONFIG
from openurine_lib.data.parsed import Unreadable, load_yaml

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
        entry = load_yaml(text)
        name = _word(entry["name"])
        head_of = {_word(c): head for c, head in entry["classes"].items()}
        aliases = {_word(alias): _word(c) for alias, c in (entry.get("aliases") or {}).items()}
        openurine = _lists(entry, "openurine")
        components = _lists(entry, "components")
        if not head_of:
            raise ValueError("there is no class")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        line = error.line if isinstance(error, Unreadable) else 0
        place = f"{where}:{line}" if line else where
        needs = "needs `name` and `classes` (a mapping class -> head); `aliases` map a name to a "
        needs += "class, `components` and `openurine` a name to a list of names"
        raise TaxonomyError(f"{place}: {needs}: {error!s:.200}") from error
    wrong = {c: head for c, head in head_of.items() if head not in HEADS}
    if wrong:
        listing = f"{wrong!r:.200}"
        raise TaxonomyError(f"{where}: no such head: {listing}; the heads are {', '.join(HEADS)}")
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
        names = {taxonomy.id(c): theirs for c, theirs in openurine.items()}
        parts = {part: tuple(map(taxonomy.id, theirs)) for part, theirs in components.items()}
        _ = taxonomy._ids  # KeyError for an alias of a class that is not listed
    except (KeyError, UnknownClass) as error:
        what = "an alias, component or `openurine` names a class that is not listed"
        raise TaxonomyError(f"{where}: {what}: {error}") from error
    return dataclasses.replace(taxonomy, components=parts, openurine=names)


def _word(value: Any) -> str:
    """A name as text. Raises ValueError for what YAML takes for something else: no, null, [a]."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{value!r:.40} is no name (a word in quotes always is)")
    return str(value)


def _lists(entry: Any, key: str) -> dict[str, tuple[str, ...]]:
    """The entry's mapping of names to lists of names. Raises ValueError, or AttributeError."""
    found: dict[str, tuple[str, ...]] = {}
    for name, names in (entry.get(key) or {}).items():
        if not isinstance(names, list):
            raise ValueError(f"{key}: {name!r:.40}: {names!r:.40} is no list")
        found[_word(name)] = tuple(map(_word, names))
    return found


def equals(new: Taxonomy, old: Taxonomy) -> dict[int, list[int]]:
    """Class id of ``new`` -> the ids of the same particle in ``old``; [] where there is none.

    The same are those that ``new`` names as its equals in OpenUrine, or of the same name or alias.
    """
    found = {}
    for cls, name in enumerate(new.classes):
        names = new.openurine.get(cls, (name,))
        found[cls] = sorted({old.id(other) for other in names if old.knows(other)})
    return found


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
    try:
        text = Path(name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TaxonomyError(f"{name}: is not UTF-8 text that can be read: {error}") from error
    return parse(text, name)


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
