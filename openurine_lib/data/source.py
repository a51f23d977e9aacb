"""A data set as its files say it: images and boxes, each with its file and line; not yet judged.

All problems of a data set are collected and raised at once, as one DataError.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from openurine_lib.data.boxes import XYXY
from openurine_lib.data.parsed import Object, Unreadable, load_json, number, with_lists

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
SPLIT_FOLDERS = {"unlabeled": "unlabelled", "unlabelled": "unlabelled", "cohort": "cohort"}
LONGEST = 300  # characters that a problem quotes of a file
SHOWN = 40  # of so many problems the message tells; check.json and DataError.problems hold all

# Kinds of problems; KINDS has the order in which they are told.
MISSING = "missing image"
CORRUPT = "corrupt image"
MALFORMED = "malformed line"
UNKNOWN = "class unknown"
OUTSIDE = "box outside"
NO_AREA = "box of no area"
DUPLICATE = "duplicate image"
NO_GROUP = "image without a group"
LEAK = "group on both sides"
LABORATORY = "laboratory report"
LAYOUT = "layout of the folder"
KINDS = [MISSING, CORRUPT, MALFORMED, UNKNOWN, OUTSIDE, NO_AREA]
KINDS += [DUPLICATE, NO_GROUP, LEAK, LABORATORY, LAYOUT]


@dataclass(frozen=True)
class Problem:
    """One thing that stops a run. ``line`` counts from 1; 0 is the file as a whole."""

    kind: str
    file: str
    line: int
    what: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.what} -> {self.remedy}"


class DataError(ValueError):
    """The data set cannot be used as it is; ``problems`` lists everything that was found."""

    def __init__(self, folder: str, problems: list[Problem], proposal: str = "") -> None:
        self.proposal = proposal  # a taxonomy.yaml, where classes are unknown
        # set: the same one may be found twice
        order = {kind: i for i, kind in enumerate(KINDS)}
        self.problems = sorted(
            set(problems), key=lambda p: (order[p.kind], p.file, p.line, p.what, p.remedy)
        )
        counts = Counter(p.kind for p in self.problems)
        summary = ", ".join(f"{n} {kind}" for kind, n in counts.items())
        lines = [f"{folder}: {len(self.problems)} problems ({summary})"]
        lines += [f"  {p.kind}: {p}" for p in self.problems[:SHOWN]]
        if len(self.problems) > SHOWN:
            lines.append(f"  ... and {len(self.problems) - SHOWN} more")
        super().__init__("\n".join(lines))


@dataclass
class Source:
    """A data set as its files say it, not yet judged.

    ``images``: relative path -> split. ``found``: (image, class, x1, y1, x2, y2, file, line) of
    each box, corners in pixels or, if ``fractions``, in fractions of the image's size.
    ``names``: a declared class -> (file, line). ``file_of``: an image -> its own file of labels.
    """

    folder: Path
    images: dict[str, str]
    fractions: bool = False
    names: dict[str, tuple[str, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    found: list[tuple[Any, ...]] = field(default_factory=list)
    file_of: dict[str, str] = field(default_factory=dict)
    proposal: str = ""  # a taxonomy.yaml for classes that no taxonomy knows

    @property
    def rows(self) -> pd.DataFrame:
        """The boxes as a frame [image, class, x1, y1, x2, y2, file, line]."""
        frame = pd.DataFrame(self.found, columns=["image", "class", *XYXY, "file", "line"])
        return frame.astype({**dict.fromkeys(XYXY, float), "line": int})

    @cached_property
    def _ending(self) -> dict[tuple[str, ...], list[str]]:
        """The parts of any end of a path, the name with or without its suffix -> images so called.

        A whole path begins with an empty part. So a name is looked up, and never compared with all
        images that share it: a thousand patients may each have a ``1.png``.
        """
        ending: dict[tuple[str, ...], list[str]] = {}
        for image in self.images:
            path = PurePosixPath(image)
            folders = ("", *path.parts[:-1])
            for name in {path.name, path.stem}:
                for start in range(len(folders) + 1):
                    ending.setdefault((*folders[start:], name), []).append(image)
        return ending

    @cached_property
    def _folders(self) -> set[str]:
        """Names of folders that mean a place in this data set."""
        own = {folder for image in self.images for folder in PurePosixPath(image).parts[:-1]}
        return own | {"images", *SPLIT_FOLDERS}

    def named(self, name: str) -> list[str]:
        """The images with that file name or stem, in whichever folder."""
        return self._ending.get((name,), [])

    def image(self, name: str, file: str = "") -> str | None:
        """Relative path of the one image that an annotation calls ``name``, or None.

        One beside the annotation's ``file`` comes first: exports have ``train/`` and ``test/``.
        The name is a path, the end of one, a file name or a stem. Its folders must be the image's:
        where ``p0/1.png`` is missing, ``p1/1.png`` does not take its place. Only folders that mean
        nothing here (``/home/ann/1.png``) are passed over, for an image that is in no subfolder.
        """
        path = PurePosixPath(name.replace("\\", "/"))
        given = path.parts[:-1]
        if (beside := str(PurePosixPath(file).parent / path)) in self.images and file:
            return beside
        if given and str(path) in self.images:
            return str(path)
        # what ends as the name does, and whole paths with which the name ends
        ends = [path.parts, *(("", *path.parts[at:]) for at in range(1, len(path.parts)))]
        fitting = {image for end in ends for image in self._ending.get(end, [])}
        if self._folders.isdisjoint(given):
            fitting.update(image for image in self.named(path.name) if image.count("/") == 1)
        return fitting.pop() if len(fitting) == 1 else None

    def bad(self, kind: str, file: str, line: int, what: str, remedy: str) -> None:
        """Adds a problem; what it quotes of a file is cut."""
        if len(what) > LONGEST:
            what = f"{what[:LONGEST]}..."
        self.problems.append(Problem(kind, file, line, what, remedy))

    def missing(self, file: str, line: int, name: str) -> None:
        """Adds the problem that an annotation names no image, or several."""
        remedy = "add the image, or remove the entry, or write the path if the name fits several"
        namesakes = self.named(PurePosixPath(name.replace("\\", "/")).name)
        others = f", though {' and '.join(namesakes[:2])}" if namesakes else ""
        what = f"there is no one image {name!r:.200} in the folder{others}"
        self.bad(MISSING, file, line, what, remedy)

    def add(self, image: str, cls: str, corners: tuple[Any, ...], file: str, line: int) -> None:
        """Keeps a box; corners that are not four finite numbers make a problem instead."""
        numbers = [number(c) for c in corners]
        if len(numbers) == 4 and all(map(math.isfinite, numbers)):
            self.found.append((image, cls, *numbers, file, line))
        else:
            what = f"{corners!r} are not four finite numbers"
            self.bad(MALFORMED, file, line, what, "correct or delete the box")

    def text(self, path: Path) -> str | None:
        """Content of a text file; None, and a problem, if it is not UTF-8 or cannot be opened."""
        try:
            return path.read_text(encoding="utf-8-sig")  # with or without a byte-order mark
        except UnicodeDecodeError as error:
            what = f"is not UTF-8 text ({error})"
            self.bad(MALFORMED, self.relative(path), 0, what, "save it as UTF-8")
        except OSError as error:
            what = f"cannot be opened ({error.strerror})"
            self.bad(MALFORMED, self.relative(path), 0, what, "allow it to be read")
        return None

    def json(self, path: Path, lists: Iterable[str], form: str, remedy: str) -> Object | None:
        """Content of a JSON file, an object with these lists; None, and a problem, if it is none.

        form: what the file should be, for the message.
        """
        text = self.text(path)
        if text is None:
            return None
        try:
            return with_lists(load_json(text), lists)
        except Unreadable as error:
            what = f"is not {form}: {error}"
            self.bad(MALFORMED, self.relative(path), error.line, what, remedy)
        return None

    def relative(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def listed(folder: Path) -> list[Path]:
    """Every file of a folder and the folders in it, in order, without hidden ones."""

    def hidden(file: Path) -> bool:
        return any(part.startswith(".") for part in file.relative_to(folder).parts)

    return sorted(f for f in folder.rglob("*") if f.is_file() and not hidden(f))


def split_of(image: str) -> str:
    """labelled, unlabelled or cohort, from the folders of an image's relative path."""
    folders = Path(image).parts[:-1]
    return next((SPLIT_FOLDERS[f] for f in folders if f in SPLIT_FOLDERS), "labelled")


def readable(name: str) -> bool:
    """Whether a file's name is text: no control characters, no bytes that are not UTF-8."""
    return all(unicodedata.category(c) not in ("Cc", "Cs") for c in name)
