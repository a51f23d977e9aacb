"""Every class and head of OpenUrine has its sentence, and a card that shows it."""

import numpy as np
import pytest

from openurine_lib.config import read_config
from openurine_lib.data.particle_cards import particle_cards
from openurine_lib.data.taxonomy import load


def test_every_class_and_head_has_one_short_sentence():
    taxonomy, texts = load("openurine"), read_config("descriptions.yaml")
    assert list(texts["classes"]) == list(taxonomy.classes)
    assert set(texts["heads"]) == set(taxonomy.heads)
    assert all(text.endswith(".") and len(text) < 100 for text in texts["classes"].values())


@pytest.mark.parametrize("head", ["Casts", "Artifact"])
def test_a_card_for_each_class_of_a_head(head):
    taxonomy = load("openurine")
    picture = np.zeros((8, 8, 3), np.uint8)
    figure = particle_cards(taxonomy, head, lambda name: [picture, picture], "synthetic")
    shown = [text.get_text() for text in figure.texts]
    assert len(figure.axes) == 2 * len(taxonomy.heads[head])
    assert all(taxonomy.classes[i] in shown for i in taxonomy.heads[head])
    assert "synthetic" in shown
