"""pyproject.toml, the lock file, environment.yml and binder/ ask for the same things."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = {
    "torch": "pytorch",
    "matplotlib": "matplotlib-base",
    "opencv-python-headless": "py-opencv",
}  # other names there
EXTRAS = PROJECT["optional-dependencies"]


def of(*extras: str) -> dict[str, SpecifierSet]:
    """Requirements of the core and of some extras: name -> bounds."""
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    return {canonicalize_name(r.name): r.specifier for r in map(Requirement, lines)}


def conda(path: Path) -> dict[str, SpecifierSet]:
    """Requirements of an environment file, pip's among them, under PyPI's names."""
    entries = yaml.safe_load(path.read_text())["dependencies"]
    lines = [e for e in entries if isinstance(e, str)] + next(
        e["pip"] for e in entries if isinstance(e, dict)
    )
    back = {v: k for k, v in CONDA.items()} | {"pytorch-cpu": "torch"}
    pairs = [re.fullmatch(r"([\w.-]+)\s*(.*)", line).groups() for line in lines]
    return {canonicalize_name(back.get(name, name)): SpecifierSet(bounds) for name, bounds in pairs}


def test_all_is_every_extra() -> None:
    assert EXTRAS["all"] == ["openurine_lib[train,compared,export,fhir,notebooks,workflow,test]"]
    assert set(EXTRAS) == {
        "train",
        "compared",
        "export",
        "fhir",
        "notebooks",
        "workflow",
        "test",
        "all",
    }


@pytest.mark.parametrize(
    ("path", "extras"),
    [
        (
            "environment.yml",
            ("train", "compared", "export", "fhir", "notebooks", "workflow", "test"),
        ),
        ("binder/environment.yml", ("train", "notebooks")),
    ],
)
def test_conda_environments_match_pyproject(path: str, extras: tuple[str, ...]) -> None:
    wanted, there = of(*extras), conda(ROOT / path)
    python = there.pop("python")
    there.pop("pip")
    assert there == wanted
    assert "3.11" in python and "3.10" not in python


def imported(package: str) -> dict[str, str]:
    """The packages that a package's code imports, also within functions: name -> one such file."""
    found = {}
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            else:
                continue
            found |= {name.partition(".")[0]: f"{file.relative_to(ROOT)}" for name in names}
    return found


@pytest.mark.parametrize("package", ["openurine_lib", "synthurine"])
def test_whatever_is_imported_is_asked_for(package: str) -> None:
    """Of what comes with another package, a wheel's environment may have none."""
    asked = set(of(*EXTRAS))
    own = {"openurine_lib", "synthurine", *sys.stdlib_module_names}
    brought_by = packages_distributions()
    missing = {
        name: file
        for name, file in imported(package).items()
        if name not in own
        and not {canonicalize_name(d) for d in brought_by.get(name, [name])} & asked
    }
    assert missing == {}


def test_binder_installs_torch_for_the_cpu() -> None:
    assert "pytorch-cpu" in (ROOT / "binder/environment.yml").read_text()


def test_lock_pins_every_requirement_within_its_bounds() -> None:
    lines = [
        line
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert not [line for line in lines if line.startswith("-") or "://" in line], (
        "the lock names an index or a file"
    )
    pins = {
        canonicalize_name(r.name): str(r.specifier) for r in map(Requirement, filter(None, lines))
    }
    for name, bounds in of(
        "train", "compared", "export", "fhir", "notebooks", "workflow", "test"
    ).items():
        assert pins[name].removeprefix("==") in bounds, name
    assert (pins["torch"], pins["torchvision"]) == ("==2.14.1", "==0.29.1")


def test_every_bound_is_a_lower_one() -> None:
    for name, bounds in of(*[e for e in EXTRAS if e != "all"]).items():
        assert [s.operator for s in bounds] == [">="], name


def test_version_is_the_changelogs() -> None:
    import openurine_lib

    assert f"## [{openurine_lib.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
