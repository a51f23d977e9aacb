"""Draws docs/particles.jpg: three particles of each class at full resolution, as different laboratories see them.

python docs/particles_sheet.py
"""

import math
from pathlib import Path

from matplotlib import pyplot as plt

from openurine_lib import dataset_stats, style
from openurine_lib.synthetic import CLASSES, SIMULATOR
from openurine_lib.taxonomy import load

ACROSS, EACH = 3, 3


def main() -> None:
    style.use()
    taxonomy = load("openurine")
    rows = math.ceil(len(CLASSES) / ACROSS)
    figure, axes = plt.subplots(rows, ACROSS, figsize=style.size(style.PAGE, 1.3 * rows / (EACH * ACROSS)))
    for cls, (name, axis) in enumerate(zip(CLASSES, axes.T.flat, strict=True)):
        axis.axis("off")
        axis.set_title(name, fontsize=6, color=style.HEAD_COLOURS[taxonomy.head_of(cls)], pad=2)
        pictures = [dataset_stats.simulated(name, 3 * cls + i) for i in range(EACH)]
        dataset_stats._strip(axis, pictures, EACH)
    figure.supxlabel(f"synthetic particles, simulator {SIMULATOR}; each brought to the same size", fontsize=5)
    figure.savefig(Path(__file__).with_name("particles.jpg"), dpi=170, pil_kwargs={"quality": 85})


if __name__ == "__main__":
    main()
