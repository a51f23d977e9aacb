"""bfloat16 on CPUs that have units for it (avx512_bf16, amx_bf16), float32 elsewhere."""

from __future__ import annotations

import functools
from typing import Any

import torch


@functools.cache
def cpu_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; emulated, it would be slower than float32."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def to_float(x: Any) -> Any:
    """Every floating tensor of a nest of dicts, lists and tuples as float32."""
    if isinstance(x, torch.Tensor):
        return x.float() if x.is_floating_point() else x
    if isinstance(x, dict):
        return {k: to_float(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return type(x)(to_float(v) for v in x)
    return x
