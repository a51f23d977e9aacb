"""A technologist's report on the cohort of Table 8, from the true density of each component in the patient's urine.

The model of a reading: the technologist looks through the microscope at READ high-power fields (HPF) of the area in
``config/cutoffs.yaml``, others than were photographed; sees a Poisson number about the mean of all such fields; and
reads, as people differ, a factor exp(BIAS n), n normal, too many or too few. The mean count is reported and graded by
the same file: the level is the number of cut-offs reached.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from openurine_lib.data.levels import LEVELS, hpf_um2, levels, read_cutoffs
from openurine_lib.data.taxonomy import load
from synthurine.particles.classes import CLASSES
from synthurine.patients import Patient

READ = 10  # fields, as laboratories are told to
BIAS = 0.25  # chosen, not measured


def report(cohort: Sequence[Patient], side_um: Sequence[float], seed: int) -> pd.DataFrame:
    """[group, component, level, count] of every patient: level one of LEVELS, count the mean per HPF.

    ``side_um``: the side of each patient's photographed fields, which the patients' rates are for.
    """
    rng = np.random.default_rng([seed, 0, 2])
    components = load("openurine").components
    means = pd.DataFrame(0.0, index=[p.name for p in cohort], columns=list(components))
    for patient, side in zip(cohort, side_um, strict=True):
        for component, classes in components.items():
            expected = sum(patient.rates.get(CLASSES[c], 0) for c in classes) * hpf_um2() / side**2
            means.loc[patient.name, component] = (
                rng.poisson(READ * expected * np.exp(BIAS * rng.normal())) / READ
            )
    graded = levels(means, read_cutoffs()).sort_values("group", kind="stable", ignore_index=True)
    return graded.assign(level=graded["level"].map(dict(enumerate(LEVELS))))
