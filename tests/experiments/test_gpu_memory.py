"""The estimate of a GPU's memory: by hand from the table, and the table whole."""

import dataclasses

import pytest

from openurine_lib.experiments import gpu_memory
from openurine_lib.experiments.activations import counted
from openurine_lib.experiments.gpu_memory import Network, activations, networks
from openurine_lib.experiments.methods import method, profile

# 10 million parameters; one image of 480 pixels keeps 100 MB, and 50 MB stand in a prediction
LINE = {"px": 480, "params_m": 10.0, "saved_mb": 100.0, "standing_mb": 50.0}


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [("yolo12m", "multi"), ("yolo12m", gpu_memory.AUTOENCODER), ("vitdet_b", "single")]
    table = {Network(*name): LINE for name in names}
    monkeypatch.setattr(gpu_memory, "activations", lambda: table)


@pytest.mark.usefixtures("by_hand")
def test_by_hand() -> None:
    p, ours = profile("paper"), method("ours-yolo12m")
    a_batch = 16 * 100 * 4  # MB; 960 pixels have four times the area
    # SGD: weight, gradient, momentum, moving average; a copy of two bytes
    assert gpu_memory.training_gb(p, ours) == pytest.approx((10 * (4 * 4 + 2) + a_batch) / 1000)
    # AdamW has two states; this engine has no moving average
    vitdet = gpu_memory.training_gb(p, method("vitdet"))
    assert vitdet == pytest.approx((10 * (4 * 4 + 2) + a_batch) / 1000)
    # AdamW with a moving average
    other = dataclasses.replace(p, train={"optimizer": "AdamW", "batch": 2})
    assert gpu_memory.training_gb(other, ours) == pytest.approx((10 * (5 * 4 + 2) + 800) / 1000)
    assert gpu_memory.pretraining_gb(p, ours, 8) == pytest.approx(
        (10 * (4 * 4 + 2) + 8 * 100 * 4) / 1000
    )
    assert gpu_memory.prediction_gb(p, ours, 3, 480) == pytest.approx((10 * 4 + 3 * 50) / 1000)


@pytest.mark.usefixtures("by_hand")
def test_a_network_that_is_new_says_what_to_do() -> None:
    with pytest.raises(gpu_memory.NotCounted, match="no yolo12x .single.; make docs counts it"):
        gpu_memory.training_gb(profile("paper"), method("yolo12x"))


@pytest.mark.parametrize("name", ["smoke", "demo", "study", "paper"])
def test_every_network_of_a_profile_is_counted(name: str) -> None:
    """After adding a row: make docs."""
    assert set(networks(profile(name))) <= set(activations())


def test_the_paper_is_counted_at_its_own_size() -> None:
    table = activations()
    for network, (_, px) in networks(profile("paper")).items():
        assert table[network]["px"] == px, network


def test_the_table_is_up_to_date() -> None:
    line = activations()[Network("yolov8n", "single")]
    now = counted(Network("yolov8n", "single"), "ultralytics", int(line["px"]))
    assert now == pytest.approx(line, rel=0.03)


def test_sizes_in_order() -> None:
    """More channels, more heads and more pixels take more."""
    p = profile("paper")
    names = ["yolo12n", "yolo12s", "yolo12m", "yolo12l", "yolo12x", "yolo12n-320"]
    gb = {name: gpu_memory.training_gb(p, method(name)) for name in names}
    sizes = list(gb.values())[:5]
    assert sizes == sorted(sizes)
    assert gpu_memory.training_gb(p, method("ours-yolo12m")) > gb["yolo12m"]
    assert gb["yolo12n-320"] < gb["yolo12n"] / 5
