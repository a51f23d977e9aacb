"""A detector of any ultralytics architecture, with one head or with one for each super-category."""

from __future__ import annotations

from collections.abc import Mapping

from ultralytics.nn.tasks import DetectionModel, RTDETRDetectionModel

from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.model import dp_yolo, pgi
from openurine_lib.model.architectures import network_of
from openurine_lib.model.heads import HEAD_WEIGHTS, MultiHeadModel, SingleHeadModel
from openurine_lib.speed.layers import use_lean_attention


def build_model(
    arch: str, taxonomy: Taxonomy, heads: str, lambdas: Mapping = HEAD_WEIGHTS, gain_obj: float = 0
) -> DetectionModel:
    """An untrained detector. lambdas, gain_obj: of the six heads, see ``MultiHeadModel``.

    arch: an ultralytics architecture (``yolo12m``, ``rtdetr-l``), with ``-dp`` the DP-YOLO on it,
    with ``-pgi`` YOLOv9-e and its auxiliary branch; UnknownArchitecture where there is none.
    heads: ``single`` (stock) or ``multi``, which raises ValueError for an RT-DETR.
    """
    if heads == "multi" and arch.startswith("rtdetr"):
        raise ValueError(f"{arch} has a transformer decoder, no Detect head to be replaced by six")
    if heads == "multi":
        model = MultiHeadModel(arch, taxonomy.heads, lambdas, gain_obj)
    elif arch.endswith(dp_yolo.SUFFIX):
        model = dp_yolo.DPModel(arch, taxonomy.n)
    elif arch.endswith(pgi.SUFFIX):
        model = pgi.GuidedModel(arch, taxonomy.n)
    else:
        kind = RTDETRDetectionModel if arch.startswith("rtdetr") else SingleHeadModel
        model = kind(network_of(arch), nc=taxonomy.n, verbose=False)
    model.names = dict(enumerate(taxonomy.classes))  # ultralytics' predictors read them here
    use_lean_attention(model)  # the same numbers, sooner
    return model


def backbone_depth(model: DetectionModel) -> int:
    """How many layers are the backbone: a chain, each fed by the one before (Fig. 3A's encoder)."""
    depth = len(model.yaml["backbone"])  # as many layers as the YAML lists there
    # f: the number of the layer that feeds this one; -1 is the one before
    is_chain = all(layer.f == -1 for layer in model.model[:depth])
    assert is_chain, f"{model.yaml.get('yaml_file')}: backbone is not a chain"
    return depth
