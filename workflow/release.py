"""``make release``: checks that the descriptions are of one version, builds it and tries it.

The version stands once, in ``openurine_lib/__init__.py``, where ``pyproject.toml`` reads it. It is
told again where other programs look for it: CITATION.cff, codemeta.json, .zenodo.json and the
newest dated heading in CHANGELOG.md. All have to agree, and nothing may stand under "Unreleased"
any more, before a distribution is built into ``dist/``. The wheel is installed in an environment
of its own, in a folder outside the checkout, and has to draw fields and predict on one there.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
SPDX = "https://spdx.org/licenses/"
UNRELEASED = "## [Unreleased]"
# of a version; what is changed between two versions stands above it, under UNRELEASED
HEADING = re.compile(r"^## \[(?P<version>(?!Unreleased)[^]]+)\](?: - (?P<date>\S+))?", re.MULTILINE)
# what a new user does first, in the folder of the trial
TRIED = (
    ("openurine", "--help"),
    ("openurine", "synthesize", "--out", "drawn", "--fields", "1", "--field-px", "600",
     "--field-um", "200"),
    ("openurine", "predict", "drawn/images", "--out", "found"),
)  # fmt: skip


def main() -> int:
    options = _options()
    wrong = disagreements(REPOSITORY) + unreleased(REPOSITORY)
    if wrong:
        print(*wrong, sep="\n", file=sys.stderr)
        return 1
    wheel = build(REPOSITORY, options.out, isolated=not options.reuse)
    with tempfile.TemporaryDirectory(prefix="openurine-release-") as folder:
        for line in tried(wheel, Path(folder), options.reuse):
            print(line, flush=True)
    print(f"{wheel.name} and its source archive are in {options.out}")
    return 0


def disagreements(root: Path) -> list[str]:
    """Where a description differs from the rest, a line each; empty if they agree."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    expected = {"version": _version(root), "license": project["license"].lower()}
    heading = HEADING.search((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    expected["date"] = heading["date"] if heading else None
    found = {
        "CHANGELOG.md": {"version": heading["version"] if heading else None},
        "CITATION.cff": _of_citation(root),
        "codemeta.json": _of_codemeta(root),
        ".zenodo.json": _of_zenodo(root),
    }
    wrong = [
        f"{file}: {key} is {value!r}, expected {expected[key]!r}"
        for file, values in found.items()
        for key, value in values.items()
        if value != expected[key]
    ]
    if expected["date"] is None:
        wrong.append("CHANGELOG.md: its newest version is not of the form ## [VERSION] - DATE")
    return wrong


def unreleased(root: Path) -> list[str]:
    """A line if changes stand under no version yet; empty if all of them belong to one."""
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    if UNRELEASED not in text:
        return []
    return [f"CHANGELOG.md: {UNRELEASED!r} is left; give it the version and the date of today"]


def _version(root: Path) -> str:
    """The version in the package, which is read and not imported."""
    tree = ast.parse((root / "openurine_lib" / "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__":
            return ast.literal_eval(node.value)
    raise ValueError(f"{root}/openurine_lib/__init__.py: no __version__")


def _of_citation(root: Path) -> dict[str, Any]:
    content = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    date = content.get("date-released")
    return {
        "version": content.get("version"),
        "license": (content.get("license") or "").lower(),
        "date": str(date) if date else None,
    }


def _of_codemeta(root: Path) -> dict[str, Any]:
    content = json.loads((root / "codemeta.json").read_text(encoding="utf-8"))
    return {
        "version": content.get("version"),
        "license": (content.get("license") or "").removeprefix(SPDX).lower(),
        "date": content.get("datePublished"),
    }


def _of_zenodo(root: Path) -> dict[str, Any]:
    content = json.loads((root / ".zenodo.json").read_text(encoding="utf-8"))
    return {
        "version": content.get("version"),
        "license": (content.get("license") or "").lower(),
        "date": content.get("publication_date"),
    }


def build(root: Path, out: Path, isolated: bool = True) -> Path:
    """Builds the source archive, and the wheel from it; returns the wheel.

    isolated: with setuptools of its own, which pip fetches; else with that of this environment.
    """
    how = [] if isolated else ["--no-isolation"]
    command = [sys.executable, "-m", "build", *how, "--outdir", str(out), str(root)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return out / f"openurine_lib-{_version(root)}-py3-none-any.whl"


def tried(wheel: Path, folder: Path, reuse: bool = False) -> list[str]:
    """Installs a wheel in an environment in ``folder`` and runs TRIED there; what each printed.

    reuse: other packages are those of this environment; nothing is fetched. Raises
    CalledProcessError if a command fails, RuntimeError if it did not use the installed package.
    """
    place = folder / "environment"
    venv.create(place, with_pip=True)
    programs = place / ("Scripts" if os.name == "nt" else "bin")
    # neither a checkout nor settings of the caller
    own = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "OPENURINE_ROOT"))}

    def run(*command: str) -> str:
        done = subprocess.run(
            [str(programs / command[0]), *command[1:]],
            cwd=folder, env=own, check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        return done.stdout

    pip = ("python", "-m", "pip", "install", "--quiet", "--progress-bar", "off")
    if reuse:
        run(*pip, "--no-index", "--no-deps", str(wheel))
        other = run("python", "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])")
        known = sysconfig.get_paths()["purelib"]
        Path(other.strip(), "reused.pth").write_text(f"{known}\n", encoding="utf-8")
    else:
        run(*pip, f"{wheel}[train]")
        # as the Makefile does: of the two builds of OpenCV, the one without windows comes last
        run(*pip, "--force-reinstall", "--no-deps", "opencv-python-headless")
    where = run("python", "-c", "import openurine_lib; print(openurine_lib.__file__)").strip()
    if not Path(where).is_relative_to(place):
        raise RuntimeError(f"the trial imported {where}, not what it installed in {place}")
    return [run(*command) for command in TRIED]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "dist", help="(%(default)s)")
    about = "fetch nothing: setuptools and the libraries of this environment"
    parser.add_argument("--reuse", action="store_true", help=about)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
