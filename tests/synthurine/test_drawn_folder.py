"""The folder that ``synthurine.write`` leaves: complete, resumed, whoever drew it."""

import json
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
import yaml
from drawing import TINY

from openurine_lib.data import check, readers
from synthurine import CLASSES, dataset, generate, patients, write


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
    monkeypatch.setattr(dataset, "FIELDS_PER_WORKER", 2)
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
    boxes = found[f"images/{field.name}.jpg"]
    assert [b[0] for b in boxes] == [b[0] for b in field.boxes]
    assert np.allclose([b[1:] for b in boxes], [b[1:] for b in field.boxes], atol=0.02)


def test_the_folder_is_read_like_anyone_elses(tmp_path):
    spec = TINY | {"fields": 5, "patients": 5}  # a patient for each fold
    checked = check.check(readers.read(write(tmp_path, spec, 0)))
    assert checked.images.split.value_counts().to_dict()["labelled"] == spec["fields"]
    assert (
        len(checked.boxes) == patients.quota(spec).boxes.sum()
        and checked.taxonomy.name == "openurine"
    )
