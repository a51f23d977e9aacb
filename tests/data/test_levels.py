"""The cut-off file that a laboratory edits, the high-power field, and levels."""

import math

import pandas as pd
import pytest

from openurine_lib import published
from openurine_lib.data import levels, taxonomy
from openurine_lib.data.levels import BadCutoffs


def test_level_is_the_number_of_cutoffs_reached():
    means = pd.DataFrame({"RBC": [0, 0.9, 1, 4.99, 5, 10, 20, 999]}, index=list("abcdefgh"))
    table = levels.levels(means, {"RBC": [1, 5, 10, 20]})
    assert table["level"].tolist() == [0, 0, 1, 1, 2, 3, 4, 4]
    assert table["count"].tolist() == means["RBC"].tolist() and table["group"].tolist() == list(
        "abcdefgh"
    )


def test_each_component_by_its_own_cutoffs():
    means = pd.DataFrame({"RBC": [2.0], "WBC": [2.0]}, index=["p"])
    assert levels.levels(means, {"WBC": [1, 1.5, 2, 9], "RBC": [3, 4, 5, 6]})["level"].tolist() == [
        0,
        3,
    ]


def test_nobody_has_a_level():
    assert levels.levels(pd.DataFrame({"RBC": []}), {"RBC": [1, 2, 3, 4]}).empty


def test_component_without_cutoffs():
    with pytest.raises(BadCutoffs, match="'Crystals'"):
        levels.levels(pd.DataFrame({"Crystals": [1.0]}, index=["p"]), {"RBC": [1, 2, 3, 4]})


def test_shipped_cutoffs_serve_every_shipped_component():
    known = levels.read_cutoffs()
    components = {c for t in taxonomy.shipped().values() for c in t.components}
    assert components | set(published.table(8, summaries=False)["row"]) <= set(known)
    assert "doi:" in levels.sources() and "eyepieces" in levels.sources()
    assert levels.cutoff_table(known, ["WBC"]).loc["WBC"].to_dict() == dict(
        zip(["rare from", "few from", "moderate from", "many from"], known["WBC"], strict=True)
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("components: {RBC: [1, 2, 3]}", "RBC: needs four numbers"),
        (
            "components: {RBC: [1, 2, 2, 3], WBC: [1, 2, 3, 4]}",
            "RBC: cut-offs must be above 0 and rise",
        ),
        ("components: {WBC: [1, 2, 3, 4], Mucus: [0, 1, 2, 3]}", "Mucus: cut-offs must be above 0"),
        ("components: {RBC: [1, 2, three, 4]}", "RBC: needs four numbers"),
        ("components: {RBC: 5}", "RBC: needs four numbers"),
        ("components: {RBC: [1, 2, .nan, 4]}", "RBC: cut-offs must"),
        ("RBC: [1, 2, 3, 4]", "needs `components:`"),
        ("components: [", "needs `components:`"),
        ("", "needs `components:`"),
    ],
)
def test_bad_cutoffs_are_named(tmp_path, text, says):
    path = tmp_path / "cutoffs.yaml"
    path.write_text(text)
    with pytest.raises(BadCutoffs, match=f"cutoffs.yaml: {says}"):
        levels.read_cutoffs(path)


def test_the_area_of_a_high_power_field(tmp_path):
    path = tmp_path / "cutoffs.yaml"
    path.write_text("hpf: {objective: 40, field_number_mm: 22}")
    assert levels.hpf_um2(path) == pytest.approx(math.pi * 275**2)  # a circle of 550 um
    assert levels.hpf_um2() == pytest.approx(math.pi * 250**2)
    for wrong in (
        "hpf: {objective: 0, field_number_mm: 22}",
        "hpf: {objective: 40}",
        "hpf: {objective: x}",
        "a: 1",
    ):
        path.write_text(wrong)
        with pytest.raises(BadCutoffs, match=r"cutoffs.yaml: .*objective"):
            levels.hpf_um2(path)
