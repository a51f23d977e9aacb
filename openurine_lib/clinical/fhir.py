"""A patient's report as FHIR R4: a Bundle of a DiagnosticReport and an Observation a component.

https://hl7.org/fhir/R4/diagnosticreport.html. The resources are built, and so checked, by the
models of ``fhir.resources`` for R4B, the repaired R4; it left both kinds as they were. A count
per high-power field has its LOINC code where ``config/loinc.yaml`` knows one. Every other count has
a code of a system of our own, which the Bundle describes (CodeSystem). A report is always
preliminary: this is research, and nobody has signed it.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from typing import Any

import pandas as pd

from openurine_lib.clinical.validation import NOT_VALIDATED
from openurine_lib.config import read_config
from openurine_lib.data.levels import LEVELS

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
SECTION = "http://terminology.hl7.org/CodeSystem/v2-0074"
# Systems of our own need a name that nobody else has; these were drawn once and stay.
SPACE = uuid.UUID("5a3f2c57-9a0c-4c4b-8a56-7c1e5b7f0d21")
COMPONENTS, LEVEL_CODES = (uuid.uuid5(SPACE, name).urn for name in ("components", "levels"))
NOT_FOR_DIAGNOSIS = "For research, not for diagnosis."
UNITS = {"mean per HPF": ("/HPF", "/[HPF]"), "mean per field": ("/field", "/{field}")}


class NoFhir(ValueError):
    """The package that knows FHIR is not installed."""


def check_installed() -> None:
    """Raises NoFhir, with the remedy, where ``fhir.resources`` is not installed."""
    try:
        import fhir.resources  # noqa: F401
    except ImportError as error:
        raise NoFhir(
            "FHIR needs the package fhir.resources; pip install 'openurine_lib[fhir]'"
        ) from error


def bundle(patient: str, report: pd.DataFrame, detector: str, remarks: Sequence[str]) -> Any:
    """The Bundle of one patient, a pydantic model. Raises pydantic's ValidationError if it is none.

    report: the patient's rows of ``patient_report.report``. detector: what predicted, one line.
    Ids follow from the patient's name and the report's content: the same report, the same bytes.
    """
    from fhir.resources.R4B.bundle import Bundle

    unit = next(u for u in UNITS if u in report)
    rows = report.to_dict("records")
    subject = {"identifier": {"value": patient}, "display": patient}
    content = report.to_csv(index=False)

    def name(kind: str) -> str:
        return uuid.uuid5(SPACE, f"{kind}\0{patient}\0{detector}\0{content}").urn

    observations = [
        (name(f"observation {row['component']}"), _observation(row, unit, subject, detector))
        for row in rows
    ]
    summary = {
        "resourceType": "DiagnosticReport",
        "status": "preliminary",
        "category": [_coded(SECTION, "LAB", "Laboratory")],
        "code": _loinc(_codes()["report"]),
        "subject": subject,
        "result": [{"reference": urn} for urn, _ in observations],
        "conclusion": " ".join([NOT_FOR_DIAGNOSIS, *(f"{r[:1].upper()}{r[1:]}." for r in remarks)]),
    }
    entries = [(name("report"), summary), *observations]
    entries += [(system["url"], system) for system in _systems(rows, unit)]
    whole = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": urn, "resource": resource} for urn, resource in entries],
    }
    return Bundle.model_validate(whole)


def _observation(
    row: dict[Any, Any], unit: str, subject: dict[str, Any], detector: str
) -> dict[str, Any]:
    shown, code = UNITS[unit]
    found = {
        "resourceType": "Observation",
        "status": "preliminary",
        "category": [_coded(CATEGORY, "laboratory", "Laboratory")],
        "code": _code(row["component"], unit),
        "subject": subject,
        # six digits, as in report.csv
        "valueQuantity": {
            "value": Decimal(f"{row[unit]:.6g}"), "unit": shown, "system": UCUM, "code": code,
        },
        "interpretation": [_coded(LEVEL_CODES, row["level"].replace(" ", "-"), row["level"])],
        "method": {"text": "boxes of a neural network on microscope images, counted"},
        "device": {"display": detector},
    }  # fmt: skip
    return found | ({"note": [{"text": f"Not validated: {row['why']}."}]} if row["why"] else {})


@cache  # asked for every patient and component
def _codes() -> dict[str, Any]:
    return read_config("loinc.yaml")


def _code(component: str, unit: str) -> dict[str, Any]:
    known = _codes()["per_hpf"]
    if unit == "mean per HPF" and component in known:
        return _loinc(known[component]) | {"text": component}
    name = f"{component}, {unit}"
    return _coded(COMPONENTS, _local(component, unit), name) | {"text": name}


def _local(component: str, unit: str) -> str:
    """A code of our own: no blank is allowed at its ends, nor two in a row."""
    return "-".join(f"{component} {unit}".lower().split())


def _coded(system: str, code: str, display: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, "display": display}]}


def _loinc(entry: dict[str, str]) -> dict[str, Any]:
    return _coded(LOINC, entry["code"], entry["name"])


def _systems(rows: Sequence[dict[Any, Any]], unit: str) -> list[dict[str, Any]]:
    """Our own code systems, as far as the report uses them."""
    local = [
        r["component"]
        for r in rows
        if _code(r["component"], unit)["coding"][0]["system"] == COMPONENTS
    ]
    described = {
        "levels": (
            LEVEL_CODES,
            "Five levels of a count, by the cut-offs of this project; or not validated",
            [(level.replace(" ", "-"), level) for level in (*LEVELS, NOT_VALIDATED)],
        ),
        "components": (
            COMPONENTS,
            "Counts for which this project knows no LOINC code",
            [(_local(c, unit), f"{c}, {unit}") for c in local],
        ),
    }
    return [
        {
            "resourceType": "CodeSystem",
            "url": url,
            "name": f"OpenUrine{key.capitalize()}",
            "status": "draft",
            "content": "complete",
            "description": about,
            "concept": [{"code": code, "display": display} for code, display in concepts],
        }
        for key, (url, about, concepts) in described.items()
        if concepts
    ]
