"""The ``paper`` profile is Table 3 to the letter, and the settings of the paper's text."""

import pytest

from openurine_lib import published
from openurine_lib.experiments.methods import method, methods, profile

PAPER = profile("paper")
TABLE3 = published.table(3).set_index("setting")["value"].to_dict()


def flat(settings: dict) -> dict:
    """Nested settings under dotted names."""
    nested = {
        f"{key}.{k}": v
        for key, value in settings.items()
        if isinstance(value, dict)
        for k, v in value.items()
    }
    return {key: value for key, value in settings.items() if not isinstance(value, dict)} | nested


@pytest.mark.parametrize("setting", TABLE3)
def test_each_parameter_of_table_3(setting):
    here, printed = flat(PAPER.settings)[setting], TABLE3[setting]
    if setting == "optimizer":
        assert printed == f"{here} with momentum"
    else:
        assert here == printed


def test_nothing_is_set_that_the_paper_does_not_say():
    from_the_text = {"epochs", "batch", "sahi.slice", "sahi.overlap", "sahi.postprocess"}
    assert set(flat(PAPER.settings)) == set(TABLE3) | from_the_text


def test_settings_of_the_text():
    settings = PAPER.settings
    assert settings["batch"] == 16 and settings["epochs"] == PAPER.epochs == 300
    assert PAPER.search == {"trials": 300, "epochs": 100} and PAPER.search_pruner is None
    assert PAPER.folds == [0, 1, 2, 3, 4]
    assert settings["sahi"] == {"slice": 640, "overlap": 0.25, "postprocess": "NMS"}


def test_the_papers_method_and_nothing_made_smaller():
    ours = method("ours-yolo12m")
    assert (
        PAPER.arch(ours) == "yolo12m"
        and PAPER.pixels(ours.imgsz) == 960
        and PAPER.epochs_of(ours) == 300
    )
    assert (ours.heads, ours.ssl, ours.sliced) == ("multi", True, True)
    assert not PAPER.smaller and not PAPER.train and not PAPER.epochs_for and PAPER.px_scale == 1
    assert {PAPER.max_train_fields, PAPER.max_test_fields, PAPER.max_unlabelled_fields} == {None}
    assert all(PAPER.arch(m) == m.arch for m in methods().values())
