"""The particles of a head side by side: a picture, the name, and what it means to a clinician."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from openurine_lib import style
from openurine_lib.config import read_config
from openurine_lib.data.taxonomy import Taxonomy

CARD = 0.62  # height, inches
LETTERS = 56  # in a line of a description


def particle_cards(
    taxonomy: Taxonomy, head: str, pictures: Callable[[str], list[np.ndarray]], banner: str
) -> Figure:
    """A card for each class of the head, two beside one another.

    Args:
        taxonomy: its classes have a sentence in ``config/descriptions.yaml``.
        head: name of the head.
        pictures: class name -> pictures (H, W, 3), one or two of which have room.
        banner: the line that says where the pictures come from.
    """
    style.use()
    texts = read_config("descriptions.yaml")
    colour = style.HEAD_COLOURS[head]
    names = [taxonomy.classes[i] for i in taxonomy.heads[head]]
    rows = -(-len(names) // 2)  # rounded up
    figure = plt.figure(figsize=(style.PAGE, CARD * rows + 0.35), layout="none")
    height = figure.get_figheight()
    title = f"{head}: {texts['heads'][head]}"
    figure.text(0, 1 - 0.12 / height, title, fontsize=8, weight="bold", color=colour, va="center")
    for k, name in enumerate(names):
        row, column = divmod(k, 2)  # two columns
        left, low = 0.5 * column, 1 - (CARD * (row + 1) + 0.25) / height
        wide, high = 0.55 / style.PAGE, 0.55 / height  # a picture has a side of 0.55 inches
        shown = pictures(name)
        for i, picture in enumerate(shown):
            # side by side, a gap of a twentieth between them
            axes = figure.add_axes((left + 1.05 * i * wide, low, wide, high))
            axes.imshow(picture)
            axes.axis("off")
        x = left + (1.05 * len(shown) + 0.1) * wide
        figure.text(x, low + 0.88 * high, name, fontsize=7, weight="bold", va="center")
        sentence = textwrap.fill(texts["classes"][name], LETTERS)
        figure.text(x, low + 0.68 * high, sentence, fontsize=6, va="top", linespacing=1.3)
    figure.text(0, 0, banner, fontsize=5, color="0.35")
    return figure
