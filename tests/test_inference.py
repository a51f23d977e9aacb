"""Predictions: sahi's setting, the frame's shape and pixels, resuming, bad input."""

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from PIL import Image
from sahi.models.base import DetectionModel
from sahi.prediction import ObjectPrediction

from openurine_lib import inference, looking
from openurine_lib.data.boxes import XYXY
from openurine_lib.inference import BadField, predict_fields, predict_image, read_predictions
from openurine_lib.looking import cuts, uncut
from openurine_lib.ways import Way


class Bright(DetectionModel):
    """Finds the bright rectangle of an image: class 1 at 0.9, and class 0 there at 0.4."""

    def load_model(self):
        self.model = torch.nn.Conv2d(1, 1, 1)
        torch.nn.init.ones_(self.model.weight)
        self.calls = []

    def perform_inference(self, image):
        self.calls.append(image.shape)
        self._original_predictions = image[..., 0] > 200

    def _create_object_prediction_list_from_original_predictions(
        self, shift_amount_list=None, full_shape_list=None
    ):
        ys, xs = np.nonzero(self._original_predictions)
        boxes = []
        if len(xs):
            box = [float(xs.min()), float(ys.min()), float(xs.max()) + 1, float(ys.max()) + 1]
            shift, shape = np.ravel(shift_amount_list).tolist(), np.ravel(full_shape_list).tolist()
            boxes = [
                ObjectPrediction(
                    bbox=box, category_id=c, score=s, shift_amount=shift, full_shape=shape
                )
                for c, s in ((0, 0.4), (1, 0.9))
            ]
        self._object_prediction_list_per_image = [boxes]


@pytest.fixture
def detector():
    return Bright(device="cpu", confidence_threshold=0.001, image_size=64)


@pytest.fixture
def fields(tmp_path):
    rows = []
    for name, (x, y) in {"b": (50, 60), "a": (10, 12), "empty": (None, None)}.items():
        image = np.zeros((128, 160, 3), np.uint8)
        if x is not None:
            image[y : y + 9, x : x + 7] = 255
        path = tmp_path / f"{name}.png"
        Image.fromarray(image).save(path)
        rows.append((name, str(path), 160, 128))
    return pd.DataFrame(rows, columns=["image", "path", "width", "height"])


def test_the_papers_setting_reaches_sahi(monkeypatch, detector):
    seen = {}
    original = looking.get_sliced_prediction
    monkeypatch.setattr(
        looking, "get_sliced_prediction", lambda *a, **k: seen.update(k) or original(*a, **k)
    )
    predict_image(detector, np.zeros((128, 160, 3), np.uint8), 64, 0.25)
    assert (seen["slice_height"], seen["slice_width"]) == (64, 64)
    assert (seen["overlap_height_ratio"], seen["overlap_width_ratio"]) == (0.25, 0.25)
    assert seen["postprocess_type"] == "NMS" and seen["postprocess_match_metric"] == "IOU"
    assert seen["perform_standard_pred"] is False
    assert set(detector.calls) == {
        (64, 64, 3)
    }  # slices at their own pixels, and no pass over the whole


def test_sliced_and_whole_agree_in_original_pixels(detector):
    image = np.zeros((128, 160, 3), np.uint8)
    image[60:69, 50:57] = 255  # lies whole in the overlap of slices
    sliced, whole = predict_image(detector, image, 64, 0.25), predict_image(detector, image, None)
    best = sliced[sliced.conf == 0.9]
    assert best[["x1", "y1", "x2", "y2"]].to_numpy().tolist()[0] == [50, 60, 57, 69]
    assert whole[["cls", "conf"]].to_numpy().tolist() == [
        [1, 0.9],
        [0, 0.4],
    ]  # no suppression across classes
    assert set(sliced.cls) == {0, 1}


def test_frame_is_in_the_order_of_the_images_and_reads_back(detector, fields, tmp_path):
    out = tmp_path / "deep" / "predictions.csv"
    frame = predict_fields(detector, fields, 64, 0.25, out)
    assert list(dict.fromkeys(frame.image)) == ["b", "a"]
    pd.testing.assert_frame_equal(frame, read_predictions(out))
    assert [p.name for p in out.parent.iterdir()] == [
        "predictions.csv"
    ]  # no partial, no temporary file
    assert frame.cls.dtype.kind == "i" and frame.x1.dtype == float


def test_goes_on_after_a_kill_in_the_middle_of_a_line(detector, fields, tmp_path, monkeypatch):
    out, again = tmp_path / "once.csv", tmp_path / "again.csv"
    predict_fields(detector, fields, 64, 0.25, out)

    with tiny.killed_after(2, inference, "predict_image"):
        predict_fields(detector, fields, 64, 0.25, again)
    partial = again.with_name("again.csv.partial")
    partial.write_bytes(partial.read_bytes()[:-5])  # the second field's line is cut off
    original, asked = inference.predict_image, []
    monkeypatch.setattr(inference, "predict_image", lambda *a: asked.append(1) or original(*a))
    predict_fields(detector, fields, 64, 0.25, again)
    assert len(asked) == 2  # of three: the first was kept
    assert again.read_bytes() == out.read_bytes()


@pytest.mark.parametrize("change", ["weights", "slice", "conf", "field", "room"])
def test_never_goes_on_with_another_setting(detector, fields, tmp_path, monkeypatch, change):
    out = tmp_path / "p.csv"
    original, asked = inference.predict_image, []
    monkeypatch.setattr(
        inference, "predict_image", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        predict_fields(detector, fields, 64, 0.25, out)
    partial = out.with_name("p.csv.partial")
    partial.write_text(partial.read_text() + '{"image": "b", "boxes": []}\n')
    if change == "weights":
        torch.nn.init.zeros_(detector.model.weight)
    if change == "conf":
        detector.confidence_threshold = 0.5
    if change == "field":  # another picture under the same name
        Image.new("RGB", (160, 128), "white").save(fields.path[0])
    monkeypatch.setattr(inference, "predict_image", lambda *a: asked.append(1) or original(*a))
    side, room = 96 if change == "slice" else 64, 0.1 if change == "room" else 0.0
    predict_fields(detector, fields, side, 0.25, out, room=room)
    assert len(asked) == 3


def test_room_is_a_share_of_the_box_and_ends_at_the_edge(detector):
    image = np.zeros((128, 160, 3), np.uint8)
    image[60:70, 0:40] = 255
    tight = predict_image(detector, image, None)
    wide = predict_image(detector, image, None, room=0.1)
    assert wide[["cls", "conf"]].equals(tight[["cls", "conf"]])
    best = wide[wide.conf == 0.9][XYXY].to_numpy().tolist()[0]
    assert best == [0, 59, 44, 71], "4 px beside it, 1 px above and below, none beyond the edge"


def test_bad_fields_are_named_before_any_work(detector, fields, tmp_path):
    gone = pd.concat([fields, fields.assign(image="gone", path="/nowhere/gone.png").iloc[:1]])
    with pytest.raises(BadField, match=r"/nowhere/gone\.png"):
        predict_fields(detector, gone, 64, 0.25, tmp_path / "p.csv")
    assert detector.calls == []
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(BadField, match="broken.png"):
        inference.read_rgb(tmp_path / "broken.png")
    import ultralytics.utils.patches  # noqa: F401  (it puts its own function in the place of Image.open)

    with pytest.raises(BadField, match="broken.png"):
        inference.read_rgb(tmp_path / "broken.png")
    with pytest.raises(BadField, match="160 x 128 px, the data set says 99"):
        predict_fields(detector, fields.assign(width=99), 64, 0.25, tmp_path / "p.csv")


def test_a_field_at_once_is_seen_whole_at_the_slices_scale(detector, monkeypatch):
    detector.any_size = True
    detector.max_det = 100
    sizes = []
    original = detector.perform_inference
    monkeypatch.setattr(
        detector,
        "perform_inference",
        lambda image: sizes.append((detector.image_size, detector.max_det)) or original(image),
    )
    image = np.zeros((128, 160, 3), np.uint8)
    image[60:69, 50:57] = 255
    boxes = predict_image(detector, image, 80, 0.25, Way(at_once=True))
    assert detector.calls == [(128, 160, 3)]  # no slices
    # a slice of 80 px is seen at 64, so 160 px are seen at 128; on four times the area, four times
    # as many boxes
    assert sizes == [(128, 400)]
    assert (detector.image_size, detector.max_det) == (64, 100)  # for the next call
    assert boxes[["x1", "y1", "x2", "y2"]].to_numpy().tolist()[0] == [50, 60, 57, 69]


@pytest.mark.parametrize("why", ["no larger than a slice", "too large", "one size only", "whole"])
def test_other_fields_are_predicted_as_without_at_once(detector, why, monkeypatch):
    detector.any_size = why != "one size only"
    if why == "too large":
        monkeypatch.setattr(looking, "AT_ONCE_PX", 100)
    slice_px = {"no larger than a slice": 160, "whole": None}.get(why, 80)
    image = np.zeros((128, 160, 3), np.uint8)
    predict_image(detector, image, slice_px, 0.25, Way(at_once=True))
    with_it = detector.calls
    detector.calls = []
    predict_image(detector, image, slice_px, 0.25)
    assert with_it == detector.calls


def test_a_find_at_a_cut_is_left_out_if_another_slice_shows_it_away_from_one():
    """Two slices side by side that share 40 px; the field's own edges cut nothing."""
    slices = np.array([[0, 0, 100, 100], [60, 0, 160, 100]])
    piece, particle = [60, 10, 70, 20], [50, 10, 70, 20]  # the right slice cuts it
    touching, near = [63, 10, 75, 20], [64, 10, 75, 20]
    both = [70, 10, 90, 20]  # in both slices away from a cut
    alone = [2, 0, 30, 20]
    parts = [[10, 10, 100, 20], [60, 10, 155, 20]]  # of one that is longer than a slice
    left = np.array([particle, both, alone, parts[0]], float)
    right = np.array([piece, touching, near, both, parts[1]], float)
    assert uncut(left, slices, 0, (160, 100)).tolist() == [True, True, True, True]
    assert uncut(right, slices, 1, (160, 100)).tolist() == [False, False, True, True, True]
    assert uncut(np.empty((0, 4)), slices, 0, (160, 100)).shape == (0,)


def test_a_particle_that_a_slice_cuts_is_found_once(detector):
    """sahi's suppression keeps the piece, which overlaps the whole too little."""
    image = np.zeros((64, 112, 3), np.uint8)
    assert cuts(64, 112, 64, 0.25).tolist() == [[0, 0, 64, 64], [48, 0, 112, 64]]
    image[20:30, 40:53] = 255  # the right slice begins at 48, and shows 5 of its 13 px
    usual = predict_image(detector, image, 64, 0.25)
    assert sorted(usual[usual.cls == 1].x1) == [40, 48]
    whole = predict_image(detector, image, 64, 0.25, Way(uncut=True))
    assert whole[[*XYXY]].to_numpy().tolist() == [[40, 20, 53, 30]] * 2
    assert whole.conf.tolist() == [0.9, 0.4] and list(whole) == list(usual)


def test_an_empty_field_has_nothing_at_a_cut(detector):
    image = np.zeros((64, 112, 3), np.uint8)
    found = predict_image(detector, image, 64, 0.25, Way(uncut=True))
    assert found.empty and found.dtypes.equals(predict_image(detector, image, 64, 0.25).dtypes)
