"""Fig. 5: the heat map's shape and range, single- and multi-head, and the rule that chooses the fields."""

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from openurine_lib import gradcam, taxonomy
from openurine_lib.draw import boxes_on
from openurine_lib.gradcam import NotExplainable, choose, explain, neck_outputs, side_by_side
from openurine_lib.multihead import build_model

OPENURINE = taxonomy.load("openurine")
FIELD = np.random.default_rng(0).integers(0, 255, (100, 160, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=["multi", "single"])
def model(request):
    torch.manual_seed(0)
    return build_model("yolo12n", OPENURINE, request.param).eval().requires_grad_(False)


def test_heat_covers_the_image_and_the_model_is_left_as_it_was(model):
    with torch.inference_mode():
        before = model(torch.zeros(1, 3, 96, 96))[0].clone()  # leaves inference tensors behind, as a prediction does
    heat = explain(model, FIELD, 96, OPENURINE.heads["Crystals"])
    assert heat.shape == (100, 160)
    assert 0 <= heat.min() < heat.max() <= 1
    with torch.inference_mode():
        assert torch.equal(before, model(torch.zeros(1, 3, 96, 96))[0])
    assert not any(m._forward_hooks for m in neck_outputs(model))


def test_heat_depends_on_the_class_and_repeats(model):
    crystals, casts = (explain(model, FIELD, 96, OPENURINE.heads[h]) for h in ("Crystals", "Casts"))
    assert not np.allclose(crystals, casts)
    np.testing.assert_array_equal(crystals, explain(model, FIELD, 96, OPENURINE.heads["Crystals"]))


def test_heat_is_the_papers_formula_of_grad_cam(model):
    """ReLU(sum over channels of mean gradient x activation), by hand, at the neck's finest level."""
    field, layer = FIELD[:96, :96], neck_outputs(model)[0]
    kept = []
    handle = layer.register_forward_hook(lambda module, inputs, output: kept.append(output))
    model.model[-1].shape = None  # no grids of an earlier prediction
    x = torch.from_numpy(field.transpose(2, 0, 1).copy())[None].float() / 255
    output = model(x.requires_grad_())[0][0]
    handle.remove()
    for c in range(OPENURINE.n):
        gradient = torch.autograd.grad(output[4 + c].topk(gradcam.TOP).values.sum(), kept[0], retain_graph=True)[0]
        expected = (gradient.mean((2, 3), keepdim=True) * kept[0]).sum(1)[0].relu().detach().numpy()  # (12, 12)
        if expected.max() > 0:
            break
    expected = cv2.resize(expected - expected.min(), (96, 96))
    np.testing.assert_allclose(explain(model, field, 96, [c], [layer]), expected / expected.max(), atol=1e-3)


def test_classes_and_networks_that_cannot_be_explained(model):
    with pytest.raises(NotExplainable, match="no class .99."):
        explain(model, FIELD, 96, [99])


def frames():
    images = pd.DataFrame({"image": ["a", "b", "c"]})
    amorphous, squamous, rbc = (OPENURINE.id(n) for n in ("Amorphous", "Epithelial cell (squamous)", "RBC"))
    boxes = [("a", rbc), ("b", amorphous), ("b", rbc), ("c", amorphous), ("c", squamous), ("elsewhere", squamous)]
    boxes += [("b", squamous)] * 2
    metrics = pd.DataFrame({"cls": [rbc, OPENURINE.id("WBC")], "ap50": [0.9, 0.2]})
    return images, pd.DataFrame(boxes, columns=["image", "cls"]), metrics


def test_rows_are_the_papers_with_the_field_of_most_boxes():
    images, truth, metrics = frames()
    rows = choose(OPENURINE, images, truth, metrics)
    assert [(r.name, r.image, r.boxes) for r in rows] == [("Amorphous", "b", 1), ("Epithelial cells", "b", 2)]


def test_rows_without_the_papers_classes_are_the_best_components():
    images, truth, metrics = frames()
    rows = choose(OPENURINE, images, truth[truth.cls != OPENURINE.id("Amorphous")], metrics)
    assert [r.name for r in rows] == ["Epithelial cells", "RBC"]
    assert choose(OPENURINE, images, truth.iloc[:0], metrics) == []


def test_figure_has_a_row_a_class(tmp_path):
    Image.fromarray(FIELD).save(tmp_path / "b.png")
    rows = [gradcam.Row("Amorphous", (16,), "b", 3), gradcam.Row("Epithelial cells", (9, 10), "b", 1)]
    found = pd.DataFrame([("b", 16, 0.9, 5, 5, 50, 40), ("b", 9, 0.1, 5, 5, 50, 40)],
                         columns=["image", "cls", "conf", "x1", "y1", "x2", "y2"])  # fmt: skip
    figure = side_by_side(rows, {"b": str(tmp_path / "b.png")}, found, [np.zeros((100, 160))] * 2, OPENURINE, "smoke")
    assert len(figure.axes) == 4
    assert figure.axes[0].get_title() == "Amorphous: 1 predicted (confidence from 0.25), 3 annotated"
    plain = boxes_on(FIELD, found.iloc[:0], OPENURINE)
    drawn = [(ax.images[0].get_array() != plain).any() for ax in (figure.axes[0], figure.axes[2])]
    assert drawn == [True, True]
