"""Table 8: counts, levels, agreement, and the files that a laboratory edits."""

import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from openurine_lib import clinical, compare, published, taxonomy
from openurine_lib.clinical import BadCutoffs, NoCommonPatient
from openurine_lib.methods import profile
from openurine_lib.run import Run

OPENURINE, URISED = taxonomy.load("openurine"), taxonomy.load("urised2k")


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def fields(**groups):
    """A frame of images: group name -> number of fields."""
    rows = [(f"{group}_{i}", group, "labelled") for group, n in groups.items() for i in range(n)]
    return pd.DataFrame(rows, columns=["image", "group", "split"])


def boxes(tax, **counts):
    """RBC boxes: image -> number."""
    rows = [(image, tax.components["RBC"][0], 0.9, 0, 0, 1, 1) for image, n in counts.items() for _ in range(n)]
    return pd.DataFrame(rows, columns=["image", "cls", "conf", "x1", "y1", "x2", "y2"])


def graded(here, there, component="RBC"):
    """Pairs of levels, a patient each."""
    rows = [(f"p{i}", component, a, b) for i, (a, b) in enumerate(zip(there, here, strict=True))]
    return pd.DataFrame(rows, columns=["group", "component", "level", "level_here"])


def make_run(images, truth, laboratory=None, tax=OPENURINE):
    run = Run("synthetic", profile("demo"))
    run.__dict__["dataset"] = SimpleNamespace(
        taxonomy=tax, images=images, laboratory=laboratory,
        test_images=lambda fold: images[images["split"] == "labelled"],
        boxes_of=lambda chosen: truth[truth["image"].isin(chosen["image"])],
        cohort_images=lambda: images[images["split"] == "cohort"],
    )  # fmt: skip
    return run


def test_mean_per_field_counts_empty_fields():
    means = clinical.patient_means(fields(p=4, q=1), boxes(OPENURINE, p_0=3, p_1=5), OPENURINE)
    assert means.loc["p", "RBC"] == 2
    assert (means.loc["q"] == 0).all()
    assert list(means) == list(OPENURINE.components)


def test_no_boxes_at_all():
    means = clinical.patient_means(fields(p=3), boxes(OPENURINE), OPENURINE)
    assert (means == 0).all(axis=None)
    assert (clinical.levels(means, clinical.read_cutoffs())["level"] == 0).all()


def test_level_is_the_number_of_cutoffs_reached():
    means = pd.DataFrame({"RBC": [0, 0.9, 1, 4.99, 5, 10, 20, 999]}, index=list("abcdefgh"))
    assert clinical.levels(means, {"RBC": [1, 5, 10, 20]})["level"].tolist() == [0, 0, 1, 1, 2, 3, 4, 4]


def test_component_without_cutoffs():
    with pytest.raises(BadCutoffs, match="'Crystals'"):
        clinical.levels(pd.DataFrame({"Crystals": [1.0]}, index=["p"]), {"RBC": [1, 2, 3, 4]})


def test_shipped_cutoffs_serve_every_shipped_component():
    cutoffs = clinical.read_cutoffs()
    components = {c for t in taxonomy.shipped().values() for c in t.components}
    assert components | set(published.table(8, summaries=False)["row"]) <= set(cutoffs)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("components: {RBC: [1, 2, 3]}", "RBC: needs four numbers"),
        ("components: {RBC: [1, 2, 2, 3], WBC: [1, 2, 3, 4]}", "RBC: cut-offs must be above 0 and rise"),
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
        clinical.read_cutoffs(path)


def test_reference_of_annotators():
    run = make_run(fields(p=7, q=2), boxes(OPENURINE, p_0=50, q_0=1))
    images, known = clinical.reference(run, 0)
    assert images.groupby("group").size().to_dict() == {"p": 5, "q": 2}
    rbc = known[known["component"] == "RBC"].set_index("group")["level"]
    assert (rbc["p"], rbc["q"]) == (3, 1)  # 10 and 0.5 a field


def test_a_limit_keeps_whole_patients():
    images = fields(a=1, b=5, c=4, d=5)
    assert clinical.within(images, 10)["group"].value_counts().to_dict() == {"b": 5, "d": 5}
    assert set(clinical.within(images, 2)["group"]) == {"b"}
    assert len(clinical.within(images, None)) == 15


def test_reference_of_a_laboratory_takes_the_cohort_of_its_patients():
    images = fields(p=2, q=4, r=4).assign(split=lambda f: np.where(f["group"] == "p", "labelled", "cohort"))
    report = pd.DataFrame({"group": ["q", "elsewhere"], "component": "RBC", "level": ["few", "none"]})
    chosen, known = clinical.reference(make_run(images, boxes(OPENURINE), report), 0)
    assert set(chosen["group"]) == {"q"}
    assert known.to_numpy().tolist() == [["q", "RBC", 2]]


def test_reference_without_a_common_patient():
    report = pd.DataFrame({"group": ["nobody"], "component": ["RBC"], "level": ["few"]})
    with pytest.raises(NoCommonPatient):
        clinical.reference(make_run(fields(p=2), boxes(OPENURINE), report), 0)


def test_only_confident_detections_count():
    found = boxes(OPENURINE, p_0=30).assign(conf=[0.9] * 4 + [0.1] * 26)
    level = clinical.predicted_levels(fields(p=1), found, OPENURINE).set_index("component")["level"]
    assert level["RBC"] == 2


def test_agreement_by_hand():
    table = clinical.agreement(pd.concat([graded([0, 1, 2, 4], [0, 1, 3, 2]), graded([0] * 4, [0] * 4, "Mucus")]))
    rbc = table.iloc[0]
    assert (rbc["row"], rbc["accuracy"], rbc["within_one"]) == ("RBC", 50, 75)
    # observed sum of squares 0 + 0 + 1 + 4 = 5; expected by the margins: all pairs' squares / 4 = 43 / 4
    pairs = sum((a - b) ** 2 for a in (0, 1, 2, 4) for b in (0, 1, 3, 2)) / 4
    assert rbc["kappa"] == pytest.approx(1 - 5 / pairs)
    mucus = table.iloc[1]
    assert mucus["accuracy"] == 100 and np.isnan(mucus["kappa"])
    assert table.iloc[-1]["accuracy"] == 75


def test_constant_but_different_levels_have_a_kappa():
    assert clinical.kappa(graded([0, 0, 0], [4, 4, 4])) == 0


def test_nobody_to_compare():
    nothing = graded([], [])
    table = clinical.agreement(nothing)
    assert list(table["row"]) == ["Mean accuracy"]
    assert np.isnan(table["accuracy"]).all()
    assert np.isnan(clinical.mean_accuracy_interval(nothing)).all()


def test_interval_holds_the_mean_and_repeats():
    rng = np.random.default_rng(0)
    there = rng.integers(0, 5, 40)
    pairs = pd.concat([graded((there + (rng.random(40) < 0.3)) % 5, there, c) for c in ("RBC", "WBC")])
    low, high = clinical.mean_accuracy_interval(pairs, seed=1)
    mean = clinical.agreement(pairs).iloc[-1]["accuracy"]
    assert low < mean < high and high - low < 40
    assert (low, high) == clinical.mean_accuracy_interval(pairs, seed=1)
    assert clinical.mean_accuracy_interval(graded([1, 1], [1, 1])) == (100, 100)


def test_absent_components_stand_as_absent_beside_the_paper():
    images = fields(p=2, q=2)
    truth = boxes(URISED, p_0=10)
    images, known = clinical.reference(make_run(images, truth, tax=URISED), 0)
    pairs = clinical.pair(known, clinical.predicted_levels(images, truth, URISED))
    both = compare.beside(published.table(8), clinical.agreement(pairs)).set_index("row")
    assert np.isnan(both.loc["Mucus", "accuracy_here"]) and both.loc["Mucus", "reason"]
    assert both.loc["RBC", "accuracy_here"] == 100
    assert "Crystals" in both.index


def test_figure():
    pairs = pd.concat([graded([0, 1], [0, 2]), graded([0, 4], [0, 4], "Mucus")])
    assert len(clinical.plot_levels(pairs, "synthetic").axes) == 2
    assert clinical.plot_levels(pairs.head(0), "synthetic").axes
