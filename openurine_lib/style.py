"""One look for every figure: readable in a journal column and with colour-blind eyes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import rcsetup
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

COLUMN = 85 / 25.4  # width of one journal column, inches (85 mm)
PAGE = 180 / 25.4  # width of two columns, inches (180 mm)

# Okabe and Ito, "Color Universal Design", 2008, without the yellow that vanishes on white paper.
OKABE_ITO = {
    "orange": "#E69F00",
    "sky blue": "#56B4E9",
    "green": "#009E73",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "purple": "#CC79A7",
    "black": "#000000",
}

# A head has the same colour in every figure, and in figures of classes nothing else has it.
HEAD_COLOURS = {
    "Cells": OKABE_ITO["vermillion"],
    "Casts": OKABE_ITO["blue"],
    "Crystals": OKABE_ITO["green"],
    "Microorganisms": OKABE_ITO["purple"],
    "Artifact": OKABE_ITO["orange"],
    "Others": OKABE_ITO["sky blue"],
}
# What is no head (kinds of error, families of networks, curves of a loss): from Paul Tol's schemes
# ("Colour schemes", 2021), without what could be taken for a head's colour.
SERIES = {
    "indigo": "#332288",
    "olive": "#999933",
    "teal": "#117777",
    "brown": "#7B4B2A",
    "sand": "#DDCC77",
    "salmon": "#F4A6A0",
}
PAPER_COLOUR = OKABE_ITO["black"]  # published values: as printed
HERE_COLOUR = "#AA3377"  # values of this run, and the paper's method among others
# Boxes on a photograph: dashed and solid, with a white edge that parts them from dark particles.
TRUE_LINE, FOUND_LINE = (0, (2.5, 1.5)), "-"
HALO = [withStroke(linewidth=1.2, foreground="white")]
SHARES = "YlGnBu"  # for shares, where nothing is white
SEQUENTIAL = "viridis"  # for heat maps: ordered in grey too, and colour-blind safe


def use() -> None:
    """Applies the style to all figures made from now on."""
    mpl.rcParams.update(
        {
            "figure.figsize": (COLUMN, COLUMN * 0.75),
            "figure.constrained_layout.use": True,
            "figure.dpi": 150,
            "savefig.dpi": 300,
            "font.size": 7,  # points; nothing in print is smaller than 5
            "axes.titlesize": 8,
            "axes.labelsize": 7,
            "xtick.labelsize": 6,
            "ytick.labelsize": 6,
            "legend.fontsize": 6,
            "legend.frameon": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.linewidth": 0.6,
            "xtick.major.width": 0.6,
            "ytick.major.width": 0.6,
            "lines.linewidth": 1.2,
            "lines.markersize": 3,
            "patch.linewidth": 0.6,
            "grid.linewidth": 0.4,
            "grid.color": "0.9",
            "image.cmap": SEQUENTIAL,
            # what is no head has no head's colour
            "axes.prop_cycle": rcsetup.cycler(color=list(SERIES.values())),
            "pdf.fonttype": 42,  # text stays text in the PDF
            "svg.fonttype": "none",
        }
    )


def size(width: float = COLUMN, height_to_width: float = 0.75) -> tuple[float, float]:
    """Figure size in inches from a width and a ratio, for ``plt.subplots(figsize=...)``."""
    return width, width * height_to_width


def outline(ax: Axes, xyxy: np.ndarray, colours: str | Sequence[str], **line: Any) -> None:
    """Draws boxes (N, 4), in pixels of the image on the axes, as outlines of one or of N colours.

    Lines that matplotlib draws stay sharp at any size of the figure, and can be dashed.
    """
    # matplotlib puts the middle of the first pixel, not its corner, at 0
    frames = [Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1) for x1, y1, x2, y2 in xyxy]
    ax.add_collection(PatchCollection(frames, facecolor="none", edgecolor=colours, **line))
