"""The table of layers and the picture of Fig. 3 say what the live network does."""

import pytest
import torch
from matplotlib.colors import to_rgba

from openurine_lib import style
from openurine_lib.data.taxonomy import load
from openurine_lib.model.autoencoder import Autoencoder
from openurine_lib.model.build import backbone_depth, build_model
from openurine_lib.paper.layer_table import layer_table
from openurine_lib.paper.schematic import fig3

X = torch.zeros(2, 3, 64, 96)


@pytest.fixture(scope="module")
def detector():
    return build_model("yolo12n", load("openurine"), "multi")


def test_every_layer_of_a_detector_with_its_output(detector):
    table = layer_table(detector, X)
    assert len(table) == len(detector.model) - 1  # all but the heads
    assert (table.part == "backbone").sum() == backbone_depth(detector)
    assert table.output[0] == (2, 16, 32, 48) and table.stride[0] == 2
    assert table.fed_by[0] == [-1] and table.fed_by[10] == [9, 6]
    heads = sum(p.numel() for p in detector.model[-1].parameters())
    assert table.parameters.sum() + heads == sum(p.numel() for p in detector.parameters())
    assert detector.training  # left as it was found


def test_an_autoencoder_comes_back_to_the_size_of_the_image():
    table = layer_table(Autoencoder("yolo12n"), X)
    assert table.part.unique().tolist() == ["encoder", "decoder"]
    assert table.output.iloc[-1] == tuple(X.shape)
    assert table.stride.max() == 32


def test_the_picture_has_every_layer_and_every_head(detector):
    figure = fig3(detector, X, Autoencoder("yolo12n"), "synthetic")
    texts = [text.get_text() for text in figure.axes[0].texts]
    table = layer_table(detector, X)
    for layer in table[table.parameters > 0].itertuples():
        assert f"{layer.block} {layer.output[1]}" in texts
    faces = [patch.get_facecolor() for patch in figure.axes[0].patches]
    for head, ids in detector.model[-1].classes.items():
        assert any(text.startswith(f"{head}\n{len(ids)} class") for text in texts)
        assert to_rgba(style.HEAD_COLOURS[head]) in faces
