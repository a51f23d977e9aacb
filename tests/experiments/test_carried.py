"""What is carried comes back as it was, and only for the run that it is valid for."""

import dataclasses
import shutil

import carry
import numpy as np
import pandas as pd
import pytest
import tiny
import torch

from openurine_lib import (
    ensure_cohort_predictions,
    ensure_metrics,
    ensure_weights,
    method,
    open_run,
)
from openurine_lib.experiments import carried, made_from, packed, steps
from openurine_lib.experiments.run import Run
from openurine_lib.files import write_json

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
    path.write_bytes(packed.pack(boxes, images))
    back = packed.unpack(path)
    ranked = boxes.sort_values("conf", ascending=False, kind="stable")
    wanted = pd.concat([ranked[ranked.image == name].head(packed.LIMIT) for name in "abc"])
    assert list(back.image) == list(wanted.image)
    assert list(back.cls) == list(wanted.cls)
    assert np.abs(back.conf.to_numpy() - wanted.conf.to_numpy()).max() < 1 / packed.STEPS
    assert np.abs(back[XYXY].to_numpy() - wanted[XYXY].to_numpy()).max() < 900 / packed.STEPS


def test_files_from_before_0_3_are_read(tmp_path, images, boxes):
    """They hold two bytes a number, and corners."""
    path = tmp_path / "predictions.npz"
    path.write_bytes(packed.pack(boxes, images))
    back = packed.unpack(path)
    with np.load(path) as stored:
        old = {name: stored[name] for name in ("names", "sides", "counts", "cls")}
    shares = {
        "conf": back.conf,
        "xyxy": back[XYXY] / np.repeat(old["sides"], old["counts"])[:, None],
    }
    steps = {k: np.round(v.to_numpy() * packed.STEPS).astype(np.uint16) for k, v in shares.items()}
    np.savez_compressed(path, **old, **steps)
    pd.testing.assert_frame_equal(packed.unpack(path), back)


def test_a_run_without_a_box_is_carried_too(tmp_path, images, boxes):
    path = tmp_path / "predictions.npz"
    path.write_bytes(packed.pack(boxes.iloc[:0], images))
    assert list(packed.unpack(path)) == list(boxes) and packed.unpack(path).empty


def test_weights_are_carried_in_half_precision_with_their_description(tmp_path):
    from safetensors import safe_open

    state = {"w": torch.linspace(-1, 1, 12).reshape(3, 4), "n": torch.tensor(7)}
    torch.save({"state_dict": state, "meta": {"arch": "yolo12n"}}, tmp_path / "weights.pt")
    carried.save_weights(tmp_path / "weights.pt", tmp_path / "weights.safetensors")
    with safe_open(tmp_path / "weights.safetensors", "pt") as stored:
        assert stored.get_tensor("w").dtype == torch.float16
        assert torch.equal(stored.get_tensor("w"), state["w"].half())
        assert torch.equal(stored.get_tensor("n"), state["n"])
        assert "yolo12n" in stored.metadata()["meta"]


ROW = "yolo12m-sahi-multi"  # six heads, and no encoder of which it would be made


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A smoke run in which one row was trained (here its weights are random) and scored."""
    root = tmp_path_factory.mktemp("source")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENURINE_ROOT", str(root))
        patch.setenv(carried.SWITCH, "0")
        run, row = open_run("synthetic", "smoke"), method(ROW)
        folder = run.train_dir(row, 0)
        made_from.check(run, "train", row, 0)
        tiny.untrained(folder)
        (folder / "log.csv").write_text("epoch,loss\n1,2.5\n")
        record = {"minutes": 12.0, "threads": 1, "processor": "P", "commit": "c", "time": "2026",
                  "device": "CPU (x86_64)"}  # fmt: skip
        write_json(folder / carried.TRAINED, record)
        scores = ensure_metrics(run, row, 0)
        ensure_cohort_predictions(run, row, 0, run.dataset.cohort_images())
    return root, scores


@pytest.fixture
def elsewhere(source, tmp_path, monkeypatch):
    """The same run under another root, where nothing but the data set is there; the row packed."""

    def pack(with_weights: bool) -> Run:
        monkeypatch.setattr(carried, "store", lambda: tmp_path / "carried")
        monkeypatch.setattr(steps, "training_job", None)  # a training would fail
        monkeypatch.setenv("OPENURINE_ROOT", str(source[0]))
        run = open_run("synthetic", "smoke")
        target = carried.folder_of(run, "predict", method(ROW), 0)
        carry.carry(run, method(ROW), 0, target, with_weights)
        shutil.copytree(run.dir / "dataset", tmp_path / "runs" / "smoke" / "dataset")
        monkeypatch.setenv("OPENURINE_ROOT", str(tmp_path))
        return open_run("synthetic", "smoke")

    return pack


def test_carried_predictions_take_the_place_of_a_training(source, elsewhere):
    run = elsewhere(with_weights=False)
    scores = ensure_metrics(run, method(ROW), 0)
    pd.testing.assert_frame_equal(scores, source[1], atol=0.01)
    who = steps.trained(run, method(ROW), 0)
    assert who["earlier"] and who["minutes"] == 12
    assert not (run.train_dir(method(ROW), 0) / "weights.pt").exists()


def test_a_training_of_other_code_gives_way_to_a_carried_one_once_and_for_all(
    elsewhere, monkeypatch
):
    """What is trained from the restored weights must not find other bytes at the next look."""
    run, row = elsewhere(with_weights=True), method(ROW)
    folder = run.train_dir(row, 0)
    with monkeypatch.context() as patch:
        patch.setenv(carried.SWITCH, "0")
        made_from.check(run, "train", row, 0)
    (folder / "weights.pt").write_bytes(b"trained here")
    write_json(folder / carried.TRAINED, {"minutes": 1.0})
    write_json(folder / made_from.RECORD, {"code": "other"})
    first = ensure_weights(run, row, 0).read_bytes()
    records = folder.joinpath(made_from.RECORD).read_bytes()
    made_from.check(run, "train", row, 0)
    assert folder.joinpath(made_from.RECORD).read_bytes() == records
    assert ensure_weights(run, row, 0).read_bytes() == first
    shutil.rmtree(folder)
    assert ensure_weights(run, row, 0).read_bytes() == first, "restored twice, it differs"


def test_carried_weights_predict_here_and_score_alike(source, elsewhere):
    run = elsewhere(with_weights=True)
    weights = ensure_weights(run, method(ROW), 0)
    scores = ensure_metrics(run, method(ROW), 0)
    pd.testing.assert_frame_equal(scores, source[1], atol=0.01)
    assert weights.with_name("log.csv").exists() and steps.trained(run, method(ROW), 0)["earlier"]


def test_restored_weights_are_cleared_once_nothing_carried_is_wanted(elsewhere, monkeypatch):
    run, row = elsewhere(with_weights=True), method(ROW)
    weights = ensure_weights(run, row, 0)
    made_from.check(run, "train", row, 0)
    assert weights.exists()
    monkeypatch.setenv(carried.SWITCH, "0")
    made_from.check(run, "train", row, 0)
    assert not weights.exists()
    weights.write_text("trained here")
    write_json(weights.with_name(carried.TRAINED), {"minutes": 1.0})
    monkeypatch.delenv(carried.SWITCH)
    made_from.check(run, "train", row, 0)
    assert weights.exists(), "a training of this machine made way for a carried one"


def test_carried_predictions_make_way_for_a_training_of_this_machine(source, elsewhere):
    run, row = elsewhere(with_weights=False), method(ROW)
    ensure_metrics(run, row, 0)
    assert (run.predict_dir(row, 0) / carried.RECORD).exists()
    write_json(run.train_dir(row, 0) / carried.TRAINED, {"minutes": 1.0})
    made_from.check(run, "train", row, 0)
    shutil.copytree(
        source[0] / run.train_dir(row, 0).relative_to(run.dir.parents[1]),
        run.train_dir(row, 0),
        dirs_exist_ok=True,
    )
    scores = ensure_metrics(run, row, 0)
    pd.testing.assert_frame_equal(scores, source[1])
    assert not (run.predict_dir(row, 0) / carried.RECORD).exists()
    assert not steps.trained(run, row, 0)["earlier"]


def test_the_cohort_is_not_predicted_again(source, elsewhere, monkeypatch):
    run = elsewhere(with_weights=True)
    cohort = run.dataset.cohort_images()
    # a prediction would fail; other fields than the carried ones would need one
    monkeypatch.setattr(steps, "predict_fields", None)
    here = ensure_cohort_predictions(run, method(ROW), 0, cohort)
    assert len(here) and set(here.image) <= set(cohort.image)
    assert here.groupby("image").size().max() <= carried.COHORT_LIMIT
    with pytest.raises(TypeError):
        ensure_cohort_predictions(run, method(ROW), 0, cohort[1:])


@pytest.mark.parametrize("change", ["seed", "epochs", "simulator", "labels", "switch"])
def test_carried_results_are_for_the_same_data_settings_and_seed_alone(
    elsewhere, monkeypatch, change
):
    run = elsewhere(with_weights=False)
    row = method(ROW)
    assert carried.find(run, "predict", row, 0)
    folder = carried.folder_of(run, "predict", row, 0)
    if change == "seed":
        monkeypatch.setattr(carried, "folder_of", lambda *_: folder)
        run = dataclasses.replace(run, seed=1)
        shutil.copytree(run.dir.with_name("smoke"), run.dir)
    elif change == "epochs":
        run = dataclasses.replace(run, profile=dataclasses.replace(run.profile, epochs=2))
    elif change == "simulator":
        run.dataset.meta["simulator"] = "optics-4"
    elif change == "labels":
        boxes = run.dataset.boxes
        boxes.loc[boxes.image.isin(run.test_images(0).image), "cls"] = 0
        carried._labels.cache_clear()
    else:
        monkeypatch.setenv(carried.SWITCH, "0")
    assert carried.find(run, "predict", row, 0) is None


def test_pixels_and_code_do_not_make_a_carried_result_invalid(elsewhere):
    run = elsewhere(with_weights=False)
    run.dataset.boxes["x1"] += 0.3  # as another processor may draw
    assert carried.find(run, "predict", method(ROW), 0)


@pytest.mark.parametrize(
    ("device", "place"),
    [
        ("CPU (x86_64)", "1 thread(s) of Xeon"),
        ("NVIDIA H100 (CUDA 13.0)", "NVIDIA H100 (CUDA 13.0)"),
    ],
)
def test_a_record_names_what_it_was_trained_on(device, place):
    trained = {"time": "2026-11-28T04:00:00", "minutes": 2.6, "threads": 1, "processor": "Xeon",
               "device": device, "commit": "0123456789"}  # fmt: skip
    said = carried.in_short({"trained": trained})
    assert said == f"trained earlier: 2026-11-28, 3 min on {place}, commit 0123456"
