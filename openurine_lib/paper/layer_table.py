"""The layers of a network as a table, with the shapes of a batch on its way through them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from openurine_lib.model.autoencoder import Autoencoder
from openurine_lib.model.build import backbone_depth


def layer_table(network: Any, x: Tensor) -> pd.DataFrame:
    """What each layer makes of a batch, from the live tensors; the index numbers the layers.

    Args:
        network: an ``Autoencoder``, or a detector (of which the heads are left out).
        x: images (B, 3, H, W) in 0..1; H and W multiples of 32.

    Returns:
        part (encoder, decoder; backbone, neck), block (the layer's class), fed_by (numbers of
        layers; -1 is the image), output (shape), stride (pixels of the image along the side of a
        cell of the output), parameters (how many).
    """
    if isinstance(network, Autoencoder):
        layers: list[nn.Module] = [*network.encoder, *network.decoder]
        parts = ("encoder", "decoder")
        depth = len(network.encoder)
    else:
        layers = list(network.model[:-1])
        parts = ("backbone", "neck")
        depth = backbone_depth(network)
    shapes: list[tuple[int, ...]] = []
    # a forward hook is called with the layer, its inputs and its output
    hooks = [m.register_forward_hook(lambda *a: shapes.append(tuple(a[2].shape))) for m in layers]
    training = network.training
    with torch.no_grad():
        network.eval()(x)
    network.train(training)
    for hook in hooks:
        hook.remove()
    table = pd.DataFrame({"part": [parts[i >= depth] for i in range(len(layers))]})
    table["block"] = [type(m).__name__ for m in layers]
    # ultralytics writes into each layer where its input comes from (f); -1 is the layer before
    sources = [np.atleast_1d(getattr(m, "f", -1)).tolist() for m in layers]
    table["fed_by"] = [[i - 1 if f == -1 else f for f in fs] for i, fs in enumerate(sources)]
    table["output"] = shapes
    table["stride"] = [x.shape[-1] // shape[-1] for shape in shapes]
    table["parameters"] = [sum(p.numel() for p in m.parameters()) for m in layers]
    return table.rename_axis("layer")
