"""Size, crowding and focus of particles, and recall by them, on fields counted by hand."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from openurine_lib.data import taxonomy
from openurine_lib.data.boxes import XYXY
from openurine_lib.evaluation import conditions
from openurine_lib.evaluation.conditions import Measure, crowding, focus, recall_by
from openurine_lib.evaluation.errors import at_confidence
from openurine_lib.evaluation.metrics import Scored
from openurine_lib.inference import BadField

TAX = taxonomy.load("openurine")
RBC, YEAST = TAX.id("RBC"), TAX.id("Yeast")


def particles(fold, um_per_px=None):
    return conditions.particles([fold], [at_confidence(fold)], um_per_px)


def boxes(*rows):
    return pd.DataFrame(rows, columns=XYXY, dtype=float)


def test_crowding_by_hand():
    """Squares of 10 px, 15 px apart, then 25. A dot of 4 px is no neighbour of theirs."""
    row = boxes((0, 0, 10, 10), (15, 0, 25, 10), (40, 0, 50, 10), (3, 3, 7, 7))
    assert crowding(row).tolist() == [1, 1, 0, 1]  # of the dot, the square around it is one
    assert crowding(boxes((0, 0, 10, 10))).tolist() == [0]
    assert crowding(boxes((0, 0, 10, 10), (20, 0, 30, 10))).tolist() == [
        1,
        1,
    ]  # at two diameters exactly
    assert crowding(boxes((0, 0, 10, 10), (20.1, 0, 30.1, 10))).tolist() == [0, 0]


def test_a_sharp_particle_has_more_focus_than_a_soft_or_no_one():
    image = np.full((60, 90, 3), 128, dtype=np.uint8)
    image[10:30, 10:30] = 60  # a step
    image[10:30, 45:65] = (128 - 68 * np.hanning(20)[:, None] * np.hanning(20)[None])[
        ..., None
    ]  # as dark, soft
    sharp, soft, nothing = focus(image, boxes((5, 5, 35, 35), (40, 5, 70, 35), (70, 40, 85, 55)))
    assert sharp > 0 > soft > nothing and sharp - soft > 3


@pytest.fixture
def fold(tmp_path):
    """Six patients, a field each: an RBC of 10 px, found on three, a yeast of 20 px, on all."""
    rows, found, fields = [], [], []
    for i in range(6):
        Image.fromarray(
            np.random.default_rng(i).integers(0, 255, (60, 60, 3), dtype=np.uint8)
        ).save(tmp_path / f"f{i}.png")
        fields.append((f"f{i}", f"g{i}", str(tmp_path / f"f{i}.png")))
        rows += [(f"f{i}", RBC, 0, 0, 10, 10), (f"f{i}", YEAST, 30, 30, 50, 50)]
        found += [(*row[:2], 0.9, *row[2:]) for row in rows[-2:] if row[1] == YEAST or i < 3]
    frame = pd.DataFrame(fields, columns=["image", "group", "path"])
    truth = pd.DataFrame(rows, columns=["image", "cls", *XYXY])
    return Scored(
        truth,
        pd.DataFrame(found, columns=["image", "cls", "conf", *XYXY]),
        frame,
        pd.DataFrame(),
        0.5,
    )


def test_particles_and_their_recall(fold):
    found, measures = particles(fold)
    assert len(found) == 12 and found["found"].sum() == 9
    assert sorted(found["size"].unique()) == [10, 20] and "pixels" in measures[0].label
    table = recall_by(found, measures, TAX)
    size = table[(table["measure"] == "size") & (table["boxes"] > 0)].set_index(["head", "middle"])
    assert size.loc[("all", 10.0), ["boxes", "groups", "recall"]].tolist() == [6, 6, 50]
    assert size.loc[("all", 20.0), "recall"] == size.loc[("Microorganisms", 20.0), "recall"] == 100
    assert ("Cells", 20.0) not in size.index and "Casts" not in size.index
    low, high = size.loc[("Cells", 10.0), ["recall_low", "recall_high"]]
    assert (low, high) == pytest.approx(
        (100 / 6, 100 * 5 / 6)
    )  # 1 and 5 of six draws: binomial(6, 1/2)
    assert np.isnan(size.loc[("all", 20.0), "recall_low"])  # all found: drawing again says nothing
    assert conditions.plot_recall(table, measures, "synthetic").axes


def test_size_in_micrometres(fold):
    found, measures = particles(fold, um_per_px=0.5)
    assert sorted(found["size"].unique()) == [5, 10] and "µm" in measures[0].label
    own = fold._replace(fields=fold.fields.assign(um_per_px=[0.1] + [0.2] * 5))
    assert sorted(particles(own, um_per_px=0.5)[0]["size"].round(6).unique()) == [1, 2, 4]


def test_bins_hold_their_upper_edge():
    found = pd.DataFrame(
        {"cls": RBC, "group": "g", "found": [True, False, True], "crowding": [0, 1, 2]}
    )
    table = recall_by(found, [Measure("crowding", "", (-1, 0, 1, np.inf))], TAX)
    assert table.loc[table["head"] == "all", "recall"].tolist() == [100, 0, 100]


def test_bins_without_given_edges_hold_equally_many_boxes():
    values = np.arange(40.0)
    found = pd.DataFrame({"cls": RBC, "group": "g", "found": values < 30, "size": values})
    table = recall_by(found, [Measure("size", "", ())], TAX)
    every = table[table["head"] == "all"]
    assert every["boxes"].tolist() == [8, 8, 8, 8, 8]
    assert every["recall"].tolist() == [100, 100, 100, 75, 0]


def test_no_particle_and_no_field(fold, tmp_path):
    empty = fold._replace(truth=fold.truth.iloc[:0], predictions=fold.predictions.iloc[:0])
    found, measures = particles(empty)
    table = recall_by(found, measures, TAX)
    assert found.empty and (table["boxes"] == 0).all() and table["recall"].isna().all()
    assert conditions.plot_recall(table, measures, "synthetic").axes
    (tmp_path / "f1.png").unlink()
    with pytest.raises(BadField, match="f1.png"):
        particles(fold)
