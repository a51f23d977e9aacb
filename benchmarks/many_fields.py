"""``openurine predict`` on many fields in one call: time, memory, and the same after a kill.

    python benchmarks/many_fields.py      # 100 and 1,000 fields; docs/results/many_fields.json

Forty fields are drawn, and kept in eight orientations and four brightnesses, so that no two files
are alike. Each call is a process of its own. The last one is killed (SIGKILL) at its 500th field
and given again; every file that it leaves is compared with those of the undisturbed call. Time is
processor time, so that other work on the machine changes it little.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pairs
from PIL import Image, ImageEnhance, ImageOps
from tqdm import tqdm

from openurine_lib import files
from openurine_lib.experiments import provenance
from synthurine.dataset import write
from synthurine.spec import spec_for

SIZES = (100, 1000)
DRAWN = 40
DRAWING = {"field_px": 540, "field_um": 154, "patients": 8}  # pixels as large as in the study
BRIGHTNESS = (1.0, 0.97, 0.94, 0.91)
OWN = {".lock"}  # of a call, not of its results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, nargs="+", default=SIZES, help="(%(default)s)")
    sizes = sorted(parser.parse_args().fields)
    with tempfile.TemporaryDirectory() as scratch:
        folders = drawn(Path(scratch), sizes)
        calls = {
            size: call(folder, Path(scratch, f"out{size}")) for size, folder in folders.items()
        }
        most = sizes[-1]
        out = Path(scratch, "killed")
        kept = kill(folders[most], out, most // 2)
        resumed = call(folders[most], out)
        alike = contents(out) == contents(Path(scratch, f"out{most}"))
        number = len(contents(out))
    for size, (seconds, peak) in calls.items():
        print(f"{size} fields: {seconds:.0f} CPU s, at most {peak / 1e6:.0f} MB")
    print(f"killed after {kept} of {most} fields, {resumed[0]:.0f} CPU s more: {number} files, "
          f"{'all the same' if alike else 'NOT the same'}")  # fmt: skip
    about = {
        "face": f"drawn fields of {DRAWING['field_px']} px, the detector of the project",
        "calls": [{"fields": n, "cpu_seconds": s, "peak_bytes": b} for n, (s, b) in calls.items()],
        "killed": {"fields": most, "kept": kept, "cpu_seconds_after": resumed[0],
                   "peak_bytes_after": resumed[1], "files": number, "all_alike": alike},
        "threads": os.environ.get("OPENURINE_THREADS", "all"), "versions": provenance.versions(),
    } | pairs.made_by()  # fmt: skip
    files.write_json(pairs.RESULTS / "many_fields.json", about)
    if not alike:
        sys.exit("a call that was killed and given again left other results")


def drawn(scratch: Path, sizes: list[int]) -> dict[int, Path]:
    """A folder of so many fields for each size; no two fields are alike."""
    write(scratch / "drawn", spec_for(DRAWN) | DRAWING, seed=0, workers=1)
    fields = sorted((scratch / "drawn" / "images").iterdir())
    folders = {size: scratch / f"fields{size}" for size in sizes}
    for folder in folders.values():
        folder.mkdir()
    for n in tqdm(range(max(sizes)), desc="copying fields", unit="field"):
        way, field = divmod(n, len(fields))
        image = Image.open(fields[field]).rotate(90 * (way % 4))
        if way // 4 % 2:
            image = ImageOps.mirror(image)
        image = ImageEnhance.Brightness(image).enhance(BRIGHTNESS[way // 8])
        for size, folder in folders.items():
            if n < size:
                image.save(folder / f"field{n:04d}.jpg", quality=95)
    return folders


def started(folder: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "openurine_lib.cli", "predict", str(folder), "--out", str(out)]
    environment = os.environ | {"PYTHONPATH": str(pairs.ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def call(folder: Path, out: Path) -> tuple[float, int]:
    """Processor seconds and peak resident bytes of a call. Raises RuntimeError where it fails."""
    process = started(folder, out)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the call on {folder.name} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def kill(folder: Path, out: Path, at: int) -> int:
    """Kills a call once so many fields are finished; returns how many it had kept."""
    partial = out / "boxes.csv.partial"
    process = started(folder, out)
    while finished(partial) < at:
        if process.poll() is not None:
            raise RuntimeError(f"the call ended before its field {at}")
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return finished(partial)


def finished(partial: Path) -> int:
    """The fields of an unfinished call: a line each, after one that tells the setting."""
    return max(0, partial.read_bytes().count(b"\n") - 1) if partial.exists() else 0


def contents(out: Path) -> dict[str, str]:
    """The digest of every file that a call left."""
    return {f.name: files.digest_of_file(f) for f in out.iterdir() if f.name not in OWN}


if __name__ == "__main__":
    main()
