"""A stored result is believed only if it would be made from the same today, and if it is whole."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tiny
import torch

from openurine_lib import files, method, open_run
from openurine_lib.experiments import (
    carried,
    comparison,
    fingerprints,
    intervals,
    made_from,
    significance,
    sizes,
    steps,
)
from openurine_lib.inference import write_csv

M = method("yolo12m-sahi")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run whose data set is four tiny fields, and in which a training takes no time."""
    monkeypatch.setenv(carried.SWITCH, "0")
    run = open_run("synthetic", "smoke")
    images, boxes = tiny.frames(tmp_path / "fields", 4)
    run.__dict__["dataset"] = SimpleNamespace(
        taxonomy=tiny.TAXONOMY, synthetic=True, fingerprint="of the data", meta={},
        test_images=lambda fold, limit: images, boxes_of=lambda of: boxes,
    )  # fmt: skip
    place = run.dir / "dataset"
    place.mkdir(parents=True)
    images.to_csv(place / "images.csv", index=False)
    boxes.to_csv(place / "boxes.csv", index=False)
    (place / "meta.json").write_text(json.dumps({"fingerprint": "f", "taxonomy": "tiny"}))
    run.__dict__["calls"] = calls = []

    def fit(job):
        calls.append("trained")
        torch.save({"state_dict": {}, "meta": {}}, job.dir / "weights.pt")

    def predict_fields(detector, fields, slice_px, overlap, out, way):
        calls.append("predicted")
        write_csv(boxes.assign(conf=0.9)[["image", "cls", "conf", "x1", "y1", "x2", "y2"]], out)
        return steps.read_predictions(out)

    job = lambda run, m, fold, folder: SimpleNamespace(dir=folder, arch="")  # noqa: E731
    monkeypatch.setattr(steps, "training_job", job)
    engine = SimpleNamespace(fit=fit, detector=lambda *_: None)
    monkeypatch.setattr(steps, "engine", lambda name: engine)
    monkeypatch.setattr(steps, "check_taxonomy", lambda *_: None)
    monkeypatch.setattr(steps, "read_weights", lambda *_, **__: {"meta": {}})
    monkeypatch.setattr(steps.sizes, "of_detector", lambda *_: {})
    monkeypatch.setattr(steps, "predict_fields", predict_fields)
    return run


def test_a_notebook_that_runs_alone_leaves_what_a_job_leaves(run):
    steps.ensure_metrics(run, M, 0)
    assert run.calls == ["trained", "predicted"]
    for kind in ("train", "predict"):
        record = made_from.folder_of(run, kind, M, 0) / made_from.RECORD
        assert json.loads(record.read_text()) == made_from.ingredients(run, kind, M, 0)
    steps.ensure_metrics(run, M, 0)
    assert run.calls == ["trained", "predicted"]


def test_after_the_labels_change_nothing_old_is_scored(run):
    steps.ensure_metrics(run, M, 0)
    boxes = run.dir / "dataset" / "boxes.csv"
    pd.read_csv(boxes).assign(cls=0).to_csv(boxes, index=False)
    steps.ensure_metrics(run, M, 0)
    assert run.calls == ["trained", "predicted"] * 2


def test_results_without_a_record_are_made_anew(run, capsys):
    steps.ensure_metrics(run, M, 0)
    (run.train_dir(M, 0) / made_from.RECORD).unlink()
    (run.predict_dir(M, 0) / made_from.RECORD).write_text("{")  # cut off
    capsys.readouterr()
    steps.ensure_metrics(run, M, 0)
    assert run.calls == ["trained", "predicted"] * 2
    assert capsys.readouterr().out.count("no record of what it was made from") == 2


def test_a_training_that_was_interrupted_finds_its_checkpoint(run):
    made_from.check(run, "train", M, 0)
    checkpoint = run.train_dir(M, 0) / "state.pt"
    checkpoint.write_text("half")
    steps.ensure_weights(run, M, 0)
    assert checkpoint.exists()


def test_the_slices_of_a_finished_training_are_thrown_away(run):
    made_from.check(run, "train", M, 0)
    slices = run.train_dir(M, 0) / steps.SLICES
    slices.mkdir()
    (slices / "000000.bmp").write_bytes(b"BM")
    assert steps.ensure_weights(run, M, 0).exists() and not slices.exists()


def test_a_kill_while_a_folder_is_cleared_leaves_nothing_that_is_believed(tmp_path, monkeypatch):
    folder = tmp_path / "train" / "key" / "fold0"
    made_from.keep_or_clear(folder, {"code": "1"})
    (folder / "weights.pt").write_text("old")

    def killed(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(made_from.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            made_from.keep_or_clear(folder, {"code": "2"})
    assert not folder.exists()
    made_from.keep_or_clear(folder, {"code": "2"})
    assert {f.name for f in folder.iterdir()} == {made_from.RECORD}
    assert {f.name for f in folder.parent.iterdir()} == {"fold0", ".fold0.lock"}


def test_a_folder_made_from_something_else_is_cleared(tmp_path, capsys):
    folder = tmp_path / "train" / "key" / "fold0"
    made_from.keep_or_clear(folder, {"code": "1", "data": "a"})
    (folder / "state.pt").write_text("half")
    made_from.keep_or_clear(folder, {"code": "1", "data": "a"})
    assert (folder / "state.pt").exists()
    made_from.keep_or_clear(folder, {"code": "2", "data": "a"})
    assert [f.name for f in folder.iterdir()] == [made_from.RECORD]
    assert "made from another code" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["predictions.csv", "metrics.csv"])
@pytest.mark.parametrize("harm", ["cut off", "without its digest"])
def test_what_is_not_whole_is_named_and_made_anew(run, capsys, name, harm):
    scores = steps.ensure_metrics(run, M, 0)
    found = steps.ensure_predictions(run, M, 0)
    out = run.predict_dir(M, 0) / name
    if harm == "cut off":
        out.write_text("".join(out.read_text().splitlines(keepends=True)[:2]))
    else:
        out.with_name(f"{name}.sha256").unlink()
    capsys.readouterr()
    pd.testing.assert_frame_equal(steps.ensure_predictions(run, M, 0), found)
    pd.testing.assert_frame_equal(steps.ensure_metrics(run, M, 0), scores, check_dtype=False)
    assert [line for line in capsys.readouterr().out.splitlines() if name in line]
    assert run.calls.count("predicted") == (2 if name == "predictions.csv" else 1)
    steps.ensure_metrics(run, M, 0)
    assert capsys.readouterr().out == ""


def test_cohort_predictions_that_were_cut_off_are_made_anew(run):
    images = run.dataset.test_images(0, None)
    found = steps.ensure_cohort_predictions(run, M, 0, images)
    (out,) = run.predict_dir(M, 0).glob("cohort-*.csv")
    out.write_text("".join(out.read_text().splitlines(keepends=True)[:2]))
    again = steps.ensure_cohort_predictions(run, M, 0, images)
    pd.testing.assert_frame_equal(again, found)
    assert run.calls == ["trained", "predicted", "predicted"]


def test_a_second_look_reads_neither_weights_nor_data_again(run, monkeypatch):
    steps.ensure_metrics(run, M, 0)
    read = []
    whole = files.digest_of_file
    monkeypatch.setattr(files, "digest_of_file", lambda path: read.append(path.name) or whole(path))
    monkeypatch.setattr(fingerprints, "_csv_rows", None)
    monkeypatch.setattr(fingerprints, "_code", None)
    steps.ensure_metrics(run, M, 0)
    assert read == ["metrics.csv"]  # itself, to see whether it is whole


def test_a_decorator_of_a_step_is_no_change_of_its_result(tmp_path):
    # the record of a training that was made before the steps had decorators stays valid
    assert steps.ensure_weights.__wrapped__ is not None
    tree = fingerprints._tree("openurine_lib.experiments.steps")
    (step,) = [n for n in tree.body if getattr(n, "name", "") == "ensure_weights"]
    before = fingerprints.of_definition("experiments.steps", "ensure_weights")
    decorators, step.decorator_list = step.decorator_list, []
    try:
        assert decorators
        assert fingerprints.of_definition("experiments.steps", "ensure_weights") == before
    finally:
        step.decorator_list = decorators


@pytest.mark.parametrize("kind", ["predict", "train"])
def test_results_of_other_weights_are_cleared(run, kind):
    """Predictions are of the weights, a training is of the encoder: new ones, and they go."""
    ours = method("ours-yolo12m")
    encoder = run.ssl_dir(run.profile.arch(ours), 0) / "encoder.pt"
    source = encoder if kind == "train" else run.train_dir(ours, 0) / "weights.pt"
    result = made_from.folder_of(run, kind, ours, 0) / "result"
    kept = []
    for text in ("first", "first", "second"):
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(text)
        made_from.check(run, kind, ours, 0)
        kept.append(result.exists())
        result.write_text("")
    assert kept == [False, True, False]


def test_tables_show_rows_of_today_alone_and_clear_nothing(run):
    """Notebooks 06 and 07 show rows that they do not make: one of other labels says so."""
    row = lambda: comparison.reproduced_table(run, 4).set_index("method").loc[M.id]  # noqa: E731
    assert row().reason == "not run"
    steps.ensure_metrics(run, M, 0)
    assert row().reason == "" and row().folds == 1 and made_from.folds_of_today(run, M) == [0]
    boxes = run.dir / "dataset" / "boxes.csv"
    before = boxes.read_bytes()
    pd.read_csv(boxes).assign(cls=0).to_csv(boxes, index=False)
    assert row().reason == comparison.OUTDATED and np.isnan(row().map50)
    boxes.write_bytes(before)
    assert row().reason == "" and run.calls == ["trained", "predicted"]


@pytest.mark.parametrize("harm", ["weights", "training", "predictions", "metrics"])
def test_a_row_without_all_that_it_was_made_of_is_not_of_today(run, harm):
    steps.ensure_metrics(run, M, 0)
    place = run.predict_dir(M, 0)
    if harm == "weights":
        (run.train_dir(M, 0) / "weights.pt").write_text("another's")
    elif harm == "training":  # of other settings
        files.write_json(run.train_dir(M, 0) / made_from.RECORD, {"settings": "others"})
    else:
        text = (place / f"{harm}.csv").read_text()
        (place / f"{harm}.csv").write_text(text[: len(text) // 2])
    assert made_from.folds_of_today(run, M) == []
    assert intervals.Intervals(run).folds(M.id) == []
    assert significance.table4_significance(run).empty
    assert sizes.size_of_run(run, M) == {}
