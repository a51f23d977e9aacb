"""FHIR: valid resources, true codes, and nothing that says more than the report does."""

import json
import re

import pandas as pd
import pytest

from openurine_lib.clinical import fhir
from openurine_lib.config import read_config
from openurine_lib.data import taxonomy

pytest.importorskip("fhir.resources")


def report(unit="mean per HPF"):
    return pd.DataFrame(
        {
            "patient": "A <b>&",
            "component": list(taxonomy.load("openurine").components),
            unit: [2.123456789, 0, 1e-7, 12, 0, 3.5],
            "level": ["few", "not validated", "rare", "many", "none", "many"],
            "why": ["", "recall 0.20, below 0.5", "", "", "", ""],
        }
    )


def resources(unit="mean per HPF"):
    content = fhir.bundle("A <b>&", report(unit), "a detector", ["too few fields: 2"])
    entries = json.loads(content.model_dump_json())["entry"]
    return entries, [entry["resource"] for entry in entries]


def luhn(number):
    """The check digit of LOINC's codes (modulus 10)."""
    digits = [int(d) for d in reversed(number)]
    doubled = [sum(divmod(2 * d, 10)) for d in digits[0::2]]
    return -sum(doubled + digits[1::2]) % 10


def test_the_codes_are_well_formed_and_their_names_say_what_is_counted():
    codes = read_config("loinc.yaml")
    for component, entry in codes["per_hpf"].items():
        number, check = entry["code"].split("-")
        assert luhn(number) == int(check), entry
        assert re.search(
            r"\[#/area\] in Urine sediment by Microscopy high power field$", entry["name"]
        )
        assert component in {*taxonomy.load("openurine").components, "Yeast", "Crystals"}
    number, check = codes["report"]["code"].split("-")
    assert luhn(number) == int(check)


def test_one_report_and_an_observation_a_component():
    entries, found = resources()
    kinds = [resource["resourceType"] for resource in found]
    assert kinds == ["DiagnosticReport", *["Observation"] * 6, "CodeSystem", "CodeSystem"]
    urls = [entry["fullUrl"] for entry in entries]
    assert len(set(urls)) == len(urls)
    assert [r["reference"] for r in found[0]["result"]] == urls[1:7]
    assert {resource["status"] for resource in found[:7]} == {"preliminary"}, "nobody has signed it"
    assert "not for diagnosis" in found[0]["conclusion"]
    assert "Too few fields: 2." in found[0]["conclusion"]
    quantities = [o["valueQuantity"] for o in found[1:7]]
    assert [q["value"] for q in quantities] == [2.12346, 0, 1e-7, 12, 0, 3.5]
    assert {(q["system"], q["code"]) for q in quantities} == {(fhir.UCUM, "/[HPF]")}
    levels = [o["interpretation"][0]["coding"][0]["display"] for o in found[1:7]]
    assert levels == report().level.tolist()
    assert found[2]["note"][0]["text"] == "Not validated: recall 0.20, below 0.5."
    assert "note" not in found[1]


def test_what_has_no_loinc_code_has_a_local_one_that_is_described():
    for unit, local in (("mean per HPF", ["Mucus"]), ("mean per field", list(report().component))):
        _, found = resources(unit)
        codings = [o["code"]["coding"][0] for o in found[1:7]]
        own = [c for c in codings if c["system"] == fhir.COMPONENTS]
        assert [c["display"].split(",")[0] for c in own] == local, "per field is no LOINC count"
        described = next(r for r in found if r.get("url") == fhir.COMPONENTS)
        assert {c["code"] for c in described["concept"]} == {c["code"] for c in own}
        assert {c["system"] for c in codings} <= {fhir.LOINC, fhir.COMPONENTS}


def test_levels_are_codes_that_the_bundle_describes():
    _, found = resources()
    described = next(r for r in found if r.get("url") == fhir.LEVEL_CODES)
    names = {c["code"]: c["display"] for c in described["concept"]}
    used = [o["interpretation"][0]["coding"][0] for o in found[1:7]]
    assert [names[c["code"]] for c in used] == [c["display"] for c in used] == list(report().level)
    assert not [code for code in names if " " in code]


def test_where_every_count_has_a_loinc_code_no_other_system_is_described():
    rows = report()[report().component == "RBC"]
    content = json.loads(fhir.bundle("A", rows, "d", []).model_dump_json())
    urls = [e["resource"]["url"] for e in content["entry"] if "url" in e["resource"]]
    assert urls == [fhir.LEVEL_CODES] and content["type"] == "collection"


def test_the_models_refuse_what_is_no_fhir():
    wrong = report().assign(**{"mean per HPF": float("nan")})
    with pytest.raises(ValueError):
        fhir.bundle("A", wrong, "d", [])


def test_the_same_report_gives_the_same_bytes():
    assert resources() == resources()
    assert resources()[0][0]["fullUrl"] != resources("mean per field")[0][0]["fullUrl"]


def test_another_patient_detector_or_report_has_other_ids():
    other = report().assign(level="many")
    asked = [("A", report(), "d"), ("B", report(), "d"), ("A", report(), "e"), ("A", other, "d")]
    bundles = [json.loads(fhir.bundle(*one, []).model_dump_json()) for one in asked]
    ids = [{entry["fullUrl"] for entry in one["entry"][:7]} for one in bundles]
    assert len(set.union(*ids)) == 7 * len(asked)
