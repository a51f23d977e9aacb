"""The command line on good and bad input."""

import shlex

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from openurine_lib import cli
from openurine_lib.cli import main
from openurine_lib.data import taxonomy
from openurine_lib.laboratory import finetuning


@pytest.fixture
def field(tmp_path):
    path = tmp_path / "field.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (120, 100, 3), dtype=np.uint8)).save(
        path
    )
    return path


@pytest.mark.parametrize("side", [[], ["--slice", "0"]])
def test_predict_leaves_boxes_pictures_and_a_report(weights, field, tmp_path, capsys, side):
    assert (
        main(
            [
                "predict",
                str(field),
                "--weights",
                str(weights),
                "--out",
                str(tmp_path / "out"),
                *side,
            ]
        )
        == 0
    )
    out = tmp_path / "out"
    files = {p.name for p in out.iterdir() if not p.name.startswith(".")}  # the lock is hidden
    assert files == {"boxes.csv", "field.png", "made_from.json", "report.csv"}
    boxes = pd.read_csv(out / "boxes.csv")
    assert list(boxes) == ["image", "class", "cls", "conf", "x1", "y1", "x2", "y2"]
    assert (
        len(boxes)
        and (boxes.conf >= 0.25).all()
        and boxes.x2.max() <= 100
        and boxes.y2.max() <= 120
    )
    picture = np.asarray(Image.open(out / "field.png"))
    assert picture.shape == (1080, 900, 3)  # enlarged until names can be read
    report = pd.read_csv(out / "report.csv")
    assert list(report.component) == list(taxonomy.load("openurine").components)
    assert "not for diagnosis" in capsys.readouterr().out


def next_command(said):
    """The command in which an output ends."""
    last = said.rstrip().splitlines()[-1]
    assert last.startswith("Next") and "openurine " in last
    return shlex.split(last.split("openurine ", 1)[1])


def test_predict_ends_with_commands_that_can_be_typed(weights, field, tmp_path, capsys):
    out = tmp_path / "my results"
    setting = ["--conf", "0.3", "--um-per-px", "0.5", "--weights", str(weights)]
    assert main(["predict", str(field), "--out", str(out), *setting]) == 0
    before = pd.read_csv(out / "report.csv")
    again = next_command(capsys.readouterr().out)
    at = again.index("FIELD...")
    assert main([*again[:at], str(field), *again[at + 1 :]]) == 0
    assert (out / "index.html").exists()
    assert pd.read_csv(out / "report.csv").equals(before), "another setting was proposed"
    after = next_command(capsys.readouterr().out)
    assert after[0] == "finetune" and cli._parser().parse_args(after).data.name == after[1]


def test_finetune_ends_with_a_prediction_by_the_new_weights(tmp_path, capsys, monkeypatch):
    new = tmp_path / "my results" / "weights.pt"
    frame = pd.DataFrame({"class": ["a"], "low": [np.nan]})
    done = finetuning.Finetuned(new, frame, frame, "about", 1.0)
    monkeypatch.setattr(finetuning, "finetune", lambda *given: done)
    assert main(["finetune", str(tmp_path)]) == 0
    asked = cli._parser().parse_args(next_command(capsys.readouterr().out))
    assert asked.run is cli._predict and asked.weights == new


def test_predict_counts_per_high_power_field_where_the_pixel_size_is_given(
    weights, field, tmp_path, capsys
):
    for folder, pixel in (("plain", []), ("hpf", ["--um-per-px", "0.5"])):
        assert (
            main(
                [
                    "predict",
                    str(field),
                    "--weights",
                    str(weights),
                    "--out",
                    str(tmp_path / folder),
                    *pixel,
                ]
            )
            == 0
        )
        assert ("give --um-per-px" in capsys.readouterr().out) == (folder == "plain")
    plain, hpf = (pd.read_csv(tmp_path / folder / "report.csv") for folder in ("plain", "hpf"))
    # the field shows 50 x 60 um, an HPF is a circle of 500 um
    assert np.allclose(
        hpf["mean per HPF"], plain["mean per field"] * np.pi * 250**2 / (50 * 60), rtol=1e-4
    )


def refused(arguments, capsys, text):
    assert main(list(map(str, arguments))) == 2
    error = capsys.readouterr().err
    assert text in error and "Traceback" not in error
    return error


def test_predict_refuses_in_one_line(weights, field, tmp_path, capsys):
    ask = ["predict", field, "--out", tmp_path / "out", "--weights"]
    assert refused([*ask, tmp_path / "none.pt"], capsys, "none.pt does not exist").count("\n") == 1
    (tmp_path / "text.pt").write_text("no weights")
    refused([*ask, tmp_path / "text.pt"], capsys, "text.pt is not a weights file")
    refused(["predict", "gone.jpg", "--weights", weights], capsys, "gone.jpg: no such image")
    refused([*ask, weights, "--conf", "7"], capsys, "--conf 7")
    refused([*ask, weights, "--slice", "-3"], capsys, "--slice -3")
    refused([*ask, weights, "--um-per-px", "0"], capsys, "--um-per-px 0")
    refused(["predict", field, field, "--weights", weights], capsys, "two fields are called field")
    (tmp_path / "broken.jpg").write_text("no picture")
    broken = ["predict", tmp_path / "broken.jpg", "--weights", weights, "--out", tmp_path / "o"]
    refused(broken, capsys, "broken.jpg: not a readable image")


def test_synthesize_then_check(tmp_path, capsys):
    draw = ["synthesize", "--out", str(tmp_path / "set"), "--seed", "1"]
    assert main([*draw, "--fields", "5", "--patients", "5"]) == 0
    assert main(["check", str(tmp_path / "set")]) == 0
    out = capsys.readouterr().out
    assert "taxonomy openurine" in out and "5 labelled images" in out
    next((tmp_path / "set" / "labels").iterdir()).write_text("0 nonsense\n")
    refused(["check", tmp_path / "set"], capsys, "malformed line")
    refused(["check", tmp_path / "nowhere"], capsys, "no such folder")


def test_methods_lists_rows_and_status(capsys):
    assert main(["methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("vitdet") and "approximate" in line for line in lines)
    assert any(
        line.startswith("ours-yolo12m") and "faithful" in line and "Table 5" in line
        for line in lines
    )
