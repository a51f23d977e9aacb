"""Fig. 5: maps that lie where the particles are, and the rule that chooses the fields."""

from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_rgba
from torch import nn

from openurine_lib import style
from openurine_lib.data import taxonomy
from openurine_lib.evaluation import attention_figures, gradcam
from openurine_lib.evaluation.gradcam import (
    NotExplainable,
    Row,
    View,
    choose,
    explain,
    neck_outputs,
)
from openurine_lib.model.build import build_model

OPENURINE = taxonomy.load("openurine")
FIELD = np.random.default_rng(0).integers(0, 255, (100, 160, 3), dtype=np.uint8)


# --- a network whose answer is known


class Bright(nn.Module):
    """A detector of one class that looks at brightness.

    It has strided convolutions as in YOLO (3x3, stride 2, padding 1).
    """

    def __init__(self) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(c, 1, 3, 2, 1, bias=False) for c in (3, 1, 1)]
        for convolution in convolutions:
            nn.init.constant_(convolution.weight, 1 / convolution.weight[0].numel())
        neck, head = nn.Sequential(*convolutions), nn.Flatten(2)
        neck.i, head.i, head.f, head.stride, head.shape = 0, 1, [0], torch.tensor([8.0]), None
        head.nc, head.class_scores = 1, lambda raw, classes: raw[:, 0]
        self.model = nn.ModuleList([neck, head])

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scores = self.model[1](self.model[0](x)).sigmoid()  # (B, 1, A)
        return torch.cat((scores.new_zeros(len(x), 4, scores.shape[2]), scores), 1), scores


def field_with_particle(height: int, width: int, x: int, y: int, radius: int = 3) -> np.ndarray:
    return cv2.circle(np.zeros((height, width, 3), np.uint8), (x, y), radius, (255, 255, 255), -1)


def centre(heat: np.ndarray, x: int, y: int, reach: int) -> np.ndarray:
    """The middle of the heat around a place (x, y), in pixels."""
    near = heat[y - reach : y + reach + 1, x - reach : x + reach + 1].astype(float)
    offsets = np.mgrid[-reach : reach + 1, -reach : reach + 1][::-1]
    return np.array([x, y]) + (offsets * near).sum((1, 2)) / near.sum()


@pytest.mark.parametrize(("x", "y"), [(64, 48), (67, 50), (100, 77), (33, 61)])
def test_a_planted_particle_is_where_its_heat_is(x: int, y: int) -> None:
    heat = explain(Bright(), field_with_particle(128, 192, x, y), View(192), [[0]])[0]
    peak = np.array(np.unravel_index(heat.argmax(), heat.shape))[::-1]
    assert np.abs(peak - [x, y]).max() <= 4  # half a stride
    assert np.abs(centre(heat, x, y, 20) - [x, y]).max() < 1  # one direction alone: 3.5


@pytest.mark.parametrize(
    ("height", "width", "imgsz", "slice_px"),
    [
        (220, 350, 160, None),
        (350, 220, 160, None),
        (190, 330, 320, None),
        (200, 280, 128, 100),
        (200, 280, 96, 100),
    ],
)
def test_border_scale_and_slices_do_not_move_the_heat(
    height: int, width: int, imgsz: int, slice_px: int | None
) -> None:
    stride = 8 * (slice_px or max(height, width)) / imgsz  # in pixels of the field
    for x, y in [
        (round(0.4 * width), round(0.4 * height)),
        (width // 2, round(0.6 * height)),
    ]:  # far from the border
        field = field_with_particle(height, width, x, y, radius=max(3, round(stride / 3)))
        heat = explain(Bright(), field, View(imgsz, slice_px), [[0]])[0]
        assert heat.shape == (height, width)
        reach = int(2.5 * stride)
        assert np.abs(centre(heat, x, y, reach) - [x, y]).max() <= stride / 4, (
            x,
            y,
        )  # one direction alone: 0.44


def test_an_empty_slice_does_not_glow() -> None:
    heat = explain(Bright(), field_with_particle(64, 192, 30, 32), View(64, 64), [[0]])[0]
    assert heat[:, :64].max() == 1 and heat[:, 96:].max() < 0.01


def test_one_pass_gives_the_maps_of_single_calls() -> None:
    torch.manual_seed(0)
    model = build_model("yolo12n", OPENURINE, "multi").eval()
    groups = [OPENURINE.heads[h] for h in ("Crystals", "Casts")]
    together = explain(model, FIELD, View(96, 80), groups)
    assert together.shape == (2, 100, 160) and not np.allclose(*together)
    for classes, heat in zip(groups, together, strict=True):
        np.testing.assert_allclose(
            explain(model, FIELD, View(96, 80), [classes])[0], heat, atol=1e-5
        )


def test_a_head_that_has_none_of_the_classes_is_not_computed() -> None:
    torch.manual_seed(0)
    model = build_model("yolo12n", OPENURINE, "multi").eval()
    heads, computed = model.model[-1].heads, []
    for name, head in heads.items():
        head.cv2[0].register_forward_hook(lambda *_, name=name: computed.append(name))
    explain(model, FIELD, View(96, 80), [OPENURINE.heads["Casts"]])
    assert set(computed) == {"Casts"} and model.model[-1].heads is heads


@pytest.mark.parametrize("slices", [1, 3])
def test_the_map_does_not_depend_on_how_many_slices_go_at_once(monkeypatch, slices: int) -> None:
    """A field of six slices, upright and turned."""
    torch.manual_seed(0)
    model = build_model("yolo12n", OPENURINE, "multi").eval()
    groups = [OPENURINE.heads["Crystals"]]
    passes: list[int] = []
    model.register_forward_pre_hook(lambda module, inputs: passes.append(len(inputs[0])))
    together = explain(model, FIELD, View(96, 80), groups)
    assert passes == [12]
    monkeypatch.setattr(gradcam, "AT_ONCE", slices * 96**2)
    np.testing.assert_allclose(explain(model, FIELD, View(96, 80), groups), together, atol=1e-4)
    assert set(passes[1:]) == {slices}


def test_nothing_that_speaks_for_a_class_is_a_map_of_zeros() -> None:
    model = Bright()
    nn.init.zeros_(model.model[0][0].weight)
    assert not explain(model, FIELD, View(96), [[0]]).any()


# --- the detectors


@pytest.fixture(scope="module", params=["multi", "single"])
def model(request):
    torch.manual_seed(0)
    return build_model("yolo12n", OPENURINE, request.param).eval()


def test_heat_covers_the_image_and_the_model_is_left_as_it_was(model):
    trained = {n: p.requires_grad for n, p in model.named_parameters()}
    with torch.inference_mode():
        before = model(torch.zeros(1, 3, 96, 96))[
            0
        ].clone()  # leaves inference tensors behind, as a prediction does
    heat = explain(model, FIELD, View(96), [OPENURINE.heads["Crystals"]])[0]
    assert heat.shape == (100, 160)
    assert 0 <= heat.min() < heat.max() == 1
    with torch.inference_mode():
        assert torch.equal(before, model(torch.zeros(1, 3, 96, 96))[0])
    assert not any(m._forward_hooks for m in neck_outputs(model))
    assert trained == {n: p.requires_grad for n, p in model.named_parameters()}
    assert all(p.grad is None for p in model.parameters())


def test_heat_is_the_papers_formula_of_grad_cam(model, monkeypatch):
    """ReLU(sum over channels of mean gradient x activation), by hand, at the finest level.

    The score is read from the decoded output, where ``explain`` takes the heads' own. All cells
    count, as the best of an untrained network, whose scores are alike, are best by rounding.
    """
    monkeypatch.setattr(gradcam, "TOP", 10**6)
    field, layer = FIELD[:96, :96], neck_outputs(model)[0]
    kept = []
    handle = layer.register_forward_hook(lambda module, inputs, output: kept.append(output))
    model.model[-1].shape = None  # no grids of an earlier prediction
    both = np.stack([field, field[::-1, ::-1]])
    output = model(torch.from_numpy(both.transpose(0, 3, 1, 2).copy()).float() / 255)[0]
    handle.remove()
    for c in range(OPENURINE.n):
        score = output[:, 4 + c].sum()
        gradient = torch.autograd.grad(score, kept[0], retain_graph=True)[0]
        weights = gradient.mean((0, 2, 3))[None, :, None, None]
        upright, turned = (weights * kept[0]).sum(1).relu().detach().numpy()  # (12, 12) each
        expected = upright + turned[::-1, ::-1]
        if expected.max() > 0:
            break
    expected = cv2.resize(expected / expected.max(), (96, 96), interpolation=cv2.INTER_LINEAR)
    monkeypatch.setattr(gradcam, "neck_outputs", lambda model: [layer])
    np.testing.assert_allclose(explain(model, field, View(96), [[c]])[0], expected, atol=0.03)


def test_the_best_scores_of_each_slice_count():
    scores = torch.rand(3, 250, generator=torch.Generator().manual_seed(0))
    head = SimpleNamespace(nc=2, class_scores=lambda raw, classes: raw)
    expected = scores.sort(1, descending=True).values[:, : gradcam.TOP].sum()
    assert gradcam.best_scores(head, scores, [1]).item() == pytest.approx(expected.item())


@pytest.mark.parametrize(
    ("arch", "heads"),
    [("yolo12n", "multi"), ("yolo12n", "single"), ("yolo26n", "single"), ("yolov5n-dp", "single")],
)
def test_the_scores_of_classes_are_those_of_the_decoded_boxes(arch, heads):
    """Of each cell of the heads that have one of the classes, the best of these."""
    torch.manual_seed(0)
    model = build_model(arch, OPENURINE, heads).eval()
    ids = [OPENURINE.id(name) for name in ("RBC", "WBC", "Amorphous")]
    with torch.inference_mode():
        decoded, raw = model(torch.rand(1, 3, 96, 96))
        scores = model.model[-1].class_scores(raw, ids)[0]
    best = decoded[0, [4 + c for c in ids]].amax(0)
    torch.testing.assert_close(scores, best[best > 0])  # other heads' cells have zeros


def test_classes_and_networks_that_cannot_be_explained(model):
    with pytest.raises(NotExplainable, match="no class .99."):
        explain(model, FIELD, View(96), [[99]])
    assert not any(m._forward_hooks for m in neck_outputs(model))  # nor is a hook left behind
    stock = Bright()
    stock.model[-1].f = -1
    with pytest.raises(NotExplainable, match="feature pyramid"):
        explain(stock, FIELD, View(96), [[0]])


def test_a_map_a_head_or_a_class(model):
    found = gradcam.parts(model, OPENURINE)
    if hasattr(model.model[-1], "heads"):
        assert found == OPENURINE.heads
    else:
        assert found == {name: (i,) for i, name in enumerate(OPENURINE.classes)}


# --- fields and figure


def frames():
    images = pd.DataFrame({"image": ["a", "b", "c"]})
    amorphous, squamous, rbc = (
        OPENURINE.id(n) for n in ("Amorphous", "Epithelial cell (squamous)", "RBC")
    )
    boxes = [
        ("a", rbc),
        ("b", amorphous),
        ("b", rbc),
        ("c", amorphous),
        ("c", squamous),
        ("elsewhere", squamous),
    ]
    boxes += [("b", squamous)] * 2
    return images, pd.DataFrame(boxes, columns=["image", "cls"])


def placed(truth, *found):
    """The boxes at places of their own, and found ones (row of the truth, class, confidence)."""
    left = 20.0 * np.arange(len(truth))
    truth = truth.assign(x1=left, y1=0.0, x2=left + 10, y2=10.0)
    rows = [truth.loc[i].to_dict() | {"cls": cls, "conf": conf} for i, cls, conf in found]
    return truth, pd.DataFrame(rows, columns=[*truth, "conf"]).astype({"cls": int})


def test_the_papers_rows_and_the_heads_have_the_field_of_most_boxes():
    images, truth = frames()
    explained = gradcam.paper_parts(OPENURINE) | OPENURINE.heads
    rows = choose(explained, images, *placed(truth))
    found = {r.name: (r.image, r.boxes) for r in rows}
    assert list(found)[:2] == ["Amorphous", "Epithelial cells"] and set(found) >= set(
        OPENURINE.heads
    )
    assert (
        found["Amorphous"] == ("b", 1)
        and found["Epithelial cells"] == ("b", 2)
        and found["Cells"] == ("b", 3)
    )
    assert found["Casts"] == (None, 0)  # no box: shown as such
    assert {r.image for r in choose(OPENURINE.heads, images, *placed(truth.iloc[:0]))} == {None}


def test_a_field_in_which_something_is_found_goes_before_one_with_more_boxes():
    images, truth = frames()
    rbc, wbc = OPENURINE.id("RBC"), OPENURINE.id("WBC")
    # on a the only cell, under another name of its head; on b nothing that is sure enough
    truth, found = placed(truth, (0, wbc, 0.5), (2, rbc, gradcam.SHOWN - 0.01))
    cells = next(r for r in choose(OPENURINE.heads, images, truth, found) if r.name == "Cells")
    assert (cells.image, cells.boxes, cells.found, cells.matched) == ("a", 1, 1, 1)
    # a second box on the same cell is found, but matches nothing
    truth, found = placed(frames()[1], (0, wbc, 0.5), (0, rbc, 0.4))
    cells = next(r for r in choose(OPENURINE.heads, images, truth, found) if r.name == "Cells")
    assert (cells.boxes, cells.found, cells.matched) == (1, 2, 1)


def test_papers_rows_of_a_set_without_them():
    bare = taxonomy.Taxonomy("tiny", ("disc",), {"Cells": (0,)}, {}, {})
    assert gradcam.paper_parts(bare) == {}


def test_figure_has_a_pair_a_row_and_names_what_is_missing():
    rows = [Row("Amorphous", (16,), "b", 1, 1, 1), Row("Casts", (11,), None)]
    rows.append(Row("Cells", (9, 10), "b"))
    columns = ["image", "cls", "x1", "y1", "x2", "y2"]
    truth = pd.DataFrame([("b", 16, 5, 5, 50, 40), ("c", 16, 5, 5, 50, 40)], columns=columns)
    found = pd.DataFrame(
        [("b", 16, 5, 5, 50, 40, 0.9), ("b", 9, 5, 5, 50, 40, 0.1)], columns=[*columns, "conf"]
    )
    heat = np.zeros((100, 160))
    maps = [(rows[0], FIELD, heat), (rows[1], None, None), (rows[2], FIELD, heat)]
    figure = attention_figures.plot_fig5(maps, truth, found, OPENURINE, "the face")
    titles = [ax.get_title(loc="left") for ax in figure.axes if ax.get_title(loc="left")]
    assert titles == [
        "Amorphous\n1 annotated, 1 found, 1 matched",
        "Cells\n0 annotated, 0 found, 0 matched",
    ]
    # annotated (dashed) and found (solid), both in the colour of the head
    annotated, drawn = figure.axes[0].collections
    crystals = to_rgba(style.HEAD_COLOURS["Crystals"])
    assert [tuple(c.get_edgecolor()[0]) for c in (annotated, drawn)] == [crystals] * 2
    assert annotated.get_linestyle() != drawn.get_linestyle()
    assert (
        "no box in the test fields: Casts" in figure.get_suptitle()
        and "the face" in figure.get_suptitle()
    )
    none = attention_figures.plot_fig5(maps[1:2], truth, found, OPENURINE, "the face")
    assert "no box in the test fields: Casts" in none.get_suptitle()
