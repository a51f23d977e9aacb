"""The model cards that stand beside the carried weights are those that their results give."""

import pytest

from openurine_lib import default_weights
from openurine_lib.clinical import model_card

CARDS = sorted(file.parent for file in default_weights.CARRIED.glob("*/*/*/validation.json"))


def test_the_default_detector_has_a_card() -> None:
    assert default_weights.path().parent in CARDS


@pytest.mark.parametrize("folder", CARDS, ids=lambda folder: folder.parent.name)
def test_a_card_is_what_the_results_beside_it_say(folder) -> None:
    """Written anew by ``model_card.write``, where a record or the template has changed."""
    text = model_card.card(folder)
    assert (folder / model_card.FILE).read_text(encoding="utf-8") == text
    assert text.count("\n| ") == 2 + 6 + 39 and "nan" not in text
    assert "not validated" in text and "Drawn fields alone" in text
