"""How near a row of a run is to what the paper ran: faithful, or reduced, and then in what.

``methods.yaml`` says how near a method is to its authors' description. A profile may then take a
smaller network, smaller images, fewer passes or other settings than the paper.
"""

from __future__ import annotations

from collections.abc import Iterator

from openurine_lib.experiments.methods import Method, Profile, profile

FAITHFUL = "faithful"
REDUCED = "reduced"
PAPER = "paper"  # the profile that follows the paper
SPOKEN = {"imgsz", "epochs", "sahi"}  # settings that have words of their own


def fidelity(m: Method, p: Profile) -> str:
    """``faithful``, or ``reduced: yolo12n for yolo12m, 36 passes for 300, optimizer AdamW``.

    A method that is no faithful copy of its authors' keeps that word in front: ``approximate``, or
    ``approximate, reduced: ...``.
    """
    lacks = ", ".join(lacking(m, p))
    if not lacks:
        return m.fidelity
    kind = REDUCED if m.fidelity == FAITHFUL else f"{m.fidelity}, {REDUCED}"
    return f"{kind}: {lacks}"


def lacking(m: Method, p: Profile) -> Iterator[str]:
    """What the method's run in a profile has otherwise than the paper, one text each."""
    paper = profile(PAPER)
    if p.arch(m) != m.arch:
        yield f"{p.arch(m)} for {m.arch}"
    if p.pixels(m.imgsz) != paper.pixels(m.imgsz):
        yield f"{p.pixels(m.imgsz)} px for {m.imgsz}"
    here, there = p.settings, paper.settings
    if m.sliced and here["sahi"]["slice"] != there["sahi"]["slice"]:
        yield f"slices of {here['sahi']['slice']} px for {there['sahi']['slice']}"
    if p.trains_on_slices(m) != paper.trains_on_slices(m):
        yield "trained on slices"
    if p.epochs_of(m) != paper.epochs_of(m):
        yield f"{p.epochs_of(m)} passes for {paper.epochs_of(m)}"
    if p.max_train_fields != paper.max_train_fields:
        yield f"at most {p.max_train_fields} training fields"
    if m.ssl and p.max_unlabelled_fields != paper.max_unlabelled_fields:
        yield f"at most {p.max_unlabelled_fields} unlabelled fields"
    if m.ssl and p.ssl_crop != paper.ssl_crop:
        yield f"pretrained on crops of {p.ssl_crop} px"
    for name, value in here.items():
        # also what Table 3 lacks: the paper is then taken to have the library's own
        if name not in SPOKEN and (name not in there or there[name] != value):
            yield f"{name} {value}"
