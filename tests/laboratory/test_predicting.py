"""A patient's results: of this patient's fields alone, in a folder of their own, safe to open."""

import contextlib
import errno
import json
import os
import resource
from pathlib import Path

import no_micrographs
import numpy as np
import pandas as pd
import pytest
import tiny
from filelock import FileLock
from PIL import Image

import synthurine
from openurine_lib import default_weights, inference, predict
from openurine_lib.cli import main
from openurine_lib.clinical import validation
from openurine_lib.data import taxonomy
from openurine_lib.data.boxes import ROOM, XYXY, area
from openurine_lib.laboratory.predicting import BadOption
from openurine_lib.training.weights import read_weights, usual_room

DATA = Path(os.environ.get("OPENURINE_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
REAL = DATA / "urised2k" / "images"
real_fields = pytest.mark.skipif(
    not REAL.is_dir(), reason=f"no urised2k in {DATA}; set OPENURINE_TEST_DATA"
)


def patient(folder, seed, names=("f1", "f2")):
    """Files of fields; every patient's are called the same."""
    folder.mkdir(parents=True)
    for i, name in enumerate(names):
        pixels = np.random.default_rng([seed, i]).integers(0, 255, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return [str(folder / f"{name}.png") for name in names]


def predicted(fields, weights, out, *more):
    return main(["predict", *fields, "--weights", str(weights), "--out", str(out), *more])


@pytest.mark.parametrize("left", [0, 1, 2], ids=["at once", "one field", "finished"])
def test_another_patients_results_are_never_taken_for_this_ones(weights, tmp_path, capsys, left):
    one, other = patient(tmp_path / "one", 1), patient(tmp_path / "other", 2)
    out = tmp_path / "out"
    if left == 2:
        assert predicted(one, weights, out) == 0
    else:
        with tiny.killed_after(left, inference, "predict_image"):
            predicted(one, weights, out)
    before = {path: path.read_bytes() for path in out.iterdir()}
    assert predicted(other, weights, out) == 2
    error = capsys.readouterr().err
    assert "is not of these fields; give another folder" in error and error.count("\n") <= 3
    assert {path: path.read_bytes() for path in out.iterdir()} == before, "results were changed"
    assert predicted(one, weights, out) == 0, "the patient's own call does not go on"
    assert predicted(one, weights, tmp_path / "alone") == 0
    for name in ("boxes.csv", "report.csv", "f1.png", "f2.png"):
        assert (out / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


@pytest.mark.parametrize("given", ["f1", "another file"])
def test_no_file_of_the_users_is_written_over(weights, tmp_path, monkeypatch, capsys, given):
    fields = patient(tmp_path / "one", 1)
    monkeypatch.chdir(tmp_path / "one")
    if given == "another file":  # f2.jpg is the field, and f2.png another picture
        Image.open(fields[1]).save("f2.jpg")
        fields = ["f2.jpg"]
    before = {path: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert predicted(fields, weights, ".") == 2
    assert "give another folder" in capsys.readouterr().err
    after = {path: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert {path: after.get(path) for path in before} == before


def test_two_calls_do_not_write_into_one_folder(weights, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    with FileLock(out / ".lock"):
        assert predicted(patient(tmp_path / "one", 1), weights, out) == 2
    assert "another call is at work there" in capsys.readouterr().err


@pytest.mark.parametrize("start", ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\t=1"])
def test_a_name_is_no_formula_in_a_spreadsheet(weights, tmp_path, start):
    fields = patient(tmp_path / "one", 1, [start])
    assert predicted(fields, weights, tmp_path / "out") == 0
    boxes = pd.read_csv(tmp_path / "out" / "boxes.csv", dtype=str)
    assert len(boxes) and set(boxes.image) == {f"'{start}"}
    report = pd.read_csv(tmp_path / "out" / "report.csv", dtype=str, keep_default_na=False)
    cells = [*boxes.to_numpy().ravel(), *report.to_numpy().ravel()]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_without_weights_the_default_predicts_and_never_says_none(tmp_path, capsys):
    patient(tmp_path / "one", 1)  # noise, which is no micrograph
    out = tmp_path / "out"
    assert main(["predict", str(tmp_path / "one"), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "trained on drawn fields" in said and "too few fields: 2" in said
    assert "far outside that of training" in said
    report = pd.read_csv(out / "report.csv", keep_default_na=False)
    assert set(report.level) == {"not validated"}
    assert report.why.str.contains("look unlike those of training").all()
    known = json.loads((default_weights.path().parent / default_weights.RECORD).read_text())
    validated = f"validated on {known['fields']} held-out drawn fields"
    assert report.detector.str.contains(validated).all()
    assert {"f1.png", "f2.png"} <= {file.name for file in out.iterdir()}


def test_what_is_no_micrograph_is_told_of_each_picture(tmp_path, capsys):
    for name, pixels in no_micrographs.PICTURES.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        out = tmp_path / name
        assert main(["predict", str(tmp_path / f"{name}.png"), "--out", str(out)]) == 0
        assert f"of {name} far outside that of training" in capsys.readouterr().out
        report = pd.read_csv(out / "report.csv", keep_default_na=False)
        assert set(report.level) == {"not validated"}, name
        assert set(report.why) == {"100% of the fields look unlike those of training"}, name


def test_a_detector_of_drawn_fields_leaves_room_unless_told():
    field = synthurine.one_field("urinary tract infection", 0, 1, px=560, um=160).image
    usual, tight = predict([field]), predict([field], room=0)
    assert len(tight.boxes) and usual.report.equals(tight.report)
    assert usual.boxes[["cls", "conf"]].equals(tight.boxes[["cls", "conf"]])
    far = tight.boxes[XYXY].to_numpy()
    inside = (far[:, :2] > 50).all(1) & (far[:, 2:] < 510).all(1)  # of the edge
    ratio = area(usual.boxes[inside]) / area(tight.boxes[inside])
    assert inside.any() and np.allclose(ratio, 2**0.5, rtol=1e-3)


def test_two_looks_are_taken_if_asked_for_or_validated(tmp_path):
    """A report at another number of looks than the record's is not validated."""
    field = synthurine.one_field("urinary tract infection", 0, 1, px=560, um=160).image
    once, twice = (predict([field], looks=looks) for looks in (1, 2))
    assert len(once.boxes) and len(twice.boxes) and not once.boxes.equals(twice.boxes)
    validated = validation.read(default_weights.path()).get("looks", 1)
    usual = predict([field])
    assert usual.boxes.equals((once, twice)[validated - 1].boxes)
    other = (twice, once)[validated - 1]
    assert set(other.report.why) == {f"validated on fields seen {('once', 'twice')[validated - 1]}"}
    with pytest.raises(BadOption, match="looks 3: give 1 or 2"):
        predict([field], looks=3)


def test_only_drawn_fields_leave_boxes_without_room(weights):
    assert usual_room({"synthetic": True}) == ROOM
    assert usual_room({"synthetic": False}) == 0, "annotators' boxes have their room"
    assert usual_room(read_weights(weights)["meta"]) == 0, "weights that do not say"


@real_fields
def test_on_real_fields_neither_the_default_nor_a_demo_says_none(weights):
    """A demo leaves weights with a record of few drawn fields, or without one."""
    fields = sorted(REAL.iterdir())[::600]
    found = predict(fields)
    assert set(found.report.level) & {"none"} == set()
    assert "trained on drawn fields" in found.trained_on
    # it sees something, so the report is not empty for want of detections
    assert len(found.boxes) and (found.report["mean per field"] > 0).any()
    demo = predict(fields, weights, conf=1)  # finds nothing, as a training of half a minute does
    assert demo.boxes.empty and set(demo.report.level) == {"not validated"}


def test_fields_of_any_sizes_go_together(weights, tmp_path):
    """In one folder; counts per high-power field weigh each field by its area."""
    sizes = {"small": (40, 60), "long": (64, 700), "usual": (300, 300), "large": (400, 520)}
    folder = tmp_path / "mixed"
    folder.mkdir()
    for i, (name, (height, width)) in enumerate(sizes.items()):
        pixels = np.random.default_rng(i).integers(0, 255, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    found = predict([folder], weights, um_per_px=0.5)
    seen = {f.image: (f.height, f.width) for f in found.fields.itertuples()}
    assert seen == sizes
    area = sum(height * width for height, width in sizes.values()) * 0.5**2
    classes = taxonomy.load("openurine").components["RBC"]
    ours = found.report.set_index("component").loc["RBC", "mean per HPF"]
    per_hpf = found.boxes.cls.isin(classes).sum() * np.pi * 250**2 / area
    assert per_hpf > 0 and ours == pytest.approx(per_hpf)
    for box in found.boxes.itertuples():
        height, width = sizes[box.image]
        assert 0 <= box.x1 < box.x2 <= width and 0 <= box.y1 < box.y2 <= height


def test_weights_without_a_record_never_say_none(weights, tmp_path):
    assert predicted(patient(tmp_path / "one", 1), weights, tmp_path / "out", "--conf", "1") == 0
    report = pd.read_csv(tmp_path / "out" / "report.csv")
    assert (report["mean per field"] == 0).all() and set(report.level) == {"not validated"}


def test_a_resumed_call_looks_at_every_field(weights, tmp_path):
    fields = patient(tmp_path / "one", 1, ("f1", "f2", "f3"))
    out = tmp_path / "out"
    with tiny.killed_after(2, inference, "predict_image"):
        predicted(fields, weights, out)
    drawn = {file.name for file in out.glob("*.png")}
    assert predicted(fields, weights, out, "--um-per-px", "0.3") == 0
    assert {file.name for file in out.glob("*.png")} > drawn or len(drawn) == 3
    assert "mean per HPF" in pd.read_csv(out / "report.csv")  # of all sizes, also of the first ones


@contextlib.contextmanager
def small_files(bytes_):
    """Within it, a file can grow to so many bytes only, and the system refuses the rest."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def one_line(capsys):
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("openurine")]
    assert len(error) == 1
    return error[0]


def test_what_the_system_refuses_is_told_with_the_place_and_a_remedy(
    weights, tmp_path, capsys, monkeypatch
):
    fields = patient(tmp_path / "one", 1)
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert predicted(fields, weights, out) == 2
        error = one_line(capsys)
        assert str(tmp_path / "file") in error and error.endswith("; give another folder")
    with small_files(1000):
        assert predicted(fields, weights, tmp_path / "full") == 2
    error = one_line(capsys)
    assert str(tmp_path / "full") in error and "make room on the disk" in error
    assert predicted(fields, weights, tmp_path / "full") == 0, "the same command does not go on"

    def refuse(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system", str(tmp_path / "cd"))

    monkeypatch.setattr("openurine_lib.laboratory.predicting.FileLock", refuse)
    assert predicted(fields, weights, tmp_path / "cd") == 2
    assert "Read-only file system; give a folder that you may write to" in one_line(capsys)
