"""Digests and seeds: the same on every machine, and different for different things."""

import hashlib

from openurine_lib.files import clear_unfinished, digest, digest_of_file, epoch_seed, root


def test_a_digest_of_text_or_bytes_is_that_of_sha256sum(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"urine")
    whole = hashlib.sha256(b"urine").hexdigest()
    assert digest("urine", length=64) == digest(b"urine", length=64) == whole
    assert digest_of_file(tmp_path / "a.txt") == whole
    assert digest_of_file(tmp_path / "a.txt", 12) == digest("urine") == whole[:12]


def test_a_digest_tells_parts_and_their_order_but_not_the_order_of_keys():
    assert len({digest("a", "b"), digest("ab"), digest("b", "a"), digest(["a", "b"])}) == 4
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def test_epochs_have_seeds_of_their_own_that_every_library_takes():
    seeds = {epoch_seed(s, e, r) for s in range(5) for e in range(100) for r in range(3)}
    assert len(seeds) == 1500
    assert epoch_seed(0, 7) == 7 and 0 <= epoch_seed(2**31, 5) < 2**32


def test_the_project_folder(tmp_path, monkeypatch):
    assert root() == tmp_path  # OPENURINE_ROOT, as every test has it
    monkeypatch.delenv("OPENURINE_ROOT")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "deeper").mkdir()
    monkeypatch.chdir(tmp_path / "deeper")
    assert root() == tmp_path


def test_what_a_killed_process_left_of_a_file_is_removed(tmp_path):
    names = [
        ".a.0123abcd.png",
        ".b.c.89abcdef.png",
        ".boxes.00000000",
        ".mine.0123abcd.png",
        "a.png",
    ]
    for name in names:
        (tmp_path / name).write_text("x")
    clear_unfinished(tmp_path, {"a.png", "b.c.png", "boxes"})
    assert sorted(p.name for p in tmp_path.iterdir()) == [".mine.0123abcd.png", "a.png"]
