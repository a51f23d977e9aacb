"""The 39 classes of Table 2, in its order, and how each is drawn."""

from __future__ import annotations

import pandas as pd

from synthurine.files import CONFIG
from synthurine.particles import (
    alkaline_crystals,
    artifacts,
    casts,
    cells,
    crystals,
    disease_crystals,
    epithelium,
    organisms,
    others,
    parasites,
)
from synthurine.particles.canvas import Canvas, Draw, Rng

TABLE2 = pd.read_csv(CONFIG / "classes.csv", index_col="class")  # boxes, images of each class
CLASSES: tuple[str, ...] = tuple(TABLE2.index)

DRAW: dict[str, Draw] = {
    **casts.DRAW,
    **cells.DRAW,
    **epithelium.DRAW,
    **crystals.DRAW,
    **disease_crystals.DRAW,
    **alkaline_crystals.DRAW,
    **organisms.DRAW,
    **parasites.DRAW,
    **others.DRAW,
    **artifacts.DRAW,
}


def draw(name: str, rng: Rng, k: float) -> Canvas:
    """One particle of that class at ``k`` pixels/um."""
    return DRAW[name](rng, k).finish()
