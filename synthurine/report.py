"""A technologist's report on the cohort of Table 8.

The model of a reading: the technologist looks at READ high-power fields (HPF), other ones than were
photographed. In them lies a Poisson number of particles about the patient's true mean. As people
differ, the technologist reads a factor exp(BIAS n), n normal, too many or too few. The mean count a
field is reported and graded: the level is the number of cut-offs that the mean reached.
Components, cut-offs and the field's size stand in ``config/report.yaml``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from synthurine.files import read_config
from synthurine.patients import Patient

READ = 10  # fields, as laboratories are told to
BIAS = 0.25  # chosen, not measured

_CONFIG = read_config("report.yaml")
LEVELS: list[str] = _CONFIG["levels"]
COMPONENTS: dict[str, dict[str, list]] = _CONFIG["components"]
_FIELD = _CONFIG["high_power_field"]
HPF_UM2 = math.pi / 4 * (1000 * _FIELD["field_number_mm"] / _FIELD["objective"]) ** 2


def laboratory_report(
    cohort: Sequence[Patient], side_um: Sequence[float], seed: int
) -> pd.DataFrame:
    """[group, component, level, count] of every patient: a name of LEVELS, and the mean per HPF.

    side_um: side of each patient's photographed fields in um; the patients' rates are for these.
    """
    rng = np.random.default_rng([seed, 0, 2])
    rows = []
    for patient, side in zip(cohort, side_um, strict=True):
        for component, entry in COMPONENTS.items():
            rate = sum(patient.rates.get(name, 0) for name in entry["classes"])
            expected = rate * HPF_UM2 / side**2
            count = rng.poisson(READ * expected * np.exp(BIAS * rng.normal())) / READ
            level = LEVELS[sum(count >= cut for cut in entry["cutoffs"])]
            rows.append((patient.name, component, level, count))
    table = pd.DataFrame(rows, columns=["group", "component", "level", "count"])
    return table.sort_values("group", kind="stable", ignore_index=True)
