"""The house style of notebooks and modules: what makes them readable, held by numbers."""

import ast
import json
import re
from pathlib import Path
from statistics import median
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXACT = ("00_", "01_", "11_")  # their outputs are deterministic, kept, and compared
EXPLORER = "12_"  # is looked at, and is no job of a run
OVERALL = {"data", "profile", "seed"}  # parameters of every job

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def cells(path: Path, kind: str = "code") -> list[dict[str, Any]]:
    return [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == kind]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def lines(cell: dict[str, Any]) -> int:
    return sum(bool(line.strip()) for line in source(cell).splitlines())


def test_the_thirteen_notebooks_are_there() -> None:
    assert [p.stem[:3] for p in NOTEBOOKS] == [f"{n:02d}_" for n in range(13)]


def test_the_explorer_is_no_job_of_a_run() -> None:
    asked = re.findall(r'"notebooks/(\d\d)_', (ROOT / "workflow" / "Snakefile").read_text())
    assert set(asked) == {f"{n:02d}" for n in range(12)}


@each
def test_one_dull_cell_of_parameters(path: Path) -> None:
    tagged = [c for c in cells(path) if "parameters" in c["metadata"].get("tags", [])]
    assert len(tagged) == 1
    values = {}
    for node in ast.parse(source(tagged[0])).body:
        assert isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        values[node.targets[0].id] = ast.literal_eval(node.value)
    assert all(isinstance(v, str | int | float | bool) for v in values.values())
    if not path.name.startswith(EXPLORER):
        assert set(values) >= OVERALL
        assert (values["data"], values["profile"], values["seed"]) == ("synthetic", "smoke", 0)


@each
def test_cells_are_short(path: Path) -> None:
    sizes = [lines(c) for c in cells(path)]
    assert median(sizes) <= 8 and max(sizes) <= 25, sizes


@each
def test_prose_for_every_cell(path: Path) -> None:
    prose, code = len(cells(path, "markdown")), len(cells(path))
    assert abs(prose - code) <= 2, f"{prose} prose cells, {code} code cells"


@each
def test_no_class_and_at_most_one_def(path: Path) -> None:
    nodes = [n for c in cells(path) for n in ast.walk(ast.parse(source(c)))]
    assert not any(isinstance(n, ast.ClassDef) for n in nodes)
    assert sum(isinstance(n, ast.FunctionDef) for n in nodes) <= 1


@each
def test_imports_from_at_most_eight_places(path: Path) -> None:
    places = set()
    for node in (n for c in cells(path) for n in ast.walk(ast.parse(source(c)))):
        if isinstance(node, ast.Import):
            places |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            places.add(node.module)
    assert len(places) <= 8, sorted(places)


@each
def test_format(path: Path) -> None:
    notebook = json.loads(path.read_text())
    ids = [c.get("id") for c in notebook["cells"]]
    assert notebook["nbformat"] == 4 and all(ids) and len(set(ids)) == len(ids)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert notebook["cells"][0]["cell_type"] == "markdown" and source(
        notebook["cells"][0]
    ).startswith("# ")


@each
def test_outputs_are_kept_only_where_they_are_compared(path: Path) -> None:
    kept = [c for c in cells(path) if c["outputs"]]
    if path.name.startswith(EXACT):
        assert kept and all(c["execution_count"] for c in kept), (
            "run it and save it: its outputs are compared by nbval"
        )
    else:
        assert not kept, "strip it: nbstripout"


@each
def test_does_not_ask_which_data_set_it_is(path: Path) -> None:
    for cell in cells(path):
        for node in ast.walk(ast.parse(source(cell))):
            if isinstance(node, ast.If | ast.IfExp):
                asked = ast.unparse(node.test)
                assert not any(
                    word in asked for word in ("synthetic", "urised", "data_name", "dataset.name")
                ), asked


@pytest.mark.parametrize(
    "path", sorted((ROOT / "openurine_lib").rglob("*.py")), ids=lambda p: p.stem
)
def test_modules_are_read_in_one_sitting(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    assert path.stat().st_size == 0 or ast.get_docstring(ast.parse(text)), (
        "a module says what its one idea is"
    )


def test_importing_the_package_is_light() -> None:
    import subprocess
    import sys

    libraries = ("torch", "ultralytics", "pandas", "matplotlib")
    heavy = f"import sys, openurine_lib; print([m for m in {libraries} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", heavy], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"
