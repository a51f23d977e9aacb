"""docs/methods.md says what methods.yaml says."""

from pathlib import Path

import methods_page

from openurine_lib.config import read_config
from openurine_lib.experiments.methods import method, methods, profile

PAGE = Path(__file__).resolve().parents[2] / "docs" / "methods.md"


def test_the_page_is_up_to_date():
    """After a change of methods.yaml, profiles.yaml or sizes.csv: make docs."""
    assert PAGE.read_text(encoding="utf-8") == methods_page.page()


def test_every_row_stands_on_it_once():
    text = methods_page.page()
    assert all(text.count(f"`{name}`") == 1 for name in methods())


def test_a_line_by_hand():
    line = methods_page._line(method("li2020-retinanet"), 4)
    assert line["reference"] == "[10.1002/mp.14118](https://doi.org/10.1002/mp.14118)"
    assert (
        line["in small profiles"] == "retinanet_resnet18_fpn" and line["fidelity"] == "approximate"
    )
    assert methods_page._line(method("without-casts"), 5)["network"] == (
        "yolo12m, six heads, pretrained by reconstruction, slices, without Casts"
    )
    assert (
        methods_page._published(method("yolov8m"), {"gflops_at_published_px": 79.0})
        == "25.9 M, 78.9 at 640 px (79.0)"
    )


def test_every_stand_in_says_what_it_leaves_out():
    small = profile("demo").smaller
    assert set(read_config("stand_ins.yaml")) == set(small.values())
    assert small == profile("smoke").smaller == profile("study").smaller
    known = set(small.values()) | {m.arch for m in methods().values()}
    assert set(profile("demo").path_only) <= known
    table = methods_page.stand_ins().set_index("network")
    assert table.loc["yolo12n", "for"] == "yolo12s, yolo12m, yolo12l, yolo12x"
    assert table.loc["vitdet_tiny", "demo"] == "path only"
    assert table.loc["yolo12n", "demo"] == table.loc["rtdetr-n", "demo"] == ""
