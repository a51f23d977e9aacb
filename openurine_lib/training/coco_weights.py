"""Pretrained weights, if the user has some: nothing is downloaded, and nothing needs them.

A file of the network's name (``yolo12m.pt``, ``ssd300_vgg16.safetensors``), in ``pretrained/`` or
the folder ``OPENURINE_PRETRAINED``, is what that network's trainings start from; such files were
mostly trained on COCO. Where there is none, a file of its backbone serves (``BACKBONES``), trained
on ImageNet. A file must hold tensors only: the files that YOLO's authors publish are pickled
programs, which this project does not open (docs/pretrained.md converts them).
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
#: What an engine adds to the name of a library's network, which trains from that network's file.
ADDED = ("-sam", "-ga", "-dp", "-pgi")
OF_TIMM = {  # names in the published files of plain vision transformers -> in transformers' ViTDet
    "patch_embed.proj": "backbone.vit.embeddings.projection",
    "pos_embed": "backbone.vit.embeddings.position_embeddings",
    "blocks.": "backbone.vit.encoder.layer.",
    "attn.": "attention.",
}
#: Network -> file of its backbone, and what its tensors' names become here. torchvision's, but for
#: ``mae_vit_base``: a transformer that its authors pretrained as a masked autoencoder.
BACKBONES: dict[str, tuple[str, dict[str, str]]] = {
    "fasterrcnn_alexnet_restored": ("alexnet", {
        "features.": "backbone.",
        "classifier.1.": "roi_heads.box_head.fc6.", "classifier.4.": "roi_heads.box_head.fc7.",
    }),
    "fasterrcnn_vgg16_restored": ("vgg16_bn", {
        "features.": "backbone.",
        "classifier.0.": "roi_heads.box_head.fc6.", "classifier.3.": "roi_heads.box_head.fc7.",
    }),
    "fasterrcnn_densenet121_dfpn": ("densenet121", {"features.": "backbone.body."}),
    "fasterrcnn_resnet50_fpn_v2": ("resnet50", {"": "backbone.body."}),
    "retinanet_resnet50_fpn_v2": ("resnet50", {"": "backbone.body."}),
    "vitdet_b": ("mae_vit_base", OF_TIMM),
}  # fmt: skip
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
    # the first that exists is taken
    files = [place / name for name in _names(arch)] if place else []
    return next((file for file in files if file.is_file()), None)


def _names(arch: str) -> list[str]:
    """Names of files that serve a network, the best first."""
    stems = [arch, *(arch.removesuffix(end) for end in ADDED if arch.endswith(end))]
    if arch in BACKBONES:
        stems.append(BACKBONES[arch][0])
    return [stem + suffix for stem in stems for suffix in SUFFIXES]


def say(arch: str, used: dict[str, Any] | None) -> None:
    """Prints what a training started from, if the user has such a folder.

    used: what ``load_matching`` returned, if it was called."""
    place, file = folder(), find(arch)
    if used:
        print(f"{arch} starts from {used['file']}: {used['tensors']} of its {used['of']} tensors")
    elif file:
        print(f"{arch} starts from random weights: its engine takes no {file.name}")
    elif place:
        print(f"{arch} starts from random weights: {place} holds no {' or '.join(_names(arch))}")


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
    # some files hold the tensors themselves, others below ``state_dict`` or ``model``
    state = content if isinstance(content, dict) else {}
    state = state.get("state_dict") or state.get("model") or state
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path} holds no state_dict; {remedy} it")
    return state


def load_matching(model: nn.Module, path: Path) -> dict[str, Any]:
    """Puts every tensor of the file whose name and shape ``model`` has into it; others stay random.

    Of a backbone's file (``BACKBONES``) the names become the network's first. Returns what
    provenance keeps: file, sha256, tensors (how many were taken), of (how many the model has).
    Raises WeightsError if none fits: the file is then that of another network.
    """
    state = model.state_dict()
    shapes = {name: tensor.shape for name, tensor in state.items()}
    renaming = next((names for stem, names in BACKBONES.values() if stem == path.stem), {})
    # a head for COCO's 80 classes has other shapes than ours, and is left out
    given = {_renamed(name, renaming): tensor for name, tensor in read(path).items()}
    fitting = {name: tensor for name, tensor in given.items() if shapes.get(name) == tensor.shape}
    if not fitting:
        raise WeightsError(
            f"{path}: no tensor fits this network by name and shape; is it the file of another one?"
        )
    # strict=False: what the file lacks stays random
    model.load_state_dict(fitting, strict=False)
    taken = {"tensors": len(fitting), "of": len(state)}
    return {"file": path.name, "sha256": digest_of_file(path), **taken}


def _renamed(name: str, renaming: dict[str, str]) -> str:
    for before, after in renaming.items():
        name = name.replace(before, after, 1)  # "" is replaced at the front
    return name
