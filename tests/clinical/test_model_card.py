"""The model cards that stand beside the carried weights are those that their results give."""

import pandas as pd
import pytest

from openurine_lib import default_weights
from openurine_lib.clinical import model_card

WEIGHTS = sorted(default_weights.CARRIED.glob(f"**/{default_weights.WEIGHTS}"))
CARDS = [file.parent for file in WEIGHTS]
DETECTORS = [folder for folder in CARDS if (folder / default_weights.RECORD).exists()]
ENCODERS = [folder for folder in CARDS if folder.parent.name.startswith("encoder-")]


def test_the_default_detector_has_a_card() -> None:
    assert default_weights.path().parent in DETECTORS


@pytest.mark.parametrize("folder", CARDS, ids=lambda folder: folder.parent.name)
def test_every_weights_file_has_the_card_that_the_results_beside_it_give(folder) -> None:
    """Written anew by ``model_card.write``, where a record or the template has changed."""
    text = model_card.card(folder)
    assert (folder / model_card.FILE).read_text(encoding="utf-8") == text
    assert "nan" not in text and "Drawn fields alone" in text


@pytest.mark.parametrize("folder", DETECTORS, ids=lambda folder: folder.parent.name)
def test_a_detectors_card_has_every_component_and_class(folder) -> None:
    text = model_card.card(folder)
    assert text.count("\n| ") == 2 + 6 + 39
    assert "not validated" in text


@pytest.mark.parametrize("folder", ENCODERS, ids=lambda folder: folder.parent.name)
def test_an_encoders_card_tells_its_last_losses(folder) -> None:
    last = pd.read_csv(folder / "log.csv").iloc[-1]
    row = f"| {last.epoch:.0f} | {last.l1:.3f} | {last.ssim:.3f} |"
    assert row in model_card.card(folder)
