"""The first epoch of a training that was carried, trained again and set beside its log.

A carried result need not be taken on trust. From the recorded seed the first epoch is repeated. On
the same processor with as many threads its losses are equal to the last digit. On another one,
sums are made in another order and drawn fields may differ by a grey value; then the losses must
agree within TOLERANCE.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pandas as pd

from openurine_lib.experiments import carried
from openurine_lib.experiments.methods import Method, train_key
from openurine_lib.experiments.run import Run
from openurine_lib.experiments.steps import training_job
from openurine_lib.files import atomic_path
from openurine_lib.speed.processor import device
from openurine_lib.training.engines import engine
from openurine_lib.training.pretraining import pretrain

TOLERANCE = 0.02  # of the sum of the losses, on another processor
NOT_LOSSES = ("epoch", "lr")


def of_training(run: Run, m: Method, fold: int) -> pd.DataFrame | None:
    """[part, earlier, here, relative]: the losses of epoch 1; None if nothing was carried."""
    earlier = carried.find(run, "predict", m, fold)
    if earlier is None:
        return None
    folder = run.dir / "replay" / train_key(m, run.profile) / f"fold{fold}"
    log = folder / "log.csv"
    if not log.exists():
        work = folder / "work"
        job = training_job(run, m, fold, work)
        # only the log is wanted: the pass over the fields that ends a training is left out
        settings = job.settings | {"refresh_bn": False}
        engine(m.engine).fit(dataclasses.replace(job, settings=settings, stop_after=1))
        with atomic_path(log) as temporary:
            shutil.copyfile(work / log.name, temporary)
        shutil.rmtree(work)
    return _beside(earlier / "log.csv", log)


def of_pretraining(run: Run, m: Method, fold: int) -> pd.DataFrame | None:
    """The same of the autoencoder's first epoch."""
    earlier = carried.find(run, "ssl", m, fold)
    if earlier is None:
        return None
    arch = run.profile.arch(m)
    out = run.dir / "replay" / f"encoder-{arch}" / f"fold{fold}" / "encoder.pt"
    log = out.with_name("log.csv")
    if not log.exists():
        p = run.profile
        fields = run.dataset.unlabelled_images(fold, p.max_unlabelled_fields)
        size, epochs = p.settings["imgsz"], p.ssl_epochs
        pretrain(arch, fields, size, epochs, run.seed, out, device(), p.ssl_px, stop_after=1)
    return _beside(earlier / "log.csv", log)


def in_words(losses: pd.DataFrame | None) -> str:
    """One or two sentences on what ``of_training`` or ``of_pretraining`` found."""
    if losses is None:
        return "The training was made in this run, so there is nothing to repeat."
    sums = losses[["earlier", "here"]].sum()
    off = abs(sums.here - sums.earlier) / abs(sums.earlier)
    if (losses.here == losses.earlier).all():
        verdict = "They are equal to the last digit."
    elif off <= TOLERANCE:
        verdict = (
            f"They differ by {off:.2%} in sum, which is within the {TOLERANCE:.0%} that another"
            " processor or another version of a library may give."
        )
    else:
        verdict = (
            f"They differ by {off:.1%} in sum, more than the {TOLERANCE:.0%} that another processor"
            " may give: the carried result is not what this code makes (CARRIED=0 trains anew)."
        )
    return (
        f"Epoch 1 was trained again: its losses are {sums.here:.4f} in sum here, and were"
        f" {sums.earlier:.4f} in the carried training. {verdict}"
    )


def _beside(earlier: Path, here: Path) -> pd.DataFrame:
    """The first lines of two logs, side by side; the total is left out, as its parts are there."""
    first = [pd.read_csv(path).iloc[0] for path in (earlier, here)]
    parts = [name for name in first[0].index if name not in (*NOT_LOSSES, "loss")]
    table = pd.DataFrame({"part": parts, "earlier": first[0][parts].to_numpy(float)})
    table["here"] = first[1].reindex(parts).to_numpy(float)
    return table.assign(relative=table.here / table.earlier - 1)
