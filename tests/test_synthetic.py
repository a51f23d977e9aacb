"""The synthetic OpenUrine: the same from any order and size, every class, boxes on the particles, patients apart."""

import json
from collections import defaultdict

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from openurine_lib.methods import profile
from openurine_lib.synthetic import CLASSES, dataset, fields, generate, laboratory, particles, patients, write
from openurine_lib.taxonomy import load

TINY = {"fields": 4, "unlabelled": 2, "field_px": 160, "patients": 2, "cohort": 1}
DEMO = profile("demo").synthetic
PLAIN = fields.Look((0.8, 0.8, 0.8), 0.0, 0.0, 0.2, 0.6, 0.0, 1.0)  # no shading, no noise


def same(a, b):
    return np.array_equal(a.image, b.image) and (a.boxes, a.name, a.patient, a.split) == (
        b.boxes,
        b.name,
        b.patient,
        b.split,
    )


def who(spec, seed=0):
    """Class -> labelled patients that show it, without drawing."""
    seen = defaultdict(set)
    for p in patients.plan(spec, seed):
        for j in range(p.fields if p.split == "labelled" else 0):
            for name in patients.contents(p, j, np.random.default_rng([seed, p.first + j])):
                seen[name].add(p.name)
    return seen


def test_same_seed_same_fields_other_seed_other_fields():
    first, again, other = list(generate(TINY, 3)), list(generate(TINY, 3)), list(generate(TINY, 4))
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a.image, b.image) for a, b in zip(first, other, strict=False))


def test_a_field_does_not_depend_on_those_before_it():
    plan = patients.plan(TINY, 3)
    backwards = [dataset.draw_field(p, j, 160, 3) for p in reversed(plan) for j in reversed(range(p.fields))]
    assert all(same(a, b) for a, b in zip(generate(TINY, 3), reversed(backwards), strict=True))


@pytest.mark.parametrize("px", [240, 1000])
def test_pixels_show_the_same_scene(px):
    patient = patients.plan(DEMO, 0)[0]
    reference, other = dataset.draw_field(patient, 0, 640, 0), dataset.draw_field(patient, 0, px, 0)
    assert [b[0] for b in other.boxes] == [b[0] for b in reference.boxes]
    apart = np.array([b[1:] for b in other.boxes]) / px - np.array([b[1:] for b in reference.boxes]) / 640
    assert np.abs(apart).max() < 2.5 / min(px, 640)


def test_classes_are_table_2s_and_all_are_drawn():
    assert load("openurine").classes == CLASSES and set(particles.DRAW) == set(CLASSES) and len(CLASSES) == 39
    listed = {name for rates in (patients.BACKGROUND, *patients.PROFILES.values()) for name in rates}
    assert listed == set(CLASSES)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_class_occurs_in_patients_enough_for_five_folds(seed):
    assert min(len(who(DEMO, seed)[name]) for name in CLASSES) >= 5
    assert min(len(who(profile("smoke").synthetic, seed)[name]) for name in CLASSES) >= 5


def test_counts_follow_table_2_roughly():
    counts = defaultdict(int)
    for p in patients.plan(DEMO, 0):
        for j in range(p.fields):
            names = patients.contents(p, j, np.random.default_rng([0, p.first + j]))
            assert patients.FEWEST <= len(names) <= patients.MOST
            for name in names:
                counts[name] += 1
    common = sorted(counts, key=counts.get, reverse=True)[:4]
    assert set(common) == {"Bacteria", "RBC", "WBC", "Calcium oxalate"}  # as in Table 2


def test_boxes_are_inside_and_of_some_size():
    for field in generate(TINY | {"fields": 8, "patients": 4}, 0):
        assert field.image.shape == (160, 160, 3) and field.image.dtype == np.uint8
        for _, x1, y1, x2, y2 in field.boxes:
            assert 0 <= x1 < x2 <= 160 and 0 <= y1 < y2 <= 160


@pytest.mark.parametrize("name", ["Uric acid", "Ammonium biurat", "RBC cast", "Calcium oxalate", "Yeast"])
def test_boxes_are_tight(name):
    """The dark pixels of a particle alone on a plain field reach each side of its box, and not beyond."""
    for seed in range(4):
        image, [(found, *box)] = fields.lay([name], 640, PLAIN, np.random.default_rng(seed))
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(float)
        ys, xs = np.nonzero(grey < np.median(grey) - 8)
        seen = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
        assert found == name and np.abs(seen - box).max() <= 3, (seen, box)


def test_a_cut_particle_is_boxed_where_it_is_seen():
    """Of every particle at least half of its rectangle is in the field; the box is that of the part in it."""
    cut = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        _, [(_, x1, y1, x2, y2)] = fields.lay(["Cystine"], 200, PLAIN, rng)
        whole = particles.draw("Cystine", np.random.default_rng(seed), 200 / fields.FIELD_UM)
        area = np.prod((whole.high - whole.low) * 200 / fields.FIELD_UM)
        cut += x1 == 0 or y1 == 0 or x2 == 200 or y2 == 200
        assert (x2 - x1) * (y2 - y1) > 0.4 * area
    assert cut > 2


def test_patients_are_in_one_split():
    plan = patients.plan(DEMO, 0)
    assert len({p.name for p in plan}) == len(plan)
    fields_of = {s: [p.fields for p in plan if p.split == s] for s in ("labelled", "unlabelled", "cohort")}
    assert (sum(fields_of["labelled"]), len(fields_of["labelled"])) == (DEMO["fields"], DEMO["patients"])
    assert sum(fields_of["unlabelled"]) == DEMO["unlabelled"]
    assert len(fields_of["cohort"]) == DEMO["cohort"] and set(fields_of["cohort"]) <= {3, 4, 5}


def test_laboratory_reports_the_cohort():
    report = laboratory(DEMO, 0)
    cohort = {p.name for p in patients.plan(DEMO, 0) if p.split == "cohort"}
    assert set(report.group) == cohort and set(report.component) == set(load("openurine").components)
    assert set(report.level) <= set(dataset.LEVELS) and report.level.nunique() >= 4
    pd.testing.assert_frame_equal(report, laboratory(DEMO, 0))


@pytest.mark.parametrize("wrong", [{"fields": 0}, {"patients": 2.5}, {"extra": 1}])
def test_a_wrong_spec_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        patients.plan(TINY | wrong, 0)


def test_write_resumes_and_refuses_another_set(tmp_path):
    out = write(tmp_path / "fields", TINY, 0)
    table = pd.read_csv(out / "patients.csv")
    assert list(table.columns) == ["image", "patient", "subset"] and set(table.subset) == {
        "labelled",
        "unlabelled",
        "cohort",
    }
    assert (table.groupby("patient").subset.nunique() == 1).all()
    assert json.loads((out / "meta.json").read_text())["synthetic"] is True
    assert list(yaml.safe_load((out / "data.yaml").read_text())["names"].values()) == list(CLASSES)
    on_disk = {p.stem: p for folder in ("images", "unlabelled", "cohort") for p in (out / folder).iterdir()}
    assert set(on_disk) == set(table.image)
    assert {p.stem for p in (out / "labels").iterdir()} == set(table.image[table.subset == "labelled"])

    before = {name: (p.read_bytes(), p.stat().st_mtime_ns) for name, p in on_disk.items()}
    lost = sorted(on_disk)[0]
    on_disk[lost].unlink()  # as after a kill
    write(out, TINY, 0)
    for name, path in on_disk.items():
        assert path.read_bytes() == before[name][0]
        assert (path.stat().st_mtime_ns == before[name][1]) == (name != lost)
    assert not [p for p in out.rglob(".*")]

    with pytest.raises(ValueError, match="another synthetic data set"):
        write(out, TINY, 1)


def test_labels_are_the_boxes(tmp_path):
    out = write(tmp_path, TINY, 0)
    field = next(iter(generate(TINY, 0)))
    rows = np.loadtxt(out / "labels" / f"{field.name}.txt", ndmin=2)
    assert [CLASSES[int(c)] for c in rows[:, 0]] == [b[0] for b in field.boxes]
    centre, size = rows[:, 1:3] * 160, rows[:, 3:] * 160
    assert np.allclose(np.c_[centre - size / 2, centre + size / 2], [b[1:] for b in field.boxes], atol=1e-3)
