"""First weights for other classes: what a trained detector knows goes into a new one.

Every tensor of the same name and shape is taken over. In the last layer, which has a channel for
each class, a class that the trained detector knows under whichever name starts from that class's
channel; a class of several starts from their mean. The rest stays as an untrained network has it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from openurine_lib.data.taxonomy import Taxonomy, equals
from openurine_lib.files import digest_of_file
from openurine_lib.model.build import build_model
from openurine_lib.training.weights import DETECTOR, WeightsError, read_weights, save

# the last layer of a head's branch for classes: model.21.heads.Cells.cv3.0.2.weight, or without
# heads.<name> in a detector with one head
LAST = re.compile(r"(?:heads\.(?P<head>\w+)\.)?cv3\.\d+\.2\.(?:weight|bias)$")


def write_start(
    weights: Path, old: Taxonomy, new: Taxonomy, seed: int, out: Path
) -> dict[str, Any]:
    """Writes the first weights of a detector for ``new`` to ``out``; returns where they come from.

    old: the classes of ``weights``. WeightsError for a file that is no detector of the ultralytics
    engine.
    """
    content = read_weights(weights, "ultralytics", DETECTOR)
    meta, state = content["meta"], content["state_dict"]
    torch.manual_seed(seed)  # for what is not taken over
    target = build_model(meta["arch"], new, meta["heads"]).state_dict()
    same = equals(new, old)
    taken = 0
    for name, tensor in target.items():
        known = state.get(name)
        last = LAST.search(name)
        if known is None:
            continue
        if last:
            _rows(tensor, known, _ids(new.heads, last["head"], new.n),
                  _ids(meta["head_classes"], last["head"], old.n), same)  # fmt: skip
        elif known.shape == tensor.shape:
            target[name] = known.to(tensor.dtype)
        else:
            continue
        taken += 1
    save({"state_dict": target, "meta": meta | {"classes": list(new.classes)}}, out)
    return {
        "file": weights.name, "sha256": digest_of_file(weights),
        "tensors": taken, "of": len(target),
        "classes": sum(map(bool, same.values())),
    }  # fmt: skip


def write_mean(files: Sequence[Path], out: Path) -> Path:
    """Writes the mean of several weights files of one network; the rest is the last file's.

    A file that stands there twice counts for two. Halfway between a start and what it was trained
    on to, most of what was learned is there, and less of what the start knew is lost (Wortsman et
    al. 2022, arXiv:2109.01903). The mean of several trainings from one start is often better than
    each of them, mostly on data unlike their own (the same, arXiv:2203.05482).
    """
    content = read_weights(files[-1])
    others = [read_weights(file)["state_dict"] for file in files[:-1]]
    for name, tensor in content["state_dict"].items():
        if tensor.is_floating_point():
            all_of_it = [tensor.double(), *(other[name].double() for other in others)]
            content["state_dict"][name] = torch.stack(all_of_it).mean(0).to(tensor.dtype)
    save({"state_dict": content["state_dict"], "meta": content["meta"]}, out)
    return out


def load_encoder(model: nn.Module, encoder: Path) -> None:
    """Puts the autoencoder's encoder into the backbone; WeightsError unless all of it fits."""
    content = read_weights(encoder, needed=("arch",))
    state = model.state_dict()
    for name, tensor in content["state_dict"].items():
        if name not in state or state[name].shape != tensor.shape:
            raise WeightsError(
                f"{encoder} is the encoder of {content['meta']['arch']}: "
                f"{name} does not fit this backbone"
            )
    model.load_state_dict(content["state_dict"], strict=False)


def _ids(heads: Any, head: str | None, n: int) -> list[int]:
    """The class of each channel of a head: all classes where there is one head only."""
    return list(range(n)) if head is None else sorted(heads.get(head, ()))


def _rows(
    tensor: torch.Tensor,
    known: torch.Tensor,
    ids: list[int],
    known_ids: list[int],
    same: dict[int, list[int]],
) -> None:
    """Fills the channels (the first axis) of the classes that are known, in place."""
    for row, cls in enumerate(ids):
        rows = [known_ids.index(c) for c in same[cls] if c in known_ids]
        if rows and known.shape[1:] == tensor.shape[1:]:
            tensor[row] = known[rows].mean(0)
