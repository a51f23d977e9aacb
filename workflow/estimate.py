"""How much work a profile is: jobs, images through a network, and hours from one measured step.

The step is a training step of the paper's method (six heads, the profile's network and input size),
with its loss and its backward pass, on the device at hand. Other networks are converted by their
floating-point operations, other sizes by their area. A step that was measured on a CPU says nothing
about a GPU: then give ``--seconds-per-image`` as measured on yours. A GPU's memory is estimated
from counts (``experiments.gpu_memory``), which need none.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from needs import TRAIN_SHARE, at_most, fields_of, memory_mb

from openurine_lib.experiments import gpu_memory
from openurine_lib.experiments.fidelity import PAPER
from openurine_lib.experiments.methods import OURS, Method, Plan, Profile, method, plan
from openurine_lib.experiments.run import Run
from openurine_lib.experiments.sizes import paper_sizes

SEARCH_SHARE = 0.8  # of a fold's training part; the rest scores the trials
PRETRAINING = "02 ssl pretraining"
TRAINING = "03 training"
INFERENCE = "04 inference"
SEARCH = "05 search"
GPU_NOTE = """
GPU GB: a GPU's memory for the largest job of a kind (of the trainings: {}). An estimate from
counted parameters, activations and the batch, not checked on a GPU. What CUDA takes for itself, and
a loss of many boxes, come on top."""
FIELD_BYTES = 0.134  # of a pixel of a drawn field on disk: 257 MB for the study's 2,722 fields
FORWARD_SHARE = 1 / 3  # of a training step: a backward pass costs about two forward passes


Largest = dict[str, tuple[float, Method]]  # by kind of job: gigabytes, and of which method


@dataclass
class Work:
    """One kind of job."""

    kind: str
    jobs: int
    images: float  # passed through a network
    measured_images: float  # the same work, in images of the measured step


def _plan(p: Profile, rows: Collection[str]) -> Plan:
    """What these rows need; if none are given, those that the profile names, or all."""
    return plan(p, rows or p.named_rows)


def work(run: Run, rows: Collection[str] = ()) -> list[Work]:
    """The jobs of all rows, or of those that ``rows`` names alone: without search and tables.

    A synthetic data set need not be drawn: its size is known.
    """
    p = run.profile
    jobs = _plan(p, rows)
    labelled, unlabelled = fields_of(run)
    folds = len(p.folds)
    train = at_most(labelled * TRAIN_SHARE, p.max_train_fields)
    test = at_most(labelled * (1 - TRAIN_SHARE), p.max_test_fields)
    pool = at_most(unlabelled, p.max_unlabelled_fields)
    ssl = Work(PRETRAINING, len(jobs.ssl) * folds, 0, 0)
    for m in jobs.ssl.values():
        _add(ssl, folds * pool * p.ssl_epochs, _relative(run, m))
    training = Work(TRAINING, len(jobs.train) * folds, 0, 0)
    for m in jobs.train.values():
        _add(training, folds * train * p.epochs_of(m), _relative(run, m))
    inference = Work(INFERENCE, len(jobs.predict) * folds, 0, 0)
    for m in jobs.predict.values():
        _add(inference, folds * test, FORWARD_SHARE * _relative(run, m) * _slices(run, m))
    if rows:
        return [ssl, training, inference]
    search = Work(SEARCH, p.search_workers, 0, 0)
    searched = at_most(train, p.search.get("fields"))
    trials = p.search["trials"] * p.search["epochs"] * searched * SEARCH_SHARE
    _add(search, trials, _relative(run, method(OURS)))
    return [ssl, training, inference, search, Work("tables and figures", 8, 0, 0)]


def disk_gb(run: Run, rows: Collection[str] = ()) -> tuple[float, float]:
    """Gigabytes that stay: of weights, one file a training, and of drawn fields (0 if given)."""
    p = run.profile
    sizes = paper_sizes()
    known = [sizes.get(m.id, {}).get("params_m", 0.0) for m in _plan(p, rows).train.values()]
    weights = len(p.folds) * sum(known) * 4 / 1000  # four bytes a parameter
    drawn = 0.0
    if run.data == "synthetic":
        pixels = sum(fields_of(run)) * p.synthetic["field_px"] ** 2
        drawn = pixels * FIELD_BYTES / 1e9
    return weights, drawn


def gpu_gb(run: Run, rows: Collection[str] = ()) -> tuple[Largest, set[str]]:
    """Gigabytes of a GPU's memory by kind of job: of the largest one, and its method. Beside that
    the networks that are new and not counted."""
    from openurine_lib.training.pretraining import BATCH

    p = run.profile
    jobs = _plan(p, rows)
    searched = [] if rows else [method(OURS)]
    of: dict[str, tuple[Iterable[Method], Callable[[Method], float]]] = {
        PRETRAINING: (jobs.ssl.values(), lambda m: gpu_memory.pretraining_gb(p, m, BATCH)),
        TRAINING: (jobs.train.values(), lambda m: gpu_memory.training_gb(p, m)),
        INFERENCE: (jobs.predict.values(), lambda m: _predicting_gb(run, m)),
        SEARCH: (searched, lambda m: gpu_memory.training_gb(p, m)),
    }
    largest: Largest = {}
    new = set()
    for kind, (rows_of_kind, estimated) in of.items():
        for m in rows_of_kind:
            try:
                gb = estimated(m)
            except gpu_memory.NotCounted:
                new.add(p.arch(m))
                continue
            if kind not in largest or gb > largest[kind][0]:
                largest[kind] = gb, m
    return largest, new


def _predicting_gb(run: Run, m: Method) -> float:
    from openurine_lib.looking import AT_ONCE_PX, BATCH

    p = run.profile
    slices = math.ceil(_along(run, m)) ** 2
    # the other engines see one image at a time
    together = min(slices, BATCH) if m.engine in ("ultralytics", "genetic") else 1
    most = gpu_memory.prediction_gb(p, m, together, p.pixels(m.imgsz))
    return max(most, gpu_memory.prediction_gb(p, m, 1, AT_ONCE_PX)) if m.at_once else most


def _add(work: Work, images: float, cost: float) -> None:
    """cost: of an image, in images of the measured step."""
    work.images += images
    work.measured_images += images * cost


def seconds_per_image(run: Run, images: int | None = None, repeats: int = 2) -> tuple[float, str]:
    """Measured seconds of a training step an image, and the device.

    On a GPU with the profile's batch and size; on a CPU with one image of at most 320 px, converted
    by area.
    """
    import torch
    from ultralytics.utils import DEFAULT_CFG, IterableSimpleNamespace

    from openurine_lib.data.taxonomy import load
    from openurine_lib.experiments.activations import boxed_images
    from openurine_lib.model.build import build_model

    p = run.profile
    m = method(OURS)
    gpu = torch.cuda.is_available()
    device = "cuda:0" if gpu else "cpu"
    batch = images or (p.settings["batch"] if gpu else 1)
    model = build_model(p.arch(m), load("openurine"), m.heads).to(device).train()
    args = IterableSimpleNamespace(
        **vars(DEFAULT_CFG) | {k: p.settings[k] for k in ("box", "cls", "dfl")}
    )
    model.args = args  # type: ignore[assignment]
    px = p.pixels(m.imgsz) if gpu else min(320, p.pixels(m.imgsz))
    fields = {name: x.to(device) for name, x in boxed_images(batch, px).items()}
    times = []
    for _ in range(repeats + 1):  # the first one warms up
        started = time.perf_counter()
        with torch.autocast(device.split(":")[0], torch.float16, enabled=gpu):
            loss, _ = model(fields)
        loss.sum().backward()
        if gpu:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    name = torch.cuda.get_device_name(0) if gpu else f"CPU, {torch.get_num_threads()} threads"
    return min(times[1:]) / batch * (p.pixels(m.imgsz) / px) ** 2, name


def describe(run: Run, given: float | None = None, rows: Collection[str] = ()) -> None:
    """Prints jobs, images and hours of a run, or of some of its rows.

    given: seconds an image of a training step; measured here if None.
    """
    from ultralytics.utils import LOGGER

    LOGGER.setLevel("ERROR")  # one line for each model that is built
    p = run.profile
    m = method(OURS)
    print(f"run {run.name}: {p.about}")
    named = rows or p.named_rows
    what = f"{len(named)} rows" if named else "all rows"
    print(f"Nothing is run. The command without DRY, {what} over {len(p.folds)} folds, is:\n")
    works = work(run, rows)
    step, device = (given, "given") if given else seconds_per_image(run)
    memory, new = gpu_gb(run, rows)
    print(f"{'':22}{'jobs':>6}{'images':>14}{'hours':>10}{'GPU GB':>10}")
    for w in [*works, _total(works)]:
        hours = f"{w.measured_images * step / 3600:,.1f}" if w.images else "-"
        gb = f"{memory[w.kind][0]:.1f}" if w.kind in memory else "-"
        print(f"{w.kind:22}{w.jobs:>6}{w.images or 0:>14,.0f}{hours:>10}{gb:>10}")
    search = next((w for w in works if w.kind == SEARCH), None)
    if search and search.jobs > 1:
        share = math.ceil(p.search["trials"] / search.jobs) / p.search["trials"]  # of one job
        hours = share * search.measured_images * step / 3600
        print(
            f"\nThe search's {search.jobs} jobs share its trials; side by side: {hours:,.1f} hours."
        )
    gpu = not device.startswith("CPU")
    most = max(memory_mb(run, "train", row, gpu) for row in _plan(p, rows).train.values())
    weights, drawn = disk_gb(run, rows)
    print(f"\nA training asks for {most / 1024:.0f} GB of main memory at most. Weights take up to"
          f" {weights:.1f} GB of disk, drawn fields {drawn:.1f} GB.")  # fmt: skip
    if memory:
        print(GPU_NOTE.format(memory[TRAINING][1].id))
    if new:
        print(f"Without {', '.join(sorted(new))}, which make docs has not counted yet.")
    px = p.pixels(m.imgsz)
    print(f"\nOne training step of {p.arch(m)} with six heads at {px} px: "
          f"{step:.3g} s an image ({device}).")  # fmt: skip
    if given is None and device.startswith("CPU"):
        print(
            "These are CPU-hours of this machine, not GPU-hours. For those, run this on the GPU at"
        )
        print("hand, or give one step measured there:")
        print(f"make reproduce PROFILE={p.name} DRY=1 SECONDS_PER_IMAGE=...")
    else:
        print("Hours are of one such device alone; reading images and drawing tables come on top.")


def _total(works: list[Work]) -> Work:
    return Work(
        "all",
        sum(w.jobs for w in works),
        sum(w.images for w in works),
        sum(w.measured_images for w in works),
    )


def _slices(run: Run, m: Method) -> float:
    """A field of inference in images of training: the area of its slices over that of an image."""
    slice_px, _ = run.slicing(m)
    if slice_px is None:
        return 1.0
    return (_along(run, m) * slice_px / run.profile.pixels(m.imgsz)) ** 2


def _along(run: Run, m: Method) -> float:
    """How many slices a side of a field has; 1 where it is seen whole."""
    slice_px, overlap = run.slicing(m)
    if slice_px is None:
        return 1.0
    if run.data == "synthetic":
        field_px = float(run.profile.synthetic["field_px"])
    else:
        field_px = float(run.dataset.images[["width", "height"]].max(axis=1).mean())
    return max(1.0, (field_px - slice_px) / (slice_px * (1 - overlap)) + 1)


def _relative(run: Run, m: Method) -> float:
    """Cost of a step of ``m`` in steps of the paper's method: by area and operations."""
    p = run.profile
    ours = method(OURS)
    if p.name == PAPER:  # its networks are counted already
        counted = paper_sizes()
        return counted[m.id]["gflops"] / counted[ours.id]["gflops"]
    area = (p.pixels(m.imgsz) / p.pixels(ours.imgsz)) ** 2
    if m.engine != "ultralytics":
        return area
    return area * _operations(p.arch(m)) / _operations(p.arch(ours))


@functools.cache
def _operations(arch: str) -> float:
    """Floating-point operations of an ultralytics architecture at 640 px, in units that cancel."""
    from ultralytics.utils.torch_utils import get_flops

    from openurine_lib.data.taxonomy import load
    from openurine_lib.model.build import build_model

    return get_flops(build_model(arch, load("openurine"), "single"), 640)
