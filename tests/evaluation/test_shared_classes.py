"""Scores in the classes that a data set shares with OpenUrine."""

import pandas as pd

from openurine_lib.data import taxonomy
from openurine_lib.data.dataset import BOX_COLUMNS
from openurine_lib.evaluation import shared_classes as sc
from openurine_lib.evaluation.metrics import average_precision

URISED = taxonomy.load("urised2k")
OPENURINE = taxonomy.load("openurine")


def boxes(*rows, confidences=None):
    """(image, class id, x, y, side) a row, and confidences if they are detections."""
    frame = pd.DataFrame(
        [(image, cls, x, y, x + side, y + side) for image, cls, x, y, side in rows],
        columns=BOX_COLUMNS,
    )
    if confidences is not None:
        frame["conf"] = confidences
    return frame


def test_detections_get_the_data_sets_classes():
    found = boxes(
        ("a", OPENURINE.id("RBC"), 0, 0, 9), ("a", OPENURINE.id("Mucus"), 5, 5, 9),
        ("b", OPENURINE.id("Epithelial cell (squamous)"), 1, 1, 9),
    )  # fmt: skip
    kept = sc.renamed(found, URISED, OPENURINE)
    assert list(kept["image"]) == ["a", "b"]
    assert [URISED.classes[c] for c in kept["cls"]] == ["erythrocyte", "epithelial"]


def test_a_detection_on_an_ignored_box_does_not_count_unless_a_wanted_one_is_nearer():
    wanted = boxes(("a", 0, 100, 100, 20))
    others = boxes(("a", 7, 0, 0, 20), ("a", 7, 104, 100, 20), ("c", 7, 0, 0, 20))
    found = boxes(
        ("a", 0, 1, 0, 20),  # on an ignored one
        ("a", 0, 100, 101, 20),  # on both, but nearer to the wanted one
        ("a", 0, 50, 50, 20),  # on neither
        ("b", 0, 0, 0, 20),  # on a field without any
    )  # fmt: skip
    kept = sc.without_ignored(found, wanted, others, 0.5)
    assert list(kept.index) == [1, 2, 3]


def test_the_room_that_annotators_leave_is_measured_on_sure_detections_of_the_class():
    truth = boxes(("a", 0, 95, 95, 30), ("a", 1, 200, 200, 40), ("b", 0, 46, 46, 28))
    found = boxes(
        ("a", 0, 100, 100, 20),  # 5 px of room
        ("a", 0, 205, 205, 30),  # another class
        ("b", 0, 50, 50, 20),  # 4 px of room
        ("b", 0, 52, 52, 16),  # 6 px, but not sure
        ("c", 0, 0, 0, 20),
        confidences=[0.9, 0.9, 0.8, 0.2, 0.9],
    )  # fmt: skip
    assert sc.room(found, truth) == 4.5
    assert sc.room(found[found.image == "c"], truth) == 0


def test_widened_boxes_meet_loose_ones():
    truth = boxes(("a", 0, 95, 95, 30))
    found = boxes(("a", 0, 100, 100, 20), confidences=[0.9])
    tight, loose = (
        average_precision(truth, boxes_, 1, ["a"], 0.5)[0]
        for boxes_ in (found, sc.widened(found, 5))
    )
    assert (tight, loose) == (0, 1)
    assert average_precision(truth, found, 1, ["a"], 0.3)[0] == 1


def test_average_precision_of_a_class_without_a_true_box_is_no_number():
    truth = boxes(("a", 0, 0, 0, 20))
    found = boxes(("a", 1, 0, 0, 20), confidences=[0.9])
    aps = average_precision(truth, found, 2, ["a"], 0.5)
    assert aps[0] == 0 and pd.isna(aps[1])
