"""How large a data set is: the numbers that a call asks for, and those of the paper."""

from __future__ import annotations

from collections.abc import Mapping

# The paper's set: Table 1's 790 labelled and 5640 unlabelled fields, Table 8's 84 patients. The
# paper gives neither the width of a field in um nor the number of patients; 300 and 160 are chosen.
PAPER = {
    "fields": 790,  # labelled
    "unlabelled": 5640,
    "field_px": 1800,  # width and height of a field
    "field_um": 300,
    "patients": 160,  # who share the labelled fields
    "cohort": 84,  # patients of Table 8, each with 3-5 fields of their own
}
# The least that each number can be; a cast has to fit into a field.
LEAST = {"fields": 1, "unlabelled": 0, "field_px": 96, "field_um": 150, "patients": 1, "cohort": 0}


def spec_for(fields: int = 48, full: bool = False) -> dict[str, int]:
    """The paper's set (``full``), or ``fields`` labelled fields with patients in proportion."""
    if full:
        return dict(PAPER)
    patients = max(1, round(fields * PAPER["patients"] / PAPER["fields"]))
    return PAPER | {"fields": fields, "unlabelled": 0, "patients": patients, "cohort": 0}


def check(spec: Mapping[str, int]) -> None:
    """Raises ValueError if a number of the spec is missing, unknown, too small or not whole."""
    wrong = sorted(set(spec) ^ set(LEAST))
    if wrong:
        raise ValueError(
            f"synthetic spec: {', '.join(wrong)} missing or unknown; "
            f"it has to list exactly: {', '.join(LEAST)}"
        )
    for key, value in spec.items():
        if not isinstance(value, int) or value < LEAST[key]:
            raise ValueError(
                f"synthetic spec: {key} is {value!r}; "
                f"it has to be a whole number of at least {LEAST[key]}"
            )
