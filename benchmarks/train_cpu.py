"""One epoch of training on this processor: stock ultralytics as a user runs it, against this project's engine.

The same model (yolo12n, one head, 39 classes), images, size, batch and augmentation; each in a process of its own. The
clock runs from the first batch to the end of the epoch; stock includes its validation, which a user gets without
asking.
"""

import tempfile
from pathlib import Path

import pairs

from openurine_lib import open_run
from synthurine import write

IMGSZ, BATCH, FIELDS = 320, 16, 96

STOCK = """
import sys, time
from ultralytics import YOLO
at = {}
model = YOLO("yolo12n.yaml")
model.add_callback("on_train_epoch_start", lambda t: at.setdefault("start", time.perf_counter()))
model.add_callback("on_fit_epoch_end", lambda t: at.setdefault("end", time.perf_counter()))
model.train(data=sys.argv[1], imgsz=int(sys.argv[2]), batch=int(sys.argv[3]), epochs=1, cache="ram", device="cpu",
            pretrained=False, plots=False, verbose=False, project=sys.argv[4], optimizer="SGD")
print(at["end"] - at["start"])
"""

OURS = """
import sys, time
from pathlib import Path
from openurine_lib import open_run
from openurine_lib.training.engines import ultralytics as engine
from openurine_lib.training.job import TrainJob
from openurine_lib.experiments.methods import profile
d = open_run(sys.argv[1], "smoke", 0).dataset
images = d.images[d.images.split == "labelled"].reset_index(drop=True)
at = {}
def clock(cls, name, key):
    old = getattr(cls, name)
    def timed(self, *a, **k):
        if key == "start": at.setdefault(key, time.perf_counter())
        out = old(self, *a, **k)
        if key == "end": at.setdefault(key, time.perf_counter())
        return out
    setattr(cls, name, timed)
old = engine._reseed
engine._reseed = lambda t: (at.setdefault("start", time.perf_counter()), old(t))
clock(engine._Frames, "validate", "end")
library = {"mosaic": 1.0, "hsv_h": 0.015, "hsv_s": 0.7, "hsv_v": 0.4, "translate": 0.1, "scale": 0.5, "fliplr": 0.5}
settings = profile("paper").settings | library | {"batch": int(sys.argv[3]), "nbs": 64, "epochs": 1}
engine.fit(TrainJob("yolo12n", d.taxonomy, "single", int(sys.argv[2]), images, d.boxes_of(images), 1, settings, 0,
                    Path(sys.argv[4]), "cpu"))
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
        (data / "data.yaml").write_text(
            (data / "data.yaml").read_text().replace("path: .", f"path: {data}"), encoding="utf-8"
        )
        open_run(str(data), "smoke", 0)
        arguments = (str(IMGSZ), str(BATCH))
        count = iter(range(100))
        pairs.compare(
            "train_cpu",
            f"stock ultralytics, yolo12n, {IMGSZ} px, batch {BATCH}, one epoch of {FIELDS} images with its validation",
            lambda: pairs.in_a_process(
                STOCK, str(data / "data.yaml"), *arguments, str(root / f"s{next(count)}")
            ),
            lambda: pairs.in_a_process(OURS, str(data), *arguments, str(root / f"o{next(count)}")),
        )


if __name__ == "__main__":
    main()
