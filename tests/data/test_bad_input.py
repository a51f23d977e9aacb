"""What people hand in: a result or one clear line that names the file, never a traceback."""

import json
import os
import pickle
import re
import zipfile

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import save_file
from test_images import bad_files

from openurine_lib import method, open_run
from openurine_lib.cli import main
from openurine_lib.data import taxonomy
from openurine_lib.experiments import made_from, steps
from openurine_lib.inference import predict_image, read_rgb
from openurine_lib.laboratory import finetuning
from openurine_lib.model.build import build_model
from openurine_lib.training import transfer
from openurine_lib.training.engines import engine
from openurine_lib.training.engines import ultralytics as yolo
from openurine_lib.training.weights import DETECTOR, WeightsError, read_weights


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A weights file's content, of an untrained detector whose scores pass a confidence of 0.25."""
    t = taxonomy.load("urised2k")
    torch.manual_seed(0)
    model = build_model("yolo12n", t, "single")
    for branch in model.model[-1].cv3:
        torch.nn.init.constant_(branch[-1].bias, -0.5)
    meta = {
        "engine": "ultralytics", "arch": "yolo12n", "heads": "single", "imgsz": 64,
        "classes": list(t.classes), "head_classes": {k: list(v) for k, v in t.heads.items()},
        "taxonomy": t.name, "objectness_gain": 0.0,
    }  # fmt: skip
    path = tmp_path_factory.mktemp("good") / "weights.pt"
    torch.save({"state_dict": model.state_dict(), "meta": meta}, path)
    return path


def field(folder, image, name="field.png", **how):
    Image.fromarray(image).save(folder / name, **how)
    return folder / name


def predicted(path, weights, out, *more):
    return main(["predict", str(path), "--weights", str(weights), "--out", str(out), *more])


NOISE = np.random.default_rng(0).integers(0, 255, (90, 70, 3), np.uint8)


@pytest.mark.parametrize("slices", [[], ["--slice", "0"]])
@pytest.mark.parametrize(
    "image",
    [np.full((90, 70, 3), 200, np.uint8), np.zeros((90, 70, 3), np.uint8), NOISE[..., 0],
     NOISE[:1, :1], NOISE[:1], NOISE.astype(np.uint16)[..., 0] * 16,
     np.dstack([NOISE, NOISE[..., :1]])],
    ids=["one colour", "black", "grey", "1 x 1", "70 x 1", "16 bits", "with alpha"],
)  # fmt: skip
def test_odd_fields_give_a_result(good, tmp_path, image, slices):
    path = field(tmp_path, image)
    assert predicted(path, good, tmp_path / "out", *slices) == 0
    height, width = image.shape[:2]
    boxes = np.loadtxt(
        tmp_path / "out" / "boxes.csv", delimiter=",", skiprows=1, usecols=(4, 5, 6, 7), ndmin=2
    )
    assert np.isfinite(boxes).all() and (boxes >= 0).all()
    assert not len(boxes) or ((boxes[:, 2] <= width).all() and (boxes[:, 3] <= height).all())


def test_grey_palette_and_16_bits_give_the_boxes_of_the_same_picture_in_rgb(good, tmp_path):
    detector = yolo.detector(good, 0.25, "cpu", 64)
    grey = NOISE[..., 0]
    rgb = predict_image(detector, np.repeat(grey[..., None], 3, 2), 64)
    same = {"grey.png": grey, "deep.png": grey.astype(np.uint16) * 257}
    for name, image in same.items():
        assert len(rgb) and predict_image(
            detector, read_rgb(field(tmp_path, image, name)), 64
        ).equals(rgb), name


def test_bad_fields_are_told_in_one_line_before_any_network_is_built(
    good, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(yolo, "detector", lambda *a: pytest.fail("the network was built first"))
    ok = field(tmp_path, NOISE, "ok.png")
    for name in [*bad_files(tmp_path), "gone.jpg"]:
        ask = [
            "predict",
            str(ok),
            str(tmp_path / name),
            "--weights",
            str(good),
            "--out",
            str(tmp_path / "out"),
        ]
        assert main(ask) == 2
        error = capsys.readouterr().err
        assert name in error and error.count("\n") == 1, error


def changed(good, path, **meta):
    content = torch.load(good, weights_only=True)
    content["meta"] |= meta
    torch.save(content, path)
    return path


class Trap:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def bad_weights(good, folder):
    """(file, what the error says) of each kind of bad weights file."""
    whole = good.read_bytes()
    (folder / "truncated.pt").write_bytes(whole[: len(whole) // 2])
    (folder / "start.pt").write_bytes(whole[:100])
    (folder / "empty.pt").write_bytes(b"")
    (folder / "text.pt").write_text("no weights")
    (folder / "folder.pt").mkdir()
    with (folder / "code.pt").open("wb") as file:
        pickle.dump(Trap(folder / "ran"), file)
    torch.save({"state_dict": {}, "meta": Trap(folder / "ran")}, folder / "code_inside.pt")
    with zipfile.ZipFile(folder / "archive.pt", "w") as archive:
        archive.writestr("readme.txt", "no weights")
    torch.save({"model": 1}, folder / "other.pt")
    torch.save([1, 2], folder / "list.pt")
    older = torch.load(good, weights_only=True)
    for key in DETECTOR:
        meta = {k: v for k, v in older["meta"].items() if k != key}
        torch.save(older | {"meta": meta}, folder / f"without_{key}.pt")
    fewer = {k: v for k, v in older["state_dict"].items() if not k.startswith("model.3.")}
    torch.save(older | {"state_dict": fewer}, folder / "fewer.pt")
    changed(good, folder / "larger.pt", arch="yolo12s")
    changed(good, folder / "unknown_arch.pt", arch="yolo99n")
    changed(good, folder / "unknown_engine.pt", engine="abacus")
    strange = [f"thing {i}" for i in range(8)]
    changed(good, folder / "strange_classes.pt", classes=strange)
    changed(good, folder / "other_order.pt", classes=older["meta"]["classes"][::-1])
    not_ours = "is not a weights file of this project"
    return {
        "truncated.pt": not_ours, "start.pt": not_ours, "empty.pt": not_ours, "text.pt": not_ours,
        "folder.pt": "is a folder|not an exported detector",
        "gone.pt": "does not exist", "code.pt": not_ours, "code_inside.pt": not_ours,
        "archive.pt": not_ours, "other.pt": "holds no", "list.pt": "holds no",
        **{f"without_{key}.pt": f"does not tell its {key}.*another version" for key in DETECTOR},
        "fewer.pt": "do not fit", "larger.pt": "do not fit", "unknown_arch.pt": "yolo99n",
        "unknown_engine.pt": "abacus", "strange_classes.pt": "another taxonomy",
        "other_order.pt": "was trained on",
    }  # fmt: skip


def bad_safetensors(good, folder):
    """The same for files as they come with the project, and as other projects write them."""
    content = torch.load(good, weights_only=True)
    tensors = {name: tensor.clone() for name, tensor in content["state_dict"].items()}
    fewer = {name: tensor for name, tensor in tensors.items() if not name.startswith("model.3.")}
    about = {"meta": json.dumps(content["meta"])}
    save_file(fewer, folder / "fewer.safetensors", about)
    save_file(tensors, folder / "foreign.safetensors", {"format": "pt"})  # as transformers does
    save_file(tensors, folder / "list.safetensors", {"meta": "[1]"})
    save_file(tensors, folder / "older.safetensors", {"meta": json.dumps({"arch": "yolo12n"})})
    save_file(tensors, folder / "whole.safetensors", about)
    whole = (folder / "whole.safetensors").read_bytes()
    broken = {
        "truncated": whole[: len(whole) // 2], "start": whole[:100], "empty": b"",
        "text": b"no weights", "torch": good.read_bytes(),
        "huge": b"\xff" * 7 + b"\x7f" + whole[8:],  # says that its header fills all memory
    }  # fmt: skip
    for name, written in broken.items():
        (folder / f"{name}.safetensors").write_bytes(written)
    save_file(tensors, folder / "words.safetensors", {"meta": "yolo12n"})  # no JSON
    (folder / "renamed.pt").write_bytes(whole)
    not_ours = "is not a weights file of this project"
    return {
        **{f"{name}.safetensors": not_ours for name in (*broken, "words")},
        "renamed.pt": not_ours, "gone.safetensors": "does not exist",
        "foreign.safetensors": "holds no 'state_dict' and 'meta'",
        "list.safetensors": "holds no", "older.safetensors": "does not tell its engine",
        "fewer.safetensors": "do not fit",
    }  # fmt: skip


def all_bad_weights(good, folder):
    return bad_weights(good, folder) | bad_safetensors(good, folder)


def test_bad_weights_are_told_in_one_line_and_run_nothing(good, tmp_path, capsys):
    path = field(tmp_path, NOISE)
    for name, says in all_bad_weights(good, tmp_path).items():
        assert predicted(path, tmp_path / name, tmp_path / "out") == 2, name
        error = capsys.readouterr().err
        assert re.search(says, error) and error.count("\n") == 1 and "openurine: " in error, (
            name,
            error,
        )
    assert not (tmp_path / "ran").exists(), "a weights file ran code"


def test_a_whole_file_of_either_kind_gives_the_same_boxes(good, tmp_path):
    path = field(tmp_path, NOISE)
    bad_safetensors(good, tmp_path)
    for name, weights in (("pt", good), ("st", tmp_path / "whole.safetensors")):
        assert predicted(path, weights, tmp_path / name) == 0
    boxes = [(tmp_path / name / "boxes.csv").read_bytes() for name in ("pt", "st")]
    assert boxes[0] == boxes[1] and boxes[0].count(b"\n") > 1


def test_a_fine_tuning_from_bad_weights_is_refused_before_the_data_are_read(
    good, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(finetuning, "prepare", lambda *a: pytest.fail("the data were read first"))
    out = tmp_path / "out"
    for name, says in all_bad_weights(good, tmp_path).items():
        command = [
            "finetune",
            str(tmp_path / "data"),
            "--weights",
            str(tmp_path / name),
            "--out",
            str(out),
        ]
        assert main(command) == 2, name
        error = capsys.readouterr().err
        assert re.search(says, error) and error.count("\n") == 1, (name, error)
    assert not out.exists() and not (tmp_path / "ran").exists()


def test_the_engine_says_the_same(good, tmp_path):
    for name, says in all_bad_weights(good, tmp_path).items():
        if name in ("strange_classes.pt", "other_order.pt", "unknown_engine.pt"):
            continue  # the engine knows no taxonomy but the file's
        with pytest.raises(WeightsError, match=says) as raised:
            yolo.detector(tmp_path / name, 0.25, "cpu", 64)
        assert name in str(raised.value)
    assert not (tmp_path / "ran").exists()


def test_weights_of_another_engine_are_refused(good, tmp_path):
    with pytest.raises(WeightsError, match="belongs to the torchvision engine"):
        yolo.load_model(changed(good, tmp_path / "t.pt", engine="torchvision"))
    with pytest.raises(WeightsError, match="belongs to the ultralytics engine"):
        engine("torchvision").detector(good, 0.25, "cpu", 64)


def test_an_encoder_needs_to_tell_its_architecture_only(tmp_path):
    torch.save({"state_dict": {}, "meta": {"arch": "yolo12n"}}, tmp_path / "encoder.pt")
    assert read_weights(tmp_path / "encoder.pt", needed=("arch",))["meta"] == {"arch": "yolo12n"}
    torch.save({"state_dict": {}, "meta": {}}, tmp_path / "encoder.pt")
    with pytest.raises(WeightsError, match=r"encoder.pt does not tell its arch"):
        model = build_model("yolo12n", tiny.TAXONOMY, "single")
        transfer.load_encoder(model, tmp_path / "encoder.pt")


def test_a_run_does_not_predict_with_weights_of_the_taxonomy_that_its_data_had_before(
    good, tmp_path, monkeypatch
):
    """The classes of a data set can change under a run; its weights then speak of other classes."""
    run, m = open_run("synthetic", "smoke"), method("yolo12m")
    weights = run.train_dir(m, 0) / "weights.pt"
    made_from.check(run, "train", m, 0)
    weights.write_bytes(good.read_bytes())
    with pytest.raises(WeightsError, match="was trained on 8 classes"):
        steps.ensure_predictions(run, m, 0)
