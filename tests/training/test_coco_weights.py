"""Pretrained weights: found by name, read safely, put where they fit, told in words."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import save_file
from tiny import TAXONOMY, job

from openurine_lib import files
from openurine_lib.experiments import fingerprints
from openurine_lib.experiments.methods import method, profile
from openurine_lib.model.build import build_model
from openurine_lib.training import coco_weights
from openurine_lib.training.engines import ultralytics
from openurine_lib.training.weights import WeightsError, read_weights


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENURINE_ROOT", str(tmp_path))
    (tmp_path / "pretrained").mkdir()
    return tmp_path / "pretrained"


def coco(seed=1):
    """Weights of yolo12n for 80 classes."""
    torch.manual_seed(seed)
    from openurine_lib.data.taxonomy import Taxonomy

    names = tuple(f"c{i}" for i in range(80))
    return build_model(
        "yolo12n", Taxonomy("coco", names, {"Cells": tuple(range(80))}, {}, {}), "single"
    ).state_dict()


def test_a_file_is_found_by_the_networks_name(place, tmp_path, monkeypatch):
    assert coco_weights.find("yolo12n") is None
    (place / "yolo12n.pt").touch()
    assert coco_weights.find("yolo12n") == place / "yolo12n.pt"
    (place / "yolo12n.safetensors").touch()
    assert coco_weights.find("yolo12n") == place / "yolo12n.safetensors"
    monkeypatch.setenv(coco_weights.VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="OPENURINE_PRETRAINED names .*nowhere"):
        coco_weights.find("yolo12n")


def test_a_line_for_who_has_a_folder(place, capsys):
    coco_weights.say("yolo12n", None)
    assert f"{place} holds no yolo12n.safetensors or yolo12n.pt" in capsys.readouterr().out
    (place / "yolo12n.pt").touch()
    coco_weights.say("yolo12n", None)
    assert "its engine takes no yolo12n.pt" in capsys.readouterr().out
    place.joinpath("yolo12n.pt").unlink()
    place.rmdir()
    coco_weights.say("yolo12n", None)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("heads", ["single", "multi"])
def test_all_but_the_classes_come_from_the_file(place, heads):
    state, path = coco(), place / "yolo12n.safetensors"
    save_file(state, path)
    model = build_model("yolo12n", TAXONOMY, heads)
    used = coco_weights.load_matching(model, path)
    own = model.state_dict()
    assert torch.equal(own["model.0.conv.weight"], state["model.0.conv.weight"])
    neck_and_backbone = [k for k in own if int(k.split(".")[1]) < 21]
    assert all(torch.equal(own[k], state[k]) for k in neck_and_backbone)
    assert len(neck_and_backbone) <= used["tensors"] < used["of"] == len(own)
    assert used["file"] == "yolo12n.safetensors" and len(used["sha256"]) == 64


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "meta": {}}])
def test_a_file_of_tensors_by_torch(place, wrap):
    path = place / "yolo12n.pt"
    torch.save(wrap({"a": torch.ones(2)}), path)
    assert torch.equal(coco_weights.read(path)["a"], torch.ones(2))


def test_programs_and_strangers_are_refused(place):
    path = place / "yolo12n.pt"
    torch.save(
        {"model": torch.nn.Conv2d(1, 1, 1)}, path
    )  # as the official files are: a pickled module
    with pytest.raises(
        WeightsError, match=r"yolo12n\.pt cannot be read safely; .*docs/pretrained\.md"
    ):
        coco_weights.read(path)
    torch.save([1, 2], path)
    with pytest.raises(WeightsError, match="holds no state_dict"):
        coco_weights.read(path)
    torch.save({"a": torch.ones(2)}, path)
    with pytest.raises(WeightsError, match="file of another one"):
        coco_weights.load_matching(build_model("yolo12n", TAXONOMY, "single"), path)


def test_a_training_starts_from_it_says_so_and_is_another_training(place, tmp_path):
    path = place / "yolo12n.pt"
    torch.save(coco(), path)
    plain = job(
        tmp_path, heads="single", epochs=1, n=4, lr0=0.0, refresh_bn=False, warmup_bias_lr=0.0
    )
    begun = dataclasses.replace(plain, pretrained=path)
    assert begun.signature() != plain.signature()
    content = read_weights(ultralytics.fit(begun))
    weight = "model.0.conv.weight"
    assert torch.equal(
        content["state_dict"][weight], coco()[weight]
    )  # a learning rate of 0 leaves it as it was
    assert content["meta"]["pretrained"]["sha256"] == files.digest_of_file(path)


def test_the_shared_loop_starts_from_it_too(place, tmp_path):
    from openurine_lib.training.engines import torchvision

    arch = "ssdlite320_mobilenet_v3_large"
    path = place / f"{arch}.pth"
    torch.save(torchvision.build(arch, 80, 96).state_dict(), path)
    begun = dataclasses.replace(
        job(tmp_path, heads="single", arch=arch, epochs=1, n=4), pretrained=path
    )
    used = read_weights(torchvision.fit(begun))["meta"]["pretrained"]
    assert (
        used["file"] == path.name and 0.9 * used["of"] < used["tensors"] < used["of"]
    )  # all but the classes


def test_a_backbones_own_file_serves_where_the_network_has_none(place):
    """ImageNet's AlexNet goes into the backbone and the head of Faster R-CNN."""
    import torchvision as library

    from openurine_lib.training.engines import torchvision

    arch = "fasterrcnn_alexnet_restored"
    path = place / "alexnet.pth"
    published = library.models.alexnet().state_dict()
    torch.save(published, path)
    assert coco_weights.find(arch) == path and coco_weights.find("yolo12n") is None
    model = torchvision.build(arch, 3, 96)
    used = coco_weights.load_matching(model, path)
    assert used["tensors"] == len(published) - 2, "all but its own classes"
    assert torch.equal(model.backbone[0].weight, published["features.0.weight"])
    assert torch.equal(model.roi_heads.box_head.fc7.weight, published["classifier.4.weight"])
    (place / f"{arch}.pt").touch()
    assert coco_weights.find(arch).stem == arch, "a file of the whole network comes first"


def test_a_masked_autoencoders_transformer_becomes_vitdets_and_learns_layer_by_layer(place):
    from openurine_lib.training.engines import transformers

    with torch.device("meta"):
        model = transformers.build("vitdet_b", 3, 960)
    own = model.backbone.vit.state_dict()
    named = {after: before for before, after in coco_weights.OF_TIMM.items()}
    state = {}
    for name, tensor in own.items():
        name = f"backbone.vit.{name}"
        for after, before in named.items():
            name = name.replace(after, before, 1)
        if "rel_pos" not in name:  # pretrained without them
            state[name] = torch.empty(tensor.shape, device="meta")
    assert {"pos_embed", "patch_embed.proj.weight", "blocks.11.attn.qkv.weight"} < set(state)
    assert state["pos_embed"].shape == (1, 197, 768), "as published: 224 px in patches of 16"
    renamed = {coco_weights._renamed(name, coco_weights.OF_TIMM) for name in state}
    assert renamed < set(model.state_dict())
    groups = transformers.layerwise(model, 1.0)
    rates = [group["lr"] for group in groups]
    assert rates == pytest.approx([1, *(0.7**n for n in range(13, 0, -1))])
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_a_new_file_is_a_change_of_the_training_only(place):
    demo, ours = profile("demo"), method("ours-yolo12m")
    before = {k: fingerprints.ingredients(k, demo, 0, ours) for k in ("ssl", "train", "predict")}
    (place / "yolo12n.pt").write_text("new")
    after = {k: fingerprints.ingredients(k, demo, 0, ours) for k in before}
    assert {k for k in before if before[k] != after[k]} == {"train"}


def test_the_table_tells(place):
    from test_comparison import line, make_run, store

    from openurine_lib.experiments import comparison

    run = make_run("demo")
    store(run, "yolov8m")
    told = run.train_dir(method("yolov8m"), 0) / coco_weights.FILE
    told.write_text(json.dumps({"file": "yolov8n.pt", "sha256": "0", "tensors": 3, "of": 4}))
    note = line(comparison.reproduced_table(run, 4), "yolov8m")["note"]
    assert note == "yolov8n stands for yolov8m; pretrained (yolov8n.pt, 3 of 4 tensors)"
