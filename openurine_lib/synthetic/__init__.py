"""A small synthetic OpenUrine: 39 classes, patients, laboratories. The default data of every command.

The seam: ``generate`` yields fields, whatever draws them. Lengths inside are micrometres (a field is 210 um wide).
Field ``index`` is drawn from ``default_rng([seed, index])`` alone, so fields can be drawn in any order.
"""

from openurine_lib.synthetic.dataset import SIMULATOR, generate, laboratory, write
from openurine_lib.synthetic.fields import Field
from openurine_lib.synthetic.particles import CLASSES

__all__ = ["CLASSES", "SIMULATOR", "Field", "generate", "laboratory", "write"]
