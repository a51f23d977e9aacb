"""One epoch of training on this processor: stock ultralytics, against this project's engine.

Both train the same model (yolo12n, one head, 39 classes) with the same images, size, batch and
augmentation, each in a process of its own. The clock runs from the first batch to the end of the
epoch. Stock ultralytics runs as a user runs it, so its time includes a validation, which a user
gets without asking.
"""

import itertools
import tempfile
from pathlib import Path

import pairs

from openurine_lib import open_run
from synthurine import write

IMGSZ = 320
BATCH = 16
FIELDS = 96

STOCK = """
import sys, time
from ultralytics import YOLO
at = {}
model = YOLO("yolo12n.yaml")
model.add_callback("on_train_epoch_start", lambda t: at.setdefault("start", time.perf_counter()))
model.add_callback("on_fit_epoch_end", lambda t: at.setdefault("end", time.perf_counter()))
model.train(
    data=sys.argv[1], imgsz=int(sys.argv[2]), batch=int(sys.argv[3]), epochs=1, cache="ram",
    device="cpu", pretrained=False, plots=False, verbose=False, project=sys.argv[4],
    optimizer="SGD",
)
print(at["end"] - at["start"])
"""

OURS = """
import sys, time
from pathlib import Path
from openurine_lib import open_run
from openurine_lib.experiments.methods import profile
from openurine_lib.training.engines import ultralytics as engine
from openurine_lib.training.job import TrainJob
d = open_run(sys.argv[1], "smoke", 0).dataset
images = d.images[d.images.split == "labelled"].reset_index(drop=True)
at = {}
# the engine calls the first when an epoch starts, and the second when it has ended
reseed = engine._reseed
validate = engine._Frames.validate
def start(trainer):
    at.setdefault("start", time.perf_counter())
    reseed(trainer)
def end(trainer):
    result = validate(trainer)
    at.setdefault("end", time.perf_counter())
    return result
engine._reseed = start
engine._Frames.validate = end
library = {  # augmentation, as stock has it
    "mosaic": 1.0, "hsv_h": 0.015, "hsv_s": 0.7, "hsv_v": 0.4,
    "translate": 0.1, "scale": 0.5, "fliplr": 0.5,
}
settings = profile("paper").settings | library | {"batch": int(sys.argv[3]), "nbs": 64, "epochs": 1}
engine.fit(TrainJob(
    arch="yolo12n", taxonomy=d.taxonomy, heads="single", imgsz=int(sys.argv[2]), images=images,
    boxes=d.boxes_of(images), epochs=1, settings=settings, seed=0, dir=Path(sys.argv[4]),
    device="cpu",
))
print(at["end"] - at["start"])
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        spec = {
            "fields": FIELDS,
            "unlabelled": 0,
            "cohort": 0,
            "patients": 20,
            "field_px": IMGSZ,
            "field_um": 210,
        }
        data = write(root / "fields", spec, 0)
        # ultralytics takes a relative path from the working directory
        listing = data / "data.yaml"
        absolute = listing.read_text().replace("path: .", f"path: {data}")
        listing.write_text(absolute, encoding="utf-8")
        open_run(str(data), "smoke", 0)
        arguments = (str(IMGSZ), str(BATCH))
        count = itertools.count()  # each training gets a new folder
        setting = f"yolo12n, {IMGSZ} px, batch {BATCH}"
        pairs.compare(
            "train_cpu",
            f"stock ultralytics, {setting}, one epoch of {FIELDS} images with its validation",
            lambda: pairs.in_a_process(
                STOCK, str(listing), *arguments, str(root / f"s{next(count)}")
            ),
            lambda: pairs.in_a_process(OURS, str(data), *arguments, str(root / f"o{next(count)}")),
        )


if __name__ == "__main__":
    main()
