"""The synthetic OpenUrine: Table 2's counts, tight boxes, the same from any order, size and number of workers."""

import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from openurine_lib import published
from openurine_lib.data import check, readers
from openurine_lib.data.taxonomy import load
from openurine_lib.experiments.methods import profile
from synthurine import CLASSES, dataset, fields, generate, patients, report, write
from synthurine.laboratories import LABORATORIES, Laboratory
from synthurine.optics import Microscope, contrast
from synthurine.particles import classes

TINY = {"fields": 4, "unlabelled": 2, "field_px": 160, "field_um": 160, "patients": 2, "cohort": 1}
SMOKE, DEMO, PAPER = (profile(name).synthetic for name in ("smoke", "demo", "paper"))
PLAIN = Laboratory(
    Microscope(0.65, 0.3, 0.0), (0.8, 0.8, 0.8), 0, 0, 1.5, 0, 0.3, 0, 0, 1, 0, 95, 1
)  # no dirt, no noise


def same(a, b):
    return np.array_equal(a.image, b.image) and (a.boxes, a.name, a.patient, a.split) == (
        b.boxes,
        b.name,
        b.patient,
        b.split,
    )


def shared_out(spec, seed=0):
    """(labelled patients, counts (fields, classes), number of each field's patient), without drawing."""
    known = [p for p in patients.plan(spec, seed) if p.split == "labelled"]
    return (
        known,
        np.concatenate([p.labelled for p in known]),
        np.repeat(np.arange(len(known)), [p.fields for p in known]),
    )


# --- counts ----------------------------------------------------------------------------------------------------------
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
    known, counts, _ = shared_out(spec)
    for patient in known:
        for j in range(patient.fields):
            field = dataset.draw_field(patient, j, spec, 0)
            found = np.bincount([CLASSES.index(b[0]) for b in field.boxes], minlength=39)
            assert (found == counts[patient.first + j]).all()
            seen += found
    assert (seen > 0).all()


def test_profiles_keep_company():
    """Muddy brown casts lie with renal cells more often than with yeast, as acute tubular necrosis has them."""
    _, counts, _ = shared_out(PAPER)
    shows = pd.DataFrame(counts > 0, columns=CLASSES)
    muddy = shows[shows["Muddy brown cast"]]
    assert muddy["Epithelial cell (renal)"].mean() > shows["Epithelial cell (renal)"].mean() * 2
    assert muddy["Yeast"].mean() <= shows["Yeast"].mean()


# --- pictures --------------------------------------------------------------------------------------------------------
def test_same_seed_same_fields_other_seed_other_fields():
    first, again, other = list(generate(TINY, 3)), list(generate(TINY, 3)), list(generate(TINY, 4))
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a.image, b.image) for a, b in zip(first, other, strict=False))


def test_a_field_does_not_depend_on_those_before_it():
    plan = patients.plan(TINY, 3)
    backwards = [
        dataset.draw_field(p, j, TINY, 3) for p in reversed(plan) for j in reversed(range(p.fields))
    ]
    assert all(same(a, b) for a, b in zip(generate(TINY, 3), reversed(backwards), strict=True))


@pytest.mark.parametrize("px", [240, 1000])
def test_pixels_show_the_same_scene(px):
    patient = patients.plan(DEMO, 0)[0]
    reference, other = (
        dataset.draw_field(patient, 0, DEMO | {"field_px": n}, 0) for n in (640, px)
    )
    assert [b[0] for b in other.boxes] == [b[0] for b in reference.boxes]
    apart = (
        np.array([b[1:] for b in other.boxes]) / px
        - np.array([b[1:] for b in reference.boxes]) / 640
    )
    assert np.abs(apart).max() < 2.5 / min(px, 640)


def test_classes_are_table_2s_and_all_are_drawn():
    assert (
        load("openurine").classes == CLASSES
        and set(classes.DRAW) == set(CLASSES)
        and len(CLASSES) == 39
    )
    listed = {
        name for rates in (patients.BACKGROUND, *patients.PROFILES.values()) for name in rates
    }
    assert listed == set(CLASSES)


def bounds(covered):
    """x1, y1, x2, y2 of the covered pixels."""
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


@pytest.fixture
def clean(monkeypatch):
    """A slide with nothing on it but what is asked for."""
    monkeypatch.setattr(fields, "_debris", lambda *a: None)
    monkeypatch.setattr(fields, "FAINT", 0.0)


@pytest.mark.parametrize("name", CLASSES)
def test_boxes_are_tight(name, clean, monkeypatch):
    """The box is the mask's within a pixel, what is drawn is in the mask, and any pixel size shows the same
    particle."""
    k = 6.0
    for seed in range(4):
        sheet = classes.draw(name, np.random.default_rng(seed), k)
        mask = bounds(sheet.mask >= fields.COVERED)
        assert sheet.mask[[0, -1]].max() == 0 == sheet.mask[:, [0, -1]].max(), (
            "cut off by its own sheet"
        )
        drawn = bounds((np.abs(sheet.phase) > 0.1) | (np.abs(sheet.absorb) > 0.05).any(0))
        assert np.r_[mask[:2] - drawn[:2], drawn[2:] - mask[2:]].max() / k < 0.7  # um
        coarse = bounds(classes.draw(name, np.random.default_rng(seed), 2.5).mask >= fields.COVERED)
        assert np.abs((mask[2:] - mask[:2]) / k - (coarse[2:] - coarse[:2]) / 2.5).max() < 1.0  # um
        monkeypatch.setattr(fields, "draw", lambda *a, sheet=sheet: sheet)
        whole = 0
        for attempt in range(20):
            _, [(found, *box)] = fields.lay(
                [name], 1200, 1 / k, PLAIN, np.random.default_rng(attempt)
            )
            if min(box) > 0 and max(box) < 1200:
                whole += 1
                assert (
                    found == name
                    and np.abs(np.subtract(box[2:], box[:2]) - (mask[2:] - mask[:2])).max() <= 1
                )
                break
        assert whole


@pytest.mark.parametrize(
    "name", ["Uric acid", "Ammonium biurat", "Muddy brown cast", "Calcium oxalate", "Yeast"]
)
def test_boxes_lie_on_the_particles(name, clean):
    """What differs from the empty field reaches every side of the box, and, but for the rims, not beyond."""
    tried = 0
    for seed in range(30):
        image, [(_, *box)] = fields.lay([name], 900, 0.25, PLAIN, np.random.default_rng(seed))
        if min(box) < 30 or max(box) > 870:
            continue
        tried += 1
        x1, y1, x2, y2 = np.array(box).astype(int)
        around = image[y1 - 25 : y2 + 25, x1 - 25 : x2 + 25].astype(float)
        seen = bounds(np.abs(around - np.median(image, axis=(0, 1))).max(2) > 30)
        beyond = seen - np.array([25, 25, x2 - x1 + 25, y2 - y1 + 25])
        assert np.abs(beyond).max() <= 8, (seed, beyond)  # 2 um: the rims
    assert tried >= 5


def test_a_cut_particle_is_boxed_where_it_is_seen():
    cut = 0
    for seed in range(60):
        _, [(_, x1, y1, x2, y2)] = fields.lay(
            ["Cystine"], 300, 0.5, PLAIN, np.random.default_rng(seed)
        )
        assert 0 <= x1 < x2 <= 300 and 0 <= y1 < y2 <= 300
        cut += x1 == 0 or y1 == 0 or x2 == 300 or y2 == 300
    assert cut > 2


def test_what_has_a_box_can_be_seen_and_what_has_none_cannot(monkeypatch):
    monkeypatch.setattr(fields, "_debris", lambda *a: None)
    monkeypatch.setattr(fields, "FAINT", 1.0)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        c = np.zeros((3, 400, 400), np.float32)
        monkeypatch.setattr(
            fields, "background", lambda *a, c=c: (c, np.ones((400, 400, 3), np.float32))
        )
        monkeypatch.setattr(fields, "photograph", lambda c, *a: c.copy())
        seen, boxes = fields.lay(["Hyaline cast"], 400, 0.5, PLAIN, rng)
        assert len(boxes) == 1
        x1, y1, x2, y2 = np.array(boxes[0][1:]).astype(int)
        inside = np.sqrt((seen[:, y1:y2, x1:x2] ** 2).mean())
        outside = seen.copy()
        outside[:, max(y1 - 20, 0) : y2 + 20, max(x1 - 20, 0) : x2 + 20] = 0
        assert inside > 0.3 * fields.VISIBLE and np.abs(outside).max() < 12 * fields.VISIBLE


# --- optics ----------------------------------------------------------------------------------------------------------
def test_a_transparent_cell_shows_out_of_focus_only_and_turns_with_the_focus():
    y, x = np.mgrid[-64:64, -64:64] / 8.0
    cell = (np.hypot(x, y) < 3.5).astype(np.float32)
    clear = np.zeros((3, 128, 128), np.float32)
    at = {z: contrast(cell, clear, 8.0, z, Microscope(axial=0.0)) for z in (-2.0, 0.0, 2.0)}
    assert np.abs(at[0.0]).max() < 1e-3 < 0.1 < np.abs(at[2.0]).max()
    dark = {
        z: np.maximum(c, 0) for z, c in at.items()
    }  # the bright side is limited, so only the dark one is compared
    assert np.corrcoef(dark[2.0].ravel(), np.maximum(-at[-2.0], 0).ravel())[0, 1] > 0.9


def test_an_absorbing_disc_keeps_its_density_and_blurs_with_focus():
    y, x = np.mgrid[-64:64, -64:64] / 8.0
    disc = np.stack([(np.hypot(x, y) < 4).astype(np.float32) * 0.5] * 3)
    none = np.zeros((128, 128), np.float32)
    sharp, soft = (contrast(none, disc, 8.0, z, Microscope(axial=0.0)) for z in (0.0, 6.0))
    assert abs(sharp[1, 64, 64] - 0.5) < 0.02
    assert np.isclose(sharp.sum(), disc.sum(), rtol=0.02) and np.isclose(
        soft.sum(), disc.sum(), rtol=0.05
    )
    assert np.abs(np.diff(soft[1, 64])).max() < 0.7 * np.abs(np.diff(sharp[1, 64])).max()


def test_colours_come_to_focus_at_different_depths():
    y, x = np.mgrid[-64:64, -64:64] / 8.0
    cell = (np.hypot(x, y) < 3.5).astype(np.float32)
    red, _, blue = contrast(
        cell, np.zeros((3, 128, 128), np.float32), 8.0, 0.0, Microscope(axial=0.8)
    )
    assert np.corrcoef(red.ravel(), blue.ravel())[0, 1] < -0.5  # focused above and below


@pytest.mark.parametrize("lab", range(len(LABORATORIES)))
def test_background_does_not_tell_where_the_boxes_are(lab):
    """A classifier cannot tell empty patches of fields with particles, near them, from patches of empty fields."""
    size, k = 24, 3.0
    rows, with_particles, group = [], [], []
    for seed in range(16):
        rng = np.random.default_rng([lab, seed])
        names = (
            []
            if seed % 2
            else ["RBC"] * 12 + ["WBC"] * 6 + ["Bacteria"] * 8 + ["Calcium oxalate"] * 4
        )
        image, boxes = fields.lay(names, 480, 1 / k, LABORATORIES[lab], rng)
        free = np.ones((480, 480), bool)
        near = np.zeros((480, 480), bool)
        for _, *box in boxes:
            x1, y1, x2, y2 = np.array(box).astype(int)
            free[max(y1 - 18, 0) : y2 + 18, max(x1 - 18, 0) : x2 + 18] = False  # 6 um: its rims
            near[max(y1 - 60, 0) : y2 + 60, max(x1 - 60, 0) : x2 + 60] = True
        taken = 0
        for _ in range(3000):
            y, x = rng.integers(0, 480 - size, 2)
            if free[y : y + size, x : x + size].all() and (
                not boxes or near[y : y + size, x : x + size].any()
            ):
                patch = image[y : y + size, x : x + size].astype(float)
                patch -= patch.mean((0, 1))  # the lamp's colour and brightness are the field's
                spectrum = np.abs(np.fft.rfft2(patch.mean(2)))
                rows.append([patch.std(), *patch.std((0, 1)), *np.percentile(patch, [1, 10, 90, 99]),
                             spectrum[:4, :4].mean(), spectrum[4:-4, 4:].mean()])  # fmt: skip
                with_particles.append(bool(boxes))
                group.append(seed)
                taken += 1
            if taken == 60:
                break
    rows, labels, group = np.array(rows), np.array(with_particles), np.array(group)
    train = group < 8
    forest = RandomForestClassifier(200, min_samples_leaf=5, random_state=0, n_jobs=1).fit(
        rows[train], labels[train]
    )
    auc = roc_auc_score(labels[~train], forest.predict_proba(rows[~train])[:, 1])
    assert 0.3 < auc < 0.7, auc


# --- patients and the laboratory -------------------------------------------------------------------------------------
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
    table = report(plan, sides, 0)
    assert set(table.group) == {p.name for p in plan} and len(plan) == 84
    assert set(table.component) == set(load("openurine").components)
    share = table.level.value_counts(normalize=True)
    assert len(share) == 5 and share.min() > 0.03
    pd.testing.assert_frame_equal(table, report(plan, sides, 0))
    dense = max(plan, key=lambda p: p.rates.get("RBC", 0))
    said = table.set_index(["group", "component"])
    assert said.level[dense.name, "RBC"] == "many"
    # per high-power field: a circle of 500 um, where the rates are of a square of 300 um
    assert said["count"][dense.name, "RBC"] == pytest.approx(
        dense.rates["RBC"] * np.pi * 250**2 / 300**2, rel=0.8
    )
    assert (
        report(plan, [150.0] * len(plan), 0)["count"].mean() / table["count"].mean()
    ) == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize(
    "wrong", [{"fields": 0}, {"patients": 2.5}, {"extra": 1}, {"field_px": 32}]
)
def test_a_wrong_spec_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        patients.plan(TINY | wrong, 0)


# --- the folder ------------------------------------------------------------------------------------------------------
def test_write_resumes_and_refuses_another_set(tmp_path):
    out = write(tmp_path / "fields", TINY, 0)
    table = pd.read_csv(out / "patients.csv")
    assert list(table.columns) == [
        "image",
        "patient",
        "subset",
        "profile",
        "laboratory",
        "um_per_px",
    ]
    assert set(table.subset) == {"labelled", "unlabelled", "cohort"}
    assert (table.groupby("patient")[["subset", "profile", "laboratory"]].nunique() == 1).all(None)
    meta = json.loads((out / "meta.json").read_text())
    assert (
        meta["synthetic"] is True
        and meta["simulator"] == dataset.SIMULATOR
        and meta["um_per_px"] == 1.0
    )
    assert list(yaml.safe_load((out / "data.yaml").read_text())["names"].values()) == list(CLASSES)
    on_disk = {
        p.stem: p for folder in ("images", "unlabelled", "cohort") for p in (out / folder).iterdir()
    }
    assert set(on_disk) == set(table.image)
    assert {p.stem for p in (out / "labels").iterdir()} == set(
        table.image[table.subset == "labelled"]
    )

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


def test_workers_do_not_change_a_byte(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "WORTH", 2)
    spec = TINY | {"fields": 6, "unlabelled": 3}
    one, three = (write(tmp_path / str(n), spec, 5, workers=n) for n in (1, 3))
    files = sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file())
    assert (
        files == sorted(p.relative_to(three) for p in three.rglob("*") if p.is_file())
        and len(files) > 15
    )
    assert all((one / f).read_bytes() == (three / f).read_bytes() for f in files)


def test_labels_are_the_boxes_in_yolo_and_in_coco(tmp_path):
    out = write(tmp_path, TINY, 0)
    field = next(iter(generate(TINY, 0)))
    rows = np.loadtxt(out / "labels" / f"{field.name}.txt", ndmin=2)
    assert [CLASSES[int(c)] for c in rows[:, 0]] == [b[0] for b in field.boxes]
    centre, size = rows[:, 1:3] * 160, rows[:, 3:] * 160
    assert np.allclose(
        np.c_[centre - size / 2, centre + size / 2], [b[1:] for b in field.boxes], atol=1e-3
    )
    coco = json.loads((out / "annotations" / "coco.json").read_text())
    names = {c["id"]: c["name"] for c in coco["categories"]}
    images = {i["id"]: i["file_name"] for i in coco["images"]}
    found = defaultdict(list)
    for a in coco["annotations"]:
        x, y, w, h = a["bbox"]
        found[images[a["image_id"]]].append((names[a["category_id"]], x, y, x + w, y + h))
    assert len(images) == TINY["fields"]
    mine = found[f"images/{field.name}.jpg"]
    assert [b[0] for b in mine] == [b[0] for b in field.boxes]
    assert np.allclose([b[1:] for b in mine], [b[1:] for b in field.boxes], atol=0.02)


def test_the_folder_is_read_like_anyone_elses(tmp_path):
    checked = check.check(readers.read(write(tmp_path, TINY, 0)))
    assert checked.images.split.value_counts().to_dict()["labelled"] == TINY["fields"]
    assert (
        len(checked.boxes) == patients.quota(TINY).boxes.sum()
        and checked.taxonomy.name == "openurine"
    )


def test_the_table_of_particles_is_about_what_is_drawn():
    """docs/particles.md: every class, and a size that drawn particles have."""
    text = (Path(__file__).parents[2] / "docs" / "particles.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if line.startswith("| ")
    ][1:]
    assert {row[0] for row in rows} == set(CLASSES) and all(row[2] and row[3] for row in rows)
    sources = text.split("## Sources")[1].split("##")[0].count("\n")
    assert all(int(n) <= sources for row in rows for n in re.findall(r"\[(\d+)\]", row[3]))
    for name, size, *_ in rows:
        low, middle, high = map(float, size.split(" - "))
        sides = []
        for seed in range(12):
            x1, y1, x2, y2 = bounds(
                classes.draw(name, np.random.default_rng(seed), 3.0).mask >= fields.COVERED
            )
            sides.append(max(x2 - x1, y2 - y1) / 3)
        assert low < np.median(sides) < high and abs(np.log(np.median(sides) / middle)) < 0.5, (
            name,
            np.median(sides),
        )
