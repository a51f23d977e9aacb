"""``croissant.json`` beside a drawn set: by it other programs find the set and read its records.

Croissant is a JSON-LD vocabulary for data sets (mlcommons.org/croissant, version 1.0). What is the
same for every drawn set stands in ``config/croissant.yaml``, in a shorter form than JSON-LD's.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from synthurine.contents import Contents
from synthurine.files import read_config, write_json
from synthurine.particles.classes import CLASSES

FILE = "croissant.json"
Json = dict[str, Any]


def write(folder: Path, contents: Contents) -> Path:
    """Writes the description of a drawn set into its folder."""
    write_json(folder / FILE, description(folder, contents))
    return folder / FILE


def description(folder: Path, contents: Contents) -> Json:
    """The JSON-LD: what the set is, its files with their digests, and its record sets.

    Images and reports of which the set has none are left out. The version is the simulator's: the
    same version, numbers and seed give the same set.
    """
    entry = read_config("croissant.yaml")
    record_sets: dict[str, Json] = entry.pop("recordSet")
    empty = [name for name in ("unlabelled", "cohort") if not contents.fields[name]]
    if "cohort" in empty:
        empty.append("reports")
    unused = {record_sets.pop(name)["from"] for name in empty}
    files = [file for file in entry.pop("distribution") if file["@id"] not in unused]
    is_set = {file["@id"]: file["@type"] == "cr:FileSet" for file in files}
    today = datetime.now(UTC).date().isoformat()
    return entry | {
        "description": contents.in_a_sentence,
        "version": f"{contents.simulator.rpartition('-')[2]}.0.0",
        "datePublished": today,
        "citeAs": f"OpenUrine companion contributors: drawn OpenUrine. Simulator synthurine "
        f"{contents.simulator}, seed {contents.seed}.",
        "distribution": [_file(folder, file) for file in files],
        "recordSet": [
            *(_record_set(name, short, is_set) for name, short in record_sets.items()),
            _classes(),
        ],
    }


def _file(folder: Path, file: Json) -> Json:
    file = {"name": file["@id"]} | file
    if file["@type"] == "cr:FileObject":
        file.setdefault("contentUrl", file["@id"])
        with (folder / file["contentUrl"]).open("rb") as content:
            file["sha256"] = hashlib.file_digest(content, "sha256").hexdigest()
    return file


def _record_set(name: str, short: Json, is_set: dict[str, bool]) -> Json:
    place = short["from"]
    source = {("fileSet" if is_set[place] else "fileObject"): {"@id": place}}
    fields = [_field(f"{name}/{key}", field, source) for key, field in short["fields"].items()]
    key = {"key": {"@id": f"{name}/{short['key']}"}} if "key" in short else {}
    return {
        "@type": "cr:RecordSet", "@id": name, "name": name, "description": short["about"],
        **key, "field": fields,
    }  # fmt: skip


def _field(name: str, short: Json, source: Json) -> Json:
    source = source | {"extract": short["at"]}
    if "regex" in short:
        source["transform"] = {"regex": short["regex"]}
    field = {
        "@type": "cr:Field", "@id": name, "name": name.rpartition("/")[2],
        "description": short["about"], "dataType": short["dataType"], "source": source,
    }  # fmt: skip
    if "references" in short:
        field["references"] = {"field": {"@id": short["references"]}}
    return field


def _classes() -> Json:
    """The classes by their number in the COCO file; the only records that stand in here."""
    types = {"id": "sc:Integer", "name": "sc:Text"}
    return {
        "@type": "cr:RecordSet", "@id": "classes", "name": "classes",
        "description": "The classes of Table 2.", "dataType": "sc:Enumeration",
        "key": {"@id": "classes/id"},
        "field": [
            {"@type": "cr:Field", "@id": f"classes/{name}", "name": name, "dataType": type_}
            for name, type_ in types.items()
        ],
        "data": [
            {"classes/id": number, "classes/name": name} for number, name in enumerate(CLASSES, 1)
        ],
    }  # fmt: skip
