"""Slices side by side: how many threads call the network, and whose pixels the boxes are in."""

import threading

import numpy as np
import pytest
import torch

from openurine_lib.inference import predict_image
from openurine_lib.speed.parallel import ParallelDetectionModel


class Bright(torch.nn.Module):
    """Finds the bright rectangle of an image as class 1 at 0.9, and tells who called it."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, x):
        self.calls.append((threading.current_thread(), torch.get_num_threads(), tuple(x.shape)))
        ys, xs = torch.nonzero(x[0, 0] > 0.9, as_tuple=True)
        if not len(xs):
            return torch.zeros(1, 6, 1)
        x1, x2, y1, y2 = (float(v) for v in (xs.min(), xs.max() + 1, ys.min(), ys.max() + 1))
        box = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, 0.0, 0.9]
        return torch.tensor(box)[None, :, None], "what a network adds in evaluation"


def parallel(model, imgsz):
    return ParallelDetectionModel(model, ["a", "b"], 0.1, imgsz, max_det=300)


@pytest.fixture(params=[1, 2, 3])
def threads(request, monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setenv("OPENURINE_THREADS", str(request.param))
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def field():
    image = np.zeros((128, 160, 3), np.uint8)
    image[80:90, 70:80] = 255  # no slice cuts it, and two see it
    return image


def test_boxes_are_in_the_fields_pixels_for_any_number_of_cores(threads, field):
    detector = parallel(Bright(), 128)  # slices of 64 px are shown at twice their size
    for slice_px in (64, None):
        boxes = predict_image(detector, field, slice_px)
        assert np.allclose(
            boxes[["cls", "conf", "x1", "y1", "x2", "y2"]], [[1, 0.9, 70, 80, 80, 90]], atol=1.6
        )


def test_a_core_a_slice_and_all_cores_for_one_image(threads, field):
    model = Bright()
    detector = parallel(model, 64)
    predict_image(detector, field, 64)
    assert len(model.calls) == 9 and {shape for *_, shape in model.calls} == {(1, 3, 64, 64)}
    assert {n for _, n, _ in model.calls} == {1}
    assert threading.main_thread() not in {thread for thread, *_ in model.calls}
    assert torch.get_num_threads() == threads
    model.calls.clear()
    predict_image(detector, field, None)
    assert model.calls == [
        (threading.main_thread(), threads, (1, 3, 64, 64))
    ]  # 160 x 128 at 64 px: 64 x 52, filled up


def test_nothing_found_is_no_box(field):
    assert predict_image(parallel(Bright(), 64), np.zeros_like(field), 64).empty
