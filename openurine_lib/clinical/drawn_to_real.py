"""What a detector that was trained on drawn fields finds on real ones, without one real label.

The detector is the one that comes with the project. It predicts a fold's test fields, and is scored
in the classes that the data set shares with OpenUrine. Beside it stand the run's own detectors,
which were trained on the real fields of the other patients or slides.

A drawn box is as tight as its particle, an annotator's has room around it. So there are scores of
the boxes as they are found; of boxes with the usual room, which ``predict`` gives; and of boxes
widened by the room that is measured on training fields (the one use of real labels). Average
precision is given at an IoU of 0.5, which asks whether the box fits, and of 0.3, which asks whether
the particle is found.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from openurine_lib import default_weights
from openurine_lib.clinical import validation
from openurine_lib.data.boxes import with_room
from openurine_lib.evaluation.shared_classes import average_precision_of, renamed, room, widened
from openurine_lib.experiments.methods import OURS, method
from openurine_lib.experiments.run import Run
from openurine_lib.files import digest, digest_of_file
from openurine_lib.inference import CONFIDENCE, OVERLAP, predict_fields, read_predictions
from openurine_lib.speed.processor import device
from openurine_lib.training.engines import engine
from openurine_lib.training.weights import DETECTOR, read_weights, taxonomy_of, usual_room

IOUS = {"ap50": 0.5, "ap30": 0.3}
MEAN = "mean"
ROOM_FIELDS = 60  # training fields on which the annotators' habit is measured
BESIDE = ("yolo12m", "yolo12m-sahi", OURS)  # trained on the real fields, as far as they have been
DRAWN = "trained on drawn fields, no real label"
# how much the boxes have on each side beside what was found
NONE, USUAL, MEASURED = "none", "as predict gives", "{:.1f} px, as measured"
COLUMNS = ["detector", "room", "class", "boxes", *IOUS]


def table_drawn_to_real(run: Run, fold: int) -> pd.DataFrame | None:
    """COLUMNS of each detector and shared class on the fold's test fields; ``class`` MEAN last.

    room: one of NONE, USUAL, MEASURED. AP in percent. None where there is nothing to compare: the
    fields are drawn, or no class has an equal in OpenUrine.
    """
    data = run.dataset
    if data.synthetic or not data.taxonomy.openurine:
        return None
    test, train = run.test_images(fold), data.train_images(fold, ROOM_FIELDS)
    weights = default_weights.path()
    found = found_by(run, weights, test, f"test-fold{fold}")
    # one look at each will do, as room is a median over many boxes
    on_train = found_by(run, weights, train, f"train-fold{fold}", looks=1)
    habit = room(on_train, data.boxes_of(train))
    ways = {
        NONE: found,
        USUAL: with_usual_room(found, weights),
        MEASURED.format(habit): widened(found, habit),
    }
    lines = [(DRAWN, way, *score) for way, boxes in ways.items()
             for score in scores(run, test, boxes)]  # fmt: skip
    for name in BESIDE:
        file = run.predict_dir(method(name), fold) / "predictions.csv"
        if file.exists():
            lines += [(name, NONE, *score) for score in scores(run, test, read_predictions(file))]
    return pd.DataFrame(lines, columns=COLUMNS)


def sentence(table: pd.DataFrame | None) -> str:
    """What ``table_drawn_to_real`` says, in words."""
    if table is None:
        return (
            "The fields of this run are drawn, or share no class with OpenUrine. With a set of real"
            " fields (make reproduce DATA=...) the table shows what drawn fields are worth there."
        )
    means = table[table["class"] == MEAN]
    tight, usual, loose = means[means.detector == DRAWN].itertuples(index=False)
    said = (
        f"Without one real label, the mean AP of the {len(table['class'].unique()) - 1} shared"
        f" classes is {usual.ap30:.1f} % at an IoU of 0.3 and {usual.ap50:.1f} % at 0.5. The boxes"
        " have some room around a particle, as annotators leave it; tight ones, as they are drawn,"
        f" have {tight.ap50:.1f} % at 0.5. Widened by {loose.room} on training fields, they have"
        f" {loose.ap50:.1f} %."
    )
    trained = means[means.detector != DRAWN]
    if len(trained):
        best = trained.loc[trained.ap50.idxmax()]
        said += f" {best.detector}, trained on the real fields, has {best.ap50:.1f} % at 0.5."
    return said


def scores(
    run: Run, test: pd.DataFrame, found: pd.DataFrame
) -> Iterator[tuple[str, int, float, float]]:
    """(class, boxes, AP at an IoU of 0.5, at 0.3) of each shared class, and MEAN last.

    test: images. found: a detector's boxes on them, with the data set's class ids. AP in percent.
    """
    known, truth = run.dataset.taxonomy, run.dataset.boxes_of(test)
    shared, images = list(known.openurine), list(test["image"])
    counts = truth.loc[truth["cls"].isin(shared), "cls"].value_counts().sort_index()
    ap50, ap30 = (
        100 * average_precision_of(shared, truth, found, known.n, images, iou)[counts.index]
        for iou in IOUS.values()
    )
    for cls, boxes in counts.items():
        yield known.classes[cls], boxes, ap50[cls], ap30[cls]
    yield MEAN, int(counts.sum()), ap50.mean(), ap30.mean()


def found_by(
    run: Run, weights: Path, images: pd.DataFrame, name: str, looks: int | None = None
) -> pd.DataFrame:
    """What a detector finds, in the data set's classes; predicted once, as its record says, and
    kept under ``name``. looks: at each field; None: as the record says."""
    known = validation.read(weights)
    way = validation.usual_way(known)
    way = dataclasses.replace(way, looks=looks or way.looks)
    side = known.get("slice_px") or None
    # looked at in another way, it finds something else
    out = _folder(run, weights) / f"{name}-{digest(side, way, length=8)}.csv"
    meta = read_weights(weights, needed=DETECTOR)["meta"]
    if not out.exists():
        detector = engine(meta["engine"]).detector(weights, CONFIDENCE, device(), meta["imgsz"])
        predict_fields(detector, images, side, OVERLAP, out, way=way)
    found, classes = read_predictions(out), taxonomy_of(meta, weights)
    own = run.dataset.taxonomy
    return found if classes.classes == own.classes else renamed(found, own, classes)


def with_usual_room(found: pd.DataFrame, weights: Path) -> pd.DataFrame:
    """The boxes as ``predict`` gives them; found: [x1, y1, x2, y2, ...] by these weights."""
    return with_room(found, usual_room(read_weights(weights, needed=DETECTOR)["meta"]))


def _folder(run: Run, weights: Path) -> Path:
    """Other weights or other data have another folder."""
    key = f"{digest_of_file(weights)[:8]}-{run.dataset.fingerprint[:8]}"
    return run.dir / "drawn_to_real" / key
