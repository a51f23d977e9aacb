"""torchvision comes without torch's compiler, and nobody misses it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOADED = "import sys; print('torch._dynamo' in sys.modules)"


def printed(code: str) -> list[str]:
    """The words that a new Python prints."""
    run = [sys.executable, "-c", code]
    return subprocess.run(
        run, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout.split()


@pytest.mark.parametrize(
    ("code", "loaded"),
    [
        # if one of these two no longer holds, torchvision has learned it: so much can go
        ("import torchvision", "True"),
        (
            "from openurine_lib import lean_imports as l\n"
            "l.IN_TORCHVISION = l.IN_TORCHVISION[:1]\nimport torchvision.tv_tensors",
            "True",
        ),
        ("import openurine_lib, torchvision.tv_tensors", "False"),
        ("import openurine_lib, torch._dynamo, torchvision", "True"),
        ("from openurine_lib.training.engines import loop, ultralytics", "False"),
        ("from openurine_lib.laboratory import predicting", "False"),
    ],
)
def test_only_torchvision_alone_loads_the_compiler(code, loaded):
    assert printed(f"{code}\n{LOADED}")[-1] == loaded


def test_what_torchvision_asks_is_answered_by_the_compiler():
    answers = printed(
        "import openurine_lib, torch\n"
        "from torchvision.ops import roi_align\n"
        "import torchvision.ops.roi_align, sys\n"
        "module = sys.modules['torchvision.ops.roi_align']\n"
        "print(roi_align(torch.ones(1, 1, 4, 4), [torch.tensor([[0.0, 0, 4, 4]])], 1).item())\n"
        "print(module.is_compile_supported('cpu'), module.is_compile_supported('mps'))\n"
        "import torch._dynamo.utils as theirs\n"
        "print(theirs.is_compile_supported('cpu'), theirs.is_compile_supported('mps'))\n"
    )
    assert answers[0] == "1.0"
    assert answers[1:3] == answers[3:] and answers[1] == "True"


def test_what_it_orders_reaches_the_compiler():
    """``wrap`` is left alone: a compiled function that calls it is cut in two there."""
    cuts, compiled = printed(
        "import openurine_lib, torch\n"
        "from torchvision import tv_tensors\n"
        "like = tv_tensors.Image(torch.ones(3, 2, 2))\n"
        "call = lambda x: tv_tensors.wrap(x + 1, like=like) * 2\n"
        "import torch._dynamo\n"
        "print(torch._dynamo.explain(call)(torch.ones(3, 2, 2)).graph_break_count)\n"
        "compiled = torch.compile(call, backend='eager')\n"
        "print(float(compiled(torch.ones(3, 2, 2)).mean()))\n"
    )
    assert int(cuts) >= 1 and float(compiled) == 4
