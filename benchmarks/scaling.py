"""Time and memory as the work grows.

    python benchmarks/scaling.py      # about five minutes; docs/results/scaling.{csv,json,png}

Four things grow: the boxes of a field, the size of a field, the images of a data set, and the heads
of a network. Every size is measured in a process of its own, which tells the median time of the
repeats and the most memory that it held.

Time is processor time of one thread, so that other work on the machine changes it little. Where
images are checked, it is that of all threads. The exponent of time against size is fitted over the
three largest sizes; with smaller ones, the fixed cost of a call counts too much.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OPENURINE_THREADS", "1")

import numpy as np
import pairs
import pandas as pd
from pairs import RESULTS
from tqdm import tqdm

from openurine_lib import files, open_run, style
from openurine_lib.data import taxonomy
from openurine_lib.data.boxes import XYXY
from openurine_lib.experiments import provenance

SIZES = {
    "boxes": [10, 30, 100, 300, 1000, 3000],
    "field": [600, 1000, 1600, 2600, 4000],
    "images": [100, 400, 1600, 6430],
    "heads": [1, 2, 3, 4, 5, 6],
}
AXES = {
    "boxes": "boxes on a field",
    "field": "side of a field (px)",
    "images": "images",
    "heads": "heads",
}
TITLES = {
    "boxes": "Merging and scoring",
    "field": "Slicing and prediction",
    "images": "A data set",
    "heads": "A network",
}
REPEATS = 3
SLICE = 320  # pixels
LARGEST = 3  # sizes over which the exponent is fitted
#: Where time may grow faster than linearly, and why.
REASONS = {
    "merge, one class": "every box is compared with every other of its class, "
    "until sahi's index takes over at 2,000",
    "merge, 39 classes": "every box is compared with the others of its class",
    "score": "every box is compared with every other of its field",
    "near copies": "every image is compared with every other (256 bits each)",
}


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(globals()[sys.argv[1]](int(sys.argv[2]))))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "PYTHONPATH": str(pairs.ROOT),
            "SCALING_FOLDER": folder,
            "OPENURINE_ROOT": folder,
        }
        work = [(panel, size) for panel, sizes in SIZES.items() for size in sizes]
        for panel, size in tqdm(work, desc="measuring", unit="size"):
            command = [sys.executable, __file__, panel, str(size)]
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode:
                raise RuntimeError(done.stderr[-3000:])
            found = json.loads(done.stdout.splitlines()[-1])
            memory = {k: found[k] for k in ("peak_mb", "before_mb")}
            for name, seconds in found["seconds"].items():
                row = {"panel": panel, "size": size, "work": name, "seconds": seconds}
                rows.append(row | memory)
    table = with_exponents(pd.DataFrame(rows))
    with files.atomic_path(RESULTS / "scaling.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.4g")
    about = {
        "face": "timings on generated boxes, fields and images; untrained yolo12n",
        "threads": os.environ["OPENURINE_THREADS"],
        "repeats": REPEATS,
        "slice_px": SLICE,
        "versions": provenance.versions(),
        "fitted_over": f"the {LARGEST} largest sizes",
    } | pairs.made_by()
    files.write_json(RESULTS / "scaling.json", about)
    plot(table)
    exponents = table.drop_duplicates(["panel", "work"])
    print(exponents[["panel", "work", "exponent", "why"]].to_string(index=False))


def measured(works: dict[str, Callable[[], object]]) -> dict[str, object]:
    """Processor seconds of each piece of work, as the median of the repeats.

    Beside them, the process's memory in MB: before the work, and at most.
    """
    before = peak()
    seconds = {}
    for name, work in works.items():
        each = []
        for _ in range(REPEATS):
            start = time.process_time()
            work()
            each.append(time.process_time() - start)
        seconds[name] = statistics.median(each)
    return {"seconds": seconds, "before_mb": before, "peak_mb": peak()}


def peak() -> float:
    """The most memory that the process has held so far, MB."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def drawn(n: int, rng: np.random.Generator, classes: int) -> pd.DataFrame:
    """Boxes of a field of 1800 px, 20 to 60 px wide."""
    corner = rng.uniform(0, 1740, (n, 2))
    size = rng.uniform(20, 60, (n, 2))
    frame = pd.DataFrame(np.hstack([corner, corner + size]), columns=XYXY)
    return frame.assign(image="field", cls=rng.integers(0, classes, n), conf=rng.random(n))


def boxes(n: int) -> dict[str, object]:
    from sahi.postprocess.combine import NMSPostprocess
    from sahi.prediction import ObjectPrediction

    import openurine_lib.inference  # noqa: F401  (it chooses sahi's backend)
    from openurine_lib.evaluation.metrics import evaluate

    merge = NMSPostprocess(match_threshold=0.5, match_metric="IOU", class_agnostic=False)

    def objects(frame: pd.DataFrame) -> list[ObjectPrediction]:
        return [
            ObjectPrediction([r.x1, r.y1, r.x2, r.y2], r.cls, score=r.conf)
            for r in frame.itertuples()
        ]

    rng = np.random.default_rng(0)
    truth = drawn(n, rng, 39)
    found = drawn(n, rng, 39)
    of_39_classes = objects(found)
    of_one_class = objects(drawn(n, rng, 1))
    # the first call of each is slower, and does not count
    evaluate(truth[:5], found[:5], 39, ["field"])
    merge(of_39_classes[:5])
    return measured({
        "merge, 39 classes": lambda: merge(of_39_classes),
        "merge, one class": lambda: merge(of_one_class),
        "score": lambda: evaluate(truth, found, 39, ["field"]),
    })  # fmt: skip


def field(side: int) -> dict[str, object]:
    import sliced

    from openurine_lib.inference import predict_image
    from openurine_lib.training.engines.ultralytics import detector

    weights = sliced.weights("yolo12n", Path(os.environ["SCALING_FOLDER"]))
    found = detector(weights, sliced.CONFIDENCE, "cpu", SLICE)
    image = np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)
    predict_image(found, image[:400, :400], SLICE)
    return measured({"slice and predict": lambda: predict_image(found, image, SLICE)})


def images(n: int) -> dict[str, object]:
    from PIL import Image

    from openurine_lib.data import dataset, splits
    from openurine_lib.evaluation.metrics import evaluate

    folder = Path(os.environ["SCALING_FOLDER"]) / f"images{n}"
    rng = np.random.default_rng(0)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    names = [f"f{i:05d}" for i in range(n)]
    for name in names:
        noise = rng.integers(0, 255, (32, 32, 3), np.uint8)
        Image.fromarray(noise).save(folder / "images" / f"{name}.png")
        centres = rng.uniform(0.1, 0.9, (5, 2))
        lines = [f"{rng.integers(39)} {x:.3f} {y:.3f} 0.2 0.2" for x, y in centres]
        (folder / "labels" / f"{name}.txt").write_text("\n".join(lines))
    classes = taxonomy.load("openurine").classes
    (folder / "data.yaml").write_text(json.dumps({"names": list(classes)}))
    groups = "".join(f"{name}.png,p{i // 5}\n" for i, name in enumerate(names))
    (folder / "patients.csv").write_text("image,patient\n" + groups)
    run = open_run(str(folder), "smoke", 0)

    def prepare() -> None:
        (run.dir / "dataset" / "meta.json").unlink(missing_ok=True)
        dataset.prepare(Path(run.data), run.dir / "dataset", run.seed)

    phash = [rng.bytes(32).hex() for _ in names]
    hashes = pd.DataFrame({"image": names, "group": names, "phash": phash})
    fields = [f"f{i:05d}" for i in np.arange(n).repeat(5)]
    truth = drawn(5 * n, rng, 39).assign(image=fields)
    found = truth.assign(x1=truth.x1 + rng.uniform(0, 20, 5 * n), conf=rng.random(5 * n))
    evaluate(truth[:5], found[:5], 39, names[:1])
    return measured({
        "check, split, store": prepare,
        "near copies": lambda: splits.near_duplicates(hashes),
        "score": lambda: evaluate(truth, found, 39, names),
    })  # fmt: skip


def heads(n: int) -> dict[str, object]:
    import torch
    from ultralytics.utils import DEFAULT_CFG

    from openurine_lib.model.heads import MultiHeadModel
    from openurine_lib.speed.processor import keep_memory, use_cores

    use_cores()
    keep_memory()
    all_heads = list(taxonomy.load("openurine").heads.items())
    # n - 1 of the heads as they are; the last one takes the classes of all others
    rest = tuple(i for _, ids in all_heads[n - 1 :] for i in ids)
    torch.manual_seed(0)
    model = MultiHeadModel("yolo12n", dict(all_heads[: n - 1]) | {"the rest": rest})
    model.args = DEFAULT_CFG
    optimizer = torch.optim.SGD(model.train().parameters(), 1e-4)
    batch = {
        "img": torch.rand(4, 3, 320, 320),
        "batch_idx": torch.arange(4).repeat_interleave(20).float(),
        "cls": torch.randint(0, 39, (80, 1)).float(),
        "bboxes": torch.rand(80, 4) * 0.1 + 0.05,
    }
    batch["bboxes"][:, :2] += 0.4

    @torch.no_grad()
    def forward() -> None:
        model.predict(batch["img"])

    def step() -> None:
        optimizer.zero_grad()
        model.loss(batch)[0].sum().backward()
        optimizer.step()

    forward()
    step()
    return measured({"forward": forward, "training step": step})


def with_exponents(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the fitted exponent of each work, and the reason where it is above one."""
    for (panel, work), part in table.groupby(["panel", "work"], sort=False):
        last = part.nlargest(LARGEST, "size")
        power = 2 if panel == "field" else 1  # of a field, its area counts
        size = last["size"].astype(float) ** power
        exponent = np.polyfit(np.log(size), np.log(last.seconds), 1)[0]
        table.loc[part.index, "exponent"] = exponent
        table.loc[part.index, "why"] = REASONS.get(str(work), "not known") if exponent > 1.1 else ""
    return table


def plot(table: pd.DataFrame) -> None:
    """Above, seconds with the exponents; below, the process's peak memory."""
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    style.use()
    figure, axes = plt.subplots(2, 4, figsize=(style.PAGE, 3.6), height_ratios=(2, 1), sharex="col")
    colours = [style.OKABE_ITO[c] for c in ("blue", "vermillion", "green")]
    panels = table.groupby("panel", sort=False)
    for (panel, part), (above, below) in zip(panels, axes.T, strict=True):
        for (work, line), colour in zip(part.groupby("work", sort=False), colours, strict=False):
            star = "*" if line.why.iloc[0] else ""
            label = f"{work}: {line.exponent.iloc[0]:.2f}{star}"
            above.plot(line["size"], line.seconds, "o-", color=colour, label=label)
        memory = part.drop_duplicates("size")
        before_gb = memory.before_mb / 1000
        peak_gb = memory.peak_mb / 1000
        below.plot(memory["size"], before_gb, ":", color="0.5", label="before the work")
        below.plot(memory["size"], peak_gb, "o-", color="0.2", label="at most")
        above.set(xscale="log", yscale="log", title=TITLES[panel])
        below.set(ylim=(0, 1.3 * memory.peak_mb.max() / 1000), xlabel=AXES[panel])
        crowded = len(SIZES[panel]) > 5 and panel != "heads"
        ticks = SIZES[panel][:: 2 if crowded else 1]
        below.set_xticks(ticks, [f"{t:,}" for t in ticks])
        below.xaxis.set_minor_locator(NullLocator())
        low, high = above.get_ylim()
        if high < 10 * low:  # less than a decade: name 2 and 5 too, without powers
            above.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            above.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            above.yaxis.set_minor_locator(NullLocator())
        above.set_ylim(low, high * (high / low) ** 0.35)  # room for the legend
        above.legend(loc="upper left", fontsize=5, handlelength=1.2)
    axes[0, 0].set_ylabel("processor time (s)")
    axes[1, 0].set_ylabel("peak memory (GB)")
    axes[1, 0].legend(loc="lower right", fontsize=5)
    reasons = table[table.why != ""].drop_duplicates("work")
    notes = "; ".join(f"{r.work}: {r.why}" for r in reasons.itertuples())
    text = "Numbers: exponent of time over the three largest sizes (of a field: over its area)."
    text += f"\n* {notes}" if notes else ""
    figure.supxlabel(text, fontsize=5, x=0.01, ha="left")
    with files.atomic_path(RESULTS / "scaling.png") as temporary:
        figure.savefig(temporary, dpi=300)


if __name__ == "__main__":
    main()
