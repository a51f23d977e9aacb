"""The lean layers compute what the library's own do."""

import copy

import pytest
import tiny
import torch
from torch import nn
from ultralytics.nn.modules.block import AAttn
from ultralytics.nn.modules.conv import Conv

from openurine_lib.model.build import build_model
from openurine_lib.model.heads import MultiHeadModel
from openurine_lib.speed import layers


def neck(model: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """What the head is given."""
    given = []
    handle = model.model[-1].register_forward_pre_hook(lambda _, inputs: given.extend(inputs[0]))
    model(x)
    handle.remove()
    return given


def fused(arch: str, heads: str) -> nn.Module:
    """An untrained network whose batch norms do something."""
    torch.manual_seed(0)
    model = build_model(arch, tiny.TAXONOMY, heads)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.7, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
        elif isinstance(module, AAttn):  # so that attention prefers some places to others
            nn.init.normal_(module.qkv.conv.weight, 0, 0.3)
    return model.eval().fuse(verbose=False).to(memory_format=torch.channels_last)


@torch.inference_mode()
@pytest.mark.parametrize("operator", [True, False])
@pytest.mark.parametrize(
    "arch, heads", [("yolo12n", "single"), ("yolo12n", "multi"), ("yolo11n", "single")]
)
def test_one_pass_equals_the_librarys_two(monkeypatch, arch, heads, operator):
    monkeypatch.setenv("OPENURINE_BF16", "0")
    x = torch.rand(2, 3, 96, 160)  # not square: rows and columns are not mistaken for each other
    model = fused(arch, heads)
    theirs, found = neck(model, x), model(x)[0]
    if not operator:
        monkeypatch.setattr(torch.ops, "mkldnn", object())
    layers.fuse_activations(model)
    model.fast = True
    changed = [m for m in model.modules() if isinstance(m, layers.OnePassConv)]
    assert bool(changed) == operator
    assert any(isinstance(m, Conv) for m in model.modules()) != operator
    for a, b in zip([*theirs, found], [*neck(model, x), model(x)[0]], strict=True):
        assert a.std() > 0.01
        assert torch.allclose(a, b, atol=1e-4 * float(a.abs().max()))


@pytest.mark.parametrize("area", [1, 4])
def test_attention_and_its_gradients_are_the_librarys(area):
    torch.manual_seed(0)
    stock = AAttn(64, 2, area)
    nn.init.normal_(stock.qkv.conv.weight, 0, 0.5)
    ours = nn.Sequential(copy.deepcopy(stock))
    layers.use_lean_attention(ours)
    x, towards = torch.randn(2, 64, 8, 12), torch.randn(2, 64, 8, 12)
    found, answers = {}, {}
    for name, attention in {"stock": stock, "ours": ours}.items():
        given = x.clone(memory_format=torch.channels_last).requires_grad_()
        answers[name] = attention(given)
        (answers[name] * towards).sum().backward()
        found[name] = [given.grad, *(p.grad for p in attention.parameters())]
    assert answers["stock"].std() > 0.01 and torch.allclose(
        answers["ours"], answers["stock"], atol=1e-5
    )
    for a, b in zip(found["stock"], found["ours"], strict=True):
        assert torch.allclose(a, b, atol=1e-4 * max(1.0, float(a.abs().max())))
    assert found["stock"][0].std() > 0.1
    assert torch.equal(ours(x), stock(x))  # not channels last: the library's own
    other = AAttn(64, 2, 4 // area)
    other.load_state_dict(stock.state_dict())
    assert not torch.allclose(other(x), answers["stock"], atol=1e-3)  # areas do matter here


def test_every_attention_of_a_detector_is_changed_and_its_names_are_not():
    model = build_model("yolo12n", tiny.TAXONOMY, "multi")
    own = [m for m in model.modules() if isinstance(m, AAttn)]
    assert len(own) == 8 and all(type(m) is not AAttn for m in own)
    stock = MultiHeadModel("yolo12n", tiny.TAXONOMY.heads)
    assert list(model.state_dict()) == list(stock.state_dict())


@pytest.mark.parametrize("heads", ["single", "multi"])
def test_a_convolution_of_one_pixel_and_its_gradients_are_the_librarys(monkeypatch, heads):
    monkeypatch.setenv("OPENURINE_BF16", "0")
    torch.manual_seed(0)
    x = torch.rand(2, 3, 96, 160).contiguous(memory_format=torch.channels_last)
    stock = build_model("yolo12n", tiny.TAXONOMY, heads).eval()
    lean = copy.deepcopy(stock)
    layers.ready_to_train(lean)
    replaced = [m for m in lean.modules() if isinstance(m, layers.MatrixConv)]
    assert len(replaced) > 60 and all(m.kernel_size == (1, 1) for m in replaced)
    assert not [m for m in lean.modules() if layers._is_of_one_pixel(m)]
    assert list(lean.state_dict()) == list(stock.state_dict())
    for model in (stock, lean):
        sum(level.square().sum() for level in neck(model, x)).backward()
    compared = 0
    for (name, a), b in zip(stock.named_parameters(), lean.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name  # the head has none
        if a.grad is not None:
            compared += 1
            assert torch.allclose(a.grad, b.grad, atol=1e-3 * float(a.grad.abs().max())), name
    assert compared > 100


def test_images_in_another_order_are_convolved_as_by_the_library():
    torch.manual_seed(0)
    stock = nn.Conv2d(5, 7, 1)
    x = torch.rand(2, 5, 4, 6)
    assert not x.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(layers.MatrixConv(stock)(x), stock(x))


def test_with_units_for_bfloat16_no_convolution_is_replaced(monkeypatch):
    monkeypatch.setattr(layers, "cpu_bf16", lambda: True)
    model = build_model("yolo12n", tiny.TAXONOMY, "single")
    layers.ready_to_train(model)
    assert not [m for m in model.modules() if isinstance(m, layers.MatrixConv)]
