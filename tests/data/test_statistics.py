"""Tables 1-2 count what is there; Figs 1-2 show fields and one particle of each class."""

import dataclasses
from types import SimpleNamespace

import four_forms as ff
import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from openurine_lib import open_run, published, style
from openurine_lib.data import statistics
from openurine_lib.data.boxes import centres_in, square_around
from openurine_lib.data.images import read_rgb
from openurine_lib.experiments import against_paper
from synthurine import CLASSES, simulated

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def d(tmp_path_factory):
    folder = ff.yolo(tmp_path_factory.mktemp("data"))
    ff.images(folder, "unlabelled", ["u0", "u1"], first=20)
    ff.groups(folder, [("u0.png", "S0"), ("u1.png", "S7")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENURINE_ROOT", str(tmp_path_factory.mktemp("root")))
        return open_run(str(folder)).dataset


def test_table_1_beside_the_paper(d):
    both = against_paper.beside(published.table(1), statistics.table1(d)).set_index("row")
    assert both["images_here"].tolist() == [12, 2] and both.loc["Labeled data", "boxes_here"] == 24
    assert both["images_paper"].tolist() == [790, 5640]


def test_table_2_beside_the_paper(d):
    both = against_paper.beside(published.table(2), statistics.table2(d)).set_index("row")
    assert len(both) == 40  # no row beyond the paper's, so every name is spelled as there
    assert both.loc[["RBC", "WBC", "Bacteria", "Yeast", "Total"], "boxes_here"].tolist() == [
        16,
        4,
        4,
        0,
        24,
    ]
    assert both.loc[["RBC", "WBC", "Bacteria", "Yeast", "Total"], "images_here"].tolist() == [
        12,
        4,
        4,
        0,
        12,
    ]
    assert (both["head"] == both["category"])[:-1].all()


def test_the_parts_of_the_set(d):
    table = statistics.parts(d).set_index("part")
    assert table["images"].to_dict() == {"labelled": 12, "unlabelled": 2}
    assert table["groups"].to_dict() == {"labelled": 6, "unlabelled": 2}
    assert (table["width"] == ff.WIDTH).all()


def test_the_richest_fields_show_all_classes_and_many_patients(d):
    images = statistics.richest_fields(d, 3)
    assert set(d.boxes[d.boxes["image"].isin(images)]["cls"]) == set(d.boxes["cls"])
    assert d.images.set_index("image").loc[images, "group"].nunique() == 3
    assert len(statistics.richest_fields(d, 100)) == 12


def test_figure_1_draws_every_box_and_names_every_class_once_a_field(d):
    figure = statistics.fig1_fields(d, "a banner", n=4)
    for axis, image in zip(figure.axes, statistics.richest_fields(d, 4), strict=False):
        boxes = d.boxes[d.boxes["image"] == image]
        assert len(axis.patches) == len(boxes)
        assert sorted(t.get_text() for t in axis.texts) == sorted(
            d.taxonomy.classes[c] for c in boxes["cls"].unique()
        )


def test_figure_2_has_a_place_for_every_class(d):
    figure = statistics.fig2_classes(d, "a banner")
    assert sorted(axis.get_title() for axis in figure.axes if axis.get_title()) == sorted(
        d.taxonomy.classes
    )
    shown = {axis.get_title(): len(axis.images) for axis in figure.axes if axis.images}
    assert shown == {"RBC": 3, "WBC": 3, "Bacteria": 3}


@pytest.mark.parametrize("name", ["RBC", "Bacteria"])
def test_examples_are_squares_inside_their_fields(d, name):
    crops = statistics.examples(d, d.taxonomy.id(name), 3)
    assert len(crops) == 3
    for crop in crops:
        assert (
            crop.dtype == np.uint8
            and crop.shape[0] == crop.shape[1] <= ff.HEIGHT
            and crop.shape[2] == 3
        )
    assert statistics.examples(d, d.taxonomy.id("Yeast"), 3) == []


def test_examples_are_nearest_to_the_upper_quartile_of_area(tmp_path):
    """Of forty particles of all sizes twenty are taken: neither the smallest nor the largest."""
    path = tmp_path / "field.png"
    Image.fromarray(np.zeros((200, 200, 3), np.uint8)).save(path)
    sides = np.arange(10, 50)
    fields = pd.DataFrame(
        {"image": ["a"], "width": 200, "height": 200, "group": "p", "path": str(path)}
    )
    corners = {"x1": 100 - sides, "y1": 100 - sides, "x2": 100, "y2": 100}
    boxes = pd.DataFrame({"image": "a", "cls": 0} | corners)
    crops = statistics.examples(SimpleNamespace(images=fields, boxes=boxes), 0, 20)
    from_quartile = np.abs(sides**2 - np.quantile(sides**2, 0.75))
    nearest = sides[np.argsort(from_quartile)[:20]]
    assert sorted(len(crop) for crop in crops) == sorted(
        square_around([100 - side, 100 - side, 100, 100], 200, 200)[2] for side in nearest
    )


def test_company_is_counted_by_centres():
    """Centres at (5, 5), (15, 5), (5, 15) and (30, 30); the square's own edge belongs to it."""
    corners = [(0, 0, 10, 10), (10, 0, 20, 10), (0, 10, 10, 20), (25, 25, 35, 35)]
    boxes = pd.DataFrame(corners, columns=["x1", "y1", "x2", "y2"])
    squares = [(0, 0, 12), (0, 0, 15), (5, 0, 10), (6, 0, 10), (0, 0, 40), (40, 40, 5)]
    assert [centres_in(boxes, square) for square in squares] == [1, 3, 2, 1, 4, 0]


def test_the_figures_show_a_12_bit_field_as_it_is_read_elsewhere(tmp_path, monkeypatch):
    """Pillow alone turns a grey 16-bit PNG nearly white."""
    monkeypatch.setenv("OPENURINE_ROOT", str(tmp_path / "root"))
    folder = tmp_path / "deep"
    folder.mkdir()
    ff.yolo(folder)
    for path in (folder / "images").iterdir():
        grey = np.asarray(Image.open(path).convert("L"))
        Image.fromarray(grey.astype(np.uint16) * 16).save(path)  # 12 bits of 16
    deep = open_run(str(folder)).dataset
    figure = statistics.fig1_fields(deep, "a banner", n=1)
    [shown] = figure.axes[0].images
    [image] = statistics.richest_fields(deep, 1)
    field = read_rgb(deep.images.set_index("image").at[image, "path"])
    assert (np.asarray(shown.get_array()) == field).all() and 100 < field.mean() < 150
    [cut] = statistics.examples(deep, deep.taxonomy.id("RBC"), 1)
    assert 100 < cut.mean() < 150


def test_figure_2_beside_the_simulator(d):
    figure = statistics.fig2_beside_simulator(d, "a banner", simulated, CLASSES, n=2)
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles == ["RBC", "", "WBC", "", "Bacteria", ""]  # a name stands over its pair
    colours = [axis._left_title.get_color() for axis in figure.axes[::2]]
    assert colours == [style.HEAD_COLOURS[h] for h in ("Cells", "Cells", "Microorganisms")]
    assert all(len(axis.images) == 2 for axis in figure.axes)
    assert d.name in figure.get_supxlabel() and "simulated" in figure.get_supxlabel()
    drawn = dataclasses.replace(d, synthetic=True)
    assert statistics.fig2_beside_simulator(drawn, "a banner", simulated, CLASSES) is None


def test_near_duplicates_say_where_they_stand(d):
    assert list(statistics.near_duplicates(d)) == [
        "image_a",
        "image_b",
        "bits",
        "copy",
        "part_a",
        "part_b",
        "across",
    ]
