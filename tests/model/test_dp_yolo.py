"""DP-YOLO: its convolutions move, its positive samples are petals, and it trains as others do."""

import copy

import pandas as pd
import pytest
import tiny
import torch
from test_engine_ultralytics import LEARN, Kill, equal, kill_after, state
from torchvision.ops import deform_conv2d
from ultralytics.nn.modules.conv import Conv

from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.evaluation.metrics import evaluate, summary
from openurine_lib.experiments.sizes import counted
from openurine_lib.inference import predict_fields, predict_image, read_rgb
from openurine_lib.model.anchors import SIDES, AnchorDetect, AnchorLoss
from openurine_lib.model.build import build_model
from openurine_lib.model.dp_yolo import DeformableConv, DeformableV3, moved
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


@pytest.mark.parametrize("groups", [1, 2])
def test_samples_and_gradients_are_those_of_torchvisions_operator(groups):
    torch.manual_seed(0)
    x = torch.rand(2, 4, 7, 9)
    offsets = 2 * torch.randn(2, groups * 18, 7, 9)  # some lead out of the map
    weights = torch.rand(2, groups * 9, 7, 9)
    kernel = torch.rand(5, 4, 3, 3)
    inputs = [tensor.requires_grad_() for tensor in (x, offsets, weights, kernel)]
    theirs = deform_conv2d(x, offsets, kernel, padding=1, mask=weights)
    ours = torch.einsum("bckhw,ock->bohw", moved(x, offsets, weights), kernel.flatten(2))
    torch.testing.assert_close(ours, theirs)
    some = torch.rand_like(theirs)
    for mine, other in zip(
        torch.autograd.grad(ours, inputs, some), torch.autograd.grad(theirs, inputs, some),
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


def test_version_3_starts_as_a_blur_beside_its_input_and_can_look_aside():
    torch.manual_seed(0)
    layer = DeformableV3(32).eval()
    x = torch.rand(1, 32, 9, 9)
    torch.nn.init.dirac_(layer.value.weight)
    torch.nn.init.dirac_(layer.out.weight)
    for part in (layer.value, layer.out):
        torch.nn.init.zeros_(part.bias)
    with torch.no_grad():
        blurred = torch.nn.functional.avg_pool2d(x, 3, 1, padding=1)
        torch.testing.assert_close(layer(x), x + blurred)
        layer.offsets.bias[1:18:2] = 1.0  # the first group's samples, one pixel to the right
        aside = layer(x) - x
    torch.testing.assert_close(aside[:, :16, :, 1:-2], blurred[:, :16, :, 2:-1])
    torch.testing.assert_close(aside[:, 16:], blurred[:, 16:])


def test_the_size_that_its_authors_print():
    """7.6 million parameters and 17.7 GFLOPs at 640 px, with COCO's 80 classes."""
    classes = Taxonomy("", tuple(map(str, range(80))), {"": tuple(range(80))}, {}, {})
    model = build_model("yolov5s-dp", classes, "single").eval()
    image = torch.zeros(1, 3, 160, 160)
    size = counted(model, lambda: model(image), 160)
    assert size["params_m"] == pytest.approx(7.6, abs=0.05)
    assert size["gflops"] * 4**2 == pytest.approx(17.7, rel=0.02)


def test_fusing_for_prediction_keeps_the_moves():
    """Before it predicts, the library fuses a ``Conv`` and its batch norm into a plain one."""
    torch.manual_seed(0)
    model = build_model(ARCH, tiny.TAXONOMY, "single").eval()
    deformable = [m for m in model.modules() if isinstance(m, DeformableConv)]
    assert len(deformable) == 1 + 2 + 3, "YOLOv5n's bottlenecks at strides 4, 8 and 16"
    assert sum(isinstance(m, DeformableV3) for m in model.modules()) == 1
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


def head_of(nc=3):
    return AnchorDetect(nc, [4, 4, 4], torch.tensor([8.0, 16.0, 32.0]))


def batch_of(*boxes):
    """Boxes (class, x, y, w, h) in pixels of one field of 64."""
    rows = torch.tensor(boxes, dtype=torch.float32)
    one = {"batch_idx": torch.zeros(len(boxes)), "cls": rows[:, :1], "bboxes": rows[:, 1:] / 64}
    return one


def test_petals_of_the_anchor_boxes_that_are_alike_answer_for_a_box():
    loss = AnchorLoss(head_of())
    like = torch.zeros(1)
    # in cells of 8: centre at 2.5, 0.25; 12 x 12 pixels are like all three of this level
    image, anchor, y, x, boxes, cls = loss.positives(0, (8, 8), batch_of((2, 20, 2, 12, 12)), like)
    cells = sorted(zip(anchor.tolist(), y.tolist(), x.tolist(), strict=True))
    flower = [(0, 1), (0, 2), (0, 3), (1, 2)]  # the cell above is outside of the field
    assert cells == sorted((a, *cell) for a in (0, 1, 2) for cell in flower)
    assert image.tolist() == [0] * 12 and cls.tolist() == [2] * 12
    centre = boxes[:, :2] + torch.stack((x, y), 1)
    assert torch.equal(centre, torch.tensor([[2.5, 0.25]]).expand(12, 2))
    assert (boxes[:, :2] >= -1).all() and (boxes[:, :2] <= 2).all(), "what a petal can reach"
    assert len(loss.positives(2, (2, 2), batch_of((2, 20, 2, 12, 12)), like)[0]) == 0


def test_what_was_learned_is_what_is_predicted():
    """A perfect output has no loss of boxes, and decodes to the box in pixels."""
    head, loss = head_of(), AnchorLoss(head_of())
    raw = [torch.full((1, 3, n, n, 8), -20.0) for n in (8, 4, 2)]
    batch = batch_of((1, 20, 28, 12, 20))
    for i, level in enumerate(raw):
        image, anchor, y, x, boxes, cls = loss.positives(i, level.shape[2:4], batch, level)
        sides = torch.tensor(SIDES[i])[anchor] / 2 ** (3 + i)
        level[image, anchor, y, x, :2] = ((boxes[:, :2] + 1) / 3).logit()
        level[image, anchor, y, x, 2:4] = ((boxes[:, 2:] / sides).sqrt() / 2).logit()
        level[image, anchor, y, x, 4] = 20.0
        level[image, anchor, y, x, 5 + cls] = 20.0
    assert all(term < 1e-5 for term in loss(raw, batch)[1].values())
    found = torch.cat([head._decoded(i, level) for i, level in enumerate(raw)], 1)[0]
    sure = found[found[:, 4:].amax(1) > 0.5]
    assert len(sure) == 5 * 4, "five cells, for each anchor box that is alike: three and one"
    torch.testing.assert_close(sure[:, :4], torch.tensor([[20.0, 28, 12, 20]]).expand(20, 4))
    assert (sure[:, 4:].argmax(1) == 1).all()


def test_a_field_without_a_particle_has_a_loss_of_objectness_alone():
    terms = AnchorLoss(head_of())(
        [torch.zeros(2, 3, n, n, 8) for n in (8, 4, 2)],
        {"batch_idx": torch.zeros(0), "cls": torch.zeros(0, 1), "bboxes": torch.zeros(0, 4)},
    )[1]
    assert terms["obj"] > 0 and terms["box"] == terms["cls"] == 0


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
    moves = [v for k, v in state(whole).items() if "moves.weight" in k or "offsets.weight" in k]
    assert len(moves) == 6 + 1 and all(v.abs().sum() > 0 for v in moves), "offsets do not learn"
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


@pytest.mark.thorough
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
