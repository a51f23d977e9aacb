"""What the tests of the simulator share: specs, a plain laboratory, and short helpers."""

import numpy as np

from openurine_lib.experiments.methods import profile
from synthurine import patients
from synthurine.laboratories import Laboratory
from synthurine.optics import Microscope

TINY = {"fields": 4, "unlabelled": 2, "field_px": 160, "field_um": 160, "patients": 2, "cohort": 1}
SMOKE, DEMO = (profile(name).synthetic for name in ("smoke", "demo"))
PLAIN = Laboratory(
    about="no dirt, no noise",
    microscope=Microscope(na=0.65, condenser=0.3, axial=0.0),
    light=(0.8, 0.8, 0.8),
    vignette=0,
    uneven=0,
    focus=1.5,
    dirt=0,
    blur=0.3,
    fringe=0,
    noise=0,
    tone=1,
    sharpen=0,
    jpeg=95,
    zoom=1,
)


def same(a, b):
    """Whether two fields are equal to the pixel."""
    told = [(f.boxes, f.name, f.patient, f.split) for f in (a, b)]
    return np.array_equal(a.image, b.image) and told[0] == told[1]


def shared_out(spec, seed=0):
    """(labelled patients, counts (fields, classes), number of each field's patient), not drawn."""
    owners = [p for p in patients.plan(spec, seed) if p.split == "labelled"]
    counts = np.concatenate([p.labelled for p in owners])
    return owners, counts, np.repeat(np.arange(len(owners)), [p.fields for p in owners])


def bounds(covered):
    """x1, y1, x2, y2 of the covered pixels."""
    rows = np.flatnonzero(covered.any(1))
    columns = np.flatnonzero(covered.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
