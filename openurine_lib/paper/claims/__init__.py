"""The claims ledger: what the paper claims, each claim with a test that reads tables.

The claims are data (``config/claims.yaml``): an id, the claim in our words, where it stands, a test
and its arguments. Every claim is tested twice, on the numbers that the paper prints and on those of
a run (sources.py). A test returns an outcome, an effect and its 95 % interval. The rules:

- **Holds, does not hold, undecided**: by the interval of the effect, never by its sign alone. An
  effect above zero supports a claim of order (order.py). Where two amounts have to agree
  (amounts.py), the effect is their difference, and its interval is set against a tolerance. A claim
  is undecided where the interval includes zero (or the tolerance's end), or where there is none.
- **Interval**: in a run, from resampling the patients or slides of the test fields; both sides of a
  comparison are scored on the same draws. In print, from the deviations over folds (verdict.py says
  what is assumed). Arithmetic, such as a sum of printed numbers, is certain and needs none.
- **By construction**: true of every run, because the program computes it so. It is no verdict on
  the paper's method, and is not counted.
- **Cannot be tested here**: the table or the row is not there; a class has no box or no detection;
  two rows are one run; or another network stands for the paper's, so that the rows are not those
  that the paper compares, or the level not its level.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from openurine_lib.config import CONFIG
from openurine_lib.experiments.provenance import save_table
from openurine_lib.experiments.run import Run
from openurine_lib.paper.claims import amounts, order
from openurine_lib.paper.claims import verdict as v
from openurine_lib.paper.claims.sources import OfRun, Published, Tables
from openurine_lib.paper.claims.verdict import (
    BY_CONSTRUCTION,
    CANNOT,
    VERDICTS,
    BadClaims,
    Claim,
    Effect,
    Verdict,
)

STEM = "claims"
FILE = Path(str(CONFIG / "claims.yaml"))
CAPTION = "The paper's claims, tested on the numbers that it prints and on this run's"
ORDER = (order.above, order.costs_most, order.loses, order.loses_most, order.rises)
SHARES = (amounts.taken_for, amounts.mostly_taken_for, amounts.counted)
TESTS = {test.__name__: test for test in (*ORDER, *SHARES, amounts.equal, amounts.over)}
SIDES = {"published": "in print", "here": "in this run"}  # column: its name on the report page
EFFECT = ("effect", "low", "high")
FIELDS = ("id", "claim", "where", "test")  # what an entry must have; `unit` it may have


def ledger(path: Path = FILE) -> list[Claim]:
    """All claims in the order of the file. Raises BadClaims naming the entry that is no good."""
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise BadClaims(f"{path.name}: {error}") from error
    if not isinstance(entries, list):
        raise BadClaims(f"{path.name}: needs a list of claims")
    claims = [_claim(entry, place, path.name) for place, entry in enumerate(entries, 1)]
    ids = [claim.id for claim in claims]
    repeated = sorted({id for id in ids if ids.count(id) > 1})
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
    texts = {key: entry[key] for key in (*FIELDS, "unit") if key in entry}
    arguments = {key: value for key, value in entry.items() if key not in texts}
    test = entry["test"]
    if test not in TESTS:
        raise BadClaims(f"{name}: no test {test!r}; there are: {', '.join(TESTS)}")
    try:
        # None stands for ``tables``: are all arguments there, and none to spare
        inspect.signature(TESTS[test]).bind(None, **arguments)
    except TypeError as error:
        raise BadClaims(f"{name}: {test}: {error}") from error
    return Claim(**texts, arguments=arguments)


def judge(claim: Claim, tables: Tables) -> Verdict:
    """What the tables say of a claim.

    Raises BadClaims if the claim names what the paper's tables do not have.
    """
    name = f"{FILE.name}: {claim.id}"
    try:
        return TESTS[claim.test](tables, **claim.arguments)
    except v.NotHere as reason:
        # a slip in the ledger, not a gap in a run
        if tables.published and isinstance(reason, v.NoSuchRow):
            raise BadClaims(f"{name}: {reason}") from reason
        return Verdict(CANNOT, why=str(reason))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        # A run's table may lack a column; all else is an argument of the wrong kind.
        if isinstance(error, KeyError) and not tables.published:
            return Verdict(CANNOT, why=f"a table of this run has no {error}")
        kind = type(error).__name__
        raise BadClaims(f"{name}: {claim.test}: {kind}: {error}") from error


def frame(run: Run) -> pd.DataFrame:
    """The ledger, a row a claim, with the verdicts on the printed numbers and on the run's."""
    return _tested(published=Published(), here=OfRun(run))


def _tested(**sides: Tables) -> pd.DataFrame:
    """[id, claim, where, unit (of effects)], and for each side the outcome under the side's name.

    Beside it stand effect, low, high and why, such as ``here_effect``.
    """
    claims = ledger()
    table = pd.DataFrame(claims)[["id", "claim", "where", "unit"]]
    for side, tables in sides.items():
        verdicts = pd.DataFrame([judge(claim, tables) for claim in claims]).add_prefix(f"{side}_")
        table = table.join(verdicts.rename(columns={f"{side}_outcome": side}))
    return table


def printed() -> pd.DataFrame:
    """The ledger on the printed numbers alone: [claim, where, verdict, effect, why], by id."""
    table = _tested(published=Published()).set_index("id")
    shown = table[["claim", "where"]].assign(verdict=table["published"])
    return shown.assign(effect=_effects(table, "published"), why=table["published_why"])


def _effects(table: pd.DataFrame, side: str) -> list[str]:
    """The effects of a side as text, with their units."""
    columns = [f"{side}_{part}" for part in EFFECT]
    effects = [Effect(*row) for row in table[columns].itertuples(index=False)]
    texts = [effect.text(" (no interval)") for effect in effects]
    units = (f" {unit}" for unit in table["unit"])
    return [t + ("" if t == v.NO_NUMBER else unit) for t, unit in zip(texts, units, strict=True)]


def save(run: Run) -> pd.DataFrame:
    """Writes ``claims.csv`` (and md, tex, json) from the run's tables; returns the ledger."""
    both = frame(run)
    decimals = {f"{side}_{part}": 2 for side in SIDES for part in EFFECT}
    save_table(run, STEM, both, CAPTION, decimals=decimals)
    return both


def counts(both: pd.DataFrame) -> dict[str, dict[str, int]]:
    """How many claims have which verdict: {"in print": {"holds": 31, ...}, "in this run": ...}.

    Claims that hold by construction have none.
    """
    tally = {name: both[side].value_counts() for side, name in SIDES.items()}
    # also those that never occur
    return {name: n.reindex(list(VERDICTS), fill_value=0).to_dict() for name, n in tally.items()}


def by_construction(both: pd.DataFrame) -> dict[str, int]:
    """How many claims hold by construction, in print and in this run."""
    return {name: int(both[side].eq(BY_CONSTRUCTION).sum()) for side, name in SIDES.items()}


def for_page(file: Path) -> tuple[list[str], list[list[str]]]:
    """Header and cells of a saved ledger for the report page: verdicts, effects, reasons."""
    both = pd.read_csv(file, dtype={"published_why": str, "here_why": str})
    page = both[["claim", "where"]].copy()
    for side, name in SIDES.items():
        page[name] = both[side]
    for side, name in SIDES.items():
        page[f"{name}: effect"] = _effects(both, side)
    reasons = [name + ": " + both[f"{side}_why"] for side, name in SIDES.items()]
    page["why"] = reasons[0] + "\n" + reasons[1]
    return list(page), page.to_numpy().tolist()
