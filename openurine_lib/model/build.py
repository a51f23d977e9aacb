"""TODO"""

from __future__ import annotations

from collections.abc import Mapping

from ultralytics.nn.tasks import DetectionModel, RTDETRDetectionModel

from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.model.heads import HEAD_WEIGHTS, MultiHeadModel, SingleHeadModel
from openurine_lib.speed.layers import attend_in_order


def build_model(
    arch: str,
    taxonomy: Taxonomy,
    heads: str,
    head_weights: Mapping[str, float] = HEAD_WEIGHTS,
    objectness_gain: float = 0.0,
) -> DetectionModel:
    """An untrained detector of an ultralytics architecture (``yolo12m``, ``yolov8n``, ``rtdetr-l``, ...).

    Args:
        arch: name of an ultralytics YAML, without its ending; ``yolov5s-dp`` is the DP-YOLO on that network.
        taxonomy: classes and heads.
        heads: ``single`` (stock) or ``multi``.

    Raises:
        ValueError: six heads were asked of an architecture that has no ``Detect`` head (RT-DETR).
    """
    names = dict(enumerate(taxonomy.classes))
    if heads == "multi" and arch.startswith("rtdetr"):
        raise ValueError(
            f"{arch} has a transformer decoder, not a Detect head: it cannot be given one head a super-category"
        )
    if heads == "multi":
        model = MultiHeadModel(f"{arch}.yaml", taxonomy.heads, head_weights, objectness_gain)
    elif arch.endswith("-dp"):
        from openurine_lib.model.dp_yolo import DPModel

        model = DPModel(arch, taxonomy.n)
    elif arch.startswith("rtdetr"):
        model = RTDETRDetectionModel(f"{arch}.yaml", nc=taxonomy.n, verbose=False)
    else:
        model = SingleHeadModel(f"{arch}.yaml", nc=taxonomy.n, verbose=False)
    model.names = names
    attend_in_order(model)
    return model


def backbone_depth(model: DetectionModel) -> int:
    """Number of leading layers that are the backbone: a chain, each fed by the one before it (Fig. 3A's encoder)."""
    depth = len(model.yaml["backbone"])
    assert all(layer.f == -1 for layer in model.model[:depth]), (
        f"{model.yaml.get('yaml_file')}: backbone is not a chain"
    )
    return depth
