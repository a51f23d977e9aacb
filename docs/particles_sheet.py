"""Draws docs/particles.jpg: three particles of each class, as different laboratories see them.

python docs/particles_sheet.py
"""

from pathlib import Path

from openurine_lib import style
from openurine_lib.data import statistics
from openurine_lib.data.taxonomy import load
from synthurine import CLASSES, SIMULATOR, simulated

EACH = 3


def main() -> None:
    style.use()
    banner = f"synthetic particles, simulator {SIMULATOR}; each brought to the same size"
    figure = statistics.contact_sheet(
        load("openurine"),
        lambda cls: [simulated(CLASSES[cls], EACH * cls + i) for i in range(EACH)],
        banner,
        EACH,
    )
    figure.savefig(Path(__file__).with_name("particles.jpg"), dpi=170, pil_kwargs={"quality": 85})


if __name__ == "__main__":
    main()
