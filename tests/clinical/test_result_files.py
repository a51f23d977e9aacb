"""Many patients in one call: each one's counts are its own, and every format holds the same."""

import contextlib
import io
import json
import re
from pathlib import Path

import browser
import numpy as np
import pandas as pd
import pytest
import tiny
from PIL import Image

from openurine_lib import inference
from openurine_lib.cli import main
from openurine_lib.clinical.result_files import file_name
from openurine_lib.data import readers, taxonomy

PATIENTS = {"f1": "Ann", "f2": "../<b>&\"'", "f3": "Ann", "f4": ".."}
TABLE = "image,patient,um_per_px\n" + "".join(
    '{},"{}",0.{}\n'.format(image, patient.replace('"', '""'), 3 + i % 2)
    for i, (image, patient) in enumerate(PATIENTS.items())
)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = tmp_path_factory.mktemp("in")
    for i, name in enumerate(PATIENTS):
        pixels = np.random.default_rng(i).integers(0, 255, (64, 64 + 8 * i, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    (folder / "patients.csv").write_text(TABLE)
    return folder


@pytest.fixture(scope="module")
def told():
    """What the command printed."""
    return []


@pytest.fixture(scope="module")
def out(weights, given, told, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "results"
    everything = ["--format", "csv", "json", "coco", "fhir", "--html"]
    ask = ["predict", str(given), "--weights", str(weights), "--out", str(out), *everything]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(ask) == 0
    told.append(printed.getvalue())
    return out


def test_each_patients_counts_are_those_of_its_own_fields(weights, given, out, tmp_path):
    report = pd.read_csv(out / "report.csv", dtype={"patient": str})
    assert set(report.patient) == set(PATIENTS.values())
    boxes = pd.read_csv(out / "boxes.csv")
    red = boxes[boxes["class"] == "RBC"].image.value_counts()
    area = {f"f{i + 1}": 64 * (64 + 8 * i) * (0.3 + 0.1 * (i % 2)) ** 2 for i in range(4)}
    for patient, rows in report.groupby("patient"):
        own = [image for image, whose in PATIENTS.items() if whose == patient]
        per_hpf = sum(red.get(f, 0) for f in own) / sum(area[f] for f in own) * np.pi * 250**2
        assert np.isclose(rows.set_index("component")["mean per HPF"]["RBC"], per_hpf, rtol=1e-4)
    assert report.remarks.str.contains("too few fields: 2").sum() == len(report) / 3


def test_the_command_says_a_line_a_patient(out, told):
    lines = told[0].splitlines()
    assert lines[0].split()[:2] == ["RBC", "WBC"] and lines[1].strip() == "patient"
    rows = [line for line in lines if line.startswith(tuple(PATIENTS.values()))]
    assert len(rows) == 3 and all("not validated" in row for row in rows)
    assert "4 fields of 3 patients" in told[0]
    assert told[0].count("too few fields: 1") == 1, "what holds for several is said once"
    assert "and 1 more: too few fields: 1" in told[0]


def test_every_format_holds_the_same_boxes(given, out):
    boxes = pd.read_csv(out / "boxes.csv")
    content = json.loads((out / "report.json").read_text())
    listed = [
        (field["image"], b["class"], b["conf"], b["x1"], b["y1"], b["x2"], b["y2"])
        for patient in content["patients"]
        for field in patient["fields"]
        for b in field["boxes"]
    ]
    columns = ["image", "class", "conf", "x1", "y1", "x2", "y2"]
    theirs = pd.DataFrame(listed, columns=columns).sort_values(columns, ignore_index=True)
    ours = boxes[columns].sort_values(columns, ignore_index=True)
    pd.testing.assert_frame_equal(theirs, ours, rtol=1e-4, atol=1e-3, check_dtype=False)
    assert content["about"]["per_hpf"] and "not for diagnosis" in content["about"]["use"]
    # COCO, read as labels by the project's own reader
    labels = out.parent / "labels"
    labels.mkdir()
    for file in given.iterdir():
        (labels / file.name).write_bytes(file.read_bytes())
    (labels / "coco.json").write_text((out / "coco.json").read_text())
    source = readers.read(labels)
    assert not source.problems
    read = source.rows.assign(image=source.rows.image.str.removesuffix(".png"))
    corners = ["image", "class", "x1", "y1", "x2", "y2"]
    pd.testing.assert_frame_equal(
        read[corners].sort_values(corners, ignore_index=True),
        boxes[corners].sort_values(corners, ignore_index=True),
        atol=1e-3,
    )


def test_what_stands_beside_the_boxes_is_of_the_same_field_and_patient(given, out):
    boxes = pd.read_csv(out / "boxes.csv")
    report = pd.read_csv(out / "report.csv", keep_default_na=False)
    content = json.loads((out / "report.json").read_text())
    assert [one["patient"] for one in content["patients"]] == list(report.patient.unique())
    for one in content["patients"]:
        rows = report[report.patient == one["patient"]]
        assert [row["level"] for row in one["report"]] == list(rows.level)
        assert {"; ".join(one["remarks"])} == set(rows.remarks)
        for field in one["fields"]:
            assert PATIENTS[field["image"]] == one["patient"] and field["unlike"] == ""
            with Image.open(given / f"{field['image']}.png") as image:
                assert (field["width"], field["height"]) == image.size
    coco = json.loads((out / "coco.json").read_text())
    images = {image["id"]: image for image in coco["images"]}
    assert {Path(i["file_name"]).stem: i["patient"] for i in images.values()} == PATIENTS
    classes = taxonomy.load("openurine")
    heads = {c["name"]: c["supercategory"] for c in coco["categories"]}
    assert heads == {name: classes.head_of(c) for c, name in enumerate(classes.classes)}
    assert len(coco["annotations"]) == len(boxes)
    for entry, box in zip(coco["annotations"], boxes.itertuples(), strict=True):
        assert entry["area"] == pytest.approx((box.x2 - box.x1) * (box.y2 - box.y1), rel=1e-3)
        assert entry["score"] == pytest.approx(box.conf, rel=1e-4)
        assert images[entry["image_id"]]["file_name"] == f"{box.image}.png"


def test_pages_have_every_field_though_a_call_without_them_was_interrupted(
    weights, given, tmp_path
):
    ask = ["predict", str(given), "--weights", str(weights), "--out", str(tmp_path / "o")]
    with tiny.killed_after(2, inference, "predict_image"):
        main(ask)
    assert not (tmp_path / "o" / "patients").exists()
    assert main([*ask, "--html"]) == 0
    assert {file.stem for file in (tmp_path / "o" / "patients").glob("*.jpg")} == set(PATIENTS)


def test_a_patient_has_a_file_of_its_own_whatever_its_name(out):
    names = {file_name(patient) for patient in PATIENTS.values()}
    assert len(names) == 3 and not [n for n in names if re.search(r"[/\\<>&\"']|^\.", n)]
    assert {f.stem for f in (out / "fhir").iterdir()} == names
    assert {f.stem for f in (out / "patients").glob("*.html")} == names
    bundle = json.loads((out / "fhir" / f"{file_name('..')}.json").read_text())
    assert bundle["entry"][0]["resource"]["subject"]["display"] == ".."


def test_no_name_writes_on_a_page(out):
    for page in [out / "index.html", *(out / "patients").glob("*.html")]:
        text = page.read_text()
        assert "<b>&" not in text and "Content-Security-Policy" in text
        links = re.findall(r'(?:href|src)="([^"]+)"', text)
        assert links and not [link for link in links if "//" in link or link.startswith("/")]
    assert "&lt;b&gt;&amp;" in (out / "index.html").read_text()


def test_what_is_wrong_is_told_before_long_work(weights, given, tmp_path, capsys, monkeypatch):
    from openurine_lib.laboratory import predicting

    monkeypatch.setattr(predicting, "predict_fields", None)  # nothing is predicted
    ask = ["predict", str(given), "--weights", str(weights), "--out", str(tmp_path / "o")]
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "coco.json").write_text("a user's own")
    assert main(ask) == 2
    assert "coco.json is not of these fields; give another folder" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "fhir.resources", None)
    assert main([*ask, "--format", "fhir"]) == 2
    assert "pip install 'openurine_lib[fhir]'" in capsys.readouterr().err
    with pytest.raises(predicting.BadOption, match="formats xml: give some of json, coco"):
        predicting.predict([given], weights, formats=["xml"])


@pytest.mark.browser
@browser.needs_chromium
@pytest.mark.parametrize("width", [browser.PHONE, browser.DESK])
def test_pages_work_in_a_browser(out, width):
    with browser.opened(width) as page:
        for file in [out / "index.html", *(out / "patients").glob("*.html")]:
            browser.go(page, file)
            assert browser.unresolved(page) == [] and not browser.scrolls_sideways(page)
            assert browser.violations(page) == []
        assert page.complaints == []


@pytest.mark.browser
@browser.needs_chromium
def test_boxes_are_filtered_by_head_and_confidence(out):
    boxes = pd.read_csv(out / "boxes.csv")
    own = boxes[boxes.image == "f1"]
    cells = taxonomy.load("openurine").heads["Cells"]
    with browser.opened() as page:
        browser.go(page, out / "patients" / "Ann.html")
        field, shown = page.locator(".field").first, page.locator(".shown").first
        assert field.locator("rect:visible").count() == len(own)
        page.get_by_label("Cells").uncheck()
        left = own[~own.cls.isin(cells)]
        assert 0 < len(left) < len(own) and shown.inner_text() == str(len(left))
        middle = round(float(left.conf.median()), 2)
        page.get_by_label("confidence from").fill(str(middle))
        left = left[left.conf.round(2) >= middle]
        assert field.locator("rect:visible").count() == len(left) == int(shown.inner_text())
        assert page.complaints == []
