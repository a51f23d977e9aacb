"""Lets torchvision load without torch's compiler, which nothing here uses.

Two modules of torchvision load the compiler, which takes longer than all of torchvision: one to be
able to ask whether it works on a device, one to tell it to leave a function alone. Every command
and notebook would wait for it. Here question and order are kept until they are needed.

The package imports this module first. It loads neither torch nor torchvision.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

IN_TORCHVISION = ("torchvision.ops.roi_align", "torchvision.tv_tensors")
COMPILER = "torch._dynamo"
UTILS = f"{COMPILER}.utils"


def is_compile_supported(device_type: str) -> bool:
    """Torch's own answer: whether its compiler works on a kind of device."""
    from torch._dynamo import utils

    return utils.is_compile_supported(device_type)


def disable(function: Callable, recursive: bool = True, reason: str | None = None) -> Callable:
    """The function, which the compiler leaves alone. Torch loads it when the function is called."""
    import torch

    return torch._disable_dynamo(function, recursive)


class _WithoutCompiler(SourceFileLoader):
    """Executes a module with a stand-in for the compiler, which is gone afterwards."""

    def exec_module(self, module: ModuleType) -> None:
        if COMPILER in sys.modules:  # it is there, or is being loaded
            super().exec_module(module)
            return
        stands_in: Any = ModuleType(COMPILER)
        stands_in.disable = disable
        stands_in.utils = ModuleType(UTILS)
        stands_in.utils.is_compile_supported = is_compile_supported
        sys.modules.update({COMPILER: stands_in, UTILS: stands_in.utils})
        try:
            super().exec_module(module)
        finally:
            del sys.modules[COMPILER], sys.modules[UTILS]


class _Finder(MetaPathFinder):
    """Finds these modules, and leaves all others to Python's own finders."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in IN_TORCHVISION:
            return None
        spec: Any = PathFinder.find_spec(fullname, path)
        # another torchvision may have it compiled, or not at all
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _WithoutCompiler(spec.loader.name, spec.loader.path)
        return spec


sys.meta_path.insert(0, _Finder())
