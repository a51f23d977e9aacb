"""The widgets without a browser: what a click does, what it shows, and what it offers to save."""

import base64
import io
import re
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from traitlets.utils.bunch import Bunch

from openurine_lib import Explorer, Panel
from openurine_lib.explorer.state import WHOLE


@pytest.fixture(scope="module")
def explorer():
    return Explorer()


@pytest.fixture
def panel(explorer):
    return Panel(explorer, "urinary tract infection")


def said(panel):
    return re.sub("<[^>]+>", "", panel.status.value)


def shown(panel):
    """The picture on the screen."""
    found = re.search(r'src="data:image/jpeg;base64,([^"]+)"', panel.picture.value)
    return np.array(Image.open(io.BytesIO(base64.b64decode(found[1]))))


def saved(panel):
    """Name of each file that is offered -> its content."""
    panel.save.click()
    links = re.findall(r'download="([^"]+)" href="data:[^;]+;base64,([^"]+)"', panel.links.value)
    return {name: base64.b64decode(content) for name, content in links}


def test_it_begins_with_a_field_and_shows_no_box_before_it_is_asked(panel):
    assert "Look at it first" in said(panel) and panel.save.disabled
    assert 'alt="Synthetic: drawn by the simulator' in panel.picture.value
    bare = shown(panel)
    panel.detect.click()
    assert (shown(panel) != bare).any() and not panel.save.disabled
    assert re.fullmatch(r"\d\d particles from confidence 0.25 on", said(panel))
    assert panel.tables.value.count("<caption>") == 2 and "not validated" in panel.tables.value
    panel.seed.value = 1
    panel.draw.click()
    assert "Look at it first" in said(panel) and panel.tables.value == "" and panel.save.disabled


def test_every_control_changes_what_is_seen(panel):
    panel.detect.click()
    for control, value in [
        (panel.conf, 0.7), (panel.way, WHOLE), (panel.names, False),
        (panel.heads["Cells"], False), (panel.explained, "Microorganisms"),
    ]:  # fmt: skip
        before = shown(panel)
        control.value = value
        after = shown(panel)
        assert before.shape != after.shape or (before != after).any(), control.description
    assert "head is off: RBC, WBC" in panel.tables.value
    assert re.search(r"slices of \d{3} px", panel.tables.value)


def test_what_is_saved_is_what_is_seen(panel):
    panel.detect.click()
    panel.conf.value = 0.5
    files = saved(panel)
    stem = "drawn-urinary-tract-infection-laboratory1-seed0"
    assert list(files) == [f"{stem}-{name}" for name in ("boxes.csv", "report.csv", "picture.png")]
    boxes, report = (pd.read_csv(io.BytesIO(files[name])) for name in list(files)[:2])
    assert said(panel).startswith("Take what you want")
    seen = panel.explorer.look(panel.choice)
    pd.testing.assert_frame_equal(boxes, seen.boxes, rtol=1e-5)
    assert boxes.conf.min() >= 0.5 and set(report.level) == {"not validated"}
    assert set(report.detector) == {panel.explorer.trained_on}
    assert Image.open(io.BytesIO(files[f"{stem}-picture.png"])).size[0] == 1680
    panel.conf.value = 0.6
    assert panel.links.value == "", "files of another choice are still offered"


def open_file(panel, name, content):
    file = {"name": name, "type": "", "size": len(content), "content": memoryview(content)}
    file["last_modified"] = datetime(2026, 1, 1)
    panel.upload.value = (Bunch(file),)


def test_names_of_files_are_text_and_no_formula(panel):
    picture = io.BytesIO()
    Image.fromarray(panel.explorer.field.pixels[:300, :300]).save(picture, "PNG")
    name = "=1+<script>'\"&.png"
    open_file(panel, name, picture.getvalue())
    panel.detect.click()
    files = saved(panel)
    for part in (panel.picture, panel.tables, panel.links, panel.status):
        assert "<script>" not in part.value
    boxes = pd.read_csv(io.BytesIO(next(iter(files.values()))))
    assert set(boxes.image) == {"'=1+<script>'\"&"}


def test_what_goes_wrong_is_said_and_the_field_stays(panel):
    before = panel.picture.value
    open_file(panel, "<b>notes.txt", b"no image")
    assert "&lt;b&gt;notes.txt: not a readable image" in panel.status.value
    assert panel.picture.value == before
