"""What a job asks a scheduler for: main memory, from the fields that it holds.

Snakemake reads this at every call, so it brings no network and no library of networks.
"""

from __future__ import annotations

from openurine_lib.experiments.methods import Method
from openurine_lib.experiments.run import Run

TRAIN_SHARE = 0.8  # four of five folds
# What a job holds beside its fields, megabytes: the network, a batch on its way, the libraries. Six
# heads with a batch of 8 at 448 px took 4,000 on a processor (its peak was 6,200, with its slices).
REST_MB = 4500
GPU_LOADERS_MB = 8 * 700  # the library's eight processes that read fields for a GPU


def memory_mb(run: Run, kind: str, m: Method, gpu: bool = False) -> int:
    """Main memory, megabytes, to ask a scheduler for: of a job of the kind ssl, train or predict.

    Fields wait in memory for a training, as large as the network takes them, with their slices; for
    a pretraining, in a cache of fixed size (``training.reading``).
    """
    p = run.profile
    if kind == "predict":
        return REST_MB
    if kind == "ssl":
        return REST_MB + 3 * 1024
    fields = at_most(fields_of(run)[0] * TRAIN_SHARE, p.max_train_fields)
    images = fields * (p.slices_per_field if p.trains_on_slices(m) else 1)
    cached = images * 3 * p.pixels(m.imgsz) ** 2 / 2**20
    return int(REST_MB + GPU_LOADERS_MB * gpu + cached)


def fields_of(run: Run) -> tuple[int, int]:
    """How many labelled and unlabelled fields a run has; a synthetic set need not be drawn."""
    if run.data == "synthetic":
        return run.profile.synthetic["fields"], run.profile.synthetic["unlabelled"]
    parts = run.dataset.images["split"].value_counts()
    return int(parts.get("labelled", 0)), int(parts.get("unlabelled", 0))


def at_most(count: float, limit: int | None) -> float:
    """``count``, or the limit where there is one and it is smaller."""
    return count if limit is None else min(count, limit)
