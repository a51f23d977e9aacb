"""Weights pretrained on COCO, where the user puts them: nothing is downloaded, and nothing needs them.

A file of the network's name in the folder ``pretrained/`` (or ``OPENURINE_PRETRAINED``), e.g. ``yolo12m.safetensors``,
``yolo12m.pt`` or ``ssd300_vgg16.pth``, is where that network's trainings start from. It must hold tensors only: the
files that YOLO's authors publish are pickled programs, which this project does not open (docs/pretrained.md converts).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openurine_lib.files import digest, root

if TYPE_CHECKING:
    from torch import Tensor, nn

VARIABLE = "OPENURINE_PRETRAINED"
SUFFIXES = (".safetensors", ".pt", ".pth")
FILE = "pretrained.json"  # in a training's folder: what it started from


def folder() -> Path | None:
    """The user's folder of pretrained weights, if there is one. Raises FileNotFoundError for a variable that errs."""
    if named := os.environ.get(VARIABLE):
        if not Path(named).is_dir():
            raise FileNotFoundError(
                f"{VARIABLE} names {named}, which is no folder; make it, or unset the variable"
            )
        return Path(named)
    return root() / "pretrained" if (root() / "pretrained").is_dir() else None


def find(arch: str) -> Path | None:
    """The file for a network, or None."""
    place = folder()
    files = [place / f"{arch}{suffix}" for suffix in SUFFIXES] if place else []
    return next((file for file in files if file.is_file()), None)


def say(arch: str, used: dict[str, Any] | None) -> None:
    """One line for who has such a folder: what a training started from. ``used``: what ``load_matching`` returned."""
    if used:
        print(f"{arch} starts from {used['file']}: {used['tensors']} of its {used['of']} tensors")
    elif (file := find(arch)) is not None:
        print(f"{arch} starts from random weights: its engine takes no {file.name}")
    elif place := folder():
        print(
            f"{arch} starts from random weights: {place} holds no {' or '.join(arch + s for s in SUFFIXES)}"
        )


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name. Raises WeightsError where it holds anything else."""
    import torch

    from openurine_lib.training.weights import WeightsError

    remedy = (
        "; it must hold a state_dict of tensors only: see docs/pretrained.md for how to convert it"
    )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(
            f"{path} cannot be read safely{remedy} ({str(error).splitlines()[0]})"
        ) from error
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not (
        isinstance(content, dict)
        and content
        and all(isinstance(v, torch.Tensor) for v in content.values())
    ):
        raise WeightsError(f"{path} holds no state_dict{remedy}")
    return content


def load_matching(model: nn.Module, path: Path) -> dict[str, Any]:
    """Puts every tensor of the file that has its name and shape in ``model`` into it; the others stay random.

    Returns what provenance keeps: file, sha256, tensors (how many were taken), of (how many the model has).
    Raises WeightsError if none fits: then it is the file of another network.
    """
    from openurine_lib.training.weights import WeightsError

    own = model.state_dict()
    fitting = {k: v for k, v in read(path).items() if k in own and own[k].shape == v.shape}
    if not fitting:
        raise WeightsError(
            f"{path}: no tensor has a name and shape of this network; is it the file of another one?"
        )
    model.load_state_dict(fitting, strict=False)
    return {"file": path.name, "sha256": digest(path), "tensors": len(fitting), "of": len(own)}
