"""Files: written whole or not at all, and the package's own settings."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

# The names that ``atomic_path`` gives to what it has not finished: of the file ``(1)(2)``.
TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}(\.\w+)?")
CONFIG = Path(__file__).resolve().parent / "config"


def read_config(name: str) -> Any:
    """Content of a YAML file in ``synthurine/config``."""
    return yaml.safe_load((CONFIG / name).read_text(encoding="utf-8"))


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``, with the same suffix.

    On success the temporary file replaces ``path``; on failure it is removed and ``path`` stays.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file atomically, with a newline at its end."""
    with atomic_path(path) as temporary:
        temporary.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


def write_json(path: str | Path, content: Any) -> None:
    """Writes a JSON file atomically. Paths become text, numpy scalars become numbers."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, default=plain))


def plain(value: Any) -> Any:
    """What JSON can hold: a numpy scalar as a number, anything else as text."""
    return value.item() if hasattr(value, "item") else str(value)
