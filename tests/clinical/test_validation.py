"""What a detector is known to find, and what a report may say by it."""

import numpy as np
import pandas as pd
import pytest

from openurine_lib.clinical import patient_report, validation
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.files import write_json

TAXONOMY = Taxonomy(
    "t", ("rbc", "wbc", "squamous", "renal"), {"Cells": (0, 1, 2, 3)}, {},
    {"RBC": (0,), "WBC": (1,), "Epithelial cells": (2, 3)},
)  # fmt: skip
XYXY = ["x1", "y1", "x2", "y2"]


def fields(n=12):
    names = [f"f{i}" for i in range(n)]
    frame = pd.DataFrame({"image": names, "group": [f"p{i // 2}" for i in range(n)]})
    return frame.assign(width=100, height=100)


def boxes(n=12, each=4):
    """Red cells on every second patient, one squamous cell on each field; no white cell."""
    rows = []
    for i in range(n):
        for k in range(each * (i // 2 % 2)):
            rows.append((f"f{i}", 0, 20.0 * k, 0.0, 20.0 * k + 15, 15.0))
        rows.append((f"f{i}", 2, 50.0, 50.0, 80.0, 80.0))
    return pd.DataFrame(rows, columns=["image", "cls", *XYXY])


def test_a_perfect_detector_and_one_that_misses_half():
    truth = boxes()
    table = validation.table8_validation(fields(), truth, truth.assign(conf=0.9), TAXONOMY)
    table = table.set_index("component")
    assert table.loc["RBC", ["recall", "precision", "kappa"]].tolist() == [1, 1, 1]
    assert table.loc["RBC", ["boxes", "fields", "patients"]].tolist() == [24, 6, 6]
    assert table.loc["WBC", "boxes"] == 0 and np.isnan(table.loc["WBC", "recall"])
    half = truth.assign(conf=np.where(truth.index % 2, 0.9, 0.1))  # 0.1: below CONFIDENCE
    assert validation.table8_validation(fields(), truth, half, TAXONOMY).recall[0] == 0.5


def test_classes_of_one_component_are_not_told_apart():
    truth = boxes()
    renal = truth.assign(conf=0.9, cls=truth.cls.replace(2, 3))
    table = validation.table8_validation(fields(), truth, renal, TAXONOMY).set_index("component")
    assert table.loc["Epithelial cells", "recall"] == 1


def content(drawn=False, **changed):
    """A record in which all is well, but for what is changed of its RBC."""
    good = {"recall": 0.9, "precision": 0.9, "kappa": 0.8, "boxes": 50, "fields": 9, "patients": 9}
    names = ("RBC", "WBC", "Epithelial cells")
    components = [{"component": name, **good} for name in names]
    components[0] |= changed
    return {
        "format": 1, "drawn": drawn, "alone": False, "fields": 20, "patients": 9, "data": "ours",
        "components": components, "conf": 0.25, "slice_px": 0, "imgsz": 96, "um_per_px": None,
        "appearance": {"brightness": [180, 220]},
    }  # fmt: skip


@pytest.mark.parametrize(
    "changed, why",
    [
        ({}, ""),
        ({"recall": 0.3}, "recall 0.30, below 0.5"),
        ({"precision": 0.49}, "precision 0.49, below 0.5"),
        ({"kappa": None}, "no kappa"),
        ({"boxes": 9}, "9 held-out particles, fewer than 10"),
        ({"patients": 4}, "4 held-out patients, fewer than 5"),
    ],
)
def test_why_a_component_is_not_validated(changed, why):
    table = validation.judged(content(**changed), TAXONOMY)
    assert table.why.tolist() == [why, "", ""]


def test_a_record_counts_for_its_own_weights_only(tmp_path):
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"one")
    assert validation.read(weights) == {}
    validation.write(content(), weights)
    assert validation.read(weights)["fields"] == 20
    weights.write_bytes(b"another")
    assert validation.read(weights) == {}
    (tmp_path / validation.FILE).write_text("{")
    assert validation.read(weights) == {}


def patient(unlike=("", "", "")):
    n = len(unlike)
    frame = pd.DataFrame({"image": [f"f{i}" for i in range(n)], "group": "patient"})
    return frame.assign(width=100, height=100, unlike=list(unlike))


def reported(known, found=None, unlike=("", "", ""), other=""):
    nothing = pd.DataFrame({"image": [], "cls": []})
    table = patient_report.report(
        patient(unlike), nothing if found is None else found, TAXONOMY, known, other
    )
    return table.set_index("component").level.to_dict()


def test_none_is_said_only_of_what_real_fields_have_shown_to_be_found():
    assert set(reported({}).values()) == {"not validated"}
    assert set(reported(content()).values()) == {"none"}
    assert set(reported(content(drawn=True)).values()) == {"not validated"}
    weak = reported(content(recall=0.2))
    assert weak["RBC"] == "not validated" and weak["WBC"] == "none"


def test_what_is_counted_by_a_validated_detector_has_a_level():
    found = pd.DataFrame({"image": ["f0"] * 9 + ["f1"] * 9, "cls": 0})
    assert reported(content(drawn=True), found)["RBC"] == "few"
    assert reported(content(recall=0.2), found)["RBC"] == "not validated"


def test_fields_unlike_those_of_training_and_other_settings_give_no_level():
    assert set(reported(content(), unlike=("brightness", "focus", "")).values()) == {
        "not validated"
    }
    assert "none" in reported(content(), unlike=("brightness", "", "")).values()
    other = reported(content(), other="validated at confidence 0.25")
    assert set(other.values()) == {"not validated"}


def test_remarks_name_what_weakens_every_level():
    said = "; ".join(patient_report.remarks(patient(("brightness", "brightness")), content()))
    assert "pixel size unknown" in said and "too few fields: 2" in said
    assert "brightness of f0 and 1 more far outside that of training" in said
    known = patient().assign(um_per_px=0.3)
    assert patient_report.remarks(known, content()) == []
    alone = patient_report.remarks(known, content() | {"alone": True})
    assert "may flatter" in alone[0]


def test_an_export_has_the_record_of_its_weights(tmp_path):
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"one")
    validation.write(content(), weights)
    export = tmp_path / "weights_onnx"
    export.mkdir()
    (export / validation.FILE).write_bytes((tmp_path / validation.FILE).read_bytes())
    sha = validation.read(weights)["weights_sha256"]
    write_json(export / "export.json", {"weights_sha256": sha})
    assert validation.read(export)["fields"] == 20
    write_json(export / "export.json", {"weights_sha256": "0"})
    assert validation.read(export) == {}
