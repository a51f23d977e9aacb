"""What is carried comes back as it was, to a 16-bit step."""

import carry
import numpy as np
import pandas as pd
import pytest
import torch

XYXY = ["x1", "y1", "x2", "y2"]


@pytest.fixture
def images():
    return pd.DataFrame(
        {"image": ["a", "b", "c"], "width": [840, 700, 100], "height": [640, 900, 100]}
    )


@pytest.fixture
def boxes():
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 600, (800, 2, 2)), axis=1).reshape(-1, 4)
    frame = pd.DataFrame(corners, columns=XYXY)
    frame.insert(0, "image", ["a"] * 700 + ["c"] * 100)
    frame.insert(1, "cls", rng.integers(0, 39, 800))
    frame.insert(2, "conf", rng.uniform(0.001, 1, 800))
    frame.loc[frame.image == "c", XYXY] /= 6
    return frame


def test_the_most_confident_boxes_of_a_field_come_back(tmp_path, images, boxes):
    path = tmp_path / "predictions.npz"
    path.write_bytes(carry.pack(boxes, images))
    back = carry.unpack(path)
    ranked = boxes.sort_values("conf", ascending=False, kind="stable")
    wanted = pd.concat([ranked[ranked.image == name].head(carry.LIMIT) for name in "abc"])
    assert list(back.image) == list(wanted.image)
    assert list(back.cls) == list(wanted.cls)
    assert np.abs(back.conf.to_numpy() - wanted.conf.to_numpy()).max() < 1 / carry.STEPS
    assert np.abs(back[XYXY].to_numpy() - wanted[XYXY].to_numpy()).max() < 900 / carry.STEPS


def test_a_run_without_a_box_is_carried_too(tmp_path, images, boxes):
    path = tmp_path / "predictions.npz"
    path.write_bytes(carry.pack(boxes.iloc[:0], images))
    assert list(carry.unpack(path)) == list(boxes) and carry.unpack(path).empty


def test_weights_are_carried_in_half_precision_with_their_description(tmp_path):
    from safetensors import safe_open

    state = {"w": torch.linspace(-1, 1, 12).reshape(3, 4), "n": torch.tensor(7)}
    torch.save({"state_dict": state, "meta": {"arch": "yolo12n"}}, tmp_path / "weights.pt")
    carry.save_weights(tmp_path / "weights.pt", tmp_path / "weights.safetensors")
    with safe_open(tmp_path / "weights.safetensors", "pt") as stored:
        assert stored.get_tensor("w").dtype == torch.float16
        assert torch.equal(stored.get_tensor("w"), state["w"].half())
        assert torch.equal(stored.get_tensor("n"), state["n"])
        assert "yolo12n" in stored.metadata()["meta"]
