"""Table 8: which fields, counts per field and per high-power field, and the reference."""

import math
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from openurine_lib import published, style
from openurine_lib.clinical import agreement, counts, figures
from openurine_lib.data import levels, taxonomy
from openurine_lib.experiments.methods import profile
from openurine_lib.experiments.run import Run

OPENURINE, URISED = taxonomy.load("openurine"), taxonomy.load("urised2k")


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def fields(**groups):
    """A frame of images: group name -> number of fields."""
    rows = [
        (f"{group}_{i}", f"/data/{group}_{i}.jpg", group, "labelled")
        for group, n in groups.items()
        for i in range(n)
    ]
    return pd.DataFrame(rows, columns=["image", "path", "group", "split"])


def sized(images, side=1000, um_per_px=0.5):
    return images.assign(width=side, height=side, um_per_px=um_per_px)


def boxes(tax, **counts):
    """RBC boxes: image -> number."""
    rows = [
        (image, tax.components["RBC"][0], 0.9, 0, 0, 1, 1)
        for image, n in counts.items()
        for _ in range(n)
    ]
    return pd.DataFrame(rows, columns=["image", "cls", "conf", "x1", "y1", "x2", "y2"])


def graded(here, there, component="RBC"):
    """Pairs of levels, a patient each; the counts are ten times the level."""
    rows = [
        (f"p{i}", component, a, b, 10.0 * a, 10.0 * b)
        for i, (a, b) in enumerate(zip(there, here, strict=True))
    ]
    return pd.DataFrame(
        rows, columns=["group", "component", "level", "level_here", "count", "count_here"]
    )


def make_run(images, truth, laboratory=None, tax=OPENURINE):
    run = Run("synthetic", profile("demo"))
    run.__dict__["dataset"] = SimpleNamespace(
        taxonomy=tax, images=images, laboratory=laboratory, synthetic=True,
        test_images=lambda fold, limit=None: images[images["split"] == "labelled"],
        boxes_of=lambda chosen: truth[truth["image"].isin(chosen["image"])],
        cohort_images=lambda: images[images["split"] == "cohort"],
    )  # fmt: skip
    return run


def report(*rows):
    return pd.DataFrame(rows, columns=["group", "component", "level", "count"])


def test_mean_per_field_counts_empty_fields():
    means = counts.patient_means(fields(p=4, q=1), boxes(OPENURINE, p_0=3, p_1=5), OPENURINE)
    assert means.loc["p", "RBC"] == 2
    assert (means.loc["q"] == 0).all()
    assert list(means) == list(OPENURINE.components)


def test_no_boxes_at_all():
    means = counts.patient_means(fields(p=3), boxes(OPENURINE), OPENURINE)
    assert (means == 0).all(axis=None)
    assert (levels.levels(means, levels.read_cutoffs())["level"] == 0).all()


def test_counts_are_per_high_power_field_where_the_pixel_size_is_known():
    # 1000 px of 0.5 um: a field shows 0.25 mm2; an HPF of 500 um across has pi / 16 mm2
    means = counts.patient_means(sized(fields(p=4)), boxes(OPENURINE, p_0=3, p_1=5), OPENURINE)
    assert means.loc["p", "RBC"] == pytest.approx(2 * (math.pi / 16) / 0.25)


def test_fields_of_different_size_count_by_their_area():
    images = sized(fields(p=2, q=1), side=[1000, 2000, 1000])
    means = counts.patient_means(images, boxes(OPENURINE, p_0=10, q_0=10), OPENURINE)["RBC"]
    assert means["q"] / means["p"] == pytest.approx(5)  # the same boxes on a fifth of the area
    assert means["q"] == pytest.approx(10 * math.pi / 4)


def test_one_unknown_pixel_size_makes_all_counts_per_field():
    images = sized(fields(p=1, q=1), um_per_px=[0.5, np.nan])
    assert counts.patient_means(images, boxes(OPENURINE, p_0=3), OPENURINE).loc["p", "RBC"] == 3
    unit = counts.Reference(images, report(), counts.LABORATORY, []).unit
    assert "per field, not per HPF" in unit and "1 of 2 fields" in unit
    assert "0 of 2" in counts.Reference(fields(p=2), report(), counts.LABORATORY, []).unit
    assert "0.196 mm²" in counts.Reference(sized(fields(p=2)), report(), counts.LABORATORY, []).unit


def test_only_confident_detections_count_by_each_components_own_point():
    found = boxes(OPENURINE, p_0=30).assign(conf=[0.9] * 4 + [0.3] * 6 + [0.1] * 20)
    points = dict.fromkeys(OPENURINE.components, 0.5)
    count = [
        counts.patient_means(fields(p=1), found, OPENURINE, points | {"RBC": c}).loc["p", "RBC"]
        for c in (0.9, 0.25, 0)
    ]
    assert count == [4, 10, 30]


def test_reference_of_annotators():
    run = make_run(fields(p=7, q=2), boxes(OPENURINE, p_0=50, q_0=1))
    known = counts.reference(run, 0)
    assert known.images.groupby("group").size().to_dict() == {"p": 5, "q": 2}
    rbc = known.levels[known.levels["component"] == "RBC"].set_index("group")
    assert rbc["count"].to_dict() == {"p": 10, "q": 0.5}
    assert rbc["level"].to_dict() == {"p": 3, "q": 1}
    assert (
        known.by == counts.ANNOTATORS
        and "no laboratory report" in known.about
        and "per field" in known.about
    )


def test_a_limit_keeps_whole_patients():
    images = fields(a=1, b=5, c=4, d=5)
    assert counts.limit_groups(images, 10)["group"].value_counts().to_dict() == {"b": 5, "d": 5}
    assert set(counts.limit_groups(images, 2)["group"]) == {"b"}
    assert len(counts.limit_groups(images, None)) == 15


def cohort(**groups):
    return fields(**groups).assign(split="cohort")


def test_reference_of_a_laboratory_takes_the_cohort_of_its_patients():
    images = sized(pd.concat([fields(p=2), cohort(q=4, r=4)], ignore_index=True))
    said = report(("q", "RBC", "few", 4.0), ("elsewhere", "RBC", "none", np.nan))
    known = counts.reference(make_run(images, boxes(OPENURINE), said), 0)
    assert set(known.images["group"]) == {"q"}
    assert known.levels.to_numpy().tolist() == [["q", "RBC", 2, 4.0]]
    assert known.by == counts.LABORATORY and known.without_fields == ["elsewhere"]


def test_a_laboratorys_counts_per_hpf_are_not_set_against_counts_per_field():
    known = counts.reference(
        make_run(cohort(q=4), boxes(OPENURINE), report(("q", "RBC", "few", 4.0))), 0
    )
    assert known.levels["level"].tolist() == [2] and known.levels["count"].isna().all()


def test_without_a_common_patient_the_annotators_boxes_are_the_reference_and_it_is_said():
    said = report(("nobody", "RBC", "few", np.nan))
    known = counts.reference(make_run(fields(p=2), boxes(OPENURINE), said), 0)
    assert set(known.images["group"]) == {"p"} and known.without_fields == ["nobody"]
    assert "is on none of the test patients" in known.about


def test_overview_shows_a_component_that_nobody_reported():
    known = counts.reference(
        make_run(cohort(q=4), boxes(OPENURINE), report(("q", "RBC", "few", np.nan))), 0
    )
    table = counts.patients_by_level(known, OPENURINE)
    assert list(table.index) == list(OPENURINE.components) and list(table) == list(counts.LEVELS)
    assert table.loc["RBC", "few"] == 1 and table.to_numpy().sum() == 1


@pytest.mark.parametrize("given", [sized(fields(p=3, q=4)), fields(p=3, q=4)])
def test_a_perfect_predictor_scores_100_and_an_empty_one_finds_nobody(given):
    truth = boxes(OPENURINE, p_0=100, p_1=20)
    known = counts.reference(make_run(given, truth), 0)
    points, cuts = dict.fromkeys(OPENURINE.components, 0.25), levels.read_cutoffs()

    def scores(found):
        means = counts.patient_means(known.images, found, OPENURINE, points)
        return agreement.table8_components(
            counts.paired_levels(known.levels, levels.levels(means, cuts))
        ).set_index("row")

    perfect, empty = scores(truth), scores(truth.head(0))
    assert (perfect["accuracy"] == 100).all() and perfect.loc["RBC", "kappa"] == 1
    assert perfect.loc["RBC", ["sensitivity", "specificity"]].tolist() == [100, 100]
    assert empty.loc["RBC", "sensitivity"] == 0 and empty.loc["RBC", "accuracy"] == 50
    assert empty.loc["Mucus", "accuracy"] == 100 and np.isnan(empty.loc["Mucus", "kappa"])


def test_absent_components_stand_as_absent_beside_the_paper():
    truth = boxes(URISED, p_0=10)
    known = counts.reference(make_run(fields(p=2, q=2), truth, tax=URISED), 0)
    found = levels.levels(counts.patient_means(known.images, truth, URISED), levels.read_cutoffs())
    scores = agreement.table8_components(
        counts.paired_levels(known.levels, found), list(URISED.components)
    )
    both = agreement.table8(scores, scores).set_index("row")
    assert np.isnan(both.loc["Mucus", "accuracy_here"])
    assert both.loc["Mucus", "reason"] == agreement.ABSENT
    assert both.loc["RBC", "accuracy_here"] == 100 == both.loc["RBC", "accuracy_fixed"]
    assert both.loc["RBC", "accuracy_difference"] == pytest.approx(100 - 87.31)
    assert both["patients"].fillna(0).tolist() == [2] * 3 + [0] * 3 + [2] * 3
    assert "Crystals" in both.index and list(both.index)[:6] == list(
        published.table(8, summaries=False)["row"]
    )


def test_a_set_without_components_says_why_nothing_can_be_compared():
    nothing = counts.paired_levels(
        levels.levels(pd.DataFrame(index=["p"]), {}), levels.levels(pd.DataFrame(index=["p"]), {})
    )
    scores = agreement.table8_components(nothing, [])
    both = agreement.table8(scores, scores).set_index("row")
    assert both.loc[agreement.MEAN, "reason"] == agreement.NO_LEVEL
    assert set(both["reason"].drop(agreement.MEAN)) == {agreement.ABSENT}


def visible(figure):
    return [ax for ax in figure.axes if ax.get_visible()]


def test_figures_show_what_there_is():
    pairs = pd.concat([graded([0, 1], [0, 2]), graded([0, 4], [0, 4], "Mucus")], ignore_index=True)
    known = figures.component_colours(OPENURINE)
    components = {name: known[name] for name in ("RBC", "Mucus", "WBC")}
    for figure in (
        figures.plot_table8_confusion(pairs, components, "synthetic"),
        figures.plot_table8_counts(pairs, components, "synthetic"),
    ):
        figure.canvas.draw()
        titles = [ax.get_title() for ax in visible(figure)]
        assert [t.split("\n")[0].split(" (")[0] for t in titles] == [
            "RBC",
            "WBC",
            "Mucus",
        ]  # Table 8's order
        assert "not in the reference" in titles[1] or "no counts" in titles[1]
        assert "synthetic" in figure.get_supxlabel()
    cuts = dict.fromkeys(["RBC", "Mucus"], [1, 2, 3, 4.0])
    curves = figures.plot_table8_sensitivity(
        agreement.table8_sensitivity(pairs, cuts, False, agreement.CURVE), components, "synthetic"
    )
    # a component has the colour of its head, in each of the figures
    assert (components["RBC"], components["Mucus"]) == tuple(
        style.HEAD_COLOURS[head] for head in ("Cells", "Others")
    )
    assert [line.get_color() for line in curves.axes[0].lines][:2] == [
        components["RBC"],
        components["Mucus"],
    ]
    dots = figures.plot_table8_counts(pairs, components, "synthetic").axes[2].lines
    assert components["Mucus"] in [line.get_color() for line in dots]
    assert [len(line.get_xdata()) for line in curves.axes[0].lines][:3] == [17, 17, 17]


def test_figures_of_nothing():
    nothing = graded([], [])
    for figure in (
        figures.plot_table8_confusion(nothing, {}, "synthetic"),
        figures.plot_table8_counts(nothing, {"RBC": "black"}, "synthetic"),
        figures.plot_table8_sensitivity(
            agreement.table8_sensitivity(nothing, {}, False), {}, "synthetic"
        ),
    ):
        figure.canvas.draw()
        assert figure.axes
