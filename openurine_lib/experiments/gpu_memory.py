"""How much of a GPU's memory a job takes, estimated from what ``activations`` has counted.

    training    parameters (in float32, with gradient, optimiser's states and moving average, and a
                copy in bfloat16) + batch * what an image's backward pass needs
    prediction  parameters + images at once * what stands while an image is predicted

Other sizes are converted by their area; attention over a whole image grows faster. Not counted:
what CUDA and its convolutions take for themselves, and the assignment of boxes in the loss, which
grows with their number. On an H100 a training of yolo12n took 1.8 GiB where this says 0.9. Of large
networks no GPU has confirmed the estimate.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import pandas as pd

from openurine_lib.config import CONFIG
from openurine_lib.experiments.methods import Method, Profile, plan
from openurine_lib.files import atomic_path

ACTIVATIONS = CONFIG / "activations.csv"
COLUMNS = ["network", "heads", "px", "params_m", "saved_mb", "standing_mb"]
AUTOENCODER = "autoencoder"  # stands in the place of ``heads``
FLOAT = 4  # bytes
BF16 = 2  # bytes
STATES = {"SGD": 1, "MuSGD": 2, "AdamW": 2}  # floats that an optimiser keeps of a parameter
# trained by ultralytics, by the settings' optimiser and with a moving average (a float more); the
# others by ``engines.loop``, by AdamW and without
LIBRARY = ("ultralytics", "genetic", "sam", "ensemble")


class Network(NamedTuple):
    """A network that a profile trains: a line of the table."""

    network: str
    heads: str  # single, multi or AUTOENCODER


class NotCounted(KeyError):
    """The table has no line for a network; ``make docs`` counts it."""


def networks(p: Profile) -> dict[Network, tuple[str, int]]:
    """What a profile trains: the engine and the pixels of a side, by network.

    A network without one of its six heads counts as the whole one.
    """
    jobs = plan(p)
    autoencoders = [Network(p.arch(m), AUTOENCODER) for m in jobs.ssl.values()]
    found: dict[Network, tuple[str, int]] = {}
    for m in jobs.train.values():
        found.setdefault(Network(p.arch(m), m.heads), (m.engine, p.pixels(m.imgsz)))
    return found | dict.fromkeys(autoencoders, (AUTOENCODER, p.ssl_px))


@functools.cache  # asked for every row
def activations() -> dict[Network, dict[str, float]]:
    """The table by network: px (of a side), params_m (millions), and of one image saved_mb (for the
    backward pass) and standing_mb (in a prediction).

    An ensemble has the sum of its parameters, and the largest of its networks' rest.
    """
    with ACTIVATIONS.open(encoding="utf-8") as file:
        lines = pd.read_csv(file).to_dict("records")
    return {Network(line.pop("network"), line.pop("heads")): line for line in lines}


def write(lines: dict[Network, dict[str, float]]) -> None:
    """Writes the table, whole or not at all."""
    rows = pd.DataFrame([network._asdict() | line for network, line in lines.items()])
    with atomic_path(str(ACTIVATIONS)) as temporary:
        rows[COLUMNS].round(2).to_csv(temporary, index=False)


def training_gb(p: Profile, m: Method) -> float:
    """Of a training, gigabytes (1e9 bytes); NotCounted for a network that is not in the table."""
    settings = p.settings_of(m)
    of_library = m.engine in LIBRARY
    states = STATES[settings["optimizer"] if of_library else "AdamW"]
    # the parameter, its gradient, the optimiser's states, the moving average
    floats = 1 + 1 + states + of_library
    line = _line(p.arch(m), m.heads)
    a_batch = settings["batch"] * line["saved_mb"] * _area(line, p.pixels(m.imgsz))
    return (line["params_m"] * (FLOAT * floats + BF16) + a_batch) / 1000


def pretraining_gb(p: Profile, m: Method, batch: int) -> float:
    """Of a pretraining of the method's backbone, as ``training_gb``. batch: crops a step."""
    line = _line(p.arch(m), AUTOENCODER)
    floats = 1 + 1 + STATES["AdamW"]
    a_batch = batch * line["saved_mb"] * _area(line, p.ssl_px)
    return (line["params_m"] * (FLOAT * floats + BF16) + a_batch) / 1000


def prediction_gb(p: Profile, m: Method, images: int, px: int) -> float:
    """Of a prediction, as ``training_gb``; images: fields or slices at once, of ``px`` pixels."""
    line = _line(p.arch(m), m.heads)
    return (line["params_m"] * FLOAT + images * line["standing_mb"] * _area(line, px)) / 1000


def _line(arch: str, heads: str) -> dict[str, float]:
    table = activations()
    if (arch, heads) not in table:
        raise NotCounted(f"{ACTIVATIONS.name} has no {arch} ({heads}); make docs counts it")
    return table[Network(arch, heads)]


def _area(line: dict[str, float], px: int) -> float:
    return (px / line["px"]) ** 2
