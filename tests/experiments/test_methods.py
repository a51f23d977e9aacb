"""The experiment list: keys, profiles and the plan of a run."""

import dataclasses

import pytest

from openurine_lib.config import read_config
from openurine_lib.experiments import methods as module
from openurine_lib.experiments.methods import (
    OURS,
    UnknownName,
    method,
    methods,
    plan,
    predict_key,
    profile,
    train_key,
)
from openurine_lib.ways import SLICES, Way


def test_rows_with_and_without_slices_share_a_training():
    p = profile("paper")
    plain, sliced = method("yolo12m"), method("yolo12m-sahi")
    assert train_key(plain, p) == train_key(sliced, p) == "yolo12m-single-960"
    assert predict_key(plain, p) != predict_key(sliced, p)


def test_the_papers_profile_replaces_nothing_and_small_ones_say_what_they_replace():
    paper, demo = profile("paper"), profile("demo")
    assert all(paper.arch(m) == m.arch for m in methods().values())
    assert (
        train_key(method("yolo12m"), demo)
        == train_key(method("yolo12x"), demo)
        == "yolo12n-single-256"
    )
    assert len(plan(paper).train) > len(plan(demo).train)


def test_every_row_is_in_the_plan_and_no_other():
    for name in ("smoke", "demo", "paper"):
        p = profile(name)
        assert set(plan(p).train) == {train_key(m, p) for m in methods().values()}
        assert set(plan(p).ssl) == {p.arch(m) for m in methods().values() if m.ssl}


@pytest.mark.parametrize(
    ("nominal", "effective"),
    [(40, 64), (80, 96), (160, 160), (320, 320), (640, 640), (960, 960), (1280, 1280)],
)
def test_table_6_sizes_are_rounded_up_to_the_stride(nominal, effective):
    assert profile("paper").pixels(nominal) == effective


def test_a_row_that_a_profile_names_must_be_there(monkeypatch):
    smoke = profile("smoke")
    assert OURS in smoke.named_rows and not profile("study").named_rows
    tables = {n for row in smoke.named_rows for n in method(row).answers}
    assert tables == {4, 5, 6}
    entry = {**dataclasses.asdict(smoke), "rows": ["yolo12m", "yolo12mm"]}
    del entry["name"]
    files = {"profiles.yaml": {"mine": entry}, "methods.yaml": read_config("methods.yaml")}
    monkeypatch.setattr(module, "read_config", files.get)
    with pytest.raises(UnknownName, match="no method 'yolo12mm'"):
        profile("mine")


def test_rows_of_one_training_are_named_together():
    smoke = profile("smoke")
    assert "recommended-at-once" not in smoke.rows and "yolo12m-sahi-multi" in smoke.rows
    assert {*smoke.rows} < {*smoke.named_rows}
    trainings = {train_key(method(name), smoke) for name in smoke.rows}
    assert {train_key(method(name), smoke) for name in smoke.named_rows} == trainings
    assert "recommended-at-once" in smoke.named_rows
    # on fields that are given it starts from a carried detector: another training
    assert "recommended-at-once" not in smoke.for_given_data().named_rows


def test_a_profile_has_exceptions_for_a_given_data_set():
    drawn = profile("study")
    given = drawn.for_given_data()
    assert given.epochs == drawn.given["epochs"] < drawn.epochs and not given.given
    assert (
        given.settings["epochs"] == given.epochs and given.settings["lr0"] == drawn.settings["lr0"]
    )
    smoke = profile("smoke")
    assert smoke.for_given_data() == dataclasses.replace(smoke, data_given=True)


def test_small_profiles_scale_sizes_and_slices_alike():
    demo = profile("demo")
    assert demo.settings["imgsz"] == 256 and demo.settings["sahi"]["slice"] == 192
    assert demo.setting("head_weights.Casts") == 1.5


def test_an_authors_own_settings_stand_where_a_profile_has_none():
    paper, demo, row = profile("paper"), profile("demo"), method("naznine2025")
    own, small, table3 = paper.settings_of(row), demo.settings_of(row), paper.settings
    assert (own["batch"], own["mixup"], own["scale"]) == (8, 0.15, 0.9) and "mixup" not in table3
    assert own["translate"] != table3["translate"] and own["head_weights"] == table3["head_weights"]
    assert (small["batch"], small["optimizer"]) == (4, "AdamW") and small["mixup"] == 0.15
    assert (paper.epochs_of(row), demo.epochs_of(row)) == (100, 4)
    assert paper.settings_of(method("yolo12m")) == table3
    detr = paper.settings_of(method("rtdetr-l"))
    assert (detr["optimizer"], detr["lr0"], detr["lrf"]) == ("AdamW", 1e-4, 1.0)


def test_unknown_names_are_refused_with_the_list():
    with pytest.raises(UnknownName, match="no method 'yolo13' in methods.yaml; it lists: yolov8m"):
        method("yolo13")
    with pytest.raises(UnknownName, match="it lists: smoke, demo, study, paper"):
        profile("huge")


def test_rows_with_slices_in_training_see_as_many_images():
    demo, row = profile("demo"), method("ours-yolo12m")
    assert demo.trains_on_slices(row)
    assert demo.epochs_of(row) == demo.epochs_of(method("yolo12n"))
    assert train_key(row, demo) == "yolo12n-multi-ssl-slices-256"
    assert not profile("paper").trains_on_slices(row) and profile("paper").epochs_of(row) == 300


def test_only_on_a_given_data_set_a_row_starts_from_the_carried_detector():
    """On drawn fields it would know patients of the test part; there it is the row without."""
    row, twin = method("recommended"), method("yolo12m-sahi-multi")
    drawn = profile("study")
    given = drawn.for_given_data()
    assert given.starts_carried(row) and not given.starts_carried(twin)
    assert not drawn.starts_carried(row)
    assert train_key(row, drawn) == train_key(twin, drawn)
    assert train_key(row, given) != train_key(twin, given)


def test_leaving_out_finds_at_a_cut_is_another_way_to_look_with_the_same_training():
    study, ours, uncut = profile("study"), method("ours-yolo12m"), method("ours-uncut")
    assert uncut.way == "uncut" and uncut.looking == Way(uncut=True)
    assert ours.looking == SLICES
    assert train_key(uncut, study) == train_key(ours, study)
    assert predict_key(uncut, study) != predict_key(ours, study)


def test_one_pass_and_two_looks_are_other_ways_to_look_with_the_same_training():
    given = profile("study").for_given_data()
    sliced = method("recommended")
    others = [method("recommended-at-once"), method("recommended-two-looks")]
    ways = [m.way for m in (*others, sliced, method("yolo12m"))]
    assert ways == ["at-once", "two-looks", "sliced", "whole"]
    assert {train_key(row, given) for row in others} == {train_key(sliced, given)}
    assert len({predict_key(row, given) for row in (*others, sliced)}) == 3
