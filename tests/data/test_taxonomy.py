"""Classes, heads and spellings; that the shipped taxonomies are the paper's and UriSed2K's."""

import pytest

from openurine_lib import published
from openurine_lib.data import taxonomy
from openurine_lib.data.taxonomy import TaxonomyError, UnknownClass, load, match, parse

URISED2K = {
    "Cells": {"erythrocyte", "leukocyte", "broken_erythrocyte", "broken_leukocyte", "epithelial"},
    "Crystals": {"crystal"},
    "Microorganisms": {"mycete"},
    "Others": {"other"},
}


def heads_by_name(t):
    return {head: {t.classes[i] for i in ids} for head, ids in t.heads.items()}


def test_openurine_is_table_2_in_its_order():
    ours, paper = load("openurine"), published.table(2, summaries=False)
    assert list(ours.classes) == list(paper["row"])
    assert [ours.head_of(i) for i in range(ours.n)] == list(paper["category"])
    assert list(ours.heads) == [
        "Cells",
        "Casts",
        "Crystals",
        "Microorganisms",
        "Artifact",
        "Others",
    ]


def test_every_spelling_of_the_paper_is_known():
    ours = load("openurine")
    for n in (2, 7):
        ids = [ours.id(name) for name in published.table(n, summaries=False)["row"]]
        assert sorted(ids) == list(range(39))
    assert list(ours.components) == list(published.table(8, summaries=False)["row"])


def test_names_are_told_apart_by_letters_and_digits_only():
    ours = load("openurine")
    assert ours.id("  EPITHELIAL_cell - renal ") == ours.id("Epithelial cell (renal)")
    assert ours.id("Ammonium biurate") == ours.id("Ammonium Biurat")
    with pytest.raises(UnknownClass, match="'Platelet'.*openurine"):
        ours.id("Platelet")


def test_urised2k_uses_only_the_heads_it_needs():
    assert heads_by_name(load("urised2k")) == URISED2K


@pytest.mark.parametrize("head", ["Casts", "Cells", "Crystals", "Microorganisms", "Artifact"])
def test_without_head_moves_its_classes_to_others(head):
    ours = load("openurine")
    less = ours.without_head(head)
    assert less.classes == ours.classes and head not in less.heads
    assert set(less.heads["Others"]) == set(ours.heads["Others"]) | set(ours.heads[head])
    assert sorted(i for ids in less.heads.values() for i in ids) == list(range(39))


def test_without_head_that_has_no_class_changes_nothing():
    urised2k = load("urised2k")
    assert urised2k.without_head("Casts") == urised2k


@pytest.mark.parametrize("head", ["Others", "Cast", ""])
def test_without_head_refuses_what_is_no_head(head):
    with pytest.raises(ValueError, match="removable are Cells"):
        load("openurine").without_head(head)


def test_match_finds_the_set_that_knows_all_names():
    assert match(["mycete", "Broken Leukocyte"]).name == "urised2k"
    assert match(["rbc", "Uric Acid"]).name == "openurine"
    with pytest.raises(UnknownClass, match="'Platelet'.*closest is 'openurine'.*taxonomy.yaml"):
        match(["RBC", "WBC", "Platelet"])


def test_a_new_data_set_is_a_taxonomy_file(tmp_path):
    file = tmp_path / "taxonomy.yaml"
    file.write_text(
        "name: mine\nclasses: {Platelet: Cells, Dust: Artifact}\naliases: {Thrombocyte: Platelet}\n"
    )
    mine = load(file)
    assert (mine.n, mine.heads, mine.id("thrombocyte")) == (2, {"Cells": (0,), "Artifact": (1,)}, 0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: x\nclasses: {A: Cell}", "no such head.*Cell"),
        ("name: x\nclasses: {A: Cells, a.: Casts}", "listed twice.*: a$"),
        ("name: x\nclasses: {A: Cells}\naliases: {B: C}", "not listed.*c"),
        ("name: x\nclasses: {A: Cells}\ncomponents: {B: [C]}", "not listed.*'C'"),
        ("name: x", "needs `name` and `classes`"),
        ("name: [", "needs `name` and `classes`"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(text, says):
    with pytest.raises(TaxonomyError, match=f"(?s)^here.yaml.*{says}"):
        parse(text, "here.yaml")


def test_load_names_what_there_is():
    with pytest.raises(TaxonomyError, match="neither a file nor one of openurine, urised2k"):
        load("nothing")
    assert set(taxonomy.shipped()) == {"openurine", "urised2k"}
