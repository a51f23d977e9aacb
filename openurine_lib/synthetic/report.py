"""A technologist's report on the cohort of Table 8, from the true density of each component in the patient's urine.

The model of a reading: the technologist looks at other fields than those that were photographed, READ of them, of the
same area; sees of the mean ``lambda`` of all fields a Poisson number; and reads, as people differ, a factor exp(BIAS
n), n normal, too many or too few. The mean count is graded by ``config/cutoffs.yaml``: the level is the number of
cut-offs reached.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from openurine_lib.methods import read_config
from openurine_lib.sidecars import LEVELS
from openurine_lib.synthetic.particles import CLASSES
from openurine_lib.synthetic.patients import Patient
from openurine_lib.taxonomy import load

READ = 10  # fields, as laboratories are told to
BIAS = 0.25  # chosen, not measured


def report(cohort: Sequence[Patient], seed: int) -> pd.DataFrame:
    """[group, component, level] of every patient, level one of LEVELS."""
    cutoffs = read_config("cutoffs.yaml")["components"]
    rng = np.random.default_rng([seed, 0, 2])
    rows = []
    for patient in cohort:
        for component, classes in load("openurine").components.items():
            density = sum(patient.rates.get(CLASSES[c], 0) for c in classes)
            mean = rng.poisson(READ * density * np.exp(BIAS * rng.normal())) / READ
            level = int(np.searchsorted(cutoffs[component], mean, side="right"))
            rows.append((patient.name, component, LEVELS[level]))
    return pd.DataFrame(rows, columns=["group", "component", "level"])
