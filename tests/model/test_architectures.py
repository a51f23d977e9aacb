"""A network's name is looked up in the installed library only; no file of the user's is read."""

import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch

from openurine_lib.model.architectures import UnknownArchitecture, network_of
from openurine_lib.model.build import build_model
from openurine_lib.training.engines import engine
from openurine_lib.training.weights import WeightsError

TRAP = "activation: 'open({!r}, \"w\").close() or torch.nn.SiLU()'\n"


@pytest.fixture
def traps(tmp_path, monkeypatch):
    """The current folder, with files called like the library's, which run code if evaluated."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    stock = Path(torch.__file__).parents[1] / "ultralytics/cfg/models/12/yolo12.yaml"
    content = TRAP.format(str(folder / "ran")) + stock.read_text()
    for name in ("yolo12n.yaml", "yolo12.yaml", "mine.yaml"):
        (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize("heads", ["single", "multi"])
def test_a_file_in_the_current_folder_is_not_the_librarys(traps, heads):
    build_model("yolo12n", tiny.TAXONOMY, heads)
    assert not (traps / "ran").exists(), "a file of the current folder ran code"


@pytest.mark.parametrize("name", ["mine", "./mine", "../here/yolo12n", "here/yolo12n", "", "*", 5])
def test_a_weights_file_names_no_file_of_its_own(traps, tmp_path, name):
    weights = tiny.untrained(tmp_path)
    content = torch.load(weights, weights_only=True)
    for arch in (name, str(traps / "mine")):
        content["meta"]["arch"] = arch
        torch.save(content, weights)
        with pytest.raises(WeightsError, match="no architecture|does not tell its arch"):
            engine("ultralytics").detector(weights, 0.25, "cpu", 64)
    assert not (traps / "ran").exists(), "a file that a weights file names ran code"


def test_names_and_scales():
    assert network_of("yolo12m")["scale"] == "m"
    assert network_of("yolov8n-p2")["scale"] == "n"
    assert network_of("yolov9m")["backbone"] != network_of("yolov9t")["backbone"]
    assert network_of("rtdetr-l")["head"] and network_of("rtdetr-n")["head"]
    with pytest.raises(UnknownArchitecture, match="no architecture 'yolo99n'"):
        network_of("yolo99n")


def test_an_engine_is_one_of_this_project(tmp_path):
    for name in ("os", "loop.os", "..laboratory", "abacus"):
        with pytest.raises(WeightsError, match="no engine"):
            engine(name)


def test_the_library_loads_nothing_that_could_run_code():
    """Whatever it loads by itself, for instance a file for its test of mixed precision on a GPU."""
    code = "import openurine_lib, ultralytics.utils as u; print(u.SAFE_LOAD)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "True\n"
