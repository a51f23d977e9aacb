"""An exported detector gives the boxes of the trained one.

A folder that does not fit is refused.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import learned
import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from PIL import Image

from openurine_lib.cli import main
from openurine_lib.data import taxonomy
from openurine_lib.inference import predict_fields, predict_image, read_rgb
from openurine_lib.model.build import build_model
from openurine_lib.speed import processor
from openurine_lib.training.engines import exported as export
from openurine_lib.training.engines import ultralytics as engine
from openurine_lib.training.weights import WeightsError

IMGSZ, SLICE = 96, 64
XYXY = ["x1", "y1", "x2", "y2"]


@pytest.fixture(scope="module", params=["single", "multi"])
def trained(request, tmp_path_factory):
    """A tiny detector that finds something, its two exports, and an oblong field new to it."""
    weights = learned.weights(request.param, tmp_path_factory.mktemp("tiny"), tmp_path_factory)
    images, _ = tiny.frames(tmp_path_factory.mktemp("new"), 1, 128, seed=9)
    return (
        weights,
        read_rgb(images.path[0])[:100],
        {to: export.export(weights, to) for to in export.FILES},
    )


@pytest.fixture
def exported(tmp_path):
    """A folder that looks like an export until its files are read, beside its weights."""
    folder = tmp_path / "weights_openvino"
    folder.mkdir()
    (tmp_path / "weights.pt").write_bytes(b"weights")
    for name in export.FILES["openvino"]:
        (folder / name).write_text(name)
    meta = {
        "format": export.FORMAT, "to": "openvino", "weights": "weights.pt", "classes": ["a"],
        "weights_sha256": export.digest_of_file(tmp_path / "weights.pt"),
        "files": {name: export.digest_of_file(folder / name) for name in export.FILES["openvino"]},
    }  # fmt: skip
    (folder / export.META).write_text(json.dumps(meta))
    return folder


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of boxes (N, 4) in pairs."""
    both = (np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])).clip(0).prod(1)
    return both / ((a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - both)


@pytest.mark.parametrize("slice_px", [None, SLICE])
@pytest.mark.parametrize("to", ["openvino", "onnx"])
def test_in_float32_it_finds_the_boxes_of_torch(trained, to, slice_px):
    weights, image, folders = trained
    torch_boxes = predict_image(
        engine.detector(weights, 0.01, "cpu", IMGSZ, exact=True), image, slice_px
    )
    boxes = predict_image(
        export.detector(folders[to], 0.01, "cpu", IMGSZ, exact=True), image, slice_px
    )
    # how many it finds of the three shapes differs from processor to processor
    assert len(boxes) == len(torch_boxes) > 0
    by_place = ["cls", *XYXY]
    a, b = (
        frame.round(2).sort_values(by_place, ignore_index=True) for frame in (torch_boxes, boxes)
    )
    assert (a.cls == b.cls).all()
    assert iou(a[XYXY].to_numpy(), b[XYXY].to_numpy()).min() > 0.99
    assert np.allclose(sorted(torch_boxes.conf), sorted(boxes.conf), atol=1e-3)


@pytest.mark.skipif(
    not processor.cpu_bf16(), reason="this processor has no units for bfloat16, so it stays float32"
)
def test_in_bfloat16_it_finds_nearly_the_same(trained):
    _, image, folders = trained
    exact, fast = (
        predict_image(
            export.detector(folders["openvino"], 0.01, "cpu", IMGSZ, exact=e), image, SLICE
        )
        for e in (True, False)
    )
    assert not exact.equals(fast)
    sure = exact[exact.conf > 0.1]
    assert len(sure)
    for box in sure.itertuples():
        same = fast[fast.cls == box.cls]
        apart = np.abs(same[XYXY] - [box.x1, box.y1, box.x2, box.y2]).max(axis=1)
        assert apart.min() < 2 and abs(same.conf[apart.idxmin()] - box.conf) < 0.05


def test_without_bf16_units_it_stays_float32(trained, monkeypatch):
    _, image, folders = trained
    monkeypatch.setattr(export, "cpu_bf16", lambda: False)
    fast, exact = (
        predict_image(
            export.detector(folders["openvino"], 0.01, "cpu", IMGSZ, exact=e), image, None
        )
        for e in (False, True)
    )
    pd.testing.assert_frame_equal(fast, exact)


def test_the_number_of_cores_changes_no_box(trained, monkeypatch):
    weights, image, folders = trained
    for open_it in (lambda: engine.detector(weights, 0.01, "cpu", IMGSZ),
                    lambda: export.detector(folders["openvino"], 0.01, "cpu", IMGSZ)):  # fmt: skip
        found = []
        for threads in ("1", "2"):
            monkeypatch.setenv("OPENURINE_THREADS", threads)
            found.append(predict_image(open_it(), image, SLICE))
        pd.testing.assert_frame_equal(*found, atol=1e-3)
    torch.set_num_threads(1)


def test_it_says_what_it_is_and_predicts_fields(trained, tmp_path):
    weights, image, folders = trained
    for to, folder in folders.items():
        meta = export.read_meta(folder)
        assert folder == weights.with_name(f"weights_{to}")
        assert {p.name for p in folder.iterdir()} == {*export.FILES[to], export.META}
        assert (meta["classes"], meta["imgsz"]) == (list(tiny.TAXONOMY.classes), IMGSZ)
        assert meta["head_classes"] == {k: list(v) for k, v in tiny.TAXONOMY.heads.items()}
        assert meta["weights_sha256"] == export.digest_of_file(weights)
    Image.fromarray(image).save(tmp_path / "a.png")
    fields = pd.DataFrame({"image": ["a"], "path": [str(tmp_path / "a.png")]})
    detector = export.detector(folders["onnx"], 0.01, "cpu", IMGSZ)
    frame = predict_fields(detector, fields, SLICE, 0.25, tmp_path / "boxes.csv")
    assert len(frame) == len(predict_image(detector, image, SLICE)) > 0
    assert [
        p for p in weights.parent.iterdir() if p.name.startswith(".")
    ] == []  # nothing temporary is left


def test_an_export_replaces_the_one_before(trained):
    weights, _, folders = trained
    (folders["onnx"] / "stray").write_text("")
    assert export.read_meta(export.export(weights, "onnx", 64))["imgsz"] == 64
    assert not (folders["onnx"] / "stray").exists()


def test_a_whole_folder_is_accepted(exported):
    assert export.read_meta(exported)["classes"] == ["a"]


def of_format_0(exported: Path) -> None:
    meta = exported / export.META
    meta.write_text(meta.read_text().replace('"format": 1', '"format": 0'))


@pytest.mark.parametrize(("break_it", "says"), [
    (lambda f: (f / export.META).unlink(), "not an exported detector"),
    (lambda f: (f / export.META).write_text("{"), "not an exported detector"),
    (lambda f: (f / export.META).write_text('{"names": 1}'), "not an exported detector"),
    (of_format_0, "another version"),
    (lambda f: (f / "network.bin").write_text("netw"), "network.bin is missing or damaged"),
    (lambda f: (f / "network.xml").unlink(), "network.xml is missing or damaged"),
    (lambda f: f.with_name("weights.pt").write_bytes(b"trained anew"), "older than"),
    (shutil.rmtree, "not an exported detector"),
])  # fmt: skip
def test_a_folder_that_does_not_fit_is_refused(exported, break_it, says):
    break_it(exported)
    with pytest.raises(WeightsError, match=says) as refused:
        export.detector(exported, 0.1, "cpu", IMGSZ)
    assert str(exported) in str(refused.value) and "openurine export" in str(refused.value)


def write_weights(folder: Path, arch: str = "yolo12n", **meta) -> Path:
    """An untrained detector of OpenUrine's classes."""
    t = taxonomy.load("openurine")
    model = build_model(arch, t, "multi") if arch == "yolo12n" else torch.nn.Identity()
    for head in getattr(model, "model", [None])[-1].heads.values() if arch == "yolo12n" else ():
        for branch in head.cv3:
            torch.nn.init.constant_(branch[-1].bias, -0.5)
    meta = {
        "engine": "ultralytics", "arch": arch, "heads": "multi", "imgsz": IMGSZ,
        "classes": list(t.classes), "head_classes": {k: list(v) for k, v in t.heads.items()},
        "taxonomy": "openurine", "objectness_gain": 0.0,
    } | meta  # fmt: skip
    torch.save({"state_dict": model.state_dict(), "meta": meta}, folder / "weights.pt")
    return folder / "weights.pt"


def test_what_cannot_be_exported_is_said(tmp_path):
    with pytest.raises(WeightsError, match="does not exist"):
        export.export(tmp_path / "none.pt", "onnx")
    with pytest.raises(WeightsError, match="rtdetr-l .* only YOLO is exported"):
        export.export(write_weights(tmp_path, "rtdetr-l"), "onnx")
    with pytest.raises(WeightsError, match="torchvision engine"):
        export.export(write_weights(tmp_path, "ssd", engine="torchvision"), "onnx")
    weights = write_weights(tmp_path)
    with pytest.raises(ValueError, match="no export to 'coreml'"):
        export.export(weights, "coreml")
    with pytest.raises(ValueError, match="image size 100"):
        export.export(weights, "onnx", 100)
    assert [p.name for p in tmp_path.iterdir()] == ["weights.pt"]


@pytest.mark.parametrize("package", ["openvino", "onnx"])
def test_a_missing_package_is_named_with_the_remedy(tmp_path, monkeypatch, capsys, package):
    weights = write_weights(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["export", str(weights), "--to", "openvino"]) == 2
    error = capsys.readouterr().err
    assert (
        f"{package} is not installed; pip install 'openurine_lib[export]'" in error
        and error.count("\n") == 1
    )


def test_the_command_line_exports_and_predicts(tmp_path, capsys):
    weights = write_weights(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 255, (120, 100, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "field.png")
    assert main(["export", str(weights), "--to", "openvino"]) == 0
    assert str(tmp_path / "weights_openvino") in capsys.readouterr().out
    ask = ["predict", str(tmp_path / "field.png"), "--out"]
    for name, given in (("torch", weights), ("exported", tmp_path / "weights_openvino")):
        assert main([*ask, str(tmp_path / name), "--weights", str(given)]) == 0
    by_torch, by_export = (
        pd.read_csv(tmp_path / name / "boxes.csv") for name in ("torch", "exported")
    )
    # The scores of an untrained network are nearly equal, so chance decides which boxes are left.
    # The tests above compare boxes.
    assert len(by_torch) and len(by_export) and list(by_torch) == list(by_export)
    assert np.allclose(
        [by_export.conf.min(), by_export.conf.max()], by_torch.conf.mean(), atol=0.01
    )
    assert main([*ask, str(tmp_path / "x"), "--weights", str(tmp_path)]) == 2
    assert "not an exported detector" in capsys.readouterr().err


def test_two_threads_that_ask_openvino_first_do_not_wait_for_each_other():
    code = """
import sys, threading
from openurine_lib.training.engines.exported import _import_openvino
openvino = _import_openvino()
sys.setswitchinterval(1e-6)
together = threading.Barrier(2)
def ask():
    together.wait()
    openvino.Type.f32.to_dtype()
threads = [threading.Thread(target=ask) for _ in range(2)]
for one in threads: one.start()
for one in threads: one.join()
"""
    subprocess.run([sys.executable, "-c", code], timeout=120, check=True)


def test_openvino_opens_no_connection_and_leaves_the_home_folder_alone(tmp_path):
    code = (
        "import socket, sys\n"
        "def no(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = socket.create_connection = no\n"
        "from openurine_lib.training.engines.exported import _import_openvino\n"
        "_import_openvino(); print(sys.modules['openvino_telemetry'])"
    )
    root = str(Path(__file__).resolve().parents[3])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env=os.environ | {"HOME": str(tmp_path), "PYTHONPATH": root},
    )  # fmt: skip
    assert done.stdout.strip() == "None" and not list(tmp_path.rglob("*telemetry*"))
