"""What counts as a change: every ingredient of a job's result as a short digest.

A notebook's result depends on its code cells and on the modules that they import, directly or
through others (grimp draws the graph of imports). An expensive result (a training, predictions)
depends on less: on the modules that compute it, not on those that plot it. Therefore

- prose, comments, docstrings, outputs, README and tests are no change;
- after a change of a plotting module or of a code cell, the notebook runs again and finds its
  weights or predictions where they were;
- after a change of the network, the loss, an engine, a setting that the job uses, the data, or a
  library's version, the job is computed anew, with everything that follows from it. A method that
  is added or edited in methods.yaml concerns its own jobs only.

This module imports neither torch nor pandas, because Snakemake reads it at every call.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import csv
import functools
import json
from collections.abc import Iterable
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import grimp

from openurine_lib import HOMES, default_weights
from openurine_lib.config import read_config
from openurine_lib.experiments.methods import Method, Profile, methods
from openurine_lib.files import PACKAGE, digest, digest_once, write_json
from openurine_lib.training import coco_weights

CONFIG = PACKAGE / "config"
DATASET = ("meta.json", "images.csv", "boxes.csv")  # of a prepared data set
# These write a notebook's tables and figures. Their own code counts for every notebook.
WRITERS = ("experiments.provenance", "experiments.formatting", "style")
# Imports of these are not followed: they decide paths, settings, seeds and the choice of fields,
# which are ingredients by themselves, or only write results down.
PLUMBING = {"openurine_lib", *(f"openurine_lib.{name}" for name in (
    "cli", "config", "files", "offline", "data.dataset", "paper.report", *WRITERS,
    *(f"experiments.{name}" for name in ("methods", "run", "steps", "made_from", "fingerprints")),
))}  # fmt: skip
STEPS = {
    "ssl": ("ensure_encoder",),
    "train": ("ensure_weights", "training_job", "_start"),
    "predict": ("_predict",),
}
# Fields of a method that only say what it is called, and of a profile that do not concern a
# training or are counted in another way. A field that is added later counts.
NAMES = {
    "id", "answers", "fidelity", "why", "doi", "published_size", "starts_from",
    # counted as the pixels, passes and settings of the profile, as the weights, and in predictions
    "imgsz", "epochs", "passes", "train", "start", "at_once", "uncut", "looks",
}  # fmt: skip
NOT_OF_A_TRAINING = {
    "name", "about", "rows", "path_only", "folds", "px_scale", "smaller", "epochs", "epochs_for",
    "train", "synthetic", "given", "data_given", "ssl_epochs", "ssl_crop", "max_unlabelled_fields",
    "max_test_fields", "search", "search_pruner", "search_workers", "timing_rounds",
}  # fmt: skip
LIBRARIES = ("torch", "torchvision", "ultralytics", "sahi")
LIBRARIES_OF_ENGINES = {
    "torchvision": ("scikit-image", "pywavelets"),
    "transformers": ("transformers",),
    "effdet": ("effdet", "timm"),
    "libreyolo": ("libreyolo",),
    "ensemble": ("libreyolo", "ensemble-boxes"),
}


def ingredients(kind: str, p: Profile, seed: int, m: Method | None = None) -> dict[str, str]:
    """The ingredients of a computation but for its data: digests of code, settings and libraries.

    kind: dataset, ssl, train, predict or search; all but the first are of a method.
    """
    if kind == "dataset":
        return _of_preparation(p, seed)
    assert m is not None, kind
    settings = p.settings
    size = _without(asdict(p), NOT_OF_A_TRAINING)
    network = _without(asdict(m), NAMES) | {"arch": p.arch(m), "px": p.pixels(m.imgsz)}
    if kind == "ssl":
        modules = ["training.pretraining"]
        used: list[Any] = [p.arch(m), p.ssl_epochs, p.ssl_px, settings["imgsz"]]
        used.append(p.max_unlabelled_fields)
    elif kind == "train":
        modules = [f"training.engines.{m.engine}"]
        trained_with = p.settings_of(m)
        # without slices in training a sliced row and a whole one share its weights
        if not p.slices_per_field:  # then a training knows nothing of slices
            del network["sliced"], trained_with["sahi"]
        # pretrained weights, if the user has any
        starts = [start and of_file(start) for start in map(coco_weights.find, p.networks(m))]
        if p.starts_carried(m):
            starts.append(of_file(default_weights.named(m.start)))
        used = [network, size, p.epochs_of(m), trained_with, *starts]
    elif kind == "predict":
        modules = ["inference", "evaluation.metrics"]
        used = [network, m.way, settings["sahi"], p.max_test_fields]
    else:
        modules = ["experiments.search", f"training.engines.{m.engine}"]
        used = [network, size, p.search, p.search_pruner, settings]
    code = [
        of_modules(*(f"openurine_lib.{name}" for name in modules)),
        of_definition("data.dataset", "Dataset"),  # it selects the fields
    ]
    # the steps that call them
    code += [of_definition("experiments.steps", name) for name in STEPS.get(kind, ())]
    libraries = [*LIBRARIES, *LIBRARIES_OF_ENGINES.get(m.engine, ())]
    return {
        "code": digest(code),
        "settings": digest(used, seed),
        "libraries": digest([_version(name) for name in libraries]),
    }


def _of_preparation(p: Profile, seed: int) -> dict[str, str]:
    # The step itself finds out whether its sources or the simulator's version changed. Here it is
    # only started when there may be something to do.
    limits = [p.max_train_fields, p.max_test_fields, p.max_unlabelled_fields, p.synthetic]
    taxonomies = sorted((CONFIG / "taxonomies").glob("*.yaml"))
    return {
        "code": of_modules("openurine_lib.data.dataset", "synthurine"),
        "settings": digest(limits, seed),
        "taxonomies": digest(*(file.read_bytes() for file in taxonomies)),
    }


def of_file(path: str | Path) -> str:
    """Digest of a file's content, read once; FileNotFoundError if it is not there."""
    return digest_once(path, length=12)


@functools.cache  # every step asks, and the code of a process does not change
def of_modules(*roots: str) -> str:
    """Digest of the code of all modules that ``roots`` reach, and of the configuration they read.

    roots: full names, such as ``openurine_lib.inference``. Comments and docstrings do not count.
    """
    reached = sorted(modules_reached(*roots))
    config = sorted(set().union(*map(_config_files, reached)))
    return digest([_code(name) for name in reached], *(file.read_bytes() for file in config))


@functools.cache  # the same question comes for every job of a run
def modules_reached(*roots: str) -> frozenset[str]:
    """``roots`` and the modules of both packages that they import, also inside functions."""
    return frozenset(roots).union(*map(_graph().find_upstream_modules, roots))


def of_definition(module: str, name: str) -> str:
    """Digest of one function or class of openurine_lib; KeyError where there is none.

    A function's decorators do not count: those of a step only say when a stored result is used.
    """
    for node in _tree(f"openurine_lib.{module}").body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            if isinstance(node, ast.FunctionDef):
                node = copy.copy(node)
                node.decorator_list = []
            return digest(ast.dump(node))  # dump: neither comments nor formatting
    raise KeyError(f"openurine_lib/{module.replace('.', '/')}.py has no {name}")


def of_notebook(path: str | Path) -> str:
    """Digest of a notebook's code cells and of the modules that they reach."""
    cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
    source = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    # IPython's own commands are no Python
    own = [line if line.lstrip()[:1] not in ("%", "!") else "pass" for line in source.splitlines()]
    tree = ast.parse("\n".join(own), filename=str(path))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # what is imported from a package may be a module of it
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    # or a function that the package hands out
    names |= {HOMES.get(name.removeprefix("openurine_lib."), name) for name in names}
    modules = (names & _graph().modules) - PLUMBING
    writers = [_code(f"openurine_lib.{name}") for name in WRITERS]
    return digest(ast.dump(tree), writers, of_modules(*sorted(modules)))


def of_data(folder: str | Path, cache: str | Path) -> str:
    """Digest of a data set's folder, by content.

    cache: a JSON file of the files' digests; only files of another size or time are read again.
    """
    folder, cache = Path(folder), Path(cache)
    before: dict[str, list[str]] = {}
    # of a file that a full disk or a kill has cut off, everything is read again
    with contextlib.suppress(ValueError, FileNotFoundError):
        before = json.loads(cache.read_text(encoding="utf-8"))
    now = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        # size and time stand for the content, as in rsync
        state = f"{path.stat().st_size}-{path.stat().st_mtime_ns}"
        unchanged = name in before and before[name][0] == state
        now[name] = before[name] if unchanged else [state, of_file(path)]
    if now != before:
        write_json(cache, now)
    return digest([(name, content) for name, (_, content) in now.items()])


def of_dataset(folder: str | Path) -> str:
    """Digest of a prepared data set, ``run.dir/dataset``: frames, taxonomy and source."""
    folder = Path(folder)
    if not (folder / "meta.json").exists():
        return "not yet prepared"
    return _of_dataset(folder, tuple(of_file(folder / name) for name in DATASET))


@functools.cache  # every step asks, and a large set takes a while to read
def _of_dataset(folder: Path, contents: tuple[str, ...]) -> str:
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    images = [_without(row, {"path"}) for row in _csv_rows(folder / "images.csv")]  # a machine's
    boxes = (folder / "boxes.csv").read_bytes()
    return digest(meta["fingerprint"], meta["taxonomy"], images, boxes)


def of_review(path: str | Path) -> str:
    """Digest of what a reviewer has filled in (``review.read``); rows that wait do not count."""
    columns = ("group", "component", "reviewer_level")
    rows = _csv_rows(path) if Path(path).is_file() else []
    texts = [[(row.get(c) or "").strip() for c in columns] for row in rows]
    return digest(sorted(row for row in texts if row[-1]))


def of_table(p: Profile, seed: int, rows: Iterable[str] = ()) -> str:
    """Digest of the settings behind a table or figure; ``rows``: the ids of the methods in it."""
    chosen = {name: asdict(methods()[name]) for name in rows}
    return digest(p.name, p.folds, p.settings, p.smaller, chosen, seed, read_config("table3.yaml"))


@functools.cache
def _graph() -> grimp.ImportGraph:
    """Who imports whom in both packages, but for PLUMBING. Built in a tenth of a second."""
    graph = grimp.build_graph("openurine_lib", "synthurine", cache_dir=None)
    # the arrow goes, the module stays: asked for by name, it still counts
    for imported in PLUMBING:
        for importer in graph.find_modules_that_directly_import(imported):
            graph.remove_import(importer=importer, imported=imported)
    return graph


@functools.cache
def _tree(module: str) -> ast.Module:
    """The code of a module, without comments, formatting and docstrings."""
    base = PACKAGE.parent.joinpath(*module.split("."))
    file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:] or [ast.Pass()]  # a body may not be empty
    return tree


@functools.cache
def _code(module: str) -> str:
    return ast.dump(_tree(module))


@functools.cache
def _config_files(module: str) -> frozenset[Path]:
    """The files of its package's ``config`` that a module names: one, or all in ``"published"``."""
    config = PACKAGE.parent / module.split(".")[0] / "config"
    values = [node.value for node in ast.walk(_tree(module)) if isinstance(node, ast.Constant)]
    # file names look like identifiers once the dots are gone
    texts = {v for v in values if isinstance(v, str) and v.replace(".", "").isidentifier()}
    # a data set's taxonomy is an ingredient of it, and a new one concerns no other
    paths = [config / text for text in texts - {"taxonomies"}]
    inside = [file for path in paths if path.is_dir() for file in path.glob("*.*")]
    return frozenset([*inside, *(path for path in paths if path.is_file())])


def _csv_rows(path: str | Path) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, skipinitialspace=True))


@functools.cache  # every step asks for those of several
def _version(name: str) -> str | None:
    """Of an installed package; None where an optional one is missing."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return None


def _without(content: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in names}
