"""A laboratory's own fields: trained further, held out by patient, resumed, and what it gained."""

import json

import numpy as np
import pandas as pd
import pytest
import tiny
import torch

from openurine_lib.clinical import validation
from openurine_lib.data import taxonomy
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.evaluation import shared_classes
from openurine_lib.laboratory import finetuning, slice_sides
from openurine_lib.laboratory.predicting import BadOption, predict
from openurine_lib.training import transfer
from openurine_lib.training.weights import read_weights

TAXONOMY = """
name: ours
classes: {disc: Cells, square: Crystals, bar: Crystals}
components: {RBC: [disc], Crystals: [square, bar]}
openurine: {disc: [RBC], square: [Calcium oxalate, Uric acid]}
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.untrained(tmp_path_factory.mktemp("base"))


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    images, boxes = tiny.frames(folder / "images", 12)
    images[["image", "group"]].set_axis(["image", "patient"], axis=1).to_csv(
        folder / "patients.csv", index=False
    )
    boxes.insert(1, "class", boxes.cls.map(dict(enumerate(tiny.TAXONOMY.classes))))
    boxes.drop(columns="cls").to_csv(folder / "boxes.csv", index=False)
    (folder / "taxonomy.yaml").write_text(TAXONOMY)
    return folder


def test_what_is_known_of_a_class_goes_into_its_channel(base, tmp_path):
    old = taxonomy.load("openurine")
    new = taxonomy.parse(TAXONOMY, "ours")
    assert taxonomy.equals(new, old) == {
        0: [old.id("RBC")],
        1: [old.id("Calcium oxalate"), old.id("Uric acid")],
        2: [],
    }
    origin = transfer.write_start(base, old, new, 0, tmp_path / "start.pt")
    before = torch.load(base, weights_only=True)["state_dict"]
    after = torch.load(tmp_path / "start.pt", weights_only=True)["state_dict"]
    assert origin["classes"] == 2 and origin["tensors"] == origin["of"] == len(after)
    stem = next(name for name in after if name.endswith("heads.Crystals.cv3.0.2.weight"))
    ids = sorted(old.heads["Crystals"])
    known = before[stem][[ids.index(c) for c in taxonomy.equals(new, old)[1]]]
    assert after[stem].shape[0] == 2  # square and bar
    assert torch.equal(after[stem][0], known.mean(0))
    backbone = next(name for name in after if name.startswith("model.0."))
    assert torch.equal(after[backbone], before[backbone])


@pytest.mark.parametrize(("times", "share"), [(1, 1 / 2), (3, 3 / 4)])
def test_a_mean_of_weights_lies_between_them(base, tmp_path, times, share):
    content = torch.load(base, weights_only=True)
    other = {n: t + 1 for n, t in content["state_dict"].items()}
    torch.save({"state_dict": other, "meta": content["meta"] | {"told": 1}}, tmp_path / "b.pt")
    files = [base, *[tmp_path / "b.pt"] * times]
    mean = read_weights(transfer.write_mean(files, tmp_path / "mean.pt"))
    assert mean["meta"]["told"] == 1
    for name, tensor in content["state_dict"].items():
        added = share if tensor.is_floating_point() else 1
        assert torch.allclose(mean["state_dict"][name], tensor + added, atol=1e-5)


def test_a_fine_tuning_is_resumed_reported_and_used(base, data, tmp_path, monkeypatch):
    monkeypatch.setattr(finetuning, "CHECKS", 2)
    monkeypatch.setattr(slice_sides, "FIELDS", 2)  # an untrained detector finds much, slowly
    monkeypatch.setattr(slice_sides, "LEAST_BOXES", 2)
    out = tmp_path / "out"
    with tiny.killed_after(1, finetuning, "held_out_scores"):
        finetuning.finetune(data, out, base, epochs=2)
    (work,) = out.glob("work-*")
    assert [look["epochs"] for look in json.loads((work / "looks.json").read_text())] == [1]
    assert len([*out.glob("sides/*/*.csv")]) > 1, "slices of one side alone were tried"
    log = pd.read_csv(work / "log.csv")
    assert len(log) == 2  # the second pass was over, but not looked at
    done = finetuning.finetune(data, out, base, epochs=2)
    again = pd.read_csv(work / "log.csv")
    assert again.equals(log), "a pass was trained twice"
    assert not (out / "slices").exists(), "gigabytes that nobody needs any more"

    assert done.gains["class"].tolist() == ["disc", "square", "bar", finetuning.ALL]
    assert done.gains.gain.notna().all() and done.gains.low.isna().all()  # 1 patient or 2 held out
    held = pd.read_csv(out / "dataset" / "images.csv").query("fold == 0")
    record = validation.read(done.weights)
    assert record["fields"] == len(held) and record["drawn"] is False
    assert set(done.components.component) == {"RBC", "Crystals"}
    # the classes travel with the weights, and nothing is said to be absent
    found = predict([data / "images" / "field0.png"], done.weights)
    assert set(found.report.component) == {"RBC", "Crystals"}
    assert set(found.report.level) == {"not validated"}
    assert read_weights(done.weights)["meta"]["finetuned_from"]["classes"] == 2


def test_the_intervals_of_a_gain_are_of_patients():
    two = Taxonomy("t", ("a", "b"), {"Cells": (0, 1)}, {}, {})
    held = pd.DataFrame({"image": [f"f{i}" for i in range(12)]})
    held["group"] = [f"p{i // 2}" for i in range(12)]
    truth = pd.DataFrame({"image": held.image, "cls": 0, "x1": 0.0, "y1": 0.0})
    truth = truth.assign(x2=10.0, y2=10.0)
    perfect = truth.assign(conf=0.9)
    half = perfect[perfect.index % 2 == 0]
    table = finetuning.gains(truth, half, perfect, two, held).set_index("class")
    assert table.loc["a", "before"] == pytest.approx(50, abs=1) and table.loc["a", "after"] == 100
    assert np.isnan(table.loc["b", "gain"]) and table.loc[finetuning.ALL, "gain"] > 49
    assert table.loc["a", "low"] <= table.loc["a", "gain"] <= table.loc["a", "high"]
    few = held.assign(group=["p0", "p1", "p2"] * 4)
    assert finetuning.gains(truth, half, perfect, two, few).low.isna().all()


def test_detections_of_other_classes_are_renamed_or_left_out():
    old = taxonomy.load("openurine")
    new = taxonomy.parse(TAXONOMY, "ours")
    names = ["RBC", "Uric acid", "WBC"]
    boxes = pd.DataFrame({"image": "f", "cls": [old.id(name) for name in names]})
    assert shared_classes.renamed(boxes, new, old).cls.tolist() == [0, 1]


def test_results_do_not_go_into_the_data(base, data):
    with pytest.raises(BadOption, match="part of the data"):
        finetuning.finetune(data, data / "out", base)
    with pytest.raises(BadOption, match="at least"):
        finetuning.finetune(data, data.parent / "out", base, epochs=1)


def test_classes_that_the_detector_knew_and_the_labels_hardly_show_are_named():
    old = taxonomy.load("openurine")
    new = taxonomy.parse(TAXONOMY, "ours")
    known = [cls for cls, ids in taxonomy.equals(new, old).items() if ids]
    many = pd.DataFrame({"cls": np.repeat(range(new.n), finetuning.FEW)})
    assert finetuning.hardly_shown(many, new, old) == []
    # one box fewer of a class that it knew; none at all of one that it did not know
    few = many[many.cls.isin(known)].drop(many[many.cls == known[0]].index[0])
    assert finetuning.hardly_shown(few, new, old) == [new.classes[known[0]]]
