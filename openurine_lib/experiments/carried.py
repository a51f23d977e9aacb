"""Results of earlier trainings that come with the repository, in ``carried/<run>/``.

``<row>/fold<k>/`` holds, for a row (by its ``predict_key``) and a fold:

- ``predictions.npz``: the most confident boxes on the fold's test fields (``packed``);
- ``cohort-<digest of its fields>.npz``: for some rows, boxes on the clinical cohort, COHORT_LIMIT;
- ``log.csv``: the training's losses, one line an epoch; ``metrics.csv`` and ``size.json``;
- ``weights.safetensors``: for some rows, the tensors in half precision;
- ``record.json``: what it is valid for, and who trained it, when, how long, at which commit.

``encoder-<network>/fold<k>/`` holds the same of a pretraining, ``search-<row>/fold<k>/`` the trials
of a search; of one that is not finished, those that have ended, and the journal with which it can
go on. ``workflow/carry.py`` writes them.

A carried result takes the place of a training if the data, the settings and the seed are the same.
Neither the images' bytes count (a drawn field may differ by a grey value from one processor to the
next) nor the code (it changes every day; the commit is on record). With ``OPENURINE_CARRIED=0``
nothing carried is used.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from openurine_lib import default_weights
from openurine_lib.config import read_config
from openurine_lib.data.boxes import XYXY
from openurine_lib.experiments import packed
from openurine_lib.experiments.methods import Method, plan, predict_key, train_key
from openurine_lib.experiments.run import Run
from openurine_lib.files import atomic_path, digest, digest_of_file, write_json

SWITCH = "OPENURINE_CARRIED"  # environment: 0 makes everything anew
COHORT_LIMIT = 100  # boxes a field; of these only the sure ones are counted, and they are few
RECORD = "record.json"
# what model.autoencoder redraws and how; a carried encoder of another pretext task is not valid
PRETEXT = "mean colour + decoder(encoder(X)); L1 + 1 - SSIM"
TRIALS = "trials.csv"  # of a search, one line a trial
TRAINED = "trained.json"  # beside weights that were trained here: minutes, commit, processor, time
WEIGHTS = default_weights.WEIGHTS
EXAMPLES = "reconstructions.npz"
EXAMPLES_SHOWN = 5  # in Fig. 3A


def store() -> Path:
    """The folder of all carried results: beside the package, as the notebooks are."""
    return default_weights.CARRIED


def folder_of(run: Run, kind: str, m: Method, fold: int) -> Path:
    """Where a carried result is or would be.

    kind: ``ssl`` (the pretraining of the method's network), ``predict`` (a row: its training and
    its predictions) or ``search``.
    """
    name = {
        "ssl": f"encoder-{run.profile.arch(m)}",
        "predict": predict_key(m, run.profile),
        "search": f"search-{m.id}",
    }[kind]
    return store() / run.name / name / f"fold{fold}"


def find(run: Run, kind: str, m: Method, fold: int) -> Path | None:
    """The folder of the carried result, if there is one that is valid for this run."""
    folder = folder_of(run, kind, m, fold)
    if os.environ.get(SWITCH) == "0" or not (folder / RECORD).is_file():
        return None
    return folder if record_of(folder)["valid_for"] == valid_for(run, kind, m, fold) else None


def to_restore(run: Run, kind: str, m: Method, fold: int) -> Path | None:
    """The carried result whose weights a job of the kind ssl or train would take, if any.

    None also where the folder holds a training that was made here: that one is kept. Rows that
    look at fields in other ways share a training, and the first of them has its weights.
    """
    ssl = kind == "ssl"
    m = m if ssl else plan(run.profile).train[train_key(m, run.profile)]
    place = run.ssl_dir(run.profile.arch(m), fold) if ssl else run.train_dir(m, fold)
    if (place / TRAINED).exists():
        return None
    earlier = find(run, "ssl" if ssl else "predict", m, fold)
    return earlier if earlier and (earlier / WEIGHTS).exists() else None


def to_score(run: Run, m: Method, fold: int) -> Path | None:
    """The carried result whose predictions stand for the row's, if any: one without weights.

    None also where the row was trained here: then its own weights predict.
    """
    if (run.train_dir(m, fold) / TRAINED).exists():
        return None
    earlier = find(run, "predict", m, fold)
    return earlier if earlier and not (earlier / WEIGHTS).exists() else None


def to_search(run: Run, m: Method, fold: int) -> Path | None:
    """The carried search that stands for one, if any.

    None also where trials were made here: each of their processes has left a folder.
    """
    if any(run.search_dir(m, fold).glob("worker*")):
        return None
    return find(run, "search", m, fold)


def valid_for(run: Run, kind: str, m: Method, fold: int) -> dict[str, Any]:
    """All that decides what comes out, in plain values, as they come back from JSON."""
    decides = _of_encoder(run, m, fold) if kind == "ssl" else _of_row(run, m, fold)
    if kind == "search":
        # not how many processes share it; with several, another call tries other settings
        decides["search"] = run.profile.search | {"pruner": run.profile.search_pruner}
        decides["space"] = read_config("search_space.yaml")
    return json.loads(json.dumps(decides | _data(run, fold), sort_keys=True))


def _of_row(run: Run, m: Method, fold: int) -> dict[str, Any]:
    """All that decides what a row's training and prediction give, but the data."""
    p = run.profile
    settings = p.settings_of(m)
    if not m.sliced:
        del settings["sahi"]  # how others are cut is nothing to it
    row = {
        "network": p.arch(m), "heads": m.heads, "without_head": m.without_head,
        "sliced": m.sliced, "px": p.pixels(m.imgsz), "epochs": p.epochs_of(m),
        "settings": settings, "slices_per_field": p.slices_per_field if m.sliced else 0,
    }  # fmt: skip
    if m.at_once:
        row["at_once"] = True
    if m.uncut:
        row["uncut"] = True
    if m.looks > 1:
        row["looks"] = m.looks
    if m.ssl:
        row["encoder"] = valid_for(run, "ssl", m, fold)
    if p.starts_carried(m):
        row["start"] = digest_of_file(default_weights.named(m.start))
    return row


def _of_encoder(run: Run, m: Method, fold: int) -> dict[str, Any]:
    """All that decides what a pretraining gives, but the data."""
    p = run.profile
    fields = run.dataset.unlabelled_images(fold, p.max_unlabelled_fields)
    return {
        "network": p.arch(m), "pretext": PRETEXT, "epochs": p.ssl_epochs,
        "px": p.settings["imgsz"], "crop": p.ssl_px,
        "fields": digest("\n".join(fields["image"])),
    }  # fmt: skip


def _data(run: Run, fold: int) -> dict[str, Any]:
    data = run.dataset
    drawn: dict[str, Any] | None = None
    if data.synthetic:
        meta = data.meta
        drawn = {"simulator": meta.get("simulator"), "spec": meta.get("spec")}
        if "laboratories" in meta:  # a folder that was drawn with others than the usual eight
            labs = digest(json.dumps(meta["laboratories"], sort_keys=True))
            drawn |= {"laboratories": labs, "seed": meta.get("seed")}
    p = run.profile
    limits = (p.max_train_fields, p.max_test_fields)
    return {"drawn": drawn, "seed": run.seed, "fold": fold, "labels": _labels(data, fold, limits)}


@functools.lru_cache(maxsize=16)  # asked again for every row
def _labels(data: Any, fold: int, limits: tuple[int | None, int | None]) -> str:
    """Digest of the fields of both parts of a fold, and of their labels."""
    parts = []
    for images in (data.train_images(fold, limits[0]), data.test_images(fold, limits[1])):
        boxes = data.boxes_of(images)
        columns = ["image", "cls"]
        if not data.synthetic:  # of drawn fields the specification decides
            boxes = boxes.assign(**boxes[XYXY].round(1))
            columns += XYXY
        ordered = boxes[columns].sort_values(columns)
        parts += ["\n".join(sorted(images["image"])), ordered.to_csv(index=False)]
    return digest(*parts)


def record_of(folder: Path) -> dict[str, Any]:
    """What is on record of a carried result."""
    return json.loads((folder / RECORD).read_text(encoding="utf-8"))


def in_short(record: dict[str, Any]) -> str:
    """What stands beside a number that was not computed here."""
    return f"trained earlier: {who(record['trained'])}"


def who(trained: dict[str, Any]) -> str:
    """When somebody trained, how long, on what, and at which commit of the code."""
    place = trained["device"]
    if place.startswith("CPU"):
        place = f"{trained['threads']} thread(s) of {trained['processor']}"
    when = f"{trained['time'][:10]}, {trained['minutes']:.0f} min on {place}"
    return f"{when}, commit {str(trained['commit'])[:7]}"


def restore_weights(folder: Path, out: Path) -> Path:
    """Writes a carried weights file as ``out`` (weights.pt, in single precision), and its log."""
    from openurine_lib.training import weights

    content = weights.read_weights(folder / WEIGHTS)
    _copy(folder, out.parent, ("log.csv", RECORD, EXAMPLES))
    weights.save(content, out)
    return out


def restore_predictions(folder: Path, out: Path) -> None:
    """Writes carried predictions as ``out`` (a CSV; the carried file has the same name, but is an
    npz), and what is known of the network."""
    from openurine_lib.inference import write_csv

    _copy(folder, out.parent, ("size.json", RECORD))
    write_csv(packed.unpack(folder / out.with_suffix(".npz").name), out)


def restore_search(folder: Path, out: Path) -> None:
    """Writes the trials of a carried search as ``out``, and who made them."""
    _copy(folder, out.parent, (RECORD, TRIALS))


def _copy(source: Path, target: Path, names: tuple[str, ...]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        if (source / name).exists():
            with atomic_path(target / name) as temporary:
                shutil.copyfile(source / name, temporary)


def save_weights(weights: Path, target: Path, half: bool = True) -> None:
    """Writes a weights file's tensors (in half precision) and its description as metadata."""
    from safetensors.torch import save_file

    from openurine_lib.training.weights import read_weights

    content = read_weights(weights)
    tensors = {
        name: (tensor.half() if half and tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in content["state_dict"].items()
    }
    with atomic_path(target) as temporary:
        save_file(tensors, temporary, {"meta": json.dumps(content["meta"], default=str)})


def pack_examples(source: Path, target: Path) -> None:
    """An autoencoder's fields and reconstructions, as many as Fig. 3A shows."""
    with np.load(source) as stored, atomic_path(target) as temporary:
        np.savez_compressed(temporary, **{k: stored[k][:EXAMPLES_SHOWN] for k in stored.files})


def write_record(folder: Path, valid: dict[str, Any], trained: dict[str, Any], **more: Any) -> None:
    """Seals a carried result; written last, since it says that the rest is there."""
    write_json(folder / RECORD, {"valid_for": valid, "trained": trained, **more})
