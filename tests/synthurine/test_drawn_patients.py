"""The synthetic patients: Table 2's counts, the profiles, the laboratory's report."""

import numpy as np
import pandas as pd
import pytest
from drawing import DEMO, SMOKE, TINY, shared_out

from openurine_lib import published
from openurine_lib.data.taxonomy import load
from synthurine import CLASSES, PAPER, dataset, laboratory_report, patients


@pytest.mark.parametrize("seed", [0, 1])
def test_the_full_set_has_exactly_table_2s_boxes_and_images(seed):
    _, counts, _ = shared_out(PAPER, seed)
    table = published.table(2, summaries=False).set_index("row").loc[list(CLASSES)]
    assert len(counts) == 790 and counts.sum() == 31285
    assert counts.sum(0).tolist() == table.boxes.tolist()
    assert (counts > 0).sum(0).tolist() == table.images.tolist()
    assert counts.any(1).all()  # no labelled field without a box


@pytest.mark.parametrize("fields_", [48, 120, 400])
def test_a_smaller_set_keeps_the_proportions_and_every_class(fields_):
    spec = PAPER | {"fields": fields_, "patients": 30}
    _, counts, _ = shared_out(spec)
    table = published.table(2, summaries=False).set_index("row").loc[list(CLASSES)]
    part = fields_ / 790
    often = (table.images * part >= patients.FLOOR).to_numpy()
    assert often.sum() >= 4 and counts.any(0).all()
    assert np.abs(counts.sum(0) - table.boxes * part)[often].max() <= 0.5
    assert np.abs((counts > 0).sum(0) - table.images * part)[often].max() <= 0.5


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("spec", [SMOKE, DEMO], ids=["smoke", "demo"])
def test_every_class_occurs_in_patients_enough_for_five_folds(spec, seed):
    _, counts, owner = shared_out(spec, seed)
    assert min(len(set(owner[counts[:, c] > 0])) for c in range(39)) >= 5


def test_a_field_shows_what_was_planned_for_it():
    """48 fields with every class among their boxes, each box from the plan."""
    spec = SMOKE | {"fields": 48, "unlabelled": 0, "cohort": 0}
    seen = np.zeros(39, int)
    owners, counts, _ = shared_out(spec)
    for patient in owners:
        for j in range(patient.fields):
            field = dataset.draw_field(patient, j, spec, 0)
            found = np.bincount([CLASSES.index(b[0]) for b in field.boxes], minlength=39)
            assert (found == counts[patient.first + j]).all()
            seen += found
    assert (seen > 0).all()


def test_profiles_keep_company():
    """Muddy brown casts lie with renal cells, as in acute tubular necrosis, not with yeast."""
    _, counts, _ = shared_out(PAPER)
    shows = pd.DataFrame(counts > 0, columns=CLASSES)
    muddy = shows[shows["Muddy brown cast"]]
    assert muddy["Epithelial cell (renal)"].mean() > shows["Epithelial cell (renal)"].mean() * 2
    assert muddy["Yeast"].mean() <= shows["Yeast"].mean()


def test_patients_are_in_one_split():
    plan = patients.plan(DEMO, 0)
    assert len({p.name for p in plan}) == len(plan)
    fields_of = {
        s: [p.fields for p in plan if p.split == s] for s in ("labelled", "unlabelled", "cohort")
    }
    assert (sum(fields_of["labelled"]), len(fields_of["labelled"])) == (
        DEMO["fields"],
        DEMO["patients"],
    )
    assert sum(fields_of["unlabelled"]) == DEMO["unlabelled"]
    assert len(fields_of["cohort"]) == DEMO["cohort"] and set(fields_of["cohort"]) <= {3, 4, 5}


def test_the_papers_cohort_is_graded_over_all_five_levels():
    plan = [p for p in patients.plan(PAPER, 0) if p.split == "cohort"]
    sides = [300.0] * len(plan)
    table = laboratory_report(plan, sides, 0)
    assert set(table.group) == {p.name for p in plan} and len(plan) == 84
    assert set(table.component) == set(load("openurine").components)
    share = table.level.value_counts(normalize=True)
    assert len(share) == 5 and share.min() > 0.03
    pd.testing.assert_frame_equal(table, laboratory_report(plan, sides, 0))
    dense = max(plan, key=lambda p: p.rates.get("RBC", 0))
    rows = table.set_index(["group", "component"])
    assert rows.level[dense.name, "RBC"] == "many"
    # per high-power field: a circle of 500 um, where the rates are of a square of 300 um
    assert rows["count"][dense.name, "RBC"] == pytest.approx(
        dense.rates["RBC"] * np.pi * 250**2 / 300**2, rel=0.8
    )
    assert (
        laboratory_report(plan, [150.0] * len(plan), 0)["count"].mean() / table["count"].mean()
    ) == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize(
    "wrong", [{"fields": 0}, {"patients": 2.5}, {"extra": 1}, {"field_px": 32}]
)
def test_a_wrong_spec_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        patients.plan(TINY | wrong, 0)
