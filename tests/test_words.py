"""Computed sentences stand below a result as one paragraph."""

import IPython.display

from openurine_lib import in_words


def test_sentences_become_one_paragraph(monkeypatch):
    shown = []
    monkeypatch.setattr(IPython.display, "display", shown.append)
    in_words("One of", "two is found.")
    assert [paragraph.data for paragraph in shown] == ["**In words.** One of two is found."]
