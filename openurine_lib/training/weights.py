"""Weights files and checkpoints: tensors and plain data only, so that no file runs code here."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from openurine_lib.data import taxonomy as taxonomies
from openurine_lib.data.boxes import ROOM
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.files import atomic_path

if TYPE_CHECKING:
    from torch import nn

#: What a detector's weights file tells of it, and of which type.
DETECTOR = {
    "engine": str, "arch": str, "heads": str, "imgsz": int, "classes": list, "head_classes": dict,
    "taxonomy": str,
}  # fmt: skip


class WeightsError(ValueError):
    """A weights file that does not fit: of another taxonomy, another engine, or not one of ours."""


def save(content: dict[str, Any], path: Path) -> None:
    """Writes tensors and plain data, whole or not at all: the same bytes for the same content."""
    import torch  # not above: tables and the workflow import this module's names without torch

    # given a path, torch would write the temporary file's name, which is random, into the file
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)


def write_log(path: Path, rows: list[dict[str, float]]) -> None:
    """A training's ``log.csv``: one row an epoch, with every column that any of them has."""
    with atomic_path(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)


class Checkpoint:
    """The state of a training that is under way, in ``state.pt`` of its folder.

    signature: a digest of all that decides the result, so that no state of other settings is taken.
    parts: what has a ``state_dict``: model, optimizer, and the like."""

    def __init__(self, folder: Path, signature: str, device: Any, **parts: Any):
        self.path = folder / "state.pt"
        self.signature = signature
        self.device = device  # where the tensors are loaded to
        self.parts = parts

    def read(self) -> dict[str, Any]:
        """The stored state, whosever it is; empty if there is none."""
        import torch

        if not self.path.exists():
            return {}
        # weights_only: reads tensors and plain data, and runs nothing
        return torch.load(self.path, map_location=self.device, weights_only=True)

    def resume(self) -> dict[str, Any]:
        """Puts this training's stored state into the parts and returns it, or else an empty one."""
        state = self.read()
        if state.get("signature") != self.signature:  # other data, network or settings
            return {}
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        return state

    def save(self, rows: list[dict[str, float]], **more: Any) -> None:
        """Writes the parts' state, the log's rows, and plain data to find again."""
        state = {name: part.state_dict() for name, part in self.parts.items()}
        save({**state, "rows": rows, "signature": self.signature, **more}, self.path)

    def write_weights(
        self, state: dict[str, Any], meta: dict[str, Any], name: str = "weights.pt"
    ) -> Path:
        """Writes a weights file; the checkpoint stays, so the training can go on."""
        out = self.path.with_name(name)
        save({"state_dict": state, "meta": meta}, out)
        return out

    def finish(self, state: dict[str, Any], meta: dict[str, Any], name: str = "weights.pt") -> Path:
        """Writes the weights file of the training, which is done, and removes the checkpoint."""
        out = self.write_weights(state, meta, name)
        self.path.unlink(missing_ok=True)  # not before the weights are safe on disk
        return out


def read_weights(
    weights: Path, engine: str | None = None, needed: Collection[str] = ()
) -> dict[str, Any]:
    """The file's ``state_dict`` and ``meta``.

    engine: what the file must be of; ``meta`` must then tell all of DETECTOR, otherwise ``needed``.
    Raises WeightsError if the file is missing, is none of this project's, is of another engine, or
    of a version that did not write what this one needs."""
    if Path(weights).is_dir():
        raise WeightsError(
            f"{weights} is a folder; give a weights file (an exported detector only predicts)"
        )
    if not Path(weights).is_file():
        raise WeightsError(f"{weights} does not exist; train the method first (notebook 03)")
    try:
        content = _load(Path(weights))
    except ImportError:
        raise  # nothing is wrong with the file
    except Exception as e:
        why = str(e).split(". ")[0].splitlines()[0] if str(e) else type(e).__name__
        raise WeightsError(
            f"{weights} is not a weights file of this project (tensors and plain data only), "
            f"or was cut off: {why}"
        ) from e
    meta = content.get("meta") if isinstance(content, dict) else None
    if not isinstance(meta, dict) or "state_dict" not in content:
        raise WeightsError(
            f"{weights} holds no 'state_dict' and 'meta'; use a weights.pt that notebook 03 writes"
        )
    if engine and meta.get("engine", engine) != engine:
        raise WeightsError(f"{weights} belongs to the {meta['engine']} engine, not to {engine}")
    asked = DETECTOR if engine else needed
    told = {k for k, value in meta.items() if isinstance(value, DETECTOR.get(k, object))}
    if lacking := [key for key in asked if key not in told]:
        raise WeightsError(
            f"{weights} does not tell its {', '.join(lacking)}: it was written by another version "
            "of this project; use that version, or train it again"
        )
    return content


def _load(weights: Path) -> Any:
    """The content of a file: torch's, or safetensors with the description as metadata."""
    import torch

    if weights.suffix != ".safetensors":
        return torch.load(weights, map_location="cpu", weights_only=True)
    from safetensors import safe_open

    with safe_open(weights, "pt") as stored:
        state = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        meta = json.loads((stored.metadata() or {}).get("meta", "null"))
    # carried files hold half precision; networks are built in single
    state = {n: t.float() if t.dtype == torch.float16 else t for n, t in state.items()}
    return {"state_dict": state, "meta": meta}


def fill(model: nn.Module, state: dict[str, Any], weights: Path | str) -> None:
    """Puts every tensor of a weights file into its model; WeightsError unless all have a place."""
    try:
        model.load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError) as e:
        raise WeightsError(
            f"{weights}: its tensors do not fit the network that it names; it was written by "
            "another version of this project or changed since: "
            f"{str(e).splitlines()[-1].strip()[:200]}"
        ) from e


def check_taxonomy(meta: dict[str, Any], taxonomy: Taxonomy, weights: Path) -> None:
    """Raises WeightsError if the weights were trained on other classes than the taxonomy's."""
    trained = meta["classes"]
    if tuple(trained) != taxonomy.classes:
        raise WeightsError(
            f"{weights} was trained on {len(trained)} classes ({', '.join(trained[:3])}, ...), "
            f"but taxonomy {taxonomy.name!r} has {taxonomy.n} "
            f"({', '.join(taxonomy.classes[:3])}, ...); train on this data set first"
        )


def taxonomy_of(meta: dict[str, Any], weights: Path) -> Taxonomy:
    """The classes of a detector, and the components that its report has.

    Those of the taxonomy that the weights bring along (``finetune``), else the shipped one that has
    exactly these classes. Raises WeightsError where there is neither.
    """
    try:
        if "taxonomy_entry" in meta:
            return taxonomies.from_json(meta["taxonomy_entry"])
        classes = taxonomies.match(meta["classes"])  # the classes' components decide the report
    except (taxonomies.UnknownClass, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{weights} was trained on another taxonomy: {error}") from error
    check_taxonomy(meta, classes, weights)
    return classes


def usual_room(meta: dict[str, Any]) -> float:
    """What a laboratory's boxes have more on each side than the detector's, as a share of them.

    ``boxes.ROOM`` of a detector that has seen drawn fields alone. One that was trained on real
    fields has learned its annotators' habit, and one that does not say is left as it is: 0.
    """
    return ROOM if meta.get("synthetic") is True else 0.0
