"""The project's folder, files written whole or not at all, digests, and seeds."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from synthurine.files import TEMPORARY, atomic_path, plain, write_json, write_text

__all__ = ["PACKAGE", "plain", "atomic_path", "digest", "digest_of_file", "epoch_seed", "root"]
__all__ += ["digest_once", "discard", "is_sealed", "seal", "write_json", "write_text"]
__all__ += ["TEMPORARY", "clear_unfinished"]

PACKAGE = Path(__file__).resolve().parent


def root() -> Path:
    """The project folder: ``OPENURINE_ROOT``, else the nearest parent that holds ``notebooks/``.

    It is the working directory where neither is there.
    """
    if "OPENURINE_ROOT" in os.environ:
        return Path(os.environ["OPENURINE_ROOT"]).resolve()
    place = Path.cwd().resolve()
    return next((p for p in (place, *place.parents) if (p / "notebooks").is_dir()), place)


def digest(*parts: Any, length: int = 12) -> str:
    """The first ``length`` (at most 64) hexadecimal digits of the SHA-256 of all parts, in order.

    Text and bytes count as they are, so ``digest(content, length=64)`` is what ``sha256sum`` prints
    for a file of that content. Anything else counts as its JSON.
    """
    return hashlib.sha256(b"\0".join(map(_as_bytes, parts))).hexdigest()[:length]


def _as_bytes(part: Any) -> bytes:
    if isinstance(part, bytes):
        return part
    text = part if isinstance(part, str) else json.dumps(part, sort_keys=True, default=str)
    return text.encode()


def digest_of_file(path: str | Path, length: int = 64) -> str:
    """The first ``length`` digits of a file's SHA-256. FileNotFoundError if it is not there."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:length]


def digest_once(path: str | Path, length: int = 64) -> str:
    """The same, but read again within a process only if the file has another size or time."""
    state = Path(path).stat()
    return _digest_of_state(str(path), state.st_ino, state.st_size, state.st_mtime_ns)[:length]


@functools.cache
def _digest_of_state(path: str, *state: int) -> str:
    return digest_of_file(path)


def clear_unfinished(folder: Path, names: Collection[str]) -> None:
    """Removes what a killed process left of files of these names, which it wrote by
    ``atomic_path``. Nobody else may write to the folder meanwhile."""
    for path in folder.glob(".*"):
        parts = TEMPORARY.fullmatch(path.name)
        if parts and parts[1] + (parts[2] or "") in names:
            path.unlink()


def seal(path: Path) -> None:
    """Writes the file's digest beside it, as ``sha256sum`` does: a later call knows it is whole."""
    write_text(_seal_of(path), f"{digest_of_file(path)}  {path.name}")


def is_sealed(path: Path) -> bool:
    """Whether the file is there, and is what was sealed."""
    if not (path.is_file() and _seal_of(path).is_file()):
        return False
    return _seal_of(path).read_text(encoding="utf-8").split()[:1] == [digest_of_file(path)]


def discard(path: Path) -> None:
    """Removes a file that is not as it was sealed, if it is there, and says so."""
    if path.exists():
        print(f"{path} is not whole, or its digest is missing: it is made anew", flush=True)
        path.unlink()
    _seal_of(path).unlink(missing_ok=True)


def _seal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """The seed of one epoch, so that a resumed training draws what an undisturbed one would.

    ``rank``: the number of the process where several train together; each draws its own.
    """
    # Two primes keep neighbouring seeds, epochs and ranks from meeting.
    return (seed * 1_000_003 + epoch + 7919 * rank) % 2**32
