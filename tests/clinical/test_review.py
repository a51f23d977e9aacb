"""The file of discrepant samples: what it asks, what a reviewer may write, what that changes."""

import pandas as pd
import pytest

from openurine_lib.clinical import review
from openurine_lib.data.source import DataError
from openurine_lib.experiments import fingerprints

HEAD = ",".join(review.COLUMNS) + "\n"
IMAGES = pd.DataFrame(
    {
        "image": ["p_1", "p_2", "q_1"],
        "path": ["/d/cohort/p_1.jpg", "/d/cohort/p_2.jpg", "/d/q_1.png"],
        "group": list("ppq"),
    }
)


def pairs():
    """p: RBC few here and rare there, WBC agrees; q: RBC many here and none there."""
    rows = [("p", "RBC", 1, 2), ("p", "WBC", 3, 3), ("q", "RBC", 0, 4)]
    return pd.DataFrame(rows, columns=["group", "component", "level", "level_here"])


def asked(path):
    review.write(path, review.discrepant(pairs(), IMAGES))
    return path


def fill(path, **levels):
    """Writes a reviewer's levels: group -> level of its RBC."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table["reviewer_level"] = [levels.get(g, "") for g in table["group"]]
    table.to_csv(path, index=False)


def test_only_discrepant_samples_are_asked(tmp_path):
    assert asked(tmp_path / "r.csv").read_text() == (
        HEAD + "p,RBC,few,rare,p_1.jpg p_2.jpg,\n" + "q,RBC,many,none,q_1.png,\n"
    )
    assert review.read(tmp_path / "r.csv", pairs()).empty


def test_an_agreeing_model_asks_nothing(tmp_path):
    same = pairs().assign(level=lambda p: p["level_here"])
    review.write(tmp_path / "r.csv", review.discrepant(same, IMAGES))
    assert (tmp_path / "r.csv").read_text() == HEAD
    assert review.read(tmp_path / "r.csv", same).empty


def test_the_reviewers_level_overrides_the_reference(tmp_path):
    path = asked(tmp_path / "r.csv")
    fill(path, p="FEW ", q="none")
    filled = review.read(path, pairs())
    assert filled[["group", "reviewer_level"]].to_numpy().tolist() == [["p", "few"], ["q", "none"]]
    after = review.reviewed_levels(pairs(), filled)
    assert after["level"].tolist() == [2, 3, 0] and after["level_here"].tolist() == [2, 3, 4]
    table = review.table8_reviewed(pairs(), filled).set_index("row")
    assert table.loc["RBC", ["discrepant", "reviewed", "changed"]].tolist() == [2, 2, 1]
    assert table.loc["RBC", ["accuracy", "accuracy_after"]].tolist() == [0, 50]
    assert table.loc["WBC", ["accuracy", "accuracy_after"]].tolist() == [100, 100]
    assert table.loc[
        "Mean accuracy", ["patients", "discrepant", "accuracy", "accuracy_after"]
    ].tolist() == [2, 2, 50, 75]


def test_before_anybody_has_reviewed(tmp_path):
    table = review.table8_reviewed(pairs(), review.read(tmp_path / "none.csv", pairs()))
    assert (
        table["accuracy_after"].isna().all() and (table["reason"] == "no row filled in yet").all()
    )
    assert table["accuracy"].notna().all() and table["reviewed"].sum() == 0


def test_what_is_filled_in_stays(tmp_path):
    path = asked(tmp_path / "r.csv")
    fill(path, p="moderate")
    now = pairs().assign(
        level_here=[1, 0, 3]
    )  # another model: p's RBC agrees now, p's WBC does not, q's is moderate
    review.write(path, review.discrepant(now, IMAGES))
    assert path.read_text() == HEAD + (
        "p,RBC,few,rare,p_1.jpg p_2.jpg,moderate\n"
        + "p,WBC,none,moderate,p_1.jpg p_2.jpg,\n"
        + "q,RBC,moderate,none,q_1.png,\n"
    )
    assert review.reviewed_levels(now, review.read(path, now))["level"].tolist() == [3, 3, 0]


def test_a_file_that_says_the_same_is_left_alone(tmp_path):
    path = asked(tmp_path / "r.csv")
    path.write_bytes(
        b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n")
    )  # as a spreadsheet saves it
    saved = path.read_bytes()
    asked(path)
    assert path.read_bytes() == saved
    fill(path, q="rare")
    saved = path.read_bytes()
    for _ in range(2):
        asked(path)
        assert review.read(path, pairs())["reviewer_level"].tolist() == ["rare"]
    assert path.read_bytes() == saved


def test_a_column_of_the_reviewers_own_is_kept(tmp_path):
    path = asked(tmp_path / "r.csv")
    table = pd.read_csv(path, dtype=str, keep_default_na=False).assign(remark=["", "out of focus"])
    table.to_csv(path, index=False)
    review.write(path, review.discrepant(pairs().head(1), IMAGES))
    kept = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert kept["group"].tolist() == ["p", "q"] and kept["remark"].tolist() == ["", "out of focus"]


@pytest.mark.parametrize(
    ("rows", "line", "says"),
    [
        (
            "p,RBC,few,rare,p_1.jpg,plenty\n",
            2,
            "column reviewer_level: 'plenty'.*none, rare, few, moderate, many",
        ),
        ("z,RBC,few,rare,p_1.jpg,few\n", 2, "column group: 'z'"),
        ("q,Mucus,few,rare,p_1.jpg,few\n", 2, "column component: 'Mucus'.*write one of RBC"),
        ("p,RBC,few,rare,a,few\np,RBC,few,rare,a,\n", 3, "RBC of p stands in line 2 already"),
        ("p,RBC,few,rare,a,few,many\n", 2, "more cells than the header"),
        ("p,,few,rare,a,few\n", 2, "empty component"),
    ],
)
def test_a_wrong_file_is_told_by_row_and_column(tmp_path, rows, line, says):
    path = tmp_path / "table8_review.csv"
    path.write_text(HEAD + rows)
    with pytest.raises(DataError, match=says) as raised:
        review.read(path, pairs())
    [problem] = raised.value.problems
    assert (problem.file, problem.line) == ("table8_review.csv", line)


def test_only_what_is_filled_in_makes_the_notebook_run_again(tmp_path):
    nothing = fingerprints.of_review(tmp_path / "r.csv")
    path = asked(tmp_path / "r.csv")
    assert fingerprints.of_review(path) == nothing
    fill(path, p="few")
    once = fingerprints.of_review(path)
    asked(path)
    assert once != nothing and fingerprints.of_review(path) == once
    fill(path, p="rare")
    assert fingerprints.of_review(path) not in (nothing, once)


def test_another_separator_is_told(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text(HEAD.replace(",", ";"))
    with pytest.raises(DataError, match="no column group"):
        review.read(path, pairs())
