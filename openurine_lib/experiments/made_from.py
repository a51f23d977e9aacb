"""What a folder of results was made from, and whether today's result would be made from the same.

A folder (an encoder, a training, a row's predictions and metrics, a search) holds
``made_from.json``: digests of its code, settings, libraries and data, and of the weights it starts
from. A step compares them with today's before it looks into the folder. Where they are the same,
what lies there is used: finished weights, or the checkpoint of an interrupted training. Where they
differ, or where there is no record, the folder is cleared and its results are made anew.

A notebook that runs alone and the workflow come here by the same way (``steps``, ``search``). A
table that only shows what is stored leaves out what is not of today (``folds_of_today``).
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
from pathlib import Path

from filelock import FileLock

from openurine_lib import files
from openurine_lib.experiments import carried, fingerprints
from openurine_lib.experiments.methods import Method
from openurine_lib.experiments.run import Run

RECORD = "made_from.json"
# what decides the metrics of predictions that are carried
OF_RESTORED = (
    "openurine_lib.evaluation.metrics",
    "openurine_lib.experiments.carried",
    "openurine_lib.experiments.packed",
)


def folder_of(run: Run, kind: str, m: Method, fold: int) -> Path:
    """The folder of results of a kind: ssl, train, predict or search."""
    return {
        "ssl": run.ssl_dir(run.profile.arch(m), fold),
        "train": run.train_dir(m, fold),
        "predict": run.predict_dir(m, fold),
        "search": run.search_dir(m, fold),
    }[kind]


def ingredients(run: Run, kind: str, m: Method, fold: int) -> dict[str, str]:
    """Digests of all that a result would be made from today, by name.

    Raises FileNotFoundError if the encoder or the weights that it starts from are not there.
    """
    run.dataset  # noqa: B018 (opened, it is prepared from its folder as that is now)
    data = fingerprints.of_dataset(run.dir / "dataset")
    if kind == "predict" and (earlier := carried.to_score(run, m, fold)):
        record = fingerprints.of_file(earlier / carried.RECORD)
        return {"carried": record, "data": data, "code": fingerprints.of_modules(*OF_RESTORED)}
    if kind == "search" and (earlier := carried.to_search(run, m, fold)):
        return {"carried": fingerprints.of_file(earlier / carried.RECORD), "data": data}
    made = fingerprints.ingredients(kind, run.profile, run.seed, m) | {"data": data}
    # with another carried result, or without them, what was restored is cleared
    if kind in ("ssl", "train") and (earlier := carried.to_restore(run, kind, m, fold)):
        made["carried"] = fingerprints.of_file(earlier / carried.RECORD)
    if kind == "predict":
        made["weights"] = fingerprints.of_file(run.train_dir(m, fold) / "weights.pt")
    elif kind != "ssl" and m.ssl:
        encoder = run.ssl_dir(run.profile.arch(m), fold) / "encoder.pt"
        made["encoder"] = fingerprints.of_file(encoder)
    return made


def keep_or_clear(folder: Path, made: dict[str, str]) -> bool:
    """Readies a folder for a result that is made from ``made``; what is of something else goes.

    Returns whether something went.
    """
    if _recorded(folder) == made:
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    # two notebooks may come at once; the second one finds the record of the first
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        before = _recorded(folder)
        if before == made:
            return False
        if before is None:
            why = "no record of what it was made from"
        else:
            names = (k for k in made.keys() | before.keys() if made.get(k) != before.get(k))
            why = f"made from another {', '.join(sorted(names))}"
        held = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
        if held - {RECORD}:
            print(f"{why}: {folder} is cleared", flush=True)
            # One rename, so that a kill leaves all or nothing of it where it would be believed.
            folder.rename(folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.cleared"))
        for old in folder.parent.glob(f".{folder.name}.*.cleared"):  # also of a kill
            shutil.rmtree(old)
        files.write_json(folder / RECORD, made)
        return bool(held - {RECORD})


def check(run: Run, kind: str, m: Method, fold: int) -> None:
    """Clears the folder of a result unless it is made from what it would be made from today."""
    folder = folder_of(run, kind, m, fold)
    if keep_or_clear(folder, ingredients(run, kind, m, fold)):
        # where a training that was made here went, a carried one takes its place from now on
        keep_or_clear(folder, ingredients(run, kind, m, fold))


def folds_of_today(run: Run, m: Method) -> list[int]:
    """The profile's folds whose stored predictions and metrics are whole, and as made today.

    Nothing is cleared. Without its weights a row is not of today: what they were is not known.
    """
    return [fold for fold in run.profile.folds if _of_today(run, m, fold)]


def _of_today(run: Run, m: Method, fold: int) -> bool:
    place = run.predict_dir(m, fold)
    stored = [place / name for name in ("predictions.csv", "metrics.csv")]
    if not all(map(files.is_sealed, stored)):
        return False
    kinds = ["predict"]
    if not carried.to_score(run, m, fold):  # then it was trained here
        kinds = [*(["ssl"] if m.ssl else []), "train", "predict"]
    with contextlib.suppress(FileNotFoundError):  # of weights or of an encoder
        return all(
            _recorded(folder_of(run, kind, m, fold)) == ingredients(run, kind, m, fold)
            for kind in kinds
        )
    return False


def _recorded(folder: Path) -> dict[str, str] | None:
    """The folder's record; None where there is none that can be read."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        return json.loads((folder / RECORD).read_text(encoding="utf-8"))
    return None
