"""Attention measured: by hand, parts without boxes, and what tells a picture from a map."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from test_gradcam import OPENURINE, Bright, field_with_particle
from torch import nn

from openurine_lib.evaluation import attention, attention_figures
from openurine_lib.evaluation.attention import ALL, MEASURED, heat_inside, measure, sanity, summary
from openurine_lib.evaluation.gradcam import Row, View
from openurine_lib.model.build import build_model

BOXES = pd.DataFrame(
    [(10, 20, 30, 40), (25, 30, 50, 40)], columns=["x1", "y1", "x2", "y2"]
)  # 400 + 250 - 50 pixels
PARTS = {"Cells": (0,), "Crystals": (1,), "Casts": (2,)}


@pytest.fixture(autouse=True)
def no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


def mask() -> np.ndarray:
    heat = np.zeros((100, 60), np.float32)
    heat[20:40, 10:30] = heat[30:40, 25:50] = 1
    return heat


def test_a_map_of_the_boxes_is_all_inside() -> None:
    assert heat_inside(mask(), BOXES) == {"area": 0.1, "energy": 1, "pointing": 1}
    assert heat_inside(1 - mask(), BOXES) == {"area": 0.1, "energy": 0, "pointing": 0}


@pytest.mark.parametrize("value", [0, 0.5, 1])
def test_a_map_that_knows_nothing_has_what_chance_has(value: float) -> None:
    found = heat_inside(np.full((100, 60), value, np.float32), BOXES)
    assert found == pytest.approx({"area": 0.1, "energy": 0.1, "pointing": 0.1})


def test_energy_by_hand() -> None:
    heat = np.zeros((100, 60))
    heat[25, 15], heat[0, 0], heat[99, 59] = 0.6, 1.0, 0.4  # 0.6 of 2.0 inside, the maximum outside
    assert heat_inside(heat, BOXES) == pytest.approx({"area": 0.1, "energy": 0.3, "pointing": 0})
    heat[39, 49] = 1.0  # one of two equal maxima
    assert heat_inside(heat, BOXES)["pointing"] == 0.5
    assert heat_inside(heat, BOXES.iloc[:0]) == {"area": 0, "energy": 0, "pointing": 0}


def test_boxes_beyond_the_edge_are_cut() -> None:
    beyond = [
        (-5, -5, 5, 20),
        (-9, -9, -2, -2),
        (2, -9, 8, -2),
        (12, 2, 20, 8),
    ]  # the others are not in the map at all
    assert (
        heat_inside(np.ones((10, 10)), pd.DataFrame(beyond, columns=BOXES.columns))["area"] == 0.5
    )


def frames(folder) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fields: a bright particle of class 0 and a dark one of class 1; class 1 alone; nothing."""
    rows = []
    for i, field in enumerate(
        [field_with_particle(96, 96, 40, 50), *[np.zeros((96, 96, 3), np.uint8)] * 2]
    ):
        Image.fromarray(field).save(folder / f"{i}.png")
        rows.append((f"f{i}", str(folder / f"{i}.png"), f"g{i}"))
    boxes = [("f0", 0, 32, 42, 48, 58), ("f0", 1, 70, 10, 90, 20), ("f1", 1, 70, 10, 90, 20)]
    return (
        pd.DataFrame(rows, columns=["image", "path", "group"]),
        pd.DataFrame(boxes, columns=["image", "cls", "x1", "y1", "x2", "y2"]),
    )


def test_measure_finds_the_bright_particle_and_skips_empty_fields(tmp_path, monkeypatch) -> None:
    images, truth = frames(tmp_path)
    bright = attention.explain
    monkeypatch.setattr(  # the network has one class: its map stands for all of them
        attention,
        "explain",
        lambda m, i, view, groups: np.repeat(bright(m, i, view, [[0]]), len(groups), 0),
    )
    found = measure(Bright(), images, truth, PARTS, View(96)).set_index(["part", "image"])
    assert list(found.index) == [
        (ALL, "f0"),
        ("Cells", "f0"),
        ("Crystals", "f0"),
        (ALL, "f1"),
        ("Crystals", "f1"),
    ]
    cells, crystals = found.loc[("Cells", "f0")], found.loc[("Crystals", "f0")]
    assert (
        cells.area == pytest.approx(256 / 96**2)
        and cells.energy > 20 * cells.area
        and cells.pointing == 1
    )
    assert crystals.energy < 0.01 and crystals.pointing == 0
    assert (crystals.others_energy, crystals.others_area) == (cells.energy, cells.area)
    assert np.isnan(found.loc[("Crystals", "f1")].others_energy)  # no other class on that field


def measured(fields: int) -> pd.DataFrame:
    rows = [
        ("Cells", f"f{i}", f"g{i}", 2, 0.1 + 0.1 * (i % 2), 0.3, float(i % 2), 0.1, 0.2)
        for i in range(fields)
    ]
    return pd.DataFrame(rows, columns=MEASURED)


def predictions(cls: int = 0, conf: float = 0.9) -> pd.DataFrame:
    return pd.DataFrame({"image": ["f0", "elsewhere"], "cls": cls, "conf": conf})


def test_summary_by_hand() -> None:
    table = summary(measured(6), PARTS, predictions()).set_index("part")
    assert list(table.index) == [ALL, "Cells", "Crystals", "Casts"]
    cells = table.loc["Cells"]
    assert (cells.fields, cells.groups, cells.boxes, cells.detected) == (6, 6, 12, 1)
    assert (cells.area, cells.energy, cells.ratio) == pytest.approx((15, 30, 2))
    assert (cells.pointing, cells.ratio_others) == pytest.approx((50, 2))
    assert 1.5 <= cells.ratio_low < 2 < cells.ratio_high <= 3  # all of area 0.2, all of 0.1
    assert 0 <= cells.pointing_low < 50 < cells.pointing_high <= 100
    assert table.loc["Crystals", "note"] == "no box in the fields" and np.isnan(
        table.loc["Crystals", "ratio"]
    )


def test_groups_that_are_all_alike_have_an_interval_of_no_width() -> None:
    cells = summary(measured(6).assign(area=0.1), PARTS, predictions()).iloc[1]
    assert (cells.ratio_low, cells.ratio, cells.ratio_high) == pytest.approx((3, 3, 3))


def test_few_groups_have_no_interval_and_what_is_never_detected_says_so() -> None:
    cells = summary(measured(4), PARTS, predictions(conf=0.1)).iloc[1]
    assert (
        cells.ratio == pytest.approx(2) and np.isnan([cells.ratio_low, cells.pointing_high]).all()
    )
    assert cells.note == "never detected (from 0.25)"
    assert (summary(measured(0), PARTS, predictions()).note == "no box in the fields").all()


def test_sanity_tells_a_picture_of_the_field_from_a_map_of_the_network(tmp_path) -> None:
    images, truth = frames(tmp_path)
    paths, rows = dict(zip(images.image, images.path, strict=True)), [Row("Cells", (0,), "f0", 1)]
    picture = Bright()
    picture.model[0] = nn.Sequential(nn.AvgPool2d(8), nn.Conv2d(3, 1, 1, bias=False))
    picture.model[0].i = 0
    nn.init.constant_(picture.model[0][1].weight, 1)
    picture.model[0][1].reset_parameters = lambda: None  # weights that are never drawn anew
    alike = sanity(picture, [*rows, Row("Casts", (2,), None, 0)], paths, truth, View(96))
    assert list(alike.part.unique()) == ["Cells"] and list(alike.depth) == [0, 1]
    assert alike.spearman.iloc[-1] == pytest.approx(1) and alike.ssim.iloc[-1] == pytest.approx(1)
    assert alike.ratio.tolist() == pytest.approx([alike.ratio[0]] * 2) and alike.ratio[0] > 10


def test_sanity_of_a_detector_goes_down_to_the_first_layer_and_leaves_it_as_it_was(
    tmp_path,
) -> None:
    images, truth = frames(tmp_path)
    paths = dict(zip(images.image, images.path, strict=True))
    torch.manual_seed(0)
    model = build_model("yolov8n", OPENURINE, "multi").eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with torch.inference_mode():
        model(
            torch.zeros(1, 3, 64, 64)
        )  # what a prediction leaves behind must not disturb the copy
    state = torch.get_rng_state()
    rows = [Row("Cells", OPENURINE.heads["Cells"], "f0", 1)]
    found = sanity(model, rows, paths, truth, View(64, 64))
    assert found.depth.tolist() == list(range(len(found))) and len(found) > 15
    assert (found.layer.iloc[1], found.layer.iloc[-1]) == ("heads", "0")
    assert (found.spearman.iloc[0], found.ssim.iloc[0]) == (1, 1) and abs(
        found.spearman.iloc[-1]
    ) < 0.9
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    again = sanity(model, rows, paths, truth, View(64, 64))
    pd.testing.assert_frame_equal(found, again)
    third = sanity(model, rows, paths, truth, View(64, 64), every=3)
    depths = sorted({0, 1, *range(3, len(found), 3), len(found) - 1})
    assert third.depth.tolist() == depths
    there = found[found.depth.isin(depths)].reset_index(drop=True)
    pd.testing.assert_frame_equal(third, there)


def test_figure_shows_parts_without_boxes(tmp_path) -> None:
    table = summary(measured(6), PARTS, predictions())
    checked = sanity(Bright(), [], {}, table, View(96))
    figure = attention_figures.plot_attention(table, checked, "the face")
    texts = [t.get_text() for ax in figure.axes for t in ax.texts]
    assert texts.count("no box in the fields") == 3 and "30.0 on 15.0 %" in texts
    # the tick of the pointing game: what chance gives, which is the area of the boxes
    seen = table[table["fields"] > 0]
    ticks = [line.get_xdata()[0] for line in figure.axes[1].lines if line.get_marker() == "|"]
    assert ticks[1::2] == pytest.approx(seen["area"].tolist())
    assert figure.get_suptitle() == "the face"
