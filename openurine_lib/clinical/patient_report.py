"""The five-level report of patients, which says of each level what it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from openurine_lib.clinical.counts import patient_means, per_hpf
from openurine_lib.clinical.validation import NOT_VALIDATED, judged
from openurine_lib.data import appearance, levels
from openurine_lib.data.taxonomy import Taxonomy

FEWEST_FIELDS = 3  # the paper: "three to five representative microscopic fields"
UNLIKE = 0.5  # from this part of the fields on, no level is given
DRAWN = "held-out fields were drawn, which cannot show that a real field is free of it"
#: Columns that say what a level rests on; the rest of the report is what was counted.
EVIDENCE = ["why", "recall", "precision", "kappa", "boxes"]


def report(
    fields: pd.DataFrame,
    boxes: pd.DataFrame,
    classes: Taxonomy,
    content: Mapping[str, Any],
    at_other_setting: str = "",
) -> pd.DataFrame:
    """[patient, component, mean per HPF | mean per field, level, EVIDENCE], a row for each pair.

    ``level`` is NOT_VALIDATED, and ``why`` says why, where the record does not show that the
    detector finds the component. A record of drawn fields cannot support the level "none".

    Args:
        fields: [image, group (the patient), unlike, and where known width, height, um_per_px].
        boxes: [image, cls] of what was found.
        content: the weights' record (``validation.read``), or {}.
        at_other_setting: what differs from the setting of the record; "" if nothing does.

    Raises BadCutoffs for a component without cut-offs.
    """
    unit = "mean per HPF" if per_hpf(fields) else "mean per field"
    means = patient_means(fields, boxes, classes)
    graded = levels.levels(means, levels.read_cutoffs())
    graded["level"] = graded["level"].map(dict(enumerate(levels.LEVELS)))
    table = graded.rename(columns={"group": "patient", "count": unit})
    # stable: components stay in the taxonomy's order
    table = table.sort_values("patient", kind="stable", ignore_index=True)
    table = table.merge(judged(content, classes), on="component", how="left", validate="m:1")
    if content.get("drawn"):
        unproved = (table["why"] == "") & (table["level"] == levels.LEVELS[0])
        table.loc[unproved, "why"] = DRAWN
    if content and at_other_setting:
        table["why"] = at_other_setting
    strange = fields["unlike"].ne("").groupby(fields["group"]).mean()
    share = table["patient"].map(strange)
    if content:
        said = share.map("{:.0%} of the fields look unlike those of training".format)
        table["why"] = table["why"].mask(share >= UNLIKE, said)
    table.loc[table["why"] != "", "level"] = NOT_VALIDATED
    return table[["patient", "component", unit, "level", *EVIDENCE]]


def remarks(fields: pd.DataFrame, content: Mapping[str, Any]) -> list[str]:
    """What weakens every level of the report of one patient, whose fields these are."""
    said = []
    if not per_hpf(fields):
        said.append("pixel size unknown: counts are per field, the cut-offs per high-power field")
    if len(fields) < FEWEST_FIELDS:
        said.append(f"too few fields: {len(fields)}, the paper took three to five a patient")
    for numbers, some in fields[fields["unlike"] != ""].groupby("unlike"):
        more = f" and {len(some) - 1} more" if len(some) > 1 else ""
        said.append(f"{numbers} of {some['image'].iloc[0]}{more} far outside that of training")
    if content.get("alone"):
        said.append("patients of the held-out fields are unknown: recall and the like may flatter")
    return said


def unlike(look: Mapping[str, float], content: Mapping[str, Any]) -> str:
    """In which numbers a field looks unlike those of training (``appearance``); "" if in none."""
    return ", ".join(appearance.far_outside(look, content.get("appearance", {})))


def trained_on(meta: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    """One line: the network, on what it was trained, and on what it was validated."""
    # weights say it themselves; those of another version may not
    kinds = {True: "drawn fields", False: "real fields"}
    kind = kinds.get(meta.get("synthetic", content.get("drawn")), "fields of unknown origin")
    line = f"{meta['arch']}, {meta['heads']} head, {len(meta['classes'])} classes of "
    line += f"{meta['taxonomy']}, trained on {kind}"
    if not content:
        return f"{line}; no record of what it finds"
    held = f"{content['fields']} held-out {kinds[content['drawn']]} of {content['patients']} "
    return f"{line}; validated on {held}patients or slides ({content['data']})"
