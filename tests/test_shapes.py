"""What nbval compares of tables that depend on a training: their shape, and nothing else."""

import re
from pathlib import Path

import pandas as pd
import pytest
from nbval.plugin import get_sanitize_patterns

RULES = get_sanitize_patterns((Path(__file__).parent / "shapes.cfg").read_text())
TABLE = pd.DataFrame({"row": ["YOLO12", "<ours>"], "map50": [59.91, float("nan")]})


def compared(output: str) -> str:
    for pattern, replacement in RULES:
        output = re.sub(pattern, replacement, output)
    return output


def html(frame: pd.DataFrame) -> str:
    return frame._repr_html_()


def test_other_numbers_and_names_are_the_same_table() -> None:
    other = TABLE.assign(row=["a", "b & c"], map50=[1.5, 2.25])
    assert html(other) != html(TABLE) and compared(html(other)) == compared(html(TABLE))


@pytest.mark.parametrize(
    "other", [TABLE.iloc[:1], TABLE.assign(more=1), TABLE[["row"]], TABLE.iloc[:0]], ids=len
)
def test_another_row_or_column_is_another_table(other: pd.DataFrame) -> None:
    assert compared(html(other)) != compared(html(TABLE))


def test_rows_of_a_long_table_that_are_not_shown_count_too() -> None:
    one, other = (pd.DataFrame({"x": range(n)}) for n in (200, 201))
    assert compared(html(one)) != compared(html(other))


def test_of_a_text_only_that_it_is_there_is_compared() -> None:
    assert compared("12 rows\nin 3 s") == compared("**In words.** 5 < 6") == "something"
