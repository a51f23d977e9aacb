"""The fields that a user names for prediction: files, folders and arrays, and whose they are.

A folder with ``patients.csv`` (or ``slides.csv``, ``groups.csv``; see ``patients``) holds fields of
several patients. Fields without such a table are of one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from openurine_lib.data.images import look
from openurine_lib.data.patients import GROUP_FILES, groups
from openurine_lib.data.source import SUFFIXES, DataError, Source

ONE_PATIENT = "patient"  # what the only patient is called where no table names it
COLUMNS = ["image", "path", "group", "um_per_px"]


def given_fields(images: Sequence[str | Path | np.ndarray], scratch: Path) -> pd.DataFrame:
    """COLUMNS of fields that are there and readable; arrays become files in ``scratch``.

    ``um_per_px`` is NaN where no table gives it. Raises ValueError for two fields of one name, a
    folder without an image, an unreadable image (BadField), a table of patients that lacks a field
    or is wrong (DataError), a patient in two folders, and patients that are known of some fields
    only; FileNotFoundError for an image that is not there.
    """
    parts = []
    for number, image in enumerate(images, start=1):
        if isinstance(image, np.ndarray):
            path = scratch / f"field{number}.png"
            Image.fromarray(image).save(path)  # without loss: the detector sees the array's values
            parts.append(_alone([path]))
        elif Path(image).is_dir():
            parts.append(_of_folder(Path(image)))
        else:
            parts.append(_alone([Path(image)]))
    fields = pd.concat(parts, ignore_index=True) if parts else _alone([])
    twice = fields["image"][fields["image"].duplicated()]
    if len(twice):
        raise ValueError(
            f"two fields are called {min(twice)}; "
            "their results would overwrite each other, rename one"
        )
    _check_patients(parts)
    for path in map(Path, fields["path"]):
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such image")
        # all fields are looked at before the first is predicted
        look(path)
    return fields


def _alone(paths: Sequence[Path]) -> pd.DataFrame:
    """Fields of which no table says whose they are."""
    rows = [(path.stem, str(path), ONE_PATIENT, math.nan) for path in paths]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"um_per_px": float})


def _of_folder(folder: Path) -> pd.DataFrame:
    """The images of a folder in order of their names, without those in folders below it."""
    paths = sorted(f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"{folder}: a folder without an image; give one that holds fields")
    fields = _alone(paths)
    if not any((folder / name).is_file() for name in GROUP_FILES):
        return fields
    source = Source(folder, {path.name: "labelled" for path in paths})
    patient_of, um_per_px, _ = groups(source, {})
    if source.problems:
        raise DataError(str(folder), source.problems)
    fields["group"] = [patient_of[path.name] for path in paths]
    fields["um_per_px"] = [um_per_px[path.name] for path in paths]
    return fields.assign(table=str(folder))


def _check_patients(parts: Sequence[pd.DataFrame]) -> None:
    """Raises ValueError where it is not sure which fields are of one patient."""
    known = [part for part in parts if "table" in part]
    unknown = [part for part in parts if "table" not in part]
    if known and unknown:
        raise ValueError(
            f"{unknown[0]['path'].iloc[0]}: no table says whose field this is, as "
            f"{known[0]['table'].iloc[0]} has one; predict them apart, or add a row to the table"
        )
    folder_of: dict[str, str] = {}
    for part in known:
        folder = part["table"].iloc[0]
        for patient in part["group"].unique():
            if folder_of.setdefault(patient, folder) != folder:
                raise ValueError(
                    f"patient {patient!r} stands in {folder_of[patient]} and in {folder}; if it is "
                    "one, put its fields into one folder, else predict the folders apart"
                )
