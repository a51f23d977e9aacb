"""A synthetic OpenUrine: 39 classes of particles, patients and laboratories, drawn from numbers.

From the particle to the folder:

    particles/     the 39 classes, each drawn as thickness and absorption, in micrometres
    optics         how a bright-field microscope shows them
    laboratories   how eight laboratories' lamps and cameras do
    many           laboratories at random; clutter: what lies on their fields besides particles
    fields         one field: places, depths, boxes
    patients       who shows what, and Table 2's counts
    report         what a laboratory says of a patient
    dataset        the folder: images, YOLO and COCO labels, tables
    look, likeness what a camera does, learned from fields that nobody has labelled
    contents       what a folder holds, counted; croissant and datasheet describe it
    spec, command  how large a set is, and ``python -m synthurine``

The field with number ``index`` is drawn from ``default_rng([seed, index])`` alone, so the fields
can be drawn in any order. The names below are loaded when they are first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synthurine.dataset import SIMULATOR, generate, one_field, write
    from synthurine.fields import Field, simulated
    from synthurine.likeness import laboratories_like, spec_like
    from synthurine.many import laboratories_at_random
    from synthurine.particles.classes import CLASSES
    from synthurine.report import laboratory_report
    from synthurine.spec import PAPER, spec_for

__all__ = ["CLASSES", "PAPER", "SIMULATOR", "Field", "generate",
           "laboratories_at_random", "laboratories_like",
           "laboratory_report", "one_field", "simulated", "spec_for", "spec_like",
           "write"]  # fmt: skip
# the quick ones first
_MODULES = ("spec", "particles.classes", "fields", "report", "dataset", "likeness",
            "many")  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in _MODULES:
            names = vars(import_module(f"{__name__}.{module}"))
            if name in names:
                return names[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
