"""Weights pretrained on COCO, if the user has some: nothing is downloaded, and nothing needs them.

A file of the network's name (``yolo12m.pt``, ``ssd300_vgg16.safetensors``), in ``pretrained/`` or
the folder ``OPENURINE_PRETRAINED``, is what that network's trainings start from. It must hold
tensors only: the files that YOLO's authors publish are pickled programs, which this project does
not open (docs/pretrained.md converts them).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openurine_lib.files import digest_of_file, root
from openurine_lib.training.weights import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

VARIABLE = "OPENURINE_PRETRAINED"
SUFFIXES = (".safetensors", ".pt", ".pth")
FILE = "pretrained.json"  # in a training's folder: what it started from


def folder() -> Path | None:
    """The user's folder of pretrained weights, or None. FileNotFoundError if VARIABLE is wrong."""
    if named := os.environ.get(VARIABLE):
        if not Path(named).is_dir():
            raise FileNotFoundError(
                f"{VARIABLE} names {named}, which is no folder; make it, or unset the variable"
            )
        return Path(named)
    default = root() / "pretrained"
    return default if default.is_dir() else None


def find(arch: str) -> Path | None:
    """The file for a network, or None."""
    place = folder()
    # the first suffix that exists is taken
    files = [place / f"{arch}{suffix}" for suffix in SUFFIXES] if place else []
    return next((file for file in files if file.is_file()), None)


def say(arch: str, used: dict[str, Any] | None) -> None:
    """Prints what a training started from, if the user has such a folder.

    used: what ``load_matching`` returned, if it was called."""
    place, file = folder(), find(arch)
    if used:
        print(f"{arch} starts from {used['file']}: {used['tensors']} of its {used['of']} tensors")
    elif file:
        print(f"{arch} starts from random weights: its engine takes no {file.name}")
    elif place:
        names = " or ".join(arch + suffix for suffix in SUFFIXES)
        print(f"{arch} starts from random weights: {place} holds no {names}")


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name. Raises WeightsError where it holds anything else."""
    import torch
    from safetensors.torch import load_file

    remedy = "it must hold a state_dict of tensors only: see docs/pretrained.md for how to convert"
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # runs no code of the file
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0]  # the rest is advice to torch's users
        raise WeightsError(f"{path} cannot be read safely; {remedy} it ({reason})") from error
    # some files hold the tensors themselves, others below ``state_dict``
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path} holds no state_dict; {remedy} it")
    return state


def load_matching(model: nn.Module, path: Path) -> dict[str, Any]:
    """Puts every tensor of the file whose name and shape ``model`` has into it; others stay random.

    Returns what provenance keeps: file, sha256, tensors (how many were taken), of (how many the
    model has). Raises WeightsError if none fits: the file is then that of another network.
    """
    state = model.state_dict()
    shapes = {name: tensor.shape for name, tensor in state.items()}
    # a head for COCO's 80 classes has other shapes than ours, and is left out
    fitting = {k: tensor for k, tensor in read(path).items() if shapes.get(k) == tensor.shape}
    if not fitting:
        raise WeightsError(
            f"{path}: no tensor fits this network by name and shape; is it the file of another one?"
        )
    # strict=False: what the file lacks stays random
    model.load_state_dict(fitting, strict=False)
    taken = {"tensors": len(fitting), "of": len(state)}
    return {"file": path.name, "sha256": digest_of_file(path), **taken}
