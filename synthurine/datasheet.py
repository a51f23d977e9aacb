"""``DATASHEET.md`` beside a drawn set: what it holds, how it was made, and what it is not for.

The questions are those of Gebru et al. 2021, *Datasheets for datasets*, doi:10.1145/3458723.
"""

from __future__ import annotations

from pathlib import Path

import jinja2

from synthurine.contents import Contents
from synthurine.dataset import FOLDERS, LABORATORIES_FILE
from synthurine.files import write_text
from synthurine.particles.classes import CLASSES

FILE = "DATASHEET.md"
TEMPLATE = "datasheet.md.j2"
LABELS = {"labelled": "boxes", "unlabelled": "none", "cohort": "a report for each patient"}


def write(folder: Path, contents: Contents) -> Path:
    """Writes the datasheet of a drawn set into its folder."""
    write_text(folder / FILE, datasheet(contents))
    return folder / FILE


def datasheet(contents: Contents) -> str:
    """The datasheet as Markdown; every number in it is one of ``contents``."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("synthurine", ""),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found = set(contents.boxes["name"])
    profiles = contents.taken.groupby("profile")["patient"].nunique()
    return environment.get_template(TEMPLATE).render(
        set=contents,
        folders=FOLDERS,
        labels=LABELS,
        without_box=contents.fields["labelled"] - contents.boxes["image"].nunique(),
        absent=[name for name in CLASSES if name not in found],
        profiles=profiles.sort_values(ascending=False, kind="stable").to_dict(),
        laboratories=contents.taken["laboratory"].nunique(),
        command=_command(contents),
    )


def _command(contents: Contents) -> str:
    """The options that draw the set again."""
    spec = {key.replace("_", "-"): str(value) for key, value in contents.spec.items()}
    if contents.learned:  # the file tells the size of a pixel, and so the width of a field
        del spec["field-um"]
        spec["like"] = LABORATORIES_FILE
    return " ".join(f"--{key} {value}" for key, value in spec.items()) + f" --seed {contents.seed}"
