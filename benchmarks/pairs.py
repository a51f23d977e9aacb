"""Timings as ratios: what a user would do otherwise against what this project does, A B A B in one run."""

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

from openurine_lib import files

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
HEADER = """# Timings

Written by `make bench`: pairs A B A B in one run; the ratio of the medians, the smallest and the largest of the rounds.
Above 1, this project is faster. Names that end in `float32`: the same with `OPENURINE_BF16=0`, as on a processor
without units for bfloat16.

| what | against | ratio | low | high | machine |
|---|---|---|---|---|---|"""
sys.path.insert(0, str(ROOT))

from openurine_lib.experiments import provenance  # noqa: E402


def compare(
    name: str, against: str, other: Callable[[], float], ours: Callable[[], float], rounds: int = 3
) -> None:
    """Calls both in turn (each returns seconds, and warms itself up), prints their ratio and keeps it.

    The ratio is that of the medians; low and high are the smallest and largest ratio of a round.
    """
    a, b = [], []
    for n in range(rounds):
        a.append(other())
        b.append(ours())
        print(
            f"  {name} round {n + 1}: {a[-1]:.3f} s against {b[-1]:.3f} s, {a[-1] / b[-1]:.2f} times",
            flush=True,
        )
    of_rounds = [x / y for x, y in zip(a, b, strict=True)]
    seconds = {"seconds_other": statistics.median(a), "seconds_ours": statistics.median(b)}
    ratio = seconds["seconds_other"] / seconds["seconds_ours"]
    keep(
        name,
        {"against": against, "ratio": ratio, "low": min(of_rounds), "high": max(of_rounds)}
        | seconds,
    )


def keep(name: str, result: dict[str, Any]) -> None:
    """Writes one result into docs/benchmarks.json and the page docs/benchmarks.md anew."""
    name += "_float32" if os.environ.get("OPENURINE_BF16") == "0" else ""
    path = ROOT / "docs" / "benchmarks.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    commit, dirty = provenance.code_state()
    known[name] = {k: round(v, 4) if isinstance(v, float) else v for k, v in result.items()} | {
        "machine": machine(), "commit": commit, "dirty": dirty, "date": datetime.now(UTC).date().isoformat(),
    }  # fmt: skip
    files.write_json(path, known)
    lines = [HEADER]
    for key, r in sorted(known.items()):
        ratios = " | ".join(f"{r[k]:.2f}" for k in ("ratio", "low", "high"))
        lines.append(f"| {key} | {r['against']} | {ratios} | {r['machine']} |")
    files.write_text(path.with_suffix(".md"), "\n".join(lines))
    print(
        f"{name}: {result['ratio']:.2f} times ({result['low']:.2f} to {result['high']:.2f}) {result['against']}"
    )


def machine() -> str:
    """Processor, cores, and whether it has units for bfloat16."""
    from openurine_lib.speed.processor import cpu_bf16

    model = platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(
            (line.split(":")[1].strip() for line in lines if line.startswith("model name")), model
        )
    return f"{model}, {os.cpu_count()} cores, bfloat16 {'yes' if cpu_bf16() else 'no'}"


def in_a_process(code: str, *arguments: str) -> float:
    """Runs Python code in a fresh process, as a user would; its last line of output is the seconds."""
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_THREADS")} | {
        "PYTHONPATH": str(ROOT)
    }
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return float(done.stdout.split()[-1])
