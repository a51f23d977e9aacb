"""Many fields in one call: in bounded memory, and the same files after a kill."""

import sys

import campaign
import pytest

sys.path.insert(0, str(campaign.REPOSITORY / "benchmarks"))

import many_fields  # noqa: E402

pytestmark = pytest.mark.more

FEW, MANY = 8, 24
BOUND = 60e6  # bytes; sixteen more fields and their pictures, if they were held, would take 70e6


def test_a_killed_prediction_of_many_fields_goes_on_to_the_same_files(tmp_path, monkeypatch):
    monkeypatch.setattr(many_fields, "DRAWN", 2)  # times 32 ways to show it
    folders = many_fields.drawn(tmp_path, [FEW, MANY])
    _, few = many_fields.call(folders[FEW], tmp_path / "few")
    _, many = many_fields.call(folders[MANY], tmp_path / "many")
    assert many - few < BOUND, "memory grows with the number of fields"
    kept = many_fields.kill(folders[MANY], tmp_path / "killed", MANY // 2)
    assert MANY // 2 <= kept < MANY
    many_fields.call(folders[MANY], tmp_path / "killed")
    left = many_fields.contents(tmp_path / "killed")
    assert left == many_fields.contents(tmp_path / "many")
    assert set(left) == {
        "boxes.csv", "report.csv", "made_from.json", *(f"field{n:04d}.png" for n in range(MANY)),
    }  # fmt: skip
