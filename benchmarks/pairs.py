"""Timings as ratios: what a user would do otherwise, against what this project does.

Both are timed in turns, A B A B, in one run.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from openurine_lib import files  # noqa: E402
from openurine_lib.experiments import provenance  # noqa: E402

RESULTS = ROOT / "docs" / "results"
HEADER = """# Timings

`make bench` writes this page. Each pair is timed in turns, A B A B, in one run. The ratio is that
of the medians. Low and high are the smallest and the largest ratio of a round. Above 1, this
project is faster. A name that ends in `float32` was timed with `OPENURINE_BF16=0`, as on a
processor without units for bfloat16.

| what | against | ratio | low | high | machine |
|---|---|---|---|---|---|"""


def compare(
    name: str, against: str, other: Callable[[], float], ours: Callable[[], float], rounds: int = 3
) -> None:
    """Calls both in turn, prints the ratio of their times and stores it.

    Each of the two warms itself up and returns seconds. The ratio is that of the medians; low and
    high are the smallest and the largest ratio of a round.
    """
    seconds_other = []
    seconds_ours = []
    ratios = []
    for n in range(rounds):
        seconds_other.append(other())
        seconds_ours.append(ours())
        ratios.append(seconds_other[-1] / seconds_ours[-1])
        print(
            f"  {name} round {n + 1}: {seconds_other[-1]:.3f} s against {seconds_ours[-1]:.3f} s, "
            f"{ratios[-1]:.2f} times",
            flush=True,
        )
    median_other = statistics.median(seconds_other)
    median_ours = statistics.median(seconds_ours)
    result = {
        "against": against,
        "ratio": median_other / median_ours,
        "low": min(ratios),
        "high": max(ratios),
        "seconds_other": median_other,
        "seconds_ours": median_ours,
    }
    keep(name, result)


def keep(name: str, result: dict[str, Any]) -> None:
    """Writes one result into docs/benchmarks.json, and the page docs/benchmarks.md anew."""
    name += "_float32" if os.environ.get("OPENURINE_BF16") == "0" else ""
    path = ROOT / "docs" / "benchmarks.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in result.items()}
    results[name] = rounded | made_by() | {"date": datetime.now(UTC).date().isoformat()}
    files.write_json(path, results)
    lines = [HEADER]
    for key, r in sorted(results.items()):
        ratios = " | ".join(f"{r[k]:.2f}" for k in ("ratio", "low", "high"))
        lines.append(f"| {key} | {r['against']} | {ratios} | {r['machine']} |")
    files.write_text(path.with_suffix(".md"), "\n".join(lines))
    span = f"{result['low']:.2f} to {result['high']:.2f}"
    print(f"{name}: {result['ratio']:.2f} times ({span}) {result['against']}")


def made_by() -> dict[str, Any]:
    """What made a measurement: the machine, and the commit of the code."""
    commit, dirty = provenance.code_state()
    return {"machine": machine(), "commit": commit, "dirty": dirty}


def machine() -> str:
    """Processor, cores, and whether it has units for bfloat16."""
    from openurine_lib.speed.processor import cpu_bf16

    model = platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
        model = next(names, model)
    return f"{model}, {os.cpu_count()} cores, bfloat16 {'yes' if cpu_bf16() else 'no'}"


def in_a_process(code: str, *arguments: str) -> float:
    """Runs Python code in a fresh process, as a user would.

    Returns the seconds, which the code prints in its last line.
    """
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_THREADS")}
    environment["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return float(done.stdout.split()[-1])
