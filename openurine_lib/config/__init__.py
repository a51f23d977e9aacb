"""The data files: methods, profiles, published numbers, taxonomies, cut-offs, claims, checks."""

from __future__ import annotations

import copy
import functools
from importlib import resources
from typing import Any

import yaml

CONFIG = resources.files("openurine_lib") / "config"


def read_config(name: str) -> dict[str, Any]:
    """A file of ``openurine_lib/config`` as a dict, which is the caller's own."""
    return copy.deepcopy(_parsed(name))


@functools.cache  # a notebook asks hundreds of times, and YAML is slow to read
def _parsed(name: str) -> dict[str, Any]:
    return yaml.safe_load((CONFIG / name).read_text(encoding="utf-8"))
