"""Which device, how many cores, and whether bfloat16. Nothing happens at import."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

import torch
from torch.utils._pytree import tree_map_only

LOADERS = 8  # ultralytics' default
THRESHOLDS = (-3, -1)  # glibc's M_MMAP_THRESHOLD and M_TRIM_THRESHOLD, from malloc.h


def devices() -> str:
    """``OPENURINE_DEVICE``, else the first GPU, else the CPU. "0,1": two GPUs, for ultralytics."""
    return os.environ.get("OPENURINE_DEVICE") or ("cuda:0" if torch.cuda.is_available() else "cpu")


def device() -> str:
    """The first of ``devices``, for all that runs on one."""
    first = devices().split(",")[0]
    return f"cuda:{first}" if first.isdigit() else first  # "0" -> "cuda:0"


def cpu_bf16() -> bool:
    """Whether to compute in bfloat16: where the processor has units for it (emulated, it is slower
    than float32), unless ``OPENURINE_BF16`` is 0."""
    return os.environ.get("OPENURINE_BF16") != "0" and _bf16_units()


def _bf16_units() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def gpu_precision(device: str) -> str | bool:
    """Ultralytics' ``amp`` on a device: bfloat16 on a GPU that has it, else full precision.

    Its default, float16, first downloads a network of its own to try it with. (On a processor the
    model itself computes in bfloat16, see ``ProcessorForward``.)
    """
    if device == "cpu" or not torch.cuda.is_available():
        return False
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else False


def loaders() -> int:
    """Processes that read fields for a training on a GPU: ultralytics' eight where it is alone.

    Where several trainings share the machine's GPUs, each has its part of the cores.
    """
    per_gpu = int(os.environ.get("OPENURINE_PER_GPU", "1"))
    trainings = per_gpu * max(1, int(os.environ.get("OPENURINE_GPUS", "1")))
    return max(1, min(LOADERS, (os.cpu_count() or 1) // trainings)) if per_gpu > 1 else LOADERS


def cores() -> int:
    """``OPENURINE_THREADS``, or else the number of cores."""
    return int(os.environ.get("OPENURINE_THREADS", os.cpu_count() or 1))


def use_cores() -> None:
    """Gives torch all ``cores``. ultralytics sets one thread, whenever it starts."""
    torch.set_num_threads(cores())


def keep_memory() -> None:
    """Lets the allocator keep freed memory (Linux with glibc), as each training step asks for the
    same again. Memory that comes back from the system is cleared: several percent of a step."""
    # the C library of this process
    libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(libc, "mallopt"):  # musl, for instance, has none
        for threshold in THRESHOLDS:
            libc.mallopt(threshold, 1 << 30)  # 1 GiB: more than a step's largest tensor


def ready_for(device: str | torch.device) -> None:
    """Before a training: if it runs on the processor, takes all cores and keeps memory.

    Numbers below 1e-38 count as zero from then on. Gradients hold many of them, and a processor
    computes with each of them far more slowly than with another number.
    """
    if torch.device(device).type == "cpu":
        use_cores()
        keep_memory()
        torch.set_flush_denormal(True)  # of this thread, which computes the gradients as well


def to_float(x: Any) -> Any:
    """Every floating tensor of a nest of dicts, lists and tuples as float32."""
    return tree_map_only(torch.Tensor, lambda t: t.float() if t.is_floating_point() else t, x)
