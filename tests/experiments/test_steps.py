"""What the steps of a run hand on: fields, boxes, classes and encoder to a training, slices and
confidence to a prediction, the test part to the scores.

Trainings are recorded, not made: the engine's ``fit`` keeps the job that it is given. A detector
that sees nothing but notes the size of its images stands for a trained one.
"""

import dataclasses
import inspect

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from sahi.models.base import DetectionModel
from sahi.prediction import ObjectPrediction
from sahi.slicing import get_slice_bboxes

from openurine_lib import (
    default_weights,
    ensure_encoder,
    ensure_metrics,
    ensure_predictions,
    ensure_weights,
    method,
    methods,
    open_run,
)
from openurine_lib.experiments import carried, fingerprints, steps
from openurine_lib.training import pretraining
from openurine_lib.training.engines import ultralytics
from openurine_lib.training.weights import read_weights

OURS, STOCK = "ours-yolo12m", "yolov8m"  # pretrained, six heads and slices; none of these
FOLDS = [0, 3]  # a fixed fold number would pass for one of them


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """The fields of a smoke run, drawn once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENURINE_ROOT", str(tmp_path_factory.mktemp("drawn")))
        return open_run().dataset


@pytest.fixture
def run(dataset, monkeypatch):
    """A smoke run of a root of its own, on those fields, which takes nothing that is carried."""
    monkeypatch.setenv(carried.SWITCH, "0")
    run = open_run()
    run.__dict__["dataset"] = dataset
    return run


@pytest.fixture
def jobs(monkeypatch):
    """The jobs that the ultralytics engine was given to train; untrained weights are their end."""
    given = []

    def fit(job):
        given.append(job)
        job.dir.mkdir(parents=True, exist_ok=True)
        return tiny.untrained(job.dir)

    monkeypatch.setattr(ultralytics, "fit", fit)
    return given


@pytest.fixture
def pretrainings(monkeypatch):
    """What every pretraining was given, by the names of its parameters."""
    given = []
    parameters = inspect.signature(pretraining.pretrain)

    def pretrain(*values, **named):
        asked = parameters.bind(*values, **named).arguments
        given.append(asked)
        asked["out"].parent.mkdir(parents=True, exist_ok=True)
        torch.save({"state_dict": {}, "meta": {"arch": asked["arch"]}}, asked["out"])
        return asked["out"]

    monkeypatch.setattr(steps, "pretrain", pretrain)
    return given


def patients_of_fold(dataset, fold):
    return set(dataset.images.loc[dataset.images["fold"] == fold, "group"])


@pytest.mark.parametrize("fold", FOLDS)
@pytest.mark.parametrize("row", [OURS, STOCK])
def test_a_training_sees_no_patient_of_the_test_part(run, jobs, pretrainings, row, fold):
    ensure_weights(run, method(row), fold)
    (job,) = jobs
    # a slice tells the field that it was cut from
    fields = job.images["field"] if "field" in job.images else job.images["image"]
    group_of = run.dataset.images.set_index("image")["group"]
    tested = patients_of_fold(run.dataset, fold)
    assert tested and not tested & set(group_of[fields]) and not tested & set(job.images["group"])
    assert set(fields) == set(run.dataset.train_images(fold, run.profile.max_train_fields)["image"])
    assert len(job.boxes) and set(job.boxes["image"]) <= set(job.images["image"])
    # the files themselves, and the labels: a field may go by the name of another
    paths = set(run.dataset.images.loc[run.dataset.images["group"].isin(tested), "path"])
    assert not paths & set(job.images["path"])
    if row == STOCK:
        pd.testing.assert_frame_equal(job.boxes, run.dataset.boxes_of(job.images))


def test_rows_with_slices_train_on_slices_and_others_on_whole_fields(run, jobs, pretrainings):
    for row in (OURS, STOCK):
        ensure_weights(run, method(row), 0)
    sliced, whole = (set(map(tuple, job.images[["width", "height"]].to_numpy())) for job in jobs)
    side = run.slicing(method(OURS))[0]
    fields = run.dataset.train_images(0)
    assert sliced == {(side, side)}
    assert whole == set(map(tuple, fields[["width", "height"]].to_numpy())) != sliced


@pytest.mark.parametrize("fold", FOLDS)
def test_rows_with_pretraining_start_from_the_folds_encoder(run, jobs, pretrainings, fold):
    ours, stock = method(OURS), method(STOCK)
    ensure_weights(run, stock, fold)
    assert jobs[0].encoder is None and not pretrainings
    ensure_weights(run, ours, fold)
    (asked,) = pretrainings
    assert jobs[1].encoder == asked["out"] == ensure_encoder(run, ours, fold)
    assert asked["arch"] == jobs[1].arch == run.profile.arch(ours)
    assert len(pretrainings) == 1, "an encoder that is there was pretrained again"


@pytest.mark.parametrize("fold", FOLDS)
def test_the_encoder_sees_no_patient_of_the_test_part(run, pretrainings, fold):
    """Here half of the unlabelled fields are of tested patients; drawn ones are of none."""
    images = run.dataset.images.copy()
    tested = patients_of_fold(run.dataset, fold)
    others = set(images.loc[images["split"] == "labelled", "group"]) - tested
    unlabelled = images.index[images["split"] == "unlabelled"]
    images.loc[unlabelled[::2], "group"] = min(tested)
    images.loc[unlabelled[1::2], "group"] = min(others)
    run.__dict__["dataset"] = dataclasses.replace(run.dataset, images=images)
    ensure_encoder(run, method(OURS), fold)
    assert set(pretrainings[0]["images"]["path"]) == set(images.loc[unlabelled[1::2], "path"])


@pytest.mark.parametrize("row", [m.id for m in methods().values() if m.without_head] + [OURS])
def test_table_5_trains_without_the_head_that_it_names(run, jobs, pretrainings, row):
    m = method(row)
    ensure_weights(run, m, 0)
    trained, whole = jobs[0].taxonomy, run.dataset.taxonomy
    assert jobs[0].heads == "multi" and trained.classes == whole.classes
    removed = {m.without_head} if m.without_head else set()
    assert set(trained.heads) == set(whole.heads) - removed
    for head in removed:
        assert set(trained.heads["Others"]) == {*whole.heads["Others"], *whole.heads[head]}


class Looker(DetectionModel):
    """Notes the shape of each image that it is shown, and finds one faint box in it."""

    def load_model(self):
        self.model = torch.nn.Conv2d(1, 1, 1)
        self.shapes = []

    def perform_inference(self, image):
        self.shapes.append(image.shape)

    def _create_object_prediction_list_from_original_predictions(
        self, shift_amount_list=None, full_shape_list=None
    ):
        shift, shape = np.ravel(shift_amount_list).tolist(), np.ravel(full_shape_list).tolist()
        faint = ObjectPrediction(
            bbox=[1, 1, 9, 9], category_id=0, score=0.002, shift_amount=shift, full_shape=shape
        )
        self._object_prediction_list_per_image = [[faint]]


@pytest.fixture
def lookers(monkeypatch):
    """The detectors that the ultralytics engine was asked for."""
    made = []

    def detector(weights, conf, device, imgsz, exact=False):
        made.append(Looker(device="cpu", confidence_threshold=conf, image_size=imgsz))
        return made[-1]

    monkeypatch.setattr(ultralytics, "detector", detector)
    # sizes are counted on a picture of their own, which is not to be among those that are noted
    monkeypatch.setattr(steps.sizes, "of_detector", lambda *_: {})
    return made


@pytest.mark.parametrize("row", [OURS, STOCK])
def test_fields_are_predicted_in_slices_or_as_a_whole(run, jobs, pretrainings, lookers, row):
    found = ensure_predictions(run, method(row), 0)
    (looker,) = lookers
    fields = run.test_images(0)
    whole = [(field.height, field.width, 3) for field in fields.itertuples()]
    side = 64  # the paper's 640 at the smoke profile's tenth
    grid = [(height, width, side, side) for height, width, _ in whole]
    overlap = {"overlap_height_ratio": 0.25, "overlap_width_ratio": 0.25}
    n_slices = sum(len(get_slice_bboxes(*size, **overlap)) for size in grid)
    expected = [(side, side, 3)] * n_slices if row == OURS else whole
    assert looker.shapes == expected and n_slices > len(whole)
    assert set(found["image"]) == set(fields["image"])


def test_every_box_from_a_confidence_of_a_thousandth_on_is_stored(run, jobs, lookers):
    found = ensure_predictions(run, method(STOCK), 0)
    assert lookers[0].confidence_threshold == 0.001
    assert len(found) and (found["conf"] == 0.002).all()


@pytest.mark.parametrize("fold", FOLDS)
def test_scores_are_of_the_folds_test_part(run, jobs, lookers, fold):
    scores = ensure_metrics(run, method(STOCK), fold)
    truth = run.dataset.boxes_of(run.dataset.test_images(fold, run.profile.max_test_fields))
    counts = truth["cls"].value_counts().reindex(scores["cls"], fill_value=0)
    assert scores["boxes"].tolist() == counts.tolist() and len(truth)


def test_the_recommended_row_starts_from_the_detector_that_it_names(run, jobs):
    """All of its tensors; on the drawn fields, some of which it has learned from, from none."""
    row = method("recommended")
    ensure_weights(run, row, 0)
    given = dataclasses.replace(run, profile=run.profile.for_given_data())
    given.__dict__["dataset"] = run.dataset
    ensure_weights(given, row, 0)
    drawn, job = jobs
    assert drawn.pretrained is None and drawn.dir != job.dir
    start = read_weights(job.pretrained)["state_dict"]
    known = read_weights(default_weights.named(row.start))["state_dict"]
    assert start.keys() == known.keys()
    assert all(torch.equal(start[name], known[name]) for name in known)
    before = fingerprints.ingredients("train", given.profile, 0, row)
    assert before != fingerprints.ingredients("train", run.profile, 0, row)
