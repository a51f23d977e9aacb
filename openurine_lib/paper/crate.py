"""``ro-crate-metadata.json`` beside a run's results: by it other programs read what came from what.

RO-Crate is a JSON-LD vocabulary for research results; the profile for runs of a workflow is
Workflow Run RO-Crate 0.5 (w3id.org/ro/wfrun). Each table and figure is the result of an action. It
tells the notebook and the software that made it, the data set and the settings, and the time: all
that its stamp knows (``experiments.provenance``). Results of earlier trainings that the run took
from ``carried/`` are actions of their own.
"""

from __future__ import annotations

import json
import mimetypes
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rocrate.model import ContextEntity, SoftwareApplication
from rocrate.rocrate import ROCrate

from openurine_lib.experiments import carried
from openurine_lib.experiments.provenance import read_stamp
from openurine_lib.experiments.run import Run
from openurine_lib.files import PACKAGE, atomic_path, digest, digest_of_file, write_json
from openurine_lib.paper import claims
from openurine_lib.paper.report import CONTENTS

FILE = "ro-crate-metadata.json"
WORKFLOW = PACKAGE.parent / "workflow" / "Snakefile"
LICENCE = "https://spdx.org/licenses/AGPL-3.0-or-later"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
# what a figure consists of; all other files of a stem are a table's
PICTURES = (".png", ".pdf")
KINDS = {".md": "text/markdown", ".tex": "text/x-tex", ".ipynb": "application/x-ipynb+json"}
# of a stamp: what an action ran on, and what is told in other places; the rest is what it was given
RAN_ON = ("device", "processor", "threads", "bfloat16")
TOLD = ("stem", "caption", "face", "commit", "dirty", "versions", "dataset", "time", *RAN_ON)


def write(run: Run) -> Path:
    """Writes the description of ``run.figures`` into it, with a copy of the workflow.

    It lists the tables, figures and pages that are there, and the executed notebooks; not the book,
    which is made of these. Raises FileNotFoundError if the run has left no table.
    """
    stamps = dict(_stamps(run.figures))
    if not stamps:
        raise FileNotFoundError(
            f"{run.figures} holds no table or figure to describe; run `make reproduce` first"
        )
    crate = ROCrate(version="1.1")  # the version that the profiles are written for
    crate.name = f"OpenUrine companion: run {run.name}"
    # of the tables, which are not of the published numbers alone
    faces = [stamp["face"] for stamp in stamps.values() if stamp["dataset"]]
    crate.description = f"Tables and figures of a rerun of one paper. {faces[0] if faces else ''}"
    crate.datePublished = datetime.now(UTC)
    crate.license = _entity(crate, LICENCE, "CreativeWork", name="AGPL-3.0-or-later")
    _add_workflow(crate, run.figures)
    for file in _files(run.figures):
        _add_file(crate, run.figures, file)
    made = [_made(crate, key, stamp) for key, stamp in stamps.items()]
    _add_run(crate, run, made)
    trained = [_trained(crate, run, record) for record in _records(run)]
    crate.root_dataset["mentions"] = [*crate.root_dataset["mentions"], *made, *trained]
    write_json(run.figures / FILE, crate.metadata.generate())
    return run.figures / FILE


def _files(folder: Path) -> list[Path]:
    """The tables, figures and pages of a run, and its executed notebooks."""
    files = [*folder.iterdir(), *folder.glob("notebooks/*.ipynb")]
    own = (FILE, WORKFLOW.name)
    return sorted(
        f for f in files if f.is_file() and f.name not in own and not f.name.startswith(".")
    )


def _stamps(folder: Path) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    """(stem, table or figure) and its stamp, of each that is there."""
    for file in _files(folder):
        if file.parent == folder and file.suffix in (".json", ".png"):
            yield (file.stem, "table" if file.suffix == ".json" else "figure"), read_stamp(file)


def _add_workflow(crate: ROCrate, folder: Path) -> None:
    """The workflow's rules, copied beside the results, as the crate's main entity."""
    copy = folder / "workflow" / WORKFLOW.name
    with atomic_path(copy) as temporary:
        shutil.copyfile(WORKFLOW, temporary)
    name = copy.relative_to(folder).as_posix()
    about = {
        "name": "Order of the notebooks",
        "encodingFormat": "text/plain",
        "sha256": digest_of_file(copy),
    }
    crate.add_workflow(copy, name, main=True, lang="snakemake", properties=about)
    known = [_entity(crate, id, "CreativeWork", name=name) for id, name in PROFILES.items()]
    crate.root_dataset["conformsTo"] = known


def _add_file(crate: ROCrate, folder: Path, file: Path) -> None:
    kind = KINDS.get(file.suffix) or mimetypes.guess_type(file.name)[0]
    about: dict[str, Any] = {
        "name": file.name,
        "encodingFormat": kind or "application/octet-stream",
        "contentSize": str(file.stat().st_size),
        "sha256": digest_of_file(file),
    }
    if file.suffix == ".ipynb":
        about |= {"@type": ["File", "SoftwareSourceCode"], "name": f"executed {file.stem}"}
    crate.add_file(file, file.relative_to(folder).as_posix(), properties=about)


def _made(crate: ROCrate, key: tuple[str, str], stamp: dict[str, Any]) -> ContextEntity:
    """The action that made a table or a figure: by what, from what, when."""
    stem, kind = key
    pictures = kind == "figure"
    files = [
        entity
        for entity in crate.data_entities
        if Path(entity.id).stem == stem and (Path(entity.id).suffix in PICTURES) == pictures
    ]
    notebook = crate.get(f"notebooks/{_notebook_of(stem)}.ipynb")
    software = _software(crate, stamp)
    ran_on = ", ".join(f"{name} {stamp[name]}" for name in RAN_ON if stamp.get(name) is not None)
    return _entity(
        crate,
        f"#{stem}-{kind}",
        "CreateAction",
        name=stamp["caption"],
        description=f"{stamp['face']}. Computed on: {ran_on}.",
        instrument=[notebook, software] if notebook else software,
        object=_given(crate, stamp),
        result=files,
        endTime=stamp["time"],
    )


def _notebook_of(stem: str) -> str:
    """The notebook that makes a stem; none makes the claims, which the last step tests."""
    for own, _, notebook in CONTENTS:
        if own != claims.STEM and (stem == own or stem.startswith(f"{own}_")):
            return notebook
    return ""


def _given(crate: ROCrate, stamp: dict[str, Any]) -> list[ContextEntity]:
    """The data set and the settings that a stamp names."""
    found = []
    if data := stamp["dataset"]:
        kind = "drawn by a program" if data["synthetic"] else "real fields"
        about = {"name": data["name"], "identifier": data["fingerprint"], "description": kind}
        found.append(_entity(crate, f"#data-{data['fingerprint']}", "Dataset", **about))
    for name, value in stamp.items():
        if name in TOLD:
            continue
        text = value if isinstance(value, str | int) else json.dumps(value, sort_keys=True)
        id = f"#{name}-{digest(value)}"
        found.append(_entity(crate, id, "PropertyValue", name=name, value=text))
    return found


def _software(crate: ROCrate, stamp: dict[str, Any]) -> SoftwareApplication:
    """This project at a commit, with the libraries that it ran with."""
    versions = dict(stamp["versions"])
    own = versions.pop("openurine_lib", "unknown")
    commit = stamp["commit"] or "no checkout"
    changed = " with changes that are not committed" if stamp["dirty"] else ""
    about = {
        "name": "OpenUrine companion",
        "softwareVersion": own,
        "version": f"{commit}{changed}",
        "softwareRequirements": [
            _application(crate, f"#{name}-{version}", name=name, softwareVersion=version)
            for name, version in versions.items()
        ],
    }
    return _application(crate, f"#openurine-{digest(own, commit, changed, versions)}", **about)


def _application(crate: ROCrate, id: str, **about: Any) -> SoftwareApplication:
    return crate.get(id) or crate.add(SoftwareApplication(crate, id, properties=about))


def _entity(crate: ROCrate, id: str, kind: str, **about: Any) -> ContextEntity:
    """The entity of that id, which is added the first time."""
    known = crate.get(id)
    return known or crate.add(ContextEntity(crate, id, properties={"@type": kind} | about))


def _add_run(crate: ROCrate, run: Run, made: list[ContextEntity]) -> None:
    """The run of the workflow as a whole: all that its actions were given, all that they left."""
    given = {entity.id: entity for action in made for entity in action["object"]}
    data = {id: entity for id, entity in given.items() if entity.type == "Dataset"}
    whole = _entity(
        crate,
        "#run",
        "CreateAction",
        name=f"Run {run.name}: {run.profile.about}",
        instrument=crate.mainEntity,
        object=[*data.values()],
        result=[file for action in made for file in action["result"]],
        endTime=max(action["endTime"] for action in made),
    )
    crate.root_dataset["mentions"] = [whole]


def _records(run: Run) -> list[Path]:
    """Records of earlier trainings whose results this run took from ``carried/``."""
    return sorted(run.dir.glob(f"*/*/fold*/{carried.RECORD}"))


def _trained(crate: ROCrate, run: Run, record: Path) -> ContextEntity:
    """An earlier training: what it was, who trained it, when, on what."""
    kind, row, fold = record.parent.relative_to(run.dir).parts
    content = carried.record_of(record.parent)
    seed = content["valid_for"]["seed"]
    return _entity(
        crate,
        f"#earlier-{kind}-{row}-{fold}",
        "CreateAction",
        name=f"Earlier result, taken from the repository: {kind} of {row}, {fold}",
        description=carried.in_short(content),
        object=_entity(crate, f"#seed-{digest(seed)}", "PropertyValue", name="seed", value=seed),
        endTime=content["trained"]["time"],
    )
