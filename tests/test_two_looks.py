"""Two looks at a field see it as it is, and what both find counts for more."""

import numpy as np
import pandas as pd
import pytest

from openurine_lib import inference, looking, two_looks
from openurine_lib.data.boxes import XYXY
from openurine_lib.two_looks import LOOKS, fused, seen_twice
from openurine_lib.ways import Way

COLUMNS = ["cls", "conf", *XYXY]
HEIGHT, WIDTH = 100, 160


def boxes(*rows: tuple[float, ...]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS).astype({"cls": int} | dict.fromkeys(XYXY, float))


def dark(image: np.ndarray, side: int | None) -> pd.DataFrame:
    """A detector that finds the one dark rectangle, as sure as its slices are long."""
    y, x = np.nonzero(image[..., 0] < 100)
    if not len(y):
        return boxes()
    return boxes((3, (side or 50) / 100, x.min(), y.min(), x.max() + 1, y.max() + 1))


def field() -> np.ndarray:
    image = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    image[10:30, 40:90] = 50
    return image


def test_a_particle_lies_where_it_lies_and_sides_differ() -> None:
    found = seen_twice(dark, field(), 50)
    assert found[XYXY].to_numpy() == pytest.approx(np.array([[40, 10, 90, 30]]), abs=1e-3)
    assert list(found) == COLUMNS and found.cls.tolist() == [3]
    sides = [round(50 * look.share) for look in LOOKS]
    assert sides == [63, 40] and found.conf[0] == pytest.approx(np.mean(sides) / 100, abs=1e-6)


def test_whole_fields_are_seen_whole_by_both() -> None:
    assert seen_twice(dark, field(), None).conf[0] == pytest.approx(0.5)


def test_one_look_is_mirrored() -> None:
    shown = [look.field(field()) for look in LOOKS]
    assert not np.array_equal(*shown) and sum(look.mirrored for look in LOOKS) == 1


def test_what_one_look_alone_finds_keeps_half_of_its_confidence() -> None:
    one = boxes((0, 0.8, 10, 10, 30, 30), (0, 0.6, 60, 60, 80, 80))
    other = boxes((0, 0.4, 12, 10, 32, 30), (1, 0.6, 60, 60, 80, 80))
    found = fused([one, other], WIDTH, HEIGHT).sort_values("conf", ascending=False)
    assert found.conf.to_numpy() == pytest.approx([0.6, 0.3, 0.3])
    assert sorted(found.cls) == [0, 0, 1], "classes stay apart"
    # corners are means that lean to the surer box: (0.8 * 10 + 0.4 * 12) / 1.2
    assert found.iloc[0][XYXY].tolist() == pytest.approx([10.667, 10, 30.667, 30], abs=1e-2)


def test_fields_without_a_find_have_none() -> None:
    empty = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    found = seen_twice(dark, empty, 50)
    assert list(found) == COLUMNS and found.empty
    assert found.dtypes[XYXY].eq(float).all() and found.cls.dtype.kind == "i"


def test_the_first_look_is_at_the_contrast_that_the_detector_asks_for() -> None:
    hard = np.full((60, 80, 3), 180, np.uint8)
    hard[20:26, 30:36] = 20
    first, second = (look.field(hard, 3.0) for look in two_looks.LOOKS)
    assert 20 < first[22, 32, 0] < 180 and first[50, 50, 0] == 180
    assert (second == hard[::-1]).all()  # upside down, and as it is
    assert all((look.field(hard) == hard).mean() > 0.9 for look in two_looks.LOOKS)


def test_a_prediction_fuses_two_looks_and_is_sorted_and_cut(monkeypatch) -> None:
    sides = []

    def found(detector, image, slice_px, overlap, way):
        sides.append(slice_px)
        return boxes((0, 0.5, -5, 10, 20, 30), (0, 0.9, 50, 50, 70, 70))

    monkeypatch.setattr(looking, "found", found)
    monkeypatch.setattr(
        two_looks, "LOOKS", (two_looks.Look(1.0, False, False), two_looks.Look(0.5, False, False))
    )
    out = inference.predict_image(None, field(), 80, way=Way(looks=2))
    assert sides == [80, 40]
    assert out.conf.tolist() == pytest.approx([0.9, 0.5]) and out.x1.min() == 0
    assert inference.predict_image(None, field(), 80).conf.tolist() == [0.9, 0.5]
    assert sides == [80, 40, 80]
