"""A synthetic OpenUrine: 39 classes, patients, laboratories. The default data of every command.

The seam: ``generate`` yields fields, whatever draws them. From the particle to the folder:

    canvas, shapes                             a particle as thickness and absorption, in micrometres
    cells, epithelium, casts, crystals, alkaline_crystals, organisms, parasites, others, artifacts
                                               the 39 classes; ``particles`` lists them
    optics, laboratories                       how a microscope and a camera show them
    fields                                     a slide: places, depths, boxes
    patients                                   who shows what, and Table 2's counts; ``report``, what a laboratory says
    of it dataset                                    the folder: YOLO, COCO, metadata

Field ``index`` is drawn from ``default_rng([seed, index])`` alone, so fields can be drawn in any order.
"""

from synthurine.dataset import SIMULATOR, generate, write
from synthurine.fields import Field
from synthurine.particles.classes import CLASSES
from synthurine.report import report

__all__ = ["CLASSES", "SIMULATOR", "Field", "generate", "report", "write"]
