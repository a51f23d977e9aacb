"""The 39 classes of Table 2, in its order, and how each is drawn."""

from __future__ import annotations

import numpy as np

from openurine_lib.data.taxonomy import load
from synthurine.particles import casts, cells, crystals, organisms, others
from synthurine.particles.canvas import Canvas, Draw

DRAW: dict[str, Draw] = {
    **casts.DRAW,
    **cells.DRAW,
    **crystals.DRAW,
    **organisms.DRAW,
    **others.DRAW,
}

CLASSES: tuple[str, ...] = load("openurine").classes


def draw(name: str, rng: np.random.Generator, k: float) -> Canvas:
    """One particle of that class at ``k`` pixels/um."""
    return DRAW[name](rng, k).finish()
