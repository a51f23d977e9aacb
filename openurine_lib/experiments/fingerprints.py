"""What counts as a change: the ingredients of a job's result, each as a short digest. Same digests, same result.

A notebook's result depends on its code cells and on the modules of this package that it reaches. What is expensive
(a training, predictions) depends on less: on the modules that compute it, not on those that plot it. So

- prose, comments, docstrings, outputs, README, tests: no change;
- a plotting module or a notebook's code cell: the notebook runs again and finds its weights or predictions there;
- the network, the loss, an engine, a setting that the job uses, the data, a library's version: computed anew, with
  everything that follows from it. A method that is added or edited in methods.yaml concerns its own jobs.

Light on purpose (no torch, no pandas): Snakemake reads this at every call.
"""

from __future__ import annotations

import ast
import contextlib
import csv
import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from openurine_lib.config import read_config
from openurine_lib.experiments.methods import Method, Profile, as_dict, methods
from openurine_lib.training import coco_weights

PACKAGE = Path(__file__).resolve().parents[1]
CONFIG = PACKAGE / "config"
# Not followed: what they decide (paths, settings, seeds) is an ingredient by itself.
PLUMBING = {
    "__init__", "cli", "config", "files", "offline", "style", "paper.report",
    *(f"experiments.{name}" for name in ("methods", "run", "steps", "provenance", "formatting", "fingerprints")),
}  # fmt: skip
NAMES = {
    "id",
    "answers",
    "fidelity",
    "why",
    "doi",
    "published_size",
}  # of a method: what it is called
OTHERS = {
    "name",
    "about",
    "folds",
    "px_scale",
    "smaller",
    "epochs",
    "epochs_for",
    "train",
    "synthetic",
} | {
    "ssl_epochs",
    "max_unlabelled_fields",
    "max_test_fields",
    "search",
}  # of a profile: not of a training, or counted otherwise
LIBRARIES = ("torch", "torchvision", "ultralytics", "sahi")
ENGINES = {  # what an engine computes with besides
    "torchvision": ("scikit-image", "pywavelets"),
    "transformers": ("transformers",),
    "effdet": ("effdet", "timm"),
    "libreyolo": ("libreyolo",),
    "ensemble": ("libreyolo", "ensemble-boxes"),
}


def digest(*parts: Any) -> str:
    """Twelve hexadecimal digits for texts, bytes or plain data."""
    h = hashlib.sha256()
    for part in parts:
        h.update(
            part
            if isinstance(part, bytes)
            else json.dumps(part, sort_keys=True, default=str).encode()
        )
        h.update(b"\0")
    return h.hexdigest()[:12]


def of_file(path: str | Path) -> str:
    """Digest of a file's content; FileNotFoundError if it is not there."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


@functools.cache
def modules_reached(*roots: str) -> frozenset[str]:
    """The modules (``evaluate``, ``engines.ultralytics``) that the given ones import, themselves included."""
    seen: set[str] = set()
    todo = list(roots)
    while todo:
        name = todo.pop()
        if name not in seen and name not in PLUMBING:
            seen.add(name)
            todo += imports(_tree(name))
    return frozenset(seen)


def imports(tree: ast.AST) -> list[str]:
    """The modules of this package that a piece of Python imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    inside = {
        name.removeprefix("openurine_lib.") for name in found if name.startswith("openurine_lib.")
    }
    return sorted(name for name in inside if _source(name) is not None)


def of_modules(*roots: str) -> str:
    """Digest of the code (comments and docstrings aside) of all modules reached, and of the configuration they read."""
    reached = sorted(modules_reached(*roots))
    files = sorted({f for name in reached for f in _config_files(_tree(name))})
    return digest(
        [_code(_tree(name)) for name in reached], *[(CONFIG / f).read_bytes() for f in files]
    )


def of_function(module: str, name: str) -> str:
    """Digest of one function or class of a module; KeyError if the module has none of that name."""
    for node in _tree(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return digest(_code(node))
    raise KeyError(f"openurine_lib/{module.replace('.', '/')}.py has no {name}")


def of_notebook(path: str | Path) -> str:
    """Digest of a notebook's code cells and of the modules that they reach."""
    cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
    source = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    lines = [
        "pass" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines()
    ]  # IPython's own
    tree = ast.parse("\n".join(lines), filename=str(path))
    plumbing = [
        _code(_tree(name)) for name in ("experiments.provenance", "experiments.formatting", "style")
    ]
    return digest(_code(tree), plumbing, of_modules(*imports(tree)))


def of_data(folder: str | Path, cache: str | Path) -> str:
    """Digest of a data set's folder, by content. ``cache`` remembers the files whose size and time are unchanged."""
    folder, cache = Path(folder), Path(cache)
    known = json.loads(cache.read_text()) if cache.exists() else {}
    now = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        state, name = path.stat(), path.relative_to(folder).as_posix()
        key = f"{state.st_size}-{state.st_mtime_ns}"
        now[name] = known[name] if name in known and known[name][0] == key else [key, of_file(path)]
    if now != known:
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(json.dumps(now))
    return digest([(name, content) for name, (_, content) in now.items()])


def of_dataset(folder: str | Path) -> str:
    """Digest of a prepared data set (``run.dir/dataset``): its frames, its source's fingerprint and its taxonomy."""
    folder = Path(folder)
    if not (folder / "meta.json").exists():
        return "not yet prepared"
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    with (folder / "images.csv").open(encoding="utf-8", newline="") as file:
        rows = [
            {key: value for key, value in row.items() if key != "path"}
            for row in csv.DictReader(file)
        ]
    return digest(meta["fingerprint"], meta["taxonomy"], rows, (folder / "boxes.csv").read_bytes())


def ingredients(kind: str, p: Profile, seed: int, m: Method | None = None) -> dict[str, str]:
    """The ingredients of a computation but for its data; kind is dataset, ssl, train, predict or search."""
    versions = digest(
        [_version(name) for name in (*LIBRARIES, *(ENGINES.get(m.engine, ()) if m else ()))]
    )
    if (
        kind == "dataset"
    ):  # it checks by itself whether its sources or its code changed; here, the same at a glance
        limits = [p.max_train_fields, p.max_test_fields, p.max_unlabelled_fields, p.synthetic]
        taxonomies = [f.read_bytes() for f in sorted((CONFIG / "taxonomies").glob("*.yaml"))]
        files = [
            path.read_bytes()
            for name in sorted(modules_reached("data.dataset"))
            if (path := _source(name))
        ]
        return {
            "code": digest(*files),
            "settings": digest(limits, seed),
            "taxonomies": digest(*taxonomies),
        }
    assert m is not None, kind
    selection = of_function("data.dataset", "Dataset")
    settings = p.settings
    # what a method or a profile has besides names counts unless it is known not to: a field that is added here counts
    net = {k: v for k, v in as_dict(m).items() if k not in NAMES} | {
        "arch": p.arch(m),
        "px": p.pixels(m.imgsz),
    }
    if not p.slices_per_field and kind == "train":
        del net["sliced"]
    size = {k: v for k, v in dataclasses.asdict(p).items() if k not in OTHERS}
    if kind == "ssl":
        code = (
            of_modules("training.pretraining"),
            of_function("experiments.steps", "ensure_encoder"),
        )
        used: list[Any] = [p.arch(m), p.ssl_epochs, settings["imgsz"], p.max_unlabelled_fields]
    elif kind == "train":
        code = (
            of_modules(f"training.engines.{m.engine}"),
            of_function("experiments.steps", "ensure_weights"),
        )
        own = {k: v for k, v in p.settings_of(m).items() if k != "sahi" or "sliced" in net}
        start = coco_weights.find(p.arch(m))
        used = [net, size, p.epochs_of(m), own, start and of_file(start)]
    elif kind == "predict":
        code = (
            of_modules("inference", "evaluation.metrics"),
            of_function("experiments.steps", "_predict"),
        )
        used = [net, settings["sahi"], p.max_test_fields]
    else:
        code = of_modules("experiments.search"), of_function("training.engines", "engine")
        used = [net, size, p.search, settings]
    return {"code": digest(code, selection), "settings": digest(used, seed), "libraries": versions}


def _version(name: str) -> str | None:
    """Of an installed package; None where an optional one is missing."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return None


def of_review(path: str | Path) -> str:
    """Digest of what a reviewer has filled in (``review.read``); the rows that still wait do not count."""
    path = Path(path)
    if not path.is_file():
        return digest([])
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    said = [
        [(row.get(c) or "").strip() for c in ("group", "component", "reviewer_level")]
        for row in rows
    ]
    return digest(sorted(row for row in said if row[-1]))


def of_table(p: Profile, seed: int, rows: Iterable[str] = ()) -> str:
    """Digest of the settings behind a table or figure; ``rows`` are the ids of the methods that it shows."""
    chosen = {name: as_dict(methods()[name]) for name in rows}
    return digest(p.name, p.folds, p.settings, p.smaller, chosen, seed, read_config("table3.yaml"))


@functools.cache
def _tree(name: str) -> ast.Module:
    source = _source(name)
    if source is None:
        raise ModuleNotFoundError(f"no module openurine_lib.{name}")
    return ast.parse(source.read_text(encoding="utf-8"))


def _source(name: str) -> Path | None:
    base = PACKAGE.joinpath(*name.split("."))
    return next((f for f in (base.with_suffix(".py"), base / "__init__.py") if f.is_file()), None)


def _code(tree: ast.AST) -> str:
    """The code as text, without comments, formatting and docstrings."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


def _config_files(tree: ast.AST) -> set[str]:
    """Files of ``config`` that a module names in a string: ``"cutoffs.yaml"``, or all in ``"published"``.

    Not the taxonomies: the one that a data set uses is an ingredient of the data set, and a new one concerns no other.
    """
    found: set[str] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value.replace(".", "").isidentifier()
        ):
            path = CONFIG / node.value
            files = [path] if path.is_file() else sorted(path.glob("*.*")) if path.is_dir() else []
            found |= {f.relative_to(CONFIG).as_posix() for f in files}
    return {name for name in found if not name.startswith("taxonomies/")}
