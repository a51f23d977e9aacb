"""Who the synthetic patients are, and how many particles of each class every field shows.

A clinical profile (``config/patients.yaml``) says which classes occur together. The labelled fields share out Table 2:
the whole set has exactly its boxes and images in every class, a smaller set the same proportions. Unlabelled fields
and the clinical cohort are drawn freely from the profiles. A patient belongs to one split only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from openurine_lib import published
from openurine_lib.config import read_config
from synthurine.laboratories import LABORATORIES
from synthurine.particles.classes import CLASSES

PAPER_FIELDS, PAPER_UM = (
    790,
    300.0,
)  # Table 1; the width that a field of 1800 px is given here (the paper gives none)
RATES_UM = 210.0  # the width of field that the profiles' mean counts are for
FLOOR = 7  # images, and patients, in which a smaller set shows each class, so that five folds can each have one
SPEC = ("fields", "unlabelled", "field_px", "field_um", "patients", "cohort")

BACKGROUND: dict[str, float] = read_config("patients.yaml")["background"]
PROFILES: dict[str, dict[str, float]] = read_config("patients.yaml")["profiles"]
STRAY = 0.002  # mean count of a class that a profile does not name

Counts = NDArray[np.int64]


@dataclass
class Patient:
    """One patient: ``rates`` are mean counts a field by class, ``labelled`` the counts (fields, classes) that are
    given."""

    name: str
    split: str  # labelled | unlabelled | cohort
    profile: str
    laboratory: int
    first: int  # index of the patient's first field in the whole data set
    fields: int
    rates: dict[str, float]
    labelled: Counts = field(default_factory=lambda: np.zeros((0, len(CLASSES)), np.int64))


def check(spec: Mapping[str, int]) -> None:
    """Raises ValueError when a number is missing from the spec, unknown or not a whole number of 0 or more."""
    if wrong := sorted(set(spec) ^ set(SPEC)):
        raise ValueError(
            f"synthetic spec: {', '.join(wrong)} missing or unknown; it has to list exactly: {', '.join(SPEC)}"
        )
    for key, value in spec.items():
        lowest = {"field_px": 96, "field_um": 150, "fields": 1, "patients": 1}.get(
            key, 0
        )  # a cast has to fit in
        if not isinstance(value, int) or value < lowest:
            raise ValueError(
                f"synthetic spec: {key} is {value!r}; it has to be a whole number of at least {lowest}"
            )


def plan(spec: Mapping[str, int], seed: int) -> list[Patient]:
    """Every patient of the data set; labelled first, then unlabelled, then the cohort (3-5 fields each)."""
    check(spec)
    rng = np.random.default_rng([seed, 0, 1])
    labelled = _share(spec["fields"], min(spec["patients"], spec["fields"]))
    each = spec["fields"] / len(labelled)
    unlabelled = _share(
        spec["unlabelled"], round(spec["unlabelled"] / each) or min(1, spec["unlabelled"])
    )
    cohort = rng.integers(3, 6, spec["cohort"]).tolist()
    area = (spec["field_um"] / RATES_UM) ** 2
    patients, first = [], 0
    for split, letter, counts in (
        ("labelled", "P", labelled),
        ("unlabelled", "U", unlabelled),
        ("cohort", "C", cohort),
    ):
        names = np.concatenate(
            [rng.permutation(list(PROFILES)) for _ in range(len(counts) // len(PROFILES) + 1)]
        )
        for i, count in enumerate(counts):
            # a cohort is sampled wider, so that the five levels of a report all occur
            severity = (
                1.6 * rng.gamma(1.2) / 1.2 if split == "cohort" else 0.4 + 0.6 * rng.gamma(3) / 3
            )
            rates = Counter(
                {name: area * mean * rng.gamma(2) / 2 for name, mean in BACKGROUND.items()}
            )
            rates.update(
                {name: area * mean * severity for name, mean in PROFILES[names[i]].items()}
            )
            laboratory = int(rng.integers(len(LABORATORIES)))
            patients.append(
                Patient(
                    f"{letter}{i + 1:04d}",
                    split,
                    str(names[i]),
                    laboratory,
                    first,
                    count,
                    dict(rates),
                )
            )
            first += count
    known = [p for p in patients if p.split == "labelled"]
    table = share_out(quota(spec), known, rng)
    for p in known:
        p.labelled = table[p.first : p.first + p.fields]
    return patients


def contents(patient: Patient, j: int, rng: np.random.Generator) -> list[str]:
    """The classes of field ``j``'s particles, one entry a particle."""
    if len(patient.labelled):
        return np.repeat(CLASSES, patient.labelled[j]).tolist()
    return [name for name in CLASSES for _ in range(int(rng.poisson(patient.rates.get(name, 0))))]


def quota(spec: Mapping[str, int]) -> pd.DataFrame:
    """Boxes and images of each class: Table 2's own for its own 790 fields, else the same share of them.

    The share follows the number of fields and, as the paper does not say how wide its fields are, their area.
    """
    table = (
        published.table(2, summaries=False).set_index("row").loc[list(CLASSES), ["boxes", "images"]]
    )
    if spec["fields"] == PAPER_FIELDS:
        return table.astype(int)
    part, area = spec["fields"] / PAPER_FIELDS, (spec["field_um"] / PAPER_UM) ** 2
    floor = min(FLOOR, spec["fields"])
    images = np.clip(np.round(table.images * part), floor, spec["fields"]).astype(int)
    return pd.DataFrame(
        {
            "boxes": np.maximum(np.round(table.boxes * part * area), images).astype(int),
            "images": images,
        }
    )


def share_out(wanted: pd.DataFrame, patients: list[Patient], rng: np.random.Generator) -> Counts:
    """Counts (fields, classes) with exactly the wanted boxes and images a class, after the patients' profiles.

    A class goes to fields drawn without replacement, the more likely the higher the patient's rate, first to one field
    of each of FLOOR patients; its further boxes are dealt out by the rate. No field stays empty as far as there are
    images.
    """
    owner = np.repeat(np.arange(len(patients)), [p.fields for p in patients])
    rates = np.array([[p.rates.get(name, 0) + STRAY for name in CLASSES] for p in patients])[
        owner
    ]  # (fields, classes)
    shows = np.zeros(rates.shape, bool)
    for c, n in enumerate(wanted.images):
        order = np.argsort(
            rng.exponential(size=len(owner)) / rates[:, c], kind="stable"
        )  # soonest first
        earlier = pd.Series(owner[order]).groupby(owner[order]).cumcount().to_numpy()
        apart = order[earlier == 0][:FLOOR]
        shows[np.r_[apart, order[~np.isin(order, apart)]][:n], c] = True
    for empty in np.flatnonzero(
        ~shows.any(1)
    ):  # it takes over a class, if it can, from a field that has several
        for c in np.argsort(-rates[empty], kind="stable"):
            givers = np.flatnonzero(shows[:, c] & (shows.sum(1) > 1) & (owner == owner[empty]))
            givers = (
                givers
                if len(givers)
                else np.flatnonzero(
                    shows[:, c] & (shows.sum(1) > 1) & (wanted.images.iloc[c] > FLOOR)
                )
            )
            if len(givers):
                shows[givers[shows[givers].sum(1).argmax()], c], shows[empty, c] = False, True
                break
    counts = shows.astype(np.int64)
    for c, n in enumerate(wanted.boxes):
        at = np.flatnonzero(shows[:, c])
        dense = rates[at, c] ** 0.5 * rng.gamma(3, size=len(at))
        counts[at, c] += rng.multinomial(n - len(at), dense / dense.sum())
    return counts


def _share(total: int, among: int) -> list[int]:
    return [total // among + (i < total % among) for i in range(among)] if total else []
