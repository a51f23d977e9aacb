"""DP-YOLO: its convolutions move, its candidates are petals, and it trains as others do."""

import copy

import pandas as pd
import pytest
import tiny
import torch
from test_engine_ultralytics import LEARN, Kill, equal, kill_after, state
from ultralytics.nn.modules.conv import Conv
from ultralytics.utils.tal import make_anchors

from openurine_lib.evaluation.metrics import evaluate, summary
from openurine_lib.inference import predict_fields, predict_image, read_rgb
from openurine_lib.model.build import build_model
from openurine_lib.model.dp_yolo import DeformableConv, PetalAssigner
from openurine_lib.training.engines import ultralytics as engine
from openurine_lib.training.weights import WeightsError

ARCH = "yolov5n-dp"


def test_a_deformable_convolution_starts_as_an_ordinary_one_and_can_look_aside():
    torch.manual_seed(0)
    stock = Conv(4, 6, 3).eval()
    x = torch.rand(2, 4, 10, 10)
    moved = DeformableConv(copy.deepcopy(stock)).eval()
    torch.testing.assert_close(moved(x), stock(x))
    with torch.no_grad():
        moved.moves.bias[1:18:2] = 1.0  # every sample one pixel to the right
    torch.testing.assert_close(moved(x)[..., 1:-2], stock(x.roll(-1, 3))[..., 1:-2])


def test_fusing_for_prediction_keeps_the_moves():
    """Before it predicts, the library fuses a ``Conv`` and its batch norm into a plain one."""
    torch.manual_seed(0)
    model = build_model(ARCH, tiny.TAXONOMY, "single").eval()
    deformable = [m for m in model.modules() if isinstance(m, DeformableConv)]
    assert len(deformable) == 3 + 1, "YOLOv5n has three bottlenecks at stride 16 and one at 32"
    for m in model.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.running_var.fill_(0.05)  # an untrained network's signals would fade away
    for m in deformable:
        torch.nn.init.normal_(m.moves.weight, 0, 0.2)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        whole = model(x)[0]
        torch.testing.assert_close(copy.deepcopy(model).fuse()(x)[0], whole, atol=1e-3, rtol=1e-3)
        for m in deformable:
            torch.nn.init.zeros_(m.moves.weight)
        assert not torch.allclose(model(x)[0], whole, atol=1e-3), "the moves make no difference"


def test_what_is_not_a_number_moves_nothing():
    """The kernel would read outside its memory; ``fuse`` counts operations on unset memory."""
    conv = DeformableConv(Conv(4, 4, 3)).eval()
    with torch.no_grad():
        out = conv(torch.full((1, 4, 8, 8), torch.nan))
    assert out.shape == (1, 4, 8, 8) and out.isnan().all()


def test_candidates_are_the_petals_around_the_centre():
    assigner = PetalAssigner(10, 3, 0.5, 6.0, [8, 16, 32])
    points, strides = make_anchors(
        [torch.zeros(1, 1, 96 // s, 96 // s) for s in (8, 16, 32)], [8, 16, 32]
    )
    assigner.strides = strides
    box = torch.tensor(
        [[[20.0, 20.0, 60.0, 60.0], [0, 0, 0, 0]]]
    )  # its centre, 40, opens cell 5, 2 and 1
    mask = torch.tensor([[[1.0], [0.0]]])
    found = assigner.select_candidates_in_gts(points * strides, box, mask)[0]
    cells = {
        (int(s), *map(int, p)) for s, p in zip(strides[found[0]], points[found[0]], strict=True)
    }
    fine = {(8, 5, 5), (8, 4, 5), (8, 6, 5), (8, 5, 4), (8, 5, 6)}
    middle = {(16, 2, 2), (16, 1, 2), (16, 3, 2), (16, 2, 1), (16, 2, 3)}
    assert cells == fine | middle | {(32, 1, 1)}, (
        "at stride 32 the neighbours' centres lie outside of the box"
    )
    assert not found[1].any()


def test_only_a_yolov5_is_made_a_dp_yolo():
    with pytest.raises(ValueError, match="yolo12n-dp: DP-YOLO is made of a YOLOv5"):
        build_model("yolo12n-dp", tiny.TAXONOMY, "single")


def test_resumes_to_equal_weights_and_predicts_in_original_pixels(tmp_path, monkeypatch):
    whole, broken = (
        tiny.job(tmp_path / name, "single", ARCH, epochs=2, nbs=4) for name in ("whole", "broken")
    )
    weights = engine.fit(whole)
    with monkeypatch.context() as patch, pytest.raises(Kill):
        kill_after(patch, 0)
        engine.fit(broken)
    engine.fit(broken)
    assert equal(state(whole), state(broken))
    moves = [v for k, v in state(whole).items() if "moves.weight" in k]
    assert len(moves) == 4 and all(v.abs().sum() > 0 for v in moves), "offsets do not learn"
    detector = engine.detector(weights, 1e-6, "cpu", 96)
    image = read_rgb(whole.images.path[0]).repeat(2, 0).repeat(2, 1)  # 192 x 192
    for boxes in (predict_image(detector, image, None), predict_image(detector, image, 96)):
        assert len(boxes) and boxes[["x2", "y2"]].max().min() > 96, (
            "boxes stay in the network's pixels"
        )
    content = torch.load(weights, weights_only=True)
    torch.save(content | {"meta": content["meta"] | {"engine": "effdet"}}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="belongs to the effdet engine"):
        engine.detector(tmp_path / "other.pt", 0.1, "cpu", 96)


@pytest.mark.slow
def test_overfits_a_few_fields(tmp_path):
    job = tiny.job(
        tmp_path, "single", ARCH, epochs=70, hsv_s=0.0, hsv_v=0.0, scale=0.1, fliplr=0.0, **LEARN
    )
    weights = engine.fit(job)
    log = pd.read_csv(job.dir / "log.csv")
    assert log.loss.iloc[-1] < log.loss.iloc[0]
    predictions = predict_fields(
        engine.detector(weights, 0.001, "cpu", 96), job.images, None, 0.0, tmp_path / "p.csv"
    )
    assert summary(evaluate(job.boxes, predictions, 3, list(job.images.image)))["map50"] > 0.5
