"""The explorer without widgets: one detection a field and a way to cut it; what is made of it."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from openurine_lib import predict
from openurine_lib.clinical.counts import CONFIDENCE
from openurine_lib.clinical.validation import NOT_VALIDATED
from openurine_lib.data.boxes import XYXY
from openurine_lib.data.images import BadField
from openurine_lib.evaluation.gradcam import NotExplainable
from openurine_lib.explorer import picture, state
from openurine_lib.explorer.state import SLICED, USUAL, WAYS, WHOLE, Choice, Explorer
from openurine_lib.laboratory.predicting import BadOption
from openurine_lib.style import HEAD_COLOURS


@pytest.fixture(scope="module")
def carried():
    """The detector that comes with the project."""
    return Explorer()


@pytest.fixture
def explorer(carried):
    """Before a field with cells, crystals and bacteria; nothing is found on it yet."""
    carried.draw("urinary tract infection", 0, 3)
    return carried


def as_file(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("conf", [CONFIDENCE, 0.6])
@pytest.mark.parametrize("way", WAYS)
def test_a_choice_shows_what_predict_finds_at_it(explorer, way, conf):
    """Though the detector ran at another confidence: boxes, counts, levels and remarks."""
    field = explorer.field
    slice_px = {USUAL: None, SLICED: explorer.slice_px(SLICED), WHOLE: 0}[way]
    asked = predict([field.pixels], conf=conf, um_per_px=field.um_per_px, slice_px=slice_px)
    seen = explorer.look(Choice(conf=conf, way=way))
    assert len(asked.boxes) > 10
    columns = ["class", "cls", "conf", *XYXY]
    # a stored box has six digits
    pd.testing.assert_frame_equal(seen.boxes[columns], asked.boxes[columns], rtol=1e-5)
    pd.testing.assert_frame_equal(seen.report, asked.report)
    assert seen.remarks == asked.remarks["patient"] and explorer.trained_on == asked.trained_on
    as_validated = explorer.looking(way) == explorer.looking(USUAL) and way != WHOLE
    validated = as_validated and conf == CONFIDENCE
    assert (set(seen.report.level) == {NOT_VALIDATED}) is not validated


def test_the_detector_runs_once_for_a_field_and_a_way_to_cut_it(explorer, monkeypatch):
    calls = []
    original = state.predict_image

    def counted(*given, **more):
        calls.append(given[2])
        return original(*given, **more)

    monkeypatch.setattr(state, "predict_image", counted)
    for conf in (0.05, 0.5, 0.9):
        for off in (frozenset(), frozenset({"Cells"})):
            explorer.look(Choice(conf=conf, off=off))
    slice_px = explorer.slice_px(USUAL)
    assert calls == [slice_px] and slice_px > 0
    explorer.look(Choice(way=WHOLE))
    explorer.look(Choice(way=USUAL))
    assert calls == [slice_px, None]
    explorer.draw("stones", 0, 0)
    explorer.look(Choice())
    assert len(calls) == 3


def test_a_head_that_is_off_is_neither_drawn_nor_counted_nor_graded(explorer):
    every = explorer.look(Choice())
    seen = explorer.look(Choice(off=frozenset({"Cells"})))
    assert seen.per_head == every.per_head and every.per_head["Cells"] > 5
    assert len(seen.boxes) == len(every.boxes) - every.per_head["Cells"]
    assert "Cells" not in {*seen.boxes["head"], *seen.counts["head"]}
    assert list(seen.report.component) == ["Calcium oxalate", "Bacteria", "Mucus"]


def test_counts_stand_beside_what_was_drawn(explorer):
    counts = explorer.look(Choice()).counts
    assert counts.found.sum() == len(explorer.look(Choice()).boxes)
    assert counts.drawn.sum() == len(explorer.field.truth) > 20
    assert counts.found.is_monotonic_decreasing


def test_a_field_of_ones_own_has_what_is_known_of_it(explorer):
    pixels = explorer.field.pixels[:300, :400]
    explorer.open("slides/mine.png", as_file(pixels))
    np.testing.assert_array_equal(explorer.field.pixels, pixels)
    seen = explorer.look(Choice())
    assert explorer.field.name == "mine" and set(seen.boxes.image) == {"mine"}
    assert "mean per field" in seen.report and "drawn" not in seen.counts
    assert seen.remarks[0].startswith("pixel size unknown")
    explorer.open("mine.png", as_file(pixels), um_per_px=0.2857 / 2)
    # pixels half as large as those of the training: slices of twice as many
    known = explorer.known
    twice = 2 * known["slice_px"] * known["um_per_px"] / 0.2857
    assert explorer.slice_px(USUAL) == round(twice)
    assert "mean per HPF" in explorer.look(Choice()).report


def test_what_cannot_be_opened_is_named(explorer):
    before = explorer.field
    with pytest.raises(BadField, match="^notes.txt: not a readable image .*give a JPEG"):
        explorer.open("notes.txt", b"no image")
    with pytest.raises(BadOption, match="um_per_px -1"):
        explorer.open("mine.png", as_file(before.pixels), um_per_px=-1)
    assert explorer.field is before


def test_a_map_lies_over_the_field_and_a_field_of_many_slices_has_none(explorer, monkeypatch):
    heat = explorer.heat(WHOLE, "Microorganisms")
    assert heat.shape == (840, 840) and 0 <= heat.min() < heat.max() == 1
    assert explorer.heat(WHOLE, "Microorganisms") is heat, "computed twice"
    monkeypatch.setattr(state, "MOST_SLICES", 3)
    with pytest.raises(
        NotExplainable, match="of 4 slices would take too long; let it be seen as a whole"
    ):
        explorer.heat(SLICED, "Cells")


def test_the_picture_has_boxes_in_the_colours_of_their_heads(explorer):
    bare = picture.picture(explorer, None)
    assert not explorer.field.boxes, "the bare field needs no detector"
    boxes = explorer.look(Choice()).boxes
    drawn = picture.picture(explorer, Choice(), names=False)
    assert drawn.shape == bare.shape == (1680, 1680, 3)
    changed = {tuple(colour) for colour in drawn[(drawn != bare).any(2)]}
    heads = set(boxes["head"])
    wanted = {tuple(bytes.fromhex(HEAD_COLOURS[head][1:])) for head in heads}
    assert changed == wanted and len(wanted) == 3
    small = picture.picture(explorer, Choice(), longest=420)
    assert max(small.shape) < 1680
    assert (picture.picture(explorer, Choice()) != drawn).any(), "names are not drawn"


def test_the_map_is_seen_and_the_field_below_it(explorer):
    heat = np.zeros((840, 840), np.float32)
    heat[:420] = 1
    over = picture.heated(explorer.field.pixels, heat).astype(int)
    assert over[:420, :, 0].mean() > over[420:, :, 0].mean() + 20  # bright yellow against grey
    assert np.ptp(over[420:], axis=2).max() == 0 and over[420:].std() > 1


def test_a_saved_picture_says_what_it_shows(explorer):
    bare = picture.picture(explorer, None)
    stored = np.array(Image.open(io.BytesIO(picture.png(bare, "0.25 µm a pixel"))))
    np.testing.assert_array_equal(stored[: len(bare)], bare)
    below = stored[len(bare) :]
    assert below.max() == 255 and below.min() < 50
