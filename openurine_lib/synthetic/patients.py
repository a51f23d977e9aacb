"""Who the synthetic patients are: a clinical profile (``config/patients.yaml``) says which classes occur together.

A patient belongs to one split only. Every class is made to occur in FLOOR labelled patients, however rare it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from openurine_lib.methods import read_config
from openurine_lib.synthetic.particles import CLASSES

FEWEST, MOST = 8, 40  # particles a field
FLOOR = 7  # labelled patients in which each class is made to occur, so that five folds can each have one
SPEC = ("fields", "unlabelled", "field_px", "patients", "cohort")

BACKGROUND: dict[str, float] = read_config("patients.yaml")["background"]
PROFILES: dict[str, dict[str, float]] = read_config("patients.yaml")["profiles"]


@dataclass
class Patient:
    """One patient: ``rates`` are the mean counts a field, ``must[j]`` the classes that field j has to show."""

    name: str
    split: str  # labelled | unlabelled | cohort
    profile: str
    look: int  # the laboratory's number; modulo the number of looks
    first: int  # index of the patient's first field in the whole data set
    fields: int
    rates: dict[str, float]
    must: list[list[str]] = field(default_factory=list)


def check(spec: Mapping[str, int]) -> None:
    """Raises ValueError when a number is missing from the spec, unknown or not a whole number of 0 or more."""
    if wrong := sorted(set(spec) ^ set(SPEC)):
        raise ValueError(
            f"synthetic spec: {', '.join(wrong)} missing or unknown; it has to list exactly: {', '.join(SPEC)}"
        )
    for key, value in spec.items():
        if not isinstance(value, int) or value < (1 if key in ("fields", "field_px", "patients") else 0):
            raise ValueError(
                f"synthetic spec: {key} is {value!r}; it has to be a whole number of particles, fields or pixels"
            )


def plan(spec: Mapping[str, int], seed: int) -> list[Patient]:
    """Every patient of the data set; labelled first, then unlabelled, then the cohort (3-5 fields each)."""
    check(spec)
    rng = np.random.default_rng([seed, 0, 1])
    labelled = _share(spec["fields"], min(spec["patients"], spec["fields"]))
    each = spec["fields"] / len(labelled)
    unlabelled = _share(spec["unlabelled"], round(spec["unlabelled"] / each))
    cohort = rng.integers(3, 6, spec["cohort"]).tolist()
    patients, first = [], 0
    for split, letter, counts in (
        ("labelled", "P", labelled),
        ("unlabelled", "U", unlabelled),
        ("cohort", "C", cohort),
    ):
        names = np.concatenate([rng.permutation(list(PROFILES)) for _ in range(len(counts) // len(PROFILES) + 1)])
        for i, count in enumerate(counts):
            # a cohort is sampled wider, so that the five levels of a report all occur
            severity = 1.6 * rng.gamma(1.2) / 1.2 if split == "cohort" else 0.4 + 0.6 * rng.gamma(3) / 3
            rates = Counter({name: mean * rng.gamma(2) / 2 for name, mean in BACKGROUND.items()})
            rates.update({name: mean * severity for name, mean in PROFILES[names[i]].items()})
            patients.append(
                Patient(
                    f"{letter}{i + 1:04d}", split, str(names[i]), int(rng.integers(1000)), first, count, dict(rates)
                )
            )
            patients[-1].must = [[] for _ in range(count)]
            first += count
    _floor([p for p in patients if p.split == "labelled"], rng)
    return patients


def contents(patient: Patient, j: int, rng: np.random.Generator) -> list[str]:
    """The classes of field ``j``'s particles, one entry a particle."""
    found = [name for name in CLASSES for _ in range(int(rng.poisson(patient.rates.get(name, 0))))]
    must = [name for name in patient.must[j] if name not in found]
    names, rates = list(patient.rates), np.array(list(patient.rates.values()))
    short = max(0, FEWEST - len(found) - len(must))
    found += rng.choice(names, short, p=rates / rates.sum()).tolist()
    if len(found) + len(must) > MOST:
        must = patient.must[j]
        found = rng.choice(found, MOST - len(must), replace=False).tolist()
    return found + must


def _share(total: int, among: int) -> list[int]:
    return [total // among + (i < total % among) for i in range(among)] if total else []


def _floor(patients: list[Patient], rng: np.random.Generator) -> None:
    """Makes each class occur in FLOOR patients (all, if there are fewer): its profiles' first, then others."""
    for name in CLASSES:
        own = [p for p in patients if name in PROFILES[p.profile]]
        others = sorted(
            (p for p in patients if p not in own), key=lambda p: (sum(map(len, p.must)) / p.fields, rng.random())
        )
        for p in (own + others)[: max(FLOOR, min(len(own), len(patients)))]:
            at = min(range(p.fields), key=lambda j: len(p.must[j]))
            p.must[at].append(name)
