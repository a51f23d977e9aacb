"""Families of detectors: what the methods of Table 4 have in common, and the colour of each."""

from __future__ import annotations

from openurine_lib.style import SERIES

OTHER = "other"
# family -> how the names of its networks begin (methods.yaml, profiles.yaml)
STARTS: dict[str, tuple[str, ...]] = {
    "YOLO": ("yolo", "yusnet"),
    "DETR": ("rtdetr",),
    "R-CNN (two stages)": ("fasterrcnn", "vitdet"),
    "anchors, one stage": ("ssd", "retinanet", "efficientdet"),
    OTHER: (),
}
_INKS = ("indigo", "olive", "teal", "sand", "salmon")
COLOURS = {name: SERIES[ink] for name, ink in zip(STARTS, _INKS, strict=True)}


def family(network: str) -> str:
    """The family of a network by its name."""
    found = (name for name, starts in STARTS.items() if network.startswith(starts))
    return next(found, OTHER)
