"""How much work a profile is: jobs, images through a network, and hours from one measured training step.

The step measured is the paper's method (six heads, the profile's network and input size) with its loss and its backward
pass, on the device at hand. Other networks are converted by their floating-point operations, other sizes by their area.
A step that was measured on a CPU says nothing about a GPU: then give ``--seconds-per-image`` as measured on yours.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass

from openurine_lib.experiments.methods import OURS, Method, method, plan
from openurine_lib.experiments.run import Run

TRAIN_SHARE = 0.8  # four of five folds
SEARCH_SHARE = 0.8  # of a fold's training part; the rest scores the trials
FORWARD_SHARE = 1 / 3  # of a training step: a backward pass costs about two forward passes


@dataclass
class Work:
    """One kind of job: how many, images passed through a network, and those in images of the measured step."""

    kind: str
    jobs: int
    images: float
    measured_images: float


def work(run: Run) -> list[Work]:
    """The jobs of all rows that are built. Images are counted from the data set, for synthetic data from its size."""
    p, jobs = run.profile, plan(run.profile)
    labelled, unlabelled = _fields(run)
    folds = len(p.folds)
    train = _at_most(labelled * TRAIN_SHARE, p.max_train_fields)
    test = _at_most(labelled * (1 - TRAIN_SHARE), p.max_test_fields)
    pool = _at_most(unlabelled, p.max_unlabelled_fields)
    ours = method(OURS)
    cost = {m.id: _relative(run, m) for m in {**jobs.ssl, **jobs.train, **jobs.predict}.values()}
    passes = {
        "02 ssl pretraining": [(pool * p.ssl_epochs, cost[m.id]) for m in jobs.ssl.values()],
        "03 training": [
            (train * (1 + p.trains_on_slices(m)) * p.epochs_of(m), cost[m.id])
            for m in jobs.train.values()
        ],
        "04 inference": [
            (test, FORWARD_SHARE * cost[m.id] * _slices(run, m)) for m in jobs.predict.values()
        ],
    }
    found = [
        Work(
            kind,
            len(each) * folds,
            folds * sum(n for n, _ in each),
            folds * sum(n * c for n, c in each),
        )
        for kind, each in passes.items()
    ]
    trials = p.search["trials"] * p.search["epochs"] * train * SEARCH_SHARE
    return [
        *found,
        Work("05 search", 1, trials, trials * _relative(run, ours)),
        Work("tables and figures", 8, 0, 0),
    ]


def seconds_per_image(run: Run, images: int | None = None, repeats: int = 2) -> tuple[float, str]:
    """Measured seconds of a training step an image, and the device.

    On a GPU with the profile's batch and size; on a CPU with one image of at most 320 px, converted by area.
    """
    import torch
    from ultralytics.utils import DEFAULT_CFG, IterableSimpleNamespace

    from openurine_lib.data.taxonomy import load
    from openurine_lib.model.build import build_model

    p, m = run.profile, method(OURS)
    gpu = torch.cuda.is_available()
    device, batch = ("cuda:0", p.settings["batch"]) if gpu else ("cpu", 1)
    batch = images or batch
    model = build_model(p.arch(m), load("openurine"), m.heads).to(device).train()
    args = IterableSimpleNamespace(
        **vars(DEFAULT_CFG) | {k: p.settings[k] for k in ("box", "cls", "dfl")}
    )
    model.args = args  # type: ignore[assignment]
    px, n = (
        p.pixels(m.imgsz) if gpu else min(320, p.pixels(m.imgsz)),
        10 * batch,
    )  # ten boxes a field
    fields = {
        "img": torch.rand(batch, 3, px, px, device=device),
        "cls": torch.randint(0, 39, (n, 1), device=device).float(),
        "bboxes": torch.rand(n, 4, device=device) * 0.2 + 0.3,
        "batch_idx": torch.arange(batch, device=device).repeat_interleave(10).float(),
    }
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


def describe(run: Run, given: float | None = None) -> None:
    """Prints jobs, images and hours of a run; measures a step unless ``given`` seconds an image."""
    from ultralytics.utils import LOGGER

    LOGGER.setLevel("ERROR")  # one line for each model that is built
    p, m = run.profile, method(OURS)
    print(
        f"run {run.name}: {p.about}\nNothing is run. The command without DRY, over {len(p.folds)} folds, is:\n"
    )
    works = work(run)
    step, device = (given, "given") if given else seconds_per_image(run)
    print(f"{'':22}{'jobs':>6}{'images':>14}{'hours':>10}")
    for w in [*works, _total(works)]:
        hours = f"{w.measured_images * step / 3600:,.1f}" if w.images else "-"
        print(f"{w.kind:22}{w.jobs:>6}{w.images or 0:>14,.0f}{hours:>10}")
    px = p.pixels(m.imgsz)
    print(
        f"\nOne training step of {p.arch(m)} with six heads at {px} px: {step:.3g} s an image ({device})."
    )
    if given is None and device.startswith("CPU"):
        print(
            "These are CPU-hours of this machine, not GPU-hours. For those, run this on the GPU at hand, or give one\n"
            f"step measured there: make reproduce PROFILE={p.name} DRY=1 SECONDS_PER_IMAGE=..."
        )
    else:
        print(
            "Hours are of one such device, by itself; reading images and drawing tables come on top."
        )


def _total(works: list[Work]) -> Work:
    return Work(
        "all",
        sum(w.jobs for w in works),
        sum(w.images for w in works),
        sum(w.measured_images for w in works),
    )


def _fields(run: Run) -> tuple[int, int]:
    if run.data == "synthetic":
        return run.profile.synthetic["fields"], run.profile.synthetic["unlabelled"]
    parts = run.dataset.images["split"].value_counts()
    return int(parts.get("labelled", 0)), int(parts.get("unlabelled", 0))


def _at_most(count: float, limit: int | None) -> float:
    return count if limit is None else min(count, limit)


def _slices(run: Run, m: Method) -> float:
    """How many images' worth of pixels a field is in inference: the area of all its slices over that of training."""
    if not m.sliced:
        return 1.0
    sahi, p = run.profile.settings["sahi"], run.profile
    if run.data == "synthetic":
        field_px = float(p.synthetic["field_px"])
    else:
        field_px = float(run.dataset.images[["width", "height"]].max(axis=1).mean())
    along = max(1.0, (field_px - sahi["slice"]) / (sahi["slice"] * (1 - sahi["overlap"])) + 1)
    return along**2 * (sahi["slice"] / p.pixels(m.imgsz)) ** 2


def _relative(run: Run, m: Method) -> float:
    """Cost of a step of ``m`` in steps of the paper's method, by floating-point operations and area."""
    p, ours = run.profile, method(OURS)
    area = (p.pixels(m.imgsz) / p.pixels(ours.imgsz)) ** 2
    return area * (
        _operations(p.arch(m)) / _operations(p.arch(ours)) if m.engine == "ultralytics" else 1.0
    )


@functools.cache
def _operations(arch: str) -> float:
    """Floating-point operations of an ultralytics architecture at 640 px, in units that cancel."""
    from ultralytics.utils.torch_utils import get_flops

    from openurine_lib.data.taxonomy import load
    from openurine_lib.model.build import build_model

    return get_flops(build_model(arch, load("openurine"), "single"), 640)
