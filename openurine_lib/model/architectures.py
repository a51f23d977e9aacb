"""Which architectures there are, by name: those that the installed ultralytics brings, and a few in
``config/architectures``, which are written as the library's are.

A weights file tells its architecture, and may come from anywhere. ultralytics takes such a name for
a path, looks for it in the current folder first, and evaluates expressions of what it finds there.
So a name is looked up in a list here, and the library is given the content, never a path.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import ultralytics
import yaml
from ultralytics.nn.tasks import guess_model_scale

from openurine_lib import config

FOLDER = Path(ultralytics.__file__).resolve().parent / "cfg" / "models"
OWN = Path(config.__file__).resolve().parent / "architectures"


class UnknownArchitecture(ValueError):
    """A name that the installed ultralytics has no detector for."""


@functools.cache
def _files() -> dict[str, Path]:
    """Name of a file, without its suffix -> the file."""
    return {file.stem: file for file in (*FOLDER.glob("*/*.yaml"), *OWN.glob("*.yaml"))}


def network_of(arch: str) -> dict[str, Any]:
    """Layers and scale of an architecture, as ultralytics' models take them.

    arch: the name of a file (``rtdetr-l``, ``yolov9m``), perhaps with the letter of
    a scale (``yolo12m`` is scale m of ``yolo12``). Raises UnknownArchitecture for anything else.
    """
    files = _files()
    # the letter behind the version: yolov8n-p2 is scale n of yolov8-p2
    family = re.sub(r"(\d+)[nslmx]", r"\1", str(arch), count=1)
    file = files.get(str(arch)) or files.get(family)
    if file is None:
        raise UnknownArchitecture(f"no architecture {arch!r} in the installed ultralytics")
    network: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    # the name goes into messages only
    return network | {"scale": guess_model_scale(arch), "yaml_file": f"{arch}.yaml"}
