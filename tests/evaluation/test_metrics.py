"""The evaluator against hand-made cases, COCO's evaluator and ultralytics' validator."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from openurine_lib.evaluation.metrics import (
    CONVENTION,
    as_ultralytics,
    evaluate,
    over_folds,
    score,
    summary,
)

PERFECT = 1.0


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def boxes(*rows):
    return pd.DataFrame(rows, columns=["image", "cls", "x1", "y1", "x2", "y2"])


def found(*rows):
    return pd.DataFrame(rows, columns=["image", "cls", "conf", "x1", "y1", "x2", "y2"])


def random_case(seed=0, n_images=12, n_classes=4):
    """Crowded fields: jittered, missed, invented and misnamed boxes; one field without objects."""
    rng = np.random.default_rng(seed)
    images = [f"field{i}" for i in range(n_images)]
    true, pred = [], []
    for image in images[1:]:
        for _ in range(rng.integers(3, 15)):
            x, y, w, h = *rng.uniform(0, 500, 2), *rng.uniform(12, 60, 2)
            cls = int(rng.integers(n_classes))
            true.append((image, cls, x, y, x + w, y + h))
            for _ in range(rng.integers(0, 3)):
                dx, dy, dw, dh = rng.normal(0, 0.08, 4) * (w, h, w, h)
                guess = cls if rng.random() < 0.8 else int(rng.integers(n_classes))
                pred.append(
                    (image, guess, rng.random(), x + dx, y + dy, x + w + dx + dw, y + h + dy + dh)
                )
    for image in images:
        x, y = rng.uniform(0, 500, 2)
        pred.append((image, int(rng.integers(n_classes)), rng.random() * 0.6, x, y, x + 30, y + 30))
    return boxes(*true), found(*pred), n_classes, images


def test_exact_by_hand():
    """Four boxes, detections right, wrong, right: precision 1, 1/2, 2/3 at recall 1/4, 1/4, 1/2.

    The envelope is 1 below recall 1/4, then 2/3 below 1/2, then 0. By trapezoids of 0.01: 24 at 1,
    one from 1 to 2/3, 24 at 2/3, one from 2/3 to 0.
    """
    true = boxes(*[("a", 0, 100 * i, 0, 100 * i + 10, 10) for i in range(4)])
    pred = found(
        ("a", 0, 0.9, 0, 0, 10, 10), ("a", 0, 0.8, 50, 50, 60, 60), ("a", 0, 0.7, 100, 0, 110, 10)
    )
    row = evaluate(true, pred, 1, ["a"]).iloc[0]
    assert row["boxes"] == 4
    assert row["ap50"] == pytest.approx(
        0.24 + 0.01 * (1 + 2 / 3) / 2 + 0.24 * 2 / 3 + 0.01 * 2 / 3 / 2
    )
    assert row["ap50_95"] == pytest.approx(row["ap50"])
    assert (row["precision"], row["recall"]) == pytest.approx((2 / 3, 0.5))


def test_iou_thresholds_by_hand():
    """A detection of IoU 0.68 counts at .5, .55, .6, .65 only: 4 of 10 thresholds."""
    row = evaluate(
        boxes(("a", 0, 0, 0, 100, 100)), found(("a", 0, 0.9, 0, 0, 68, 100)), 1, ["a"]
    ).iloc[0]
    assert row["ap50"] == pytest.approx(PERFECT)
    assert row["ap50_95"] == pytest.approx(0.4 * PERFECT)


def test_second_detection_of_a_box_is_false():
    true = boxes(("a", 0, 0, 0, 10, 10))
    once = found(("a", 0, 0.9, 0, 0, 10, 10))
    twice = found(("a", 0, 0.9, 0, 0, 10, 10), ("a", 0, 0.9, 0, 0, 10, 10))
    assert evaluate(true, once, 1, ["a"])["precision"][0] == pytest.approx(1.0)
    assert evaluate(true, twice, 1, ["a"])["precision"][0] == pytest.approx(0.5)


def test_perfect_detector():
    true, _, n, images = random_case()
    perfect = summary(evaluate(true, true.assign(conf=0.9), n, images))
    assert perfect == pytest.approx(
        {"precision": 1, "recall": 1, "map50": PERFECT, "map50_95": PERFECT}
    )


def test_full_recall_ends_at_its_precision():
    """Right, wrong, right of two boxes: the envelope is 1 to recall 1/2, then 2/3 to recall 1."""
    true = boxes(("a", 0, 0, 0, 10, 10), ("a", 0, 100, 0, 110, 10))
    pred = found(
        ("a", 0, 0.9, 0, 0, 10, 10), ("a", 0, 0.8, 50, 50, 60, 60), ("a", 0, 0.7, 100, 0, 110, 10)
    )
    ap = evaluate(true, pred, 1, ["a"])["ap50"][0]
    assert ap == pytest.approx(0.49 + 0.01 * (1 + 2 / 3) / 2 + 0.50 * 2 / 3)


@pytest.mark.parametrize("n", [0, 3])
def test_empty_detector_is_zero(n):
    true = boxes(*[("a", i, 0, 0, 10, 10) for i in range(n)])
    table = evaluate(true, found(), 3, ["a", "empty field"])
    assert len(table) == 3
    assert (table[["recall", "ap50", "ap50_95", CONVENTION]].to_numpy() == 0).all() == bool(n)
    assert np.isnan(summary(table)["map50"]) == (not n)
    assert table["precision"].isna().all() and np.isnan(summary(table)["precision"])


def nothing_sure():
    """RBC (0) right and wrong; of 1 only doubtful detections; of 2 none; of 3 a wrong one."""
    true = boxes(*[("a", c, 100 * c, 0, 100 * c + 10, 10) for c in range(4)])
    pred = found(
        ("a", 0, 0.9, 0, 0, 10, 10),
        ("a", 0, 0.8, 0, 50, 10, 60),
        ("a", 1, 0.1, 100, 50, 110, 60),
        ("a", 3, 0.95, 300, 50, 310, 60),
    )
    return true, pred


def test_a_class_without_a_detection_has_no_precision():
    """Of 1 and 2 nothing is detected at the best confidence; ultralytics has 1 and 0 for them."""
    scores = score(*nothing_sure(), 4, ["a"])
    assert 0.1 < scores.confidence <= 0.9
    assert scores.table["recall"].tolist() == [1, 0, 0, 0]
    precision = scores.table["precision"]
    assert np.isnan(precision[[1, 2]]).all() and precision[3] == 0
    assert scores.table[CONVENTION].tolist() == [precision[0], 1, 0, 0]


def test_the_mean_precision_is_over_classes_with_a_detection_and_ultralytics_stands_beside():
    table = evaluate(*nothing_sure(), 4, ["a"])
    first = table["precision"][0]
    assert summary(table)["precision"] == pytest.approx((first + 0) / 2)
    beside = as_ultralytics(table)
    assert beside == {CONVENTION: pytest.approx((first + 1 + 0 + 0) / 4), "undetected": 2}


def test_metrics_stored_before_are_read_in_the_same_sense():
    """Their precision is ultralytics': 1 at a recall of 0 where nothing is detected."""
    old = evaluate(*nothing_sure(), 4, ["a"]).assign(precision=lambda t: t[CONVENTION])
    old = old.drop(columns=CONVENTION)
    first = old["precision"][0]
    assert summary(old)["precision"] == pytest.approx((first + 0 + 0) / 3)  # a 0 cannot be told
    assert as_ultralytics(old) == {CONVENTION: pytest.approx((first + 1) / 4), "undetected": 1}


def test_class_without_truth_is_absent_and_left_out_of_the_mean():
    true = boxes(("a", 0, 0, 0, 10, 10))
    table = evaluate(
        true, found(("a", 0, 0.9, 0, 0, 10, 10), ("a", 2, 0.9, 0, 0, 10, 10)), 3, ["a"]
    )
    assert table["boxes"].tolist() == [1, 0, 0]
    assert table["ap50"].isna().tolist() == [False, True, True]
    assert summary(table)["map50"] == pytest.approx(PERFECT)


def test_detections_on_a_field_without_objects_are_false():
    true, fields = boxes(("a", 0, 0, 0, 10, 10)), ["a", "nothing here"]
    right = found(("a", 0, 0.5, 0, 0, 10, 10))
    wrong = pd.concat([right, found(("nothing here", 0, 0.9, 0, 0, 10, 10))])
    assert evaluate(true, right, 1, fields)["ap50"][0] == pytest.approx(PERFECT)
    assert evaluate(true, wrong, 1, fields)["ap50"][0] == pytest.approx(PERFECT / 2)


def test_order_of_rows_does_not_matter():
    true, pred, n, images = random_case(3)
    shuffled = evaluate(
        true.sample(frac=1, random_state=1), pred.sample(frac=1, random_state=1), n, images
    )
    pd.testing.assert_frame_equal(shuffled, evaluate(true, pred, n, images))


@pytest.mark.parametrize(
    ("true", "pred", "says"),
    [
        (boxes(), found(("b", 0, 0.9, 0, 0, 1, 1)), "predictions.*not scored.*'b'"),
        (boxes(("b", 0, 0, 0, 1, 1)), found(), "truth.*not scored.*'b'"),
        (boxes(("a", 7, 0, 0, 1, 1)), found(), "truth.*class ids .7. outside 0..1"),
    ],
)
def test_stray_boxes_and_classes_are_refused(true, pred, says):
    with pytest.raises(ValueError, match=says):
        evaluate(true, pred, 2, ["a"])


def test_against_coco():
    """AP within 0.02 of COCO's in each class, 0.01 in the mean: COCO averages at 101 recalls."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    true, pred, n, images = random_case(1)
    ours = evaluate(true, pred, n, images)

    def entries(frame):
        wh = {"w": frame.x2 - frame.x1, "h": frame.y2 - frame.y1}
        for i, row in enumerate(frame.assign(**wh).itertuples(), 1):
            yield {
                "id": i,
                "image_id": images.index(row.image),
                "category_id": int(row.cls),
                "bbox": [row.x1, row.y1, row.w, row.h],
                "area": row.w * row.h,
                "iscrowd": 0,
                "score": getattr(row, "conf", 1.0),
            }

    fields, categories = (
        [{"id": i} for i in range(len(images))],
        [{"id": c, "name": str(c)} for c in range(n)],
    )
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": fields,
        "categories": categories,
        "annotations": list(entries(true)),
    }
    coco.createIndex()
    judge = COCOeval(coco, coco.loadRes(list(entries(pred))), "bbox")
    judge.params.maxDets = [1000, 1000, 1000]
    judge.evaluate()
    judge.accumulate()
    ap = judge.eval["precision"][:, :, :, 0, -1].mean(axis=1)  # (10 thresholds, classes)
    assert 0.2 < ours["ap50"].mean() < 0.9
    np.testing.assert_allclose(ours["ap50"], ap[0], atol=0.02)
    np.testing.assert_allclose(ours["ap50_95"], ap.mean(0), atol=0.02)
    assert ours["ap50"].mean() == pytest.approx(ap[0].mean(), abs=0.01)
    assert ours["ap50_95"].mean() == pytest.approx(ap.mean(), abs=0.01)


def test_against_ultralytics_validator(tmp_path):
    """The very numbers that ``DetectionValidator`` reports on the same boxes."""
    from ultralytics.models.yolo.detect import DetectionValidator

    true, pred, n, images = random_case(2)
    names, size = {c: str(c) for c in range(n)}, 640
    validator = DetectionValidator(save_dir=tmp_path, args={"plots": False})
    validator.device, validator.metrics.names = torch.device("cpu"), names
    validator.seen, validator.is_custom_json, validator.build_gdict = (
        0,
        False,
        False,
    )  # as init_metrics leaves them
    for image in images:
        t = true[true.image == image]
        p = pred[pred.image == image].sort_values("conf", ascending=False)
        centre = (
            np.stack([(t.x1 + t.x2) / 2, (t.y1 + t.y2) / 2, t.x2 - t.x1, t.y2 - t.y1], 1) / size
        )
        batch = {
            "batch_idx": torch.zeros(len(t)),
            "cls": torch.tensor(t.cls.to_numpy(float)).reshape(-1, 1),
            "bboxes": torch.tensor(centre),
            "ori_shape": [(size, size)],
            "img": torch.zeros(1, 3, size, size),
            "ratio_pad": [((1.0, 1.0), (0.0, 0.0))],
            "im_file": [f"{image}.png"],
        }
        here = {"bboxes": p[["x1", "y1", "x2", "y2"]], "conf": p.conf, "cls": p.cls}
        validator.update_metrics(
            [{k: torch.tensor(v.to_numpy(float)) for k, v in here.items()}], batch
        )
    validator.metrics.process(plot=False)
    box = validator.metrics.box
    ours = evaluate(true, pred, n, images)
    theirs = np.stack([box.p, box.r, box.ap50, box.ap], 1)
    np.testing.assert_allclose(ours[["precision", "recall", "ap50", "ap50_95"]], theirs)
    assert tuple(summary(ours).values()) == pytest.approx(tuple(box.mean_results()))
    assert as_ultralytics(ours) == {CONVENTION: pytest.approx(box.mp), "undetected": 0}


def test_best_confidence_separates_right_from_wrong():
    true = boxes(*[("a", 0, 100 * i, 0, 100 * i + 10, 10) for i in range(10)])
    right = true.assign(conf=0.8)
    wrong = right.assign(conf=0.3, y1=50, y2=60)
    assert 0.3 < score(true, pd.concat([right, wrong]), 1, ["a"]).confidence < 0.8


def test_score_reads_precision_at_the_best_confidence():
    true, pred, n, images = random_case(4)
    scores = score(true, pred, n, images)
    kept = pred[pred.conf >= scores.confidence]
    table = evaluate(true, pred, n, images)
    recalled = table["recall"] * table["boxes"]
    assert recalled.sum() < len(kept)
    pd.testing.assert_frame_equal(scores.table, table)


def test_over_folds():
    one = {"precision": 0.5, "recall": 0.4, "map50": 0.3, "map50_95": 0.2}
    two = {"precision": 0.7, "recall": 0.4, "map50": 0.5, "map50_95": 0.4}
    mean, std = over_folds([one, two])
    assert mean == pytest.approx({"precision": 0.6, "recall": 0.4, "map50": 0.4, "map50_95": 0.3})
    assert std["precision"] == pytest.approx(0.2 / 2**0.5)
    assert np.isnan(over_folds([one])[1]["map50"])
