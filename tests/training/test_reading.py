"""Fields are read ahead, in bounded memory; the size of the cache decides nothing."""

import functools
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tiny
import torch

from openurine_lib.training import pretraining, reading

CODE = """
import json, resource, sys
import torch
from openurine_lib.training.reading import Fields

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

paths = [sys.argv[1 + i % (len(sys.argv) - 1)] for i in range(2000)]
fields = Fields(paths, longest=350, cache=32 << 20)
for batch in fields.batches([torch.arange(8)]):  # whatever is loaded at the first call
    one = batch[0].nbytes
before = peak()
shown = sum(len(batch) for batch in fields.batches(torch.randperm(2000).split(8)))
print(json.dumps({"shown": shown, "all": 2000 * one, "grown": peak() - before}))
"""


@pytest.fixture
def paths(tmp_path):
    return list(tiny.frames(tmp_path / "fields", 8)[0].path)


def test_batches_are_the_fields_in_the_order_that_is_asked(paths):
    fields = reading.Fields(paths, 32)
    order = [torch.tensor([3, 1]), torch.tensor([1]), torch.tensor([7, 0, 2])]
    for batch, indices in zip(fields.batches(order), order, strict=True):
        assert len(batch) == len(indices)
        for field, i in zip(batch, indices.tolist(), strict=True):
            image = cv2.imread(paths[i])[..., ::-1]
            assert field.shape[0] == 3 and max(field.shape[1:]) == 32
            small = cv2.resize(image, field.shape[:0:-1], interpolation=cv2.INTER_AREA)
            assert np.array_equal(field.numpy().transpose(1, 2, 0), small)


@pytest.mark.parametrize("room", [0, 3, 8])
def test_as_many_fields_are_kept_as_have_room_and_read_once(paths, monkeypatch, room):
    read, calls = reading._read, []
    monkeypatch.setattr(reading, "_read", lambda *a: calls.append(a[0]) or read(*a))
    one = read(paths[0], 32).nbytes
    fields = reading.Fields(paths, 32, cache=room * one)
    for _ in range(2):
        assert sum(len(batch) for batch in fields.batches(torch.arange(8).split(3))) == 8
    assert len(calls) == 8 + (8 - room)


def test_the_cache_changes_no_byte_of_a_pretraining(tmp_path, monkeypatch):
    images = tiny.frames(tmp_path / "fields", 8)[0]
    kept = pretraining.pretrain("yolo12n", images, 64, 2, 0, tmp_path / "kept" / "encoder.pt")
    monkeypatch.setattr(pretraining, "Fields", functools.partial(reading.Fields, cache=0))
    read = pretraining.pretrain("yolo12n", images, 64, 2, 0, tmp_path / "read" / "encoder.pt")
    assert kept.read_bytes() == read.read_bytes()


def test_an_unreadable_field_is_named_while_others_are_read_ahead(paths):
    with open(paths[5], "wb") as broken:
        broken.write(b"no picture")
    fields = reading.Fields(paths, 32)
    with pytest.raises(Exception, match=os.path.basename(paths[5])):
        list(fields.batches(torch.arange(8).split(2)))


def test_two_thousand_fields_are_shown_in_the_memory_of_the_cache(tmp_path):
    """All of them together would be 730 MB."""
    paths = []
    for i in range(8):
        paths.append(str(tmp_path / f"{i}.png"))
        cv2.imwrite(paths[-1], np.full((350, 350, 3), 20 * i, np.uint8))
    done = subprocess.run(
        [sys.executable, "-c", CODE, *paths], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["shown"] == 2000 and found["all"] > 7e8
    assert found["grown"] < 90e6, found
