"""TODO"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.files import atomic_path

if TYPE_CHECKING:
    from torch import nn

#: What a detector's weights file tells of it.
DETECTOR = ("engine", "arch", "heads", "imgsz", "classes", "head_classes", "taxonomy")


class WeightsError(ValueError):
    """A weights file that does not fit: of another taxonomy, another engine, or not one of ours."""


def save(content: dict[str, Any], path: Path) -> None:
    """Writes tensors and plain data, whole or not at all."""
    import torch

    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def write_log(path: Path, rows: list[dict[str, float]]) -> None:
    """A training's ``log.csv``: a row an epoch, with every name that any of them has."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="") as file:
        # denoising and the like may give an epoch's losses more names than another's
        writer = csv.DictWriter(
            file, fieldnames=list(dict.fromkeys(name for row in rows for name in row))
        )
        writer.writeheader()
        writer.writerows(rows)


def read_weights(
    weights: Path, engine: str | None = None, needed: Sequence[str] = ()
) -> dict[str, Any]:
    """The file's ``state_dict`` and ``meta``; tensors and plain data only, so a stranger's file cannot run code here.

    engine: the one that the file must be of. needed: what ``meta`` must tell; for a detector of any engine, DETECTOR.

    Raises:
        WeightsError: the file is missing, is not a weights file of this project, is of another engine, or of a version
            that did not write what this one needs.
    """
    import torch

    if not Path(weights).is_file():
        raise WeightsError(f"{weights} does not exist; train the method first (notebook 03)")
    try:
        content = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as e:
        why = str(e).split(". ")[0].splitlines()[0] if str(e) else type(e).__name__
        raise WeightsError(
            f"{weights} is not a weights file of this project (tensors and plain data only), or was cut off: {why}"
        ) from e
    if not (
        isinstance(content, dict)
        and isinstance(content.get("meta"), dict)
        and "state_dict" in content
    ):
        raise WeightsError(
            f"{weights} holds no 'state_dict' and 'meta'; use the weights.pt that notebook 03 writes"
        )
    if engine and (other := content["meta"].get("engine", engine)) != engine:
        raise WeightsError(f"{weights} belongs to the {other} engine, not to {engine}")
    lacking = [key for key in (DETECTOR if engine else needed) if key not in content["meta"]]
    if lacking:
        raise WeightsError(
            f"{weights} does not tell its {', '.join(lacking)}: it was written by another version of this project; "
            "use that version, or train it again"
        )
    return content


def fill(model: nn.Module, state: dict[str, Any], weights: Path | str) -> None:
    """Puts every tensor of a weights file into its model; WeightsError unless all find their place."""
    try:
        model.load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError) as e:
        raise WeightsError(
            f"{weights}: its tensors do not fit the network that it names; it was written by another version of this "
            f"project or changed since: {str(e).splitlines()[-1].strip()[:200]}"
        ) from e


def check_taxonomy(meta: dict[str, Any], taxonomy: Taxonomy, weights: Path) -> None:
    """Raises WeightsError if the weights were trained on other classes than the taxonomy's."""
    if tuple(meta["classes"]) != taxonomy.classes:
        raise WeightsError(
            f"{weights} was trained on {len(meta['classes'])} classes ({', '.join(meta['classes'][:3])}, ...), but "
            f"taxonomy {taxonomy.name!r} has {taxonomy.n} ({', '.join(taxonomy.classes[:3])}, ...); "
            "train on this data set first"
        )
