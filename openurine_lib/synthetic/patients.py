"""Who the synthetic patients are: a clinical profile says which classes occur together, and how many a field.

The means are chosen, not measured: they keep the order of Table 2's counts, compressed so that a field holds 8-40
particles, with a floor under the rare classes. A patient belongs to one split only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from openurine_lib.synthetic.particles import CLASSES

FEWEST, MOST = 8, 40  # particles a field
FLOOR = 5  # labelled patients in which each class is made to occur: one for each of five folds
SPEC = ("fields", "unlabelled", "field_px", "patients", "cohort")

BACKGROUND = {"RBC": 0.8, "WBC": 0.7, "Epithelial cell (squamous)": 0.5, "Mucus": 0.12, "Artifact": 0.2, "Bacteria": 1.0,
              "Calcium oxalate": 0.3}

PROFILES: dict[str, dict[str, float]] = {
    "normal": {"Epithelial cell (squamous)": 2.0, "Mucus": 1.0, "Calcium oxalate": 3.5, "Artifact": 0.8, "Hyaline cast": 0.4},
    "urinary tract infection": {"Bacteria": 18, "WBC": 7, "WBC clump": 0.9, "Triple phosphate": 1.5, "RBC": 2.5,
                                "Epithelial cell (transitional)": 1.0},
    "glomerulonephritis": {"RBC": 14, "RBC cast": 0.8, "Granular cast": 0.7, "RBC clump": 0.8, "Hyaline cast": 0.6, "WBC": 2},
    "interstitial nephritis": {"WBC": 8, "Mixed cell cast": 0.9, "Granular cast": 0.7, "Epithelial cell (renal)": 1.5, "RBC": 4},
    "acute tubular necrosis": {"Muddy brown cast": 2.5, "Epithelial cell (renal)": 2.2, "Granular cast": 1.0, "Waxy cast": 0.6,
                               "Mixed cell cast": 0.4},
    "nephrotic syndrome": {"Lipid cast": 0.9, "Oval fat bodies": 1.2, "Fat droplets": 2.2, "Cholesterol": 0.9, "Hyaline cast": 0.8,
                           "Waxy cast": 0.7},
    "stones": {"Calcium oxalate": 11, "Uric acid": 2.5, "RBC": 7, "Epithelial cell (transitional)": 1.0, "Amorphous": 2},
    "cystinuria": {"Cystine": 4, "Calcium oxalate": 3, "RBC": 3, "Amorphous": 1.5},
    "liver disease": {"Bilirubin": 1.6, "Leucine": 1.6, "Tyrosine crystal": 1.6, "Granular cast": 0.4, "Epithelial cell (renal)": 0.7},
    "alkaline urine": {"Triple phosphate": 4.5, "Calcium phosphate": 2.2, "Calcium carbonate": 2.2, "Ammonium biurat": 3,
                       "Amorphous": 4, "Bacteria": 8},
    "acidic urine": {"Uric acid": 5, "Amorphous": 5, "Hippuric acid": 3, "Calcium oxalate": 6, "Mucus": 0.8},
    "vaginal infection": {"Yeast": 5, "Fungal hyphae": 1.0, "Trichomonas vaginalis": 1.0, "Epithelial cell (squamous)": 3,
                          "WBC": 5, "Bacteria": 10},
    "parasites": {"Schistosoma haematobium eggs": 0.8, "Enterobius vermicularis egg": 1.0, "RBC": 6, "WBC": 4, "Artifact": 1.0},
    "urothelial tumour": {"Suspected atypical cell": 2.2, "Epithelial cell (transitional)": 1.8, "RBC": 10, "RBC clump": 0.7, "WBC": 2},
    "semen": {"Sperm": 5, "Mucus": 1.2, "Calcium oxalate": 3, "Bacteria": 3},
}  # fmt: skip


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
        raise ValueError(f"synthetic spec: {', '.join(wrong)} missing or unknown; it has to list exactly: {', '.join(SPEC)}")
    for key, value in spec.items():
        if not isinstance(value, int) or value < (1 if key in ("fields", "field_px", "patients") else 0):
            raise ValueError(f"synthetic spec: {key} is {value!r}; it has to be a whole number of particles, fields or pixels")


def plan(spec: Mapping[str, int], seed: int) -> list[Patient]:
    """Every patient of the data set; labelled first, then unlabelled, then the cohort (3-5 fields each)."""
    check(spec)
    rng = np.random.default_rng([seed, 0, 1])
    labelled = _share(spec["fields"], min(spec["patients"], spec["fields"]))
    each = spec["fields"] / len(labelled)
    unlabelled = _share(spec["unlabelled"], round(spec["unlabelled"] / each))
    cohort = rng.integers(3, 6, spec["cohort"]).tolist()
    patients, first = [], 0
    for split, letter, counts in (("labelled", "P", labelled), ("unlabelled", "U", unlabelled), ("cohort", "C", cohort)):
        names = np.concatenate([rng.permutation(list(PROFILES)) for _ in range(len(counts) // len(PROFILES) + 1)])
        for i, count in enumerate(counts):
            # a cohort is sampled wider, so that the five levels of a report all occur
            severity = rng.gamma(1.3) / 1.3 if split == "cohort" else 0.4 + 0.6 * rng.gamma(3) / 3
            rates = Counter({name: mean * rng.gamma(2) / 2 for name, mean in BACKGROUND.items()})
            rates.update({name: mean * severity for name, mean in PROFILES[names[i]].items()})
            patients.append(Patient(f"{letter}{i + 1:04d}", split, str(names[i]), int(rng.integers(1000)), first, count, dict(rates)))
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
    """Makes each class occur in FLOOR patients (all, where there are fewer): those of its profiles first, then others."""
    for name in CLASSES:
        own = [p for p in patients if name in PROFILES[p.profile]]
        others = sorted((p for p in patients if p not in own), key=lambda p: (sum(map(len, p.must)) / p.fields, rng.random()))
        for p in (own + others)[: max(FLOOR, min(len(own), len(patients)))]:
            at = min(range(p.fields), key=lambda j: len(p.must[j]))
            p.must[at].append(name)
