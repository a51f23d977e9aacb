"""OpenUrine companion: the paper's method, one idea a module. Importing the package alone imports no torch."""

from openurine_lib import offline as _quiet  # noqa: F401  (before any module imports ultralytics)
from openurine_lib.experiments.methods import method, methods, plan, profile
from openurine_lib.experiments.run import Run, open_run

__version__ = "0.1.0"
__all__ = ["Run", "method", "methods", "open_run", "plan", "profile"]
