"""Fields: the same from any order and pixel size, with tight boxes."""

import numpy as np
import pytest
from drawing import DEMO, PLAIN, TINY, bounds, same
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from synthurine import CLASSES, dataset, fields, generate, one_field, patients
from synthurine.laboratories import LABORATORIES
from synthurine.particles import classes


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


@pytest.fixture
def clean(monkeypatch):
    """A slide with nothing on it but what is asked for."""
    monkeypatch.setattr(fields, "_add_debris", lambda *a: None)
    monkeypatch.setattr(fields, "FAINT", 0.0)


@pytest.mark.parametrize("name", CLASSES)
def test_boxes_are_tight(name, clean, monkeypatch):
    """The box is the mask's within a pixel, and what is drawn is in the mask.

    Any pixel size shows the same particle.
    """
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
    """What differs from the empty field reaches every side of the box; only rims go beyond."""
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
    monkeypatch.setattr(fields, "_add_debris", lambda *a: None)
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


@pytest.mark.parametrize("lab", range(len(LABORATORIES)))
def test_background_does_not_tell_where_the_boxes_are(lab):
    """A classifier cannot tell empty patches near particles from patches of empty fields."""
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
        n_patches = 0
        for _ in range(3000):
            y, x = rng.integers(0, 480 - size, 2)
            if free[y : y + size, x : x + size].all() and (
                not boxes or near[y : y + size, x : x + size].any()
            ):
                patch = image[y : y + size, x : x + size].astype(float)
                patch -= patch.mean((0, 1))  # the lamp's colour and brightness are the field's
                spectrum = np.abs(np.fft.rfft2(patch.mean(2)))
                tones = [*patch.std((0, 1)), *np.percentile(patch, [1, 10, 90, 99])]
                waves = [spectrum[:4, :4].mean(), spectrum[4:-4, 4:].mean()]
                rows.append([patch.std(), *tones, *waves])
                with_particles.append(bool(boxes))
                group.append(seed)
                n_patches += 1
            if n_patches == 60:
                break
    rows, labels, group = np.array(rows), np.array(with_particles), np.array(group)
    train = group < 8
    forest = RandomForestClassifier(200, min_samples_leaf=5, random_state=0, n_jobs=1).fit(
        rows[train], labels[train]
    )
    auc = roc_auc_score(labels[~train], forest.predict_proba(rows[~train])[:, 1])
    assert 0.3 < auc < 0.7, auc


def test_a_field_as_asked_for_is_that_of_its_seed_in_every_focus():
    asked = ("stones", 2, 5)
    field, again, other = one_field(*asked), one_field(*asked), one_field("stones", 2, 6)
    assert same(field, again) and not np.array_equal(field.image, other.image)
    assert field.image.shape == (840, 840, 3)
    assert field.um_per_px == pytest.approx(240 / 840 / LABORATORIES[2].zoom)
    blurred = one_field(*asked, focus=5)
    assert blurred.boxes == field.boxes and not np.array_equal(blurred.image, field.image)


def test_a_patient_shows_what_the_profile_says():
    found = [name for seed in range(4) for name, *_ in one_field("cystinuria", 0, seed).boxes]
    assert found.count("Cystine") >= 4 and "Muddy brown cast" not in found


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (("hunger", 0, 0), "no profile 'hunger'; there are normal,"),
        (("normal", 8, 0), "no laboratory 8; there are 0 to 7"),
        (("normal", 0, 0, 0.0, 50), "50 px and 240 um is too small"),
    ],
)
def test_a_field_that_cannot_be_drawn_is_refused(asked, why):
    with pytest.raises(ValueError, match=why):
        one_field(*asked)
