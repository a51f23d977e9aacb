"""What makes training and prediction fast on a processor: bfloat16 where it has units for it, all cores, kept memory.

Nothing here happens at import; an engine asks for it when its work begins.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from typing import Any

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
BIG = 1 << 30


def cpu_bf16() -> bool:
    """Whether to compute in bfloat16: where the CPU multiplies it in hardware (emulated, it would be slower than
    float32), unless ``OPENURINE_BF16`` is 0."""
    return os.environ.get("OPENURINE_BF16") != "0" and _bf16_units()


@functools.cache
def _bf16_units() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def cores() -> int:
    """``OPENURINE_THREADS``, or else the number of cores."""
    return int(os.environ.get("OPENURINE_THREADS", os.cpu_count() or 1))


def use_cores() -> None:
    """Gives torch all ``cores()``. ultralytics sets one thread, whenever it starts."""
    torch.set_num_threads(cores())


@functools.cache
def keep_memory() -> None:
    """Lets the allocator keep freed memory, as each training step asks for the same again; Linux with glibc only.

    Given back to the system and taken again, every page is cleared anew, which costs several percent of a step.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, BIG)
        libc.mallopt(M_TRIM_THRESHOLD, BIG)


def ready_for(device: str | torch.device) -> None:
    """Before a training: if it is on the processor, all cores and kept memory."""
    if torch.device(device).type == "cpu":
        use_cores()
        keep_memory()


def to_float(x: Any) -> Any:
    """Every floating tensor of a nest of dicts, lists and tuples as float32."""
    if isinstance(x, torch.Tensor):
        return x.float() if x.is_floating_point() else x
    if isinstance(x, dict):
        return {k: to_float(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return type(x)(to_float(v) for v in x)
    return x


def devices() -> str:
    """``OPENURINE_DEVICE`` if set, else the first GPU, else the CPU. "0,1": two GPUs, for an ultralytics training."""
    import torch

    return os.environ.get("OPENURINE_DEVICE") or ("cuda:0" if torch.cuda.is_available() else "cpu")


def device() -> str:
    """The first of them, for all that runs on one."""
    first = devices().split(",")[0]
    return f"cuda:{first}" if first.isdigit() else first
