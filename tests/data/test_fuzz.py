"""300 mutated data sets: a clear error that names the file, or a set of which each change is told.

Each accepted set is also prepared as a run does it: what a run refuses, the check refuses first.
"""

import shutil
import signal
from collections import Counter

import four_forms as ff
import mutations_forms  # noqa: F401  (fills CHANGES)
import mutations_told  # noqa: F401
import numpy as np
import pytest
from mutated_files import REPLACED
from mutations import ALL, CHANGES, KEEPS, Place

from openurine_lib.data import check, dataset, splits
from openurine_lib.data.readers import read
from openurine_lib.data.source import DataError

CASES = 300
CPU_SECONDS = 20  # of a case that never ends; an ordinary one takes a tenth of a second
EXPECTED = Counter(
    (image, ff.NAMES[c], *corners) for image, boxes in ff.BOXES.items() for c, *corners in boxes
)
EQUAL = "accepted, equal"
TOLD = "accepted, change told"
ERROR = "clear error"
PAIRS = [
    (form, name)
    for table in (CHANGES, KEEPS)
    for name, (forms, _) in table.items()
    for form in forms
]


class Endless(BaseException):
    """A case took more processor time than any should."""


def boxes_of(checked):
    """How often each (field, class, corners) is there; the class by its name in ``ff``."""
    ids = {checked.taxonomy.id(name): name for name in ff.NAMES if checked.taxonomy.knows(name)}
    rows = zip(checked.boxes["file"], checked.boxes["cls"], *checked.boxes[["x1", "y1", "x2", "y2"]]
               .to_numpy().round(3).T, strict=True)  # fmt: skip
    return Counter((file.split("/")[-1][:-4], ids[cls], *xyxy) for file, cls, *xyxy in rows)


def outcome(folder, names, place):
    """(what became of a mutated set, the message or what is different)."""

    def stop(*_):
        raise Endless

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        checked = check.check(read(folder))
        found = boxes_of(checked)
        try:
            dataset.prepare(folder, place, seed=0)
        except Exception as error:
            return f"accepted, but the run refuses ({type(error).__name__})", str(error)
    except DataError as error:
        named = any(name in str(problem) for problem in error.problems for name in names)
        complete = all(problem.what and problem.remedy for problem in error.problems)
        return ERROR if named and complete else "error that names no file", str(error)
    except Endless:
        return "never ends", ""
    except Exception as error:
        return "traceback", f"{type(error).__name__}: {str(error)[:500]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if found == EXPECTED:
        return EQUAL, ""
    places = [where for where in sum(checked.report.repairs.values(), [])]
    told = any(name in where for where in places for name in names)
    return (
        TOLD if told else "changed without a word",
        f"{EXPECTED - found} became {found - EXPECTED}",
    )


def mutated(case, templates, folder):
    """(name of the mutation, names that must be told) of a case; its folder is written."""
    form, name = PAIRS[case % len(PAIRS)]
    shutil.copytree(templates / form, folder)
    place = Place(folder, form, np.random.default_rng(case))
    _, mutate = (KEEPS if name in KEEPS else CHANGES)[name]
    return f"{form}: {name}", mutate(place) or []


@pytest.fixture(scope="session")
def templates(tmp_path_factory):
    """A good data set in each form, drawn once."""
    folder = tmp_path_factory.mktemp("templates")
    for form, write in ff.FORMS.items():
        write(folder / form)
    return folder


@pytest.mark.parametrize("case", range(CASES))
def test_a_mutated_set_is_refused_clearly_or_read_right(case, templates, tmp_path, monkeypatch):
    monkeypatch.setattr(splits, "EXCHANGES", 10)  # even folds are not the question here
    folder = tmp_path / "set"
    name, told = mutated(case, templates, folder)
    what, message = outcome(folder, told, tmp_path / "prepared")
    allowed = [EQUAL] if name.split(": ")[1] in KEEPS else [ERROR, EQUAL, TOLD]
    assert what in allowed, f"{name}: {what}: {message}"


def test_every_mutation_takes_part_in_every_form():
    assert len(PAIRS) <= CASES and {form for form, _ in PAIRS} == set(ALL)


@pytest.mark.parametrize(("name", "content"), REPLACED, ids=range(len(REPLACED)))
def test_another_content_of_a_file_is_refused(name, content, templates, tmp_path):
    folder = shutil.copytree(templates / "yolo", tmp_path / "set")
    (folder / name).write_bytes(content)
    what, message = outcome(folder, [name], tmp_path / "prepared")
    assert what == ERROR, f"{content[:80]}: {what}: {message}"
