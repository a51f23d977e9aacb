"""The six-head model and its loss, against the library's own head, and the traps on the way."""

import copy
import inspect
import types

import pytest
import torch
from ultralytics.cfg import get_cfg
from ultralytics.nn.modules.head import Detect
from ultralytics.utils.loss import v8DetectionLoss

from openurine_lib.config import read_config
from openurine_lib.data import taxonomy
from openurine_lib.model import heads
from openurine_lib.model.build import backbone_depth, build_model
from openurine_lib.model.heads import MultiHeadDetect, MultiHeadModel
from openurine_lib.model.loss import EQUATIONS, MultiHeadLoss
from openurine_lib.speed import layers

HEADS = {"Cells": (0, 2), "Casts": (1,)}


@pytest.fixture(scope="module")
def openurine() -> taxonomy.Taxonomy:
    return taxonomy.load("openurine")


def with_arguments(model, **gains):
    model.args = get_cfg(overrides={"box": 5.5, "cls": 0.699, "dfl": 1.43} | gains)
    return model


def small(heads=HEADS, **kwargs):
    torch.manual_seed(0)
    return with_arguments(MultiHeadModel("yolo12n", heads, **kwargs))


def batch(cls=(0, 1, 2), image=(0, 0, 1), size=96):
    torch.manual_seed(1)
    boxes = torch.tensor([[0.3, 0.3, 0.2, 0.2], [0.6, 0.6, 0.3, 0.2], [0.5, 0.4, 0.4, 0.4]])[
        : len(cls)
    ]
    return {
        "img": torch.rand(2, 3, size, size),
        "cls": torch.tensor(cls).float().view(-1, 1),
        "bboxes": boxes,
        "batch_idx": torch.tensor(image[: len(cls)]).float(),
    }


def test_openurine_has_six_heads_with_the_papers_classes(openurine):
    model = build_model("yolo12n", openurine, "multi")
    head = model.model[-1]
    sizes = {name: h.nc for name, h in head.heads.items()}
    assert sizes == {
        "Cells": 9,
        "Casts": 6,
        "Crystals": 13,
        "Microorganisms": 6,
        "Artifact": 1,
        "Others": 4,
    }
    assert sum(sizes.values()) == head.nc == 39


def test_a_head_without_a_class_does_not_exist():
    assert set(build_model("yolo12n", taxonomy.load("urised2k"), "multi").model[-1].heads) == {
        "Cells", "Crystals", "Microorganisms", "Others"}  # fmt: skip


@pytest.mark.parametrize("arch", ["yolo12n", "yolov8n", "yolov5n", "yolo11n", "yolov9t"])
def test_every_backbone_takes_the_heads(arch):
    model = with_arguments(MultiHeadModel(arch, HEADS))
    loss, items = model(batch())
    assert torch.isfinite(loss).all() and set(items) == {
        f"{h}/{p}" for h in HEADS for p in ("box", "cls", "dfl")
    }
    assert backbone_depth(model) >= 9
    # ultralytics' switch between its old and new class branch must reach the six heads
    branch = model.model[-1].heads["Cells"].cv3[0][0]
    stock = build_model(arch, taxonomy.load("openurine"), "single").model[-1].cv3[0][0]
    assert type(branch) is type(stock)


def test_evaluation_gives_one_tensor_with_each_heads_scores_in_its_classes_rows():
    model = small().eval()
    with torch.no_grad():
        y, raw = model(torch.rand(1, 3, 96, 96))
    anchors = 12**2 + 6**2 + 3**2
    assert y.shape == (1, 4 + 3, 2 * anchors)
    cells, casts = y[0, 4:, :anchors], y[0, 4:, anchors:]
    assert (cells[[0, 2]] > 0).all() and (cells[1] == 0).all()
    assert (casts[1] > 0).all() and (casts[[0, 2]] == 0).all()
    assert torch.equal(cells[[0, 2]], raw["Cells"]["scores"][0].sigmoid())


def test_one_head_over_all_classes_is_the_stock_detector():
    """With a single head the loss and the output are those of the library, to the bit."""
    stock = with_arguments(heads.SingleHeadModel("yolo12n.yaml", nc=3, verbose=False))
    ours = small({"All": (0, 1, 2)})
    ours.model[-1].heads["All"].load_state_dict(
        {k: v for k, v in stock.model[-1].state_dict().items()}
    )
    for mine, theirs in zip(ours.model[:-1], stock.model[:-1], strict=True):
        mine.load_state_dict(theirs.state_dict())
    b, image = batch(), torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        assert torch.equal(ours.eval()(image)[0], stock.eval()(image)[0])
        preds = stock.train().predict(b["img"])
        theirs, _ = v8DetectionLoss(stock)(preds, b)
        mine, items = ours.init_criterion()({"All": preds}, b)
        assert torch.allclose(mine, theirs) and theirs.sum() > 0
        assert torch.allclose(torch.stack(list(items.values())) * 2, theirs)


def test_lambda_weighs_heads_and_defaults_to_table_3():
    assert {
        k: v for k, v in read_config("table3.yaml")["head_weights"].items() if v != 1
    } == heads.HEAD_WEIGHTS
    plain, weighted = small(lambdas={}), small(lambdas={"Casts": 1.5})
    weighted.load_state_dict(plain.state_dict())
    b = batch()
    with torch.no_grad():
        preds = plain.train().predict(b["img"])
        _, one = plain.init_criterion()(preds, b)
        _, other = weighted.init_criterion()(preds, b)
    assert all(
        torch.allclose(other[k], one[k] * (1.5 if k.startswith("Casts") else 1)) for k in one
    )


def test_an_empty_head_is_not_the_loudest():
    """The trap of one normaliser a head: a head with no object is divided by 1."""
    model, b = small(lambdas={}), batch()
    crowd = (
        torch.rand(40, 4, generator=torch.Generator().manual_seed(0)) * 0.3 + 0.3
    )  # all of it for Cells, none for Casts
    b |= {"cls": torch.zeros(40, 1), "bboxes": crowd, "batch_idx": torch.arange(40) // 20}
    with torch.no_grad():
        preds = model.train().predict(b["img"])
        loss = model.init_criterion()
        loss.shared = False
        _, apart = loss(preds, b)
        loss = model.init_criterion()
        _, shared = loss(preds, b)
    objects = loss.heads["Cells"].assigner.N_i
    assert objects > 1 and loss.heads["Casts"].assigner.N_i == 0
    assert torch.allclose(apart["Casts/cls"] / shared["Casts/cls"], objects)
    assert torch.allclose(apart["Cells/cls"], shared["Cells/cls"])
    # the library's own loss, which divides by as many
    cells = {"batch_idx": b["batch_idx"], "bboxes": crowd, "cls": torch.zeros(40)}
    with torch.no_grad():
        losses = loss.heads["Cells"].get_assigned_targets_and_loss(preds["Cells"], cells)[1]
    assert torch.allclose(shared["Cells/cls"], loss.heads["Cells"].with_gains(*losses)["cls"])


def test_a_batch_without_any_object_has_a_finite_loss_and_gradient():
    model = small()
    loss, _ = model(batch(cls=()))
    loss.sum().backward()
    assert torch.isfinite(loss).all()


def test_box_and_dfl_gains_are_independent():
    """Eqs. 2-3 would multiply DFL's gain by the box gain; the library's convention does not."""
    model = small(lambdas={})
    b = batch()
    with torch.no_grad():
        preds = model.train().predict(b["img"])
        _, one = model.init_criterion()(preds, b)
        model.args.box *= 2
        _, two = model.init_criterion()(preds, b)
    assert torch.allclose(two["Cells/box"], 2 * one["Cells/box"]) and torch.equal(
        two["Cells/dfl"], one["Cells/dfl"]
    )


def test_objectness_is_a_branch_only_when_it_has_a_gain():
    assert small().model[-1].heads["Casts"].nc == 1
    model = small(gain_obj=1.0)
    assert model.model[-1].heads["Casts"].nc == 2
    loss, items = model(batch())
    assert {"Cells/obj", "Casts/obj"} <= set(items) and torch.isfinite(loss).all()
    loss.sum().backward()
    y, raw = model.eval()(torch.rand(1, 3, 96, 96))
    assert y.shape[1] == 4 + 3
    cells = raw["Cells"]["scores"].sigmoid()
    assert torch.allclose(y[0, 4, : cells.shape[2]], cells[0, 0] * cells[0, 2])


def test_no_parameter_that_nobody_trains_and_every_head_gets_a_gradient():
    model = small()
    loss, _ = model(batch())
    loss.sum().backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert isinstance(model.model[-1], Detect) and not any(
        k.startswith(("model.21.cv2", "model.21.cv3")) for k in model.state_dict()
    )


def test_copies_fuses_and_survives_a_state_dict():
    model = small().eval()
    image = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        before = model(image)[0]
        twin = MultiHeadModel("yolo12n", HEADS).eval()
        twin.load_state_dict(model.state_dict())
        assert torch.equal(twin(image)[0], before)
        fused = copy.deepcopy(model).fuse(verbose=False)
        assert torch.allclose(fused(image)[0], before, atol=1e-2)


def test_scores_do_not_depend_on_the_order_of_the_ids():
    assert (
        MultiHeadDetect({"Cells": (2, 0), "Casts": (1,)}, [16], torch.tensor([8.0])).classes
        == HEADS
    )


def test_rtdetr_cannot_have_heads(openurine):
    with pytest.raises(ValueError, match="transformer decoder"):
        build_model("rtdetr-l", openurine, "multi")


def test_bf16_forward_is_close_and_the_loss_float32(monkeypatch):
    model, b = small(), batch()
    losses = []
    for supported in (False, True):
        monkeypatch.setattr(layers, "cpu_bf16", lambda supported=supported: supported)
        loss, _ = copy.deepcopy(model)(b)
        losses.append(loss.sum())
    assert losses[1].dtype == torch.float32 and torch.allclose(*losses, rtol=0.1)


def test_removed_head_moves_its_classes_to_others(openurine):
    """Table 5: the annotations of the removed head are redirected to Others."""
    head = build_model("yolo12n", openurine.without_head("Casts"), "multi").model[-1]
    assert "Casts" not in head.heads and head.heads["Others"].nc == 4 + 6 and head.nc == 39
    assert set(openurine.heads["Casts"]) <= set(head.classes["Others"])


def test_criterion_reads_the_trainers_gains():
    model = small()
    assert isinstance(model.init_criterion(), MultiHeadLoss)
    assert isinstance(model.args, types.SimpleNamespace)


def test_every_equation_of_the_loss_can_be_shown():
    """Notebook 03 prints each equation beside these lines."""
    assert sorted(EQUATIONS) == list(range(1, 8))
    ours = {1: "Eq. 1", 2: "Eqs. 2-3", 3: "Eqs. 2-3", 6: "Eq. 6"}
    librarys = {4: "CIoU", 5: "log_softmax", 7: "Cls loss"}
    for number, words in (ours | librarys).items():
        assert words in inspect.getsource(EQUATIONS[number])


def test_the_terms_add_up_to_eq_2_with_independent_gains():
    """L_i = gain_box L_CIoU + gain_cls L_cls + gain_dfl L_DFL, by the library's terms alone."""
    model, b = small({"All": (0, 1, 2)}), batch()
    with torch.no_grad():
        preds = model.train().predict(b["img"])
        _, items = model.init_criterion()(preds, b)
        model.args = get_cfg(overrides={"box": 1.0, "cls": 1.0, "dfl": 1.0})
        _, plain = model.init_criterion()(preds, b)
    gains = {"box": 5.5, "cls": 0.699, "dfl": 1.43}
    for term, gain in gains.items():
        assert torch.allclose(items[f"All/{term}"], gain * plain[f"All/{term}"]) and gain != 1
