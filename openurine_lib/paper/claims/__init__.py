"""The claims ledger: what the paper claims, each claim with a test that reads tables.

The claims are data (``config/claims.yaml``): an id, the claim in our words, where it stands, a test and its arguments.
Every claim is tested twice, on the numbers that the paper prints and on those of a run (sources.py). A test returns an
outcome, an effect and its 95 % interval. The rules, the same for all:

- **Outcome**: by the sign of the effect as the numbers stand. Where the interval includes zero the verdict says
  "within fold noise" and stays. A positive effect supports a claim of order (order.py); where two amounts have to agree
  (amounts.py) the effect is their difference, and a tolerance decides.
- **Interval**: from the deviations over folds (intervals.py says what is assumed). With one fold, or where the table
  has no deviation, there is none, and the verdict says so.
- **Cannot be tested here**: the table or the row is not there; a class has no box; two rows are one run; or another
  network stands for the paper's, so that the rows are not those that the paper compares, or the level not its level.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from openurine_lib.config import CONFIG
from openurine_lib.experiments.provenance import save_table
from openurine_lib.paper.claims import amounts, order
from openurine_lib.paper.claims.sources import OfRun, Published, Tables
from openurine_lib.paper.claims.verdict import (
    CANNOT,
    DOES_NOT,
    HOLDS,
    BadClaims,
    Claim,
    NoSuchRow,
    NotHere,
    Verdict,
    number,
)

if TYPE_CHECKING:
    from openurine_lib.experiments.run import Run

__all__ = [
    "CANNOT",
    "DOES_NOT",
    "HOLDS",
    "BadClaims",
    "Claim",
    "Verdict",
    "frame",
    "judge",
    "ledger",
    "printed",
    "save",
]

STEM = "claims"
FILE = Path(str(CONFIG / "claims.yaml"))
CAPTION = "The paper's claims, tested on the numbers that it prints and on this run's"
TESTS = {
    f.__name__: f
    for f in (
        *(order.above, order.costs_most, order.loses, order.loses_most, order.rises),
        *(
            amounts.equal,
            amounts.taken_for,
            amounts.mostly_taken_for,
            amounts.counted,
            amounts.over,
        ),
    )
}
SIDES = ("published", "here")
ON_PAGE = ("in print", "in this run")
FIELDS = (
    "id",
    "claim",
    "where",
    "test",
)  # what an entry must have; `unit` it may have, the rest are the test's arguments


def ledger(path: Path = FILE) -> list[Claim]:
    """All claims in the order of the file. Raises BadClaims naming the entry that cannot be used."""
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise BadClaims(f"{path.name}: {error}") from error
    if not isinstance(entries, list):
        raise BadClaims(f"{path.name}: needs a list of claims")
    claims = [_claim(entry, i, path.name) for i, entry in enumerate(entries, 1)]
    ids = [c.id for c in claims]
    repeated = sorted({i for i in ids if ids.count(i) > 1})
    if repeated:
        raise BadClaims(f"{path.name}: {', '.join(repeated)}: the id stands there twice")
    return claims


def _claim(entry: Any, place: int, file: str) -> Claim:
    if not isinstance(entry, dict):
        raise BadClaims(f"{file}: entry {place}: needs {', '.join(FIELDS)}")
    name = f"{file}: {entry.get('id', f'entry {place}')}"
    lacking = [key for key in FIELDS if not isinstance(entry.get(key), str)]
    if lacking:
        raise BadClaims(f"{name}: needs {', '.join(lacking)} (text)")
    if entry["test"] not in TESTS:
        raise BadClaims(f"{name}: no test {entry['test']!r}; there are: {', '.join(TESTS)}")
    arguments = {key: value for key, value in entry.items() if key not in (*FIELDS, "unit")}
    try:
        inspect.signature(TESTS[entry["test"]]).bind(None, **arguments)
    except TypeError as error:
        raise BadClaims(f"{name}: {entry['test']}: {error}") from error
    return Claim(
        **{key: entry[key] for key in FIELDS}, arguments=arguments, unit=entry.get("unit", "points")
    )


def judge(claim: Claim, tables: Tables) -> Verdict:
    """What the tables say of a claim. Raises BadClaims if it names what the paper's tables do not have."""
    try:
        return TESTS[claim.test](tables, **claim.arguments)
    except NoSuchRow as reason:
        if tables.published:
            raise BadClaims(f"{FILE.name}: {claim.id}: {reason}") from reason
        return Verdict(CANNOT, why=str(reason))
    except NotHere as reason:
        return Verdict(CANNOT, why=str(reason))
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:  # an argument of the wrong kind
        if isinstance(error, KeyError) and not tables.published:
            return Verdict(CANNOT, why=f"a table of this run has no {error}")
        raise BadClaims(
            f"{FILE.name}: {claim.id}: {claim.test}: {type(error).__name__}: {error}"
        ) from error


def frame(run: Run, claims: list[Claim] | None = None) -> pd.DataFrame:
    """The ledger: a row a claim, the verdict on the printed numbers (``published``...) and on the run's (``here``...).

    Columns: id, claim, where, unit (of effects), then for each side the outcome, effect, low, high and why.
    """
    sides: dict[str, Tables] = {"published": Published(), "here": OfRun(run)}
    return pd.DataFrame([_line(claim, sides) for claim in (ledger() if claims is None else claims)])


def _line(claim: Claim, sides: dict[str, Tables]) -> dict[str, Any]:
    line: dict[str, Any] = {
        "id": claim.id,
        "claim": claim.claim,
        "where": claim.where,
        "unit": claim.unit,
    }
    for side, tables in sides.items():
        v = judge(claim, tables)
        line |= {
            side: v.outcome,
            f"{side}_effect": v.effect,
            f"{side}_low": v.low,
            f"{side}_high": v.high,
        }
        line[f"{side}_why"] = v.why
    return line


def printed() -> pd.DataFrame:
    """The ledger on the printed numbers alone, for reading: [claim, where, verdict, effect, why], by id."""
    rows = [(c, judge(c, Published())) for c in ledger()]
    return pd.DataFrame(
        {
            "claim": [c.claim for c, _ in rows],
            "where": [c.where for c, _ in rows],
            "verdict": [v.outcome for _, v in rows],
            "effect": [_effect(v.effect, v.low, v.high, c.unit) for c, v in rows],
            "why": [v.why for _, v in rows],
        },
        index=pd.Index([c.id for c, _ in rows], name="id"),
    )


def save(run: Run) -> pd.DataFrame:
    """Writes ``claims.csv`` (and md, tex, json) from the tables that the run has left; returns the ledger."""
    both = frame(run)
    save_table(
        run,
        STEM,
        both,
        CAPTION,
        decimals={c: 2 for c in both if str(c).endswith(("_effect", "_low", "_high"))},
    )
    return both


def counts(both: pd.DataFrame) -> dict[str, dict[str, int]]:
    """How many claims have which outcome: {"in print": {"holds": 31, ...}, "in this run": ...}."""
    numbers = {side: both[side].value_counts() for side in SIDES}
    return {
        name: {o: int(numbers[side].get(o, 0)) for o in (HOLDS, DOES_NOT, CANNOT)}
        for side, name in zip(SIDES, ON_PAGE, strict=True)
    }


def for_page(file: Path) -> tuple[list[str], list[list[str]]]:
    """Header and cells of a saved ledger for the report page: the two verdicts side by side, the reasons last."""
    both = pd.read_csv(file, dtype={"published_why": str, "here_why": str})
    header = [
        "claim",
        "where",
        *(f"{side}{part}" for part in ("", ": effect") for side in ON_PAGE),
        "why",
    ]
    rows = []
    for _, line in both.iterrows():
        effects = [
            _effect(line[f"{s}_effect"], line[f"{s}_low"], line[f"{s}_high"], line["unit"])
            for s in SIDES
        ]
        why = "\n".join(
            f"{name}: {line[f'{side}_why']}" for name, side in zip(ON_PAGE, SIDES, strict=True)
        )
        rows.append([line["claim"], line["where"], *(line[side] for side in SIDES), *effects, why])
    return header, rows


def _effect(effect: float, low: float, high: float, unit: str) -> str:
    text = number(effect, low, high, " (no interval)")
    return text if pd.isna(effect) else f"{text} {unit}"
