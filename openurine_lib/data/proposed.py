"""The taxonomy of a data set; and one proposed for classes that none knows, to be corrected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import yaml

from openurine_lib.data import source as s
from openurine_lib.data import taxonomy as taxonomies
from openurine_lib.data.levels import CUTOFFS, read_cutoffs
from openurine_lib.data.source import Source
from openurine_lib.data.taxonomy import REST, Taxonomy, normal

# parts of names, in the order in which they are looked for: an "RBC cast" is a cast
PARTS = {
    "Casts": ("cast", "cylind"),
    "Crystals": ("cryst", "oxal", "phosph", "uric", "urat", "cystin", "amorph"),
    "Microorganisms": ("bact", "yeast", "fung", "myce", "hyph", "trich", "egg", "parasit"),
    "Cells": ("cell", "rbc", "wbc", "leuk", "leuc", "eryth", "epith", "blood", "squam"),
    "Artifact": ("artif", "artef", "debris", "dust", "fib"),
}
HEADER = """\
# Proposed by `openurine check`. Save it as taxonomy.yaml in the folder, and correct it:
# classes      class -> head; the heads are Cells, Casts, Crystals, Microorganisms, Artifact, Others
# components   lines of the report -> classes; with the names of config/cutoffs.yaml
# openurine    class -> the same particle among OpenUrine's 39, if it is there
"""


def choose_taxonomy(source: Source) -> Taxonomy:
    """The folder's taxonomy.yaml, else the shipped one that knows most of the names.

    A class that it does not know is told once, with its number of boxes; ``source.proposal`` is
    then a taxonomy file for all of them.
    """
    # (class, file, line); a declared class counts once, where it is declared.
    found = [(cls, *place) for cls, place in source.names.items()]
    found += [(box[1], *box[-2:]) for box in source.found if box[1] not in source.names]
    names = {cls for cls, *_ in found}
    path = source.folder / "taxonomy.yaml"
    try:
        taxonomy = taxonomies.load(path) if path.is_file() else taxonomies.closest(names)
    except taxonomies.TaxonomyError as error:
        source.bad(s.LAYOUT, path.name, 0, str(error), "correct the file")
        return taxonomies.closest(names)
    boxes_of = Counter(box[1] for box in source.found)
    first = {cls: (file, line) for cls, file, line in reversed(found)}  # where each stands first
    unknown = [cls for cls in dict.fromkeys(cls for cls, *_ in found) if not taxonomy.knows(cls)]
    for cls in unknown:
        what = f"class {cls!r} ({boxes_of[cls]} boxes) is in no taxonomy"
        remedy = (
            f"correct it, or add it to taxonomy {taxonomy.name!r} or to a taxonomy.yaml in the "
        )
        remedy += "data folder (`openurine check` proposes one)"
        source.bad(s.UNKNOWN, *first[cls], what, remedy)
    if unknown:
        source.proposal = proposal(dict.fromkeys(cls for cls, *_ in found))
    for component in taxonomy.components:
        if component not in read_cutoffs():
            what = f"component {component!r} has no cut-offs"
            remedy = f"call it one of {', '.join(read_cutoffs())}, or add it to {CUTOFFS}"
            source.bad(s.LAYOUT, path.name, 0, what, remedy)
    return taxonomy


def proposal(names: Iterable[str]) -> str:
    """The text of a taxonomy file with all these classes."""
    known = taxonomies.load("openurine")
    classes, openurine = {}, {}
    components: dict[str, list[str]] = {}
    for name in names:
        if known.knows(name):
            cls = known.id(name)
            classes[name] = known.head_of(cls)
            openurine[name] = [known.classes[cls]]
            for component, ids in known.components.items():
                if cls in ids:
                    components.setdefault(component, []).append(name)
        else:
            classes[name] = _head(name)
    content = {"name": "proposed", "classes": classes}
    content |= {"components": components} if components else {}
    content |= {"openurine": openurine} if openurine else {}
    return HEADER + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _head(name: str) -> str:
    letters = normal(name)
    return next((h for h, parts in PARTS.items() if any(p in letters for p in parts)), REST)
