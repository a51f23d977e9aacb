"""A row is faithful only with the paper's network, size, passes and settings."""

import dataclasses

import pytest

from openurine_lib.experiments.fidelity import fidelity
from openurine_lib.experiments.methods import method, methods, profile


def test_the_papers_profile_keeps_what_the_method_is():
    paper = profile("paper")
    assert all(fidelity(m, paper) == m.fidelity for m in methods().values())
    assert fidelity(method("ours-yolo12m"), paper) == "faithful"


def test_a_small_run_says_what_it_lacks():
    said = fidelity(method("ours-yolo12m"), profile("smoke"))
    assert said.startswith("reduced: yolo12n for yolo12m, 96 px for 960, ")
    for lack in ("slices of 64 px for 640", "trained on slices", "1 passes for 300"):
        assert f", {lack}" in said
    for setting in ("batch 4", "optimizer AdamW", "at most 8 training fields"):
        assert f", {setting}" in said
    # the plain nano network is the paper's own, on whole fields and without pretraining
    nano = fidelity(method("yolo12n"), profile("smoke"))
    assert nano.startswith("reduced: 96 px for 960, 1 passes") and "slices" not in nano
    assert "unlabelled" not in nano
    # a network that is only near to its authors' stays so
    assert fidelity(method("vitdet"), profile("smoke")).startswith("approximate, reduced: vitdet_t")


@pytest.mark.parametrize("name", [n for n in ("smoke", "demo", "study")])
def test_no_row_of_a_small_profile_is_faithful(name):
    said = [fidelity(m, profile(name)) for m in methods().values()]
    assert all("reduced: " in text for text in said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epochs": 299}, "reduced: 299 passes for 300"),
        ({"train": {"optimizer": "AdamW"}}, "reduced: optimizer AdamW"),
        ({"smaller": {"yolo12m": "yolo12s"}}, "reduced: yolo12s for yolo12m"),
        ({"px_scale": 0.5}, "reduced: 480 px for 960, slices of 320 px for 640"),
        ({"max_train_fields": 100}, "reduced: at most 100 training fields"),
        ({"slices_per_field": 1}, "reduced: trained on slices"),
        ({"ssl_crop": 320}, "reduced: pretrained on crops of 320 px"),
        ({"train": {"close_mosaic": 2}}, "reduced: close_mosaic 2"),  # the library's own is 10
        ({"folds": [0]}, "faithful"),  # how many folds were run has a column of its own
    ],
)
def test_each_lack_by_itself(change, said):
    changed = dataclasses.replace(profile("paper"), **change)
    assert fidelity(method("ours-yolo12m"), changed) == said
