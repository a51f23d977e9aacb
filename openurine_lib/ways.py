"""The ways to look at a field (``looking`` does it). Nothing is imported here but the standard
library, since the rows of the tables name a way, too."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Way:
    """How a field is looked at, beside the side of its slices and their overlap."""

    at_once: bool = False  # whole at the slices' scale, if it is small enough for that
    uncut: bool = False  # a find at a cut counts only if no other slice shows it away from one
    looks: int = 1  # or 2, which are fused (``two_looks``): more than twice as long


SLICES = Way()  # as the paper does
