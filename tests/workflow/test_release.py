"""Descriptions of one version, and a wheel that works where the checkout is not."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest
import release

from openurine_lib.default_weights import INSTALLED_FILES

ROOT = release.REPOSITORY
FILES = ("pyproject.toml", "CHANGELOG.md", "CITATION.cff", "codemeta.json", ".zenodo.json")
PACKAGES = ("openurine_lib", "synthurine")


def copied(folder: Path) -> Path:
    """The files that ``disagreements`` reads."""
    for name in (*FILES, "openurine_lib/__init__.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


def test_the_descriptions_are_of_one_version() -> None:
    assert release.disagreements(ROOT) == []


@pytest.mark.parametrize("file", ["CHANGELOG.md", "CITATION.cff", "codemeta.json", ".zenodo.json"])
def test_another_version_is_named(tmp_path: Path, file: str) -> None:
    place = copied(tmp_path) / file
    own = release._version(ROOT)
    text = place.read_text()
    # the changelog names the version in its text, too: its heading counts
    said = f"[{own}]" if file == "CHANGELOG.md" else own
    place.write_text(text.replace(said, said.replace(own, "9.9.9"), 1))
    assert release.disagreements(tmp_path) == [f"{file}: version is '9.9.9', expected {own!r}"]


@pytest.mark.parametrize(
    ("key", "said"), [("license", "license is ''"), ("datePublished", "date is None")]
)
def test_what_a_description_lacks_is_named(tmp_path: Path, key: str, said: str) -> None:
    place = copied(tmp_path) / "codemeta.json"
    content = json.loads(place.read_text())
    del content[key]
    place.write_text(json.dumps(content))
    (line,) = release.disagreements(tmp_path)
    assert line.startswith(f"codemeta.json: {said}, expected ")


def test_a_version_without_a_date_is_not_released(tmp_path: Path) -> None:
    place = copied(tmp_path) / "CHANGELOG.md"
    own = release._version(ROOT)
    place.write_text(release.HEADING.sub(f"## [{own}]", place.read_text(), count=1))
    wrong = release.disagreements(tmp_path)
    assert wrong[-1].endswith("not of the form ## [VERSION] - DATE")


@pytest.mark.parametrize("under", ["", "\n- A change.\n\n"])
def test_changes_of_no_version_hinder_a_release_and_nothing_else(
    tmp_path: Path, under: str
) -> None:
    place = copied(tmp_path) / "CHANGELOG.md"
    released = place.read_text()
    released = released[next(release.HEADING.finditer(released)).start() :]
    place.write_text(released)
    assert release.unreleased(tmp_path) == []
    place.write_text(f"{release.UNRELEASED}\n{under}{released}")
    (line,) = release.unreleased(tmp_path)
    assert "Unreleased" in line
    assert release.disagreements(tmp_path) == []


@pytest.mark.slow
def test_the_wheel_holds_all_data_and_works_elsewhere(tmp_path: Path) -> None:
    """Nothing is fetched: the libraries are those of this environment."""
    pytest.importorskip("setuptools", "77", reason="fetching nothing, a build needs setuptools 77")
    project = tmp_path / "project"
    ignored = shutil.ignore_patterns("__pycache__", "predictions.npz", "reconstructions.npz")
    for name in (*PACKAGES, "carried"):
        shutil.copytree(ROOT / name, project / name, ignore=ignored)
    for name in (*FILES, "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, project / name)
    wheel = release.build(project, tmp_path / "dist", isolated=False)
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if "dist-info" not in name}
    stored = [file for name in PACKAGES for file in (project / name).rglob("*.*")]
    files = {file.relative_to(project).as_posix() for file in stored}
    default = {f"openurine_lib/default/{name}" for name in INSTALLED_FILES}
    assert packed == files | default

    place = tmp_path / "elsewhere"
    place.mkdir()
    helped, drawn, predicted = release.tried(wheel, place, reuse=True)
    assert "predict" in helped and "1 labelled fields" in drawn
    assert (place / "drawn" / "croissant.json").is_file()
    boxes = (place / "found" / "boxes.csv").read_text().splitlines()
    assert len(boxes) > 1 and predicted
