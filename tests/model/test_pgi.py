"""YOLOv9-e's auxiliary branch: as large as its authors', it guides and does not predict."""

import pytest
import tiny
import torch
from ultralytics.utils import DEFAULT_CFG

from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.experiments.sizes import counted
from openurine_lib.model.build import build_model

SEVEN = Taxonomy("", tuple("abcdefg"), {"": tuple(range(7))}, {}, {})


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model("yolov9e-pgi", SEVEN, "single")


def test_the_size_that_its_authors_print(model):
    """69.4 million parameters, 244.9 GFLOPs at 640 px, the auxiliary predictions counted: Naznine
    et al.'s repository, UTI-Revision2/ExternalValidation/YOLOv9e/training.1/output.txt."""
    image = torch.zeros(1, 3, 96, 96)
    size = counted(model.train(), lambda: model(image), 96)
    assert size["params_m"] == pytest.approx(69.4, rel=0.01)
    assert size["gflops"] * (640 / 96) ** 2 == pytest.approx(244.9, rel=0.01)


def test_the_branch_guides_the_training_and_does_not_predict(model):
    image = torch.rand(1, 3, 64, 64)
    model.args = DEFAULT_CFG
    guides = model.model[-1]
    with torch.no_grad():
        main = model.eval()(image)[0]
        assert main.shape == (1, 4 + 7, 8 * 8 + 4 * 4 + 2 * 2), "only three maps predict"
    batch = {
        "img": image,
        "batch_idx": torch.zeros(1),
        "cls": torch.zeros(1, 1),
        "bboxes": torch.tensor([[0.5, 0.5, 0.4, 0.4]]),
    }
    criterion = model.train().init_criterion()
    preds = model(image)
    both = criterion(preds, batch)[0].sum()
    guide = criterion(preds.pop("guide"), batch)[0].sum()
    assert torch.isclose(both, criterion(preds, batch)[0].sum() + guide / 4)
    both.backward()
    assert guides.cv3[5][-1].bias.grad.abs().sum() > 0, "the branch learns"
    assert guides.cv3[2][-1].bias.grad.abs().sum() > 0


def test_another_network_has_no_such_branch():
    with pytest.raises(ValueError, match="yolo12n-pgi: the auxiliary branch is that of yolov9e"):
        build_model("yolo12n-pgi", tiny.TAXONOMY, "single")
