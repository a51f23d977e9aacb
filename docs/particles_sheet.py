"""Draws docs/particles.jpg: three particles of each class at full resolution, as different laboratories see them.

python docs/particles_sheet.py
"""

from pathlib import Path

from openurine_lib import dataset_stats, style
from openurine_lib.synthetic import CLASSES, SIMULATOR
from openurine_lib.taxonomy import load

EACH = 3


def main() -> None:
    style.use()
    face = f"synthetic particles, simulator {SIMULATOR}; each brought to the same size"
    figure = dataset_stats.contact_sheet(
        load("openurine"),
        lambda cls: [dataset_stats.simulated(CLASSES[cls], EACH * cls + i) for i in range(EACH)],
        face,
        EACH,
    )
    figure.savefig(Path(__file__).with_name("particles.jpg"), dpi=170, pil_kwargs={"quality": 85})


if __name__ == "__main__":
    main()
