"""How long the explorer (notebook 12) computes for a click, without the browser.

    python benchmarks/explorer.py      # docs/results/explorer.csv

Each click is done on several drawn fields with all cores, as its page does it; what a field has
already shown is kept by the explorer, so every field is new. The first field warms up.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pairs
import pandas as pd
from tqdm import tqdm

from openurine_lib.explorer import picture
from openurine_lib.explorer.state import SLICED, USUAL, WHOLE, Choice, Explorer
from openurine_lib.files import atomic_path
from openurine_lib.speed.processor import use_cores

SEEDS = range(8)
HEAD = "Cells"
PROFILE = "urinary tract infection"


def main() -> None:
    use_cores()
    explorer = Explorer()

    def shown(choice: Choice | None) -> Callable[[], object]:
        """A picture on the screen, and the tables beside it."""

        def show() -> None:
            picture.jpeg(picture.picture(explorer, choice, longest=picture.SCREEN_PX))
            if choice is not None:
                explorer.look(choice)

        return show

    usual = Choice(way=USUAL)
    lines = []
    for seed in tqdm(SEEDS, desc="fields", unit="field"):
        clicks = {
            "draw a field": lambda seed=seed: (
                explorer.draw(PROFILE, seed % 8, seed),
                shown(None)(),
            ),
            "detect": shown(usual),
            "move the confidence": shown(Choice(conf=0.5)),
            "switch a head off": shown(Choice(off=frozenset({HEAD}))),
            "see it in slices": shown(Choice(way=SLICED)),
            "see it as a whole": shown(Choice(way=WHOLE)),
            f"Grad-CAM of {HEAD}": shown(Choice(explained=HEAD)),
            "Grad-CAM in slices": shown(Choice(way=SLICED, explained=HEAD)),
            "save a picture": lambda: picture.png(picture.picture(explorer, usual), "caption"),
        }
        for name, click in clicks.items():
            started = time.perf_counter()
            click()
            lines.append((seed, name, time.perf_counter() - started))
    taken = pd.DataFrame(lines, columns=["seed", "click", "seconds"])
    warm = taken[taken["seed"] > SEEDS[0]].groupby("click", sort=False)["seconds"]
    table = pd.DataFrame({"seconds": warm.median(), "slowest": warm.max()}).round(2)
    table["machine"] = pairs.machine()
    print(table.drop(columns="machine"))
    with atomic_path(pairs.RESULTS / "explorer.csv") as temporary:
        table.to_csv(temporary)


if __name__ == "__main__":
    main()
