"""Who the synthetic patients are, and how many particles of each class every field shows.

A clinical profile (``config/patients.yaml``) says which classes occur together. The labelled
fields share out Table 2: the paper's set has exactly its boxes and images in every class, a smaller
set the same proportions. Unlabelled fields and the clinical cohort are drawn freely from the
profiles. A patient belongs to one split only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synthurine.files import read_config
from synthurine.laboratories import LABORATORIES
from synthurine.particles.classes import CLASSES, TABLE2
from synthurine.spec import PAPER, check

RATES_UM = 210.0  # width of a field that the profiles' mean counts are for
# Images, and patients, with each class in a smaller set, so that each of five folds has one.
FLOOR = 7
STRAY = 0.002  # mean count of a class that a profile does not name

_CONFIG = read_config("patients.yaml")
BACKGROUND: dict[str, float] = _CONFIG["background"]
PROFILES: dict[str, dict[str, float]] = _CONFIG["profiles"]

Counts = NDArray[np.int64]
Rates = NDArray[np.float64]
Rng = np.random.Generator


@dataclass
class Patient:
    """One patient with their fields."""

    name: str
    split: str  # labelled | unlabelled | cohort
    profile: str
    laboratory: int
    first: int  # number of the patient's first field in the whole data set
    fields: int
    rates: dict[str, float]  # mean counts a field, by class
    # the counts (fields, classes), where Table 2 gives them
    labelled: Counts = field(default_factory=lambda: np.zeros((0, len(CLASSES)), np.int64))


def plan(
    spec: Mapping[str, int], seed: int, laboratories: int = len(LABORATORIES)
) -> list[Patient]:
    """Every patient of the data set: labelled first, then unlabelled, then the cohort.

    A patient of the cohort has 3-5 fields. laboratories: how many there are. Raises ValueError for
    a wrong spec.
    """
    check(spec)
    rng = np.random.default_rng([seed, 0, 1])
    labelled = _share(spec["fields"], min(spec["patients"], spec["fields"]))
    fields_each = spec["fields"] / len(labelled)
    n_unlabelled = round(spec["unlabelled"] / fields_each) or min(1, spec["unlabelled"])
    fields_of = {
        "labelled": labelled,
        "unlabelled": _share(spec["unlabelled"], n_unlabelled),
        "cohort": rng.integers(3, 6, spec["cohort"]).tolist(),
    }
    area = (spec["field_um"] / RATES_UM) ** 2
    patients: list[Patient] = []
    first = 0
    for split, letter in (("labelled", "P"), ("unlabelled", "U"), ("cohort", "C")):
        # each round deals out all profiles once
        rounds = len(fields_of[split]) // len(PROFILES) + 1
        profiles = np.concatenate([rng.permutation(list(PROFILES)) for _ in range(rounds)])
        for i, count in enumerate(fields_of[split]):
            profile = str(profiles[i])
            rates = _rates(profile, split, area, rng)
            laboratory = int(rng.integers(laboratories))
            name = f"{letter}{i + 1:04d}"
            patients.append(Patient(name, split, profile, laboratory, first, count, rates))
            first += count
    owners = [p for p in patients if p.split == "labelled"]
    counts = share_out(quota(spec), owners, rng)
    for p in owners:
        p.labelled = counts[p.first : p.first + p.fields]
    return patients


def of_profile(profile: str, laboratory: int, field_um: float, rng: Rng) -> Patient:
    """A patient with one field of that width in um, drawn freely from a profile."""
    rates = _rates(profile, "unlabelled", (field_um / RATES_UM) ** 2, rng)
    return Patient("X0001", "unlabelled", profile, laboratory, 0, 1, rates)


def _rates(profile: str, split: str, area: float, rng: Rng) -> dict[str, float]:
    """A patient's mean counts: the profile's by severity, and the background that everybody has."""
    severe = split == "cohort"  # sampled wider, so that the five levels of a report all occur
    severity = 1.6 * rng.gamma(1.2) / 1.2 if severe else 0.4 + 0.6 * rng.gamma(3) / 3
    rates = Counter({name: area * mean * rng.gamma(2) / 2 for name, mean in BACKGROUND.items()})
    rates.update({name: area * mean * severity for name, mean in PROFILES[profile].items()})
    return dict(rates)


def contents(patient: Patient, j: int, rng: Rng) -> list[str]:
    """The classes of field ``j``'s particles, one entry a particle."""
    if len(patient.labelled):
        return np.repeat(CLASSES, patient.labelled[j]).tolist()
    return [name for name in CLASSES for _ in range(int(rng.poisson(patient.rates.get(name, 0))))]


def quota(spec: Mapping[str, int]) -> pd.DataFrame:
    """Boxes and images of each class: Table 2's for its 790 fields, else the same share of them.

    The share follows the number of fields and, as the paper does not say how wide its fields are,
    their area.
    """
    if spec["fields"] == PAPER["fields"]:
        return TABLE2.astype(int)
    part = spec["fields"] / PAPER["fields"]
    area = (spec["field_um"] / PAPER["field_um"]) ** 2
    lowest = min(FLOOR, spec["fields"])
    images = np.clip(np.round(TABLE2.images * part), lowest, spec["fields"]).astype(int)
    boxes = np.maximum(np.round(TABLE2.boxes * part * area), images).astype(int)
    return pd.DataFrame({"boxes": boxes, "images": images})


def share_out(wanted: pd.DataFrame, patients: list[Patient], rng: Rng) -> Counts:
    """Counts (fields, classes) with exactly the wanted boxes and images of each class.

    The fields that show a class are drawn after the patients' profiles. Every such field has one
    box of the class; the further boxes are dealt out by the patients' rates.
    """
    owner = np.repeat(np.arange(len(patients)), [p.fields for p in patients])  # (fields,)
    mean = np.array([[p.rates.get(name, 0) + STRAY for name in CLASSES] for p in patients])
    rates = mean[owner]  # (fields, classes)
    images = wanted.images.to_numpy()
    shows = _choose_fields(images, owner, rates, rng)
    _fill_empty_fields(shows, images, owner, rates)
    counts = shows.astype(np.int64)
    for c, boxes in enumerate(wanted.boxes):
        showing = np.flatnonzero(shows[:, c])
        weight = rates[showing, c] ** 0.5 * rng.gamma(3, size=len(showing))
        counts[showing, c] += rng.multinomial(boxes - len(showing), weight / weight.sum())
    return counts


def _choose_fields(images: Counts, owner: Counts, rates: Rates, rng: Rng) -> NDArray[np.bool_]:
    """Which fields show which classes (fields, classes), each class in its number of images.

    Fields are drawn without replacement, the more likely the higher the patient's rate; the first
    ones are of FLOOR different patients.
    """
    shows = np.zeros(rates.shape, bool)
    for c, n in enumerate(images):
        # waiting times: a field with a high rate comes soon
        order = np.argsort(rng.exponential(size=len(owner)) / rates[:, c], kind="stable")
        earlier = pd.Series(owner[order]).groupby(owner[order]).cumcount().to_numpy()
        first_of_patient = order[earlier == 0][:FLOOR]
        rest = order[~np.isin(order, first_of_patient)]
        shows[np.r_[first_of_patient, rest][:n], c] = True
    return shows


def _fill_empty_fields(
    shows: NDArray[np.bool_], images: Counts, owner: Counts, rates: Rates
) -> None:
    """Gives each empty field a class of a field that has several, if there is one. In place.

    The patient's own fields give first. Another patient's field gives only a class that more than
    FLOOR images show, so that no patient loses a rare class.
    """
    for empty in np.flatnonzero(~shows.any(1)):
        n_classes = shows.sum(1)
        for c in np.argsort(-rates[empty], kind="stable"):  # its patient's most likely class first
            can_give = shows[:, c] & (n_classes > 1)
            givers = np.flatnonzero(can_give & (owner == owner[empty]))
            if not len(givers) and images[c] > FLOOR:
                givers = np.flatnonzero(can_give)
            if len(givers):
                richest = givers[n_classes[givers].argmax()]
                shows[richest, c] = False
                shows[empty, c] = True
                break


def _share(total: int, among: int) -> list[int]:
    """``total`` in ``among`` parts that differ by one at most."""
    return [total // among + (i < total % among) for i in range(among)] if total else []
