"""What a notebook says of a result in plain words; the numbers in them are computed."""

from __future__ import annotations


def in_words(*sentences: str) -> None:
    """Shows the sentences as one paragraph below the cell that computed their numbers."""
    from IPython.display import Markdown, display  # only notebooks have IPython

    display(Markdown("**In words.** " + " ".join(sentences)))
