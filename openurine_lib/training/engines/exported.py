"""Exported detectors: a trained one as a network file for OpenVINO or ONNX Runtime, behind the same door as in torch.

For laboratories that predict often on a processor. An export is a folder beside the weights, ``weights_openvino`` or
``weights_onnx``, with the network and an ``export.json`` that says of which weights it is and what its classes are. It
holds tensors and text only.

The network takes any image size that is a multiple of 32, so that fields and slices are shown to it as they are to the
network in torch, and gives boxes before suppression; suppression stays ultralytics'.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import secrets
import shutil
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sahi.models.base import DetectionModel
from ultralytics.nn.modules.head import Detect

from openurine_lib import files
from openurine_lib.files import digest
from openurine_lib.speed.parallel import SideBySide
from openurine_lib.speed.processor import cores, cpu_bf16
from openurine_lib.training.engines import MissingPackage
from openurine_lib.training.engines.ultralytics import load_model
from openurine_lib.training.weights import DETECTOR, WeightsError, read_weights

FORMAT = 1  # of the folder; another one is refused
META = "export.json"
FILES = {"openvino": ("network.xml", "network.bin"), "onnx": ("network.onnx",)}
RUNTIME = {"openvino": "openvino", "onnx": "onnxruntime"}


def export(weights: Path, to: str, imgsz: int | None = None) -> Path:
    """Writes the detector beside its weights for another runtime. Returns the folder, e.g. ``weights_openvino``.

    Args:
        weights: a ``weights.pt`` of the ultralytics engine, of one head or several.
        to: ``openvino`` or ``onnx``.
        imgsz: pixels that images are brought to when this export predicts; that of the training unless given.

    Raises:
        WeightsError: not such weights; a transformer (RT-DETR), which has its own preprocessing, or another engine.
        MissingPackage: see ``pip install 'openurine_lib[export]'``.
        ValueError: no such runtime, or ``imgsz`` is not a multiple of 32.
    """
    weights = Path(weights)
    if to not in FILES:
        raise ValueError(f"no export to {to!r}; there are {', '.join(FILES)}")
    meta = read_weights(weights)["meta"]
    if meta["engine"] != "ultralytics" or meta["arch"].startswith("rtdetr"):
        raise WeightsError(
            f"{weights} is a {meta['arch']} of the {meta['engine']} engine: only YOLO is exported"
        )
    imgsz = meta["imgsz"] if imgsz is None else imgsz
    if imgsz < 32 or imgsz % 32:
        raise ValueError(f"image size {imgsz}: give a multiple of 32")
    _need("onnx", RUNTIME[to])
    out = weights.with_name(f"{weights.stem}_{to}")
    temporary = out.with_name(f".{out.name}.{secrets.token_hex(4)}")
    temporary.mkdir()
    try:
        _write(load_model(weights), to, temporary)
        files.write_json(temporary / META, {k: meta[k] for k in DETECTOR} | {
            "format": FORMAT, "to": to, "imgsz": imgsz, "weights": weights.name, "weights_sha256": digest(weights),
            "files": {name: digest(temporary / name) for name in FILES[to]},
        })  # fmt: skip
        if out.exists():  # a folder cannot take another's place in one step
            os.replace(out, old := temporary.with_name(temporary.name + ".old"))
            os.replace(temporary, out)
            shutil.rmtree(old)
        else:
            os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return out


def read_meta(exported: Path) -> dict[str, Any]:
    """What an export says of itself: classes, heads, imgsz, sha256 of the weights.

    Raises:
        WeightsError: not an export of this project, one of an older version, one that is damaged, or one of weights
            that have been trained anew since.
    """
    exported = Path(exported)
    again = "; export the weights again: openurine export weights.pt --to openvino"
    try:
        meta = json.loads((exported / META).read_text(encoding="utf-8"))
        version, files, weights = meta["format"], meta["files"], exported.with_name(meta["weights"])
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise WeightsError(
            f"{exported} is not an exported detector of this project (no readable {META}){again}"
        ) from e
    if version != FORMAT or set(files) != set(FILES.get(meta["to"], ())):
        raise WeightsError(f"{exported} was exported by another version of this project{again}")
    for name, known in files.items():
        if not (exported / name).is_file() or digest(exported / name) != known:
            raise WeightsError(f"{exported / name} is missing or damaged{again}")
    if weights.is_file() and digest(weights) != meta["weights_sha256"]:
        raise WeightsError(f"{exported} is older than {weights}, which was trained anew{again}")
    return meta


def detector(
    exported: Path, conf: float, device: str, imgsz: int, exact: bool = False
) -> DetectionModel:
    """The exported detector behind sahi's door, like an engine's ``detector``; it runs on the processor.

    OpenVINO runs in bfloat16 where the processor has units for it, unless ``exact``; ONNX Runtime in float32.
    ``imgsz``: pixels that images or slices are brought to. ``device`` is there for the engines' sake.

    Raises:
        WeightsError, MissingPackage: see ``read_meta`` and ``export``.
    """
    meta = read_meta(exported)
    _need(RUNTIME[meta["to"]])
    run = (
        _openvino(Path(exported), exact)
        if meta["to"] == "openvino"
        else _onnxruntime(Path(exported))
    )
    return SideBySide(_Exported(run, meta, exact), meta["classes"], conf, imgsz)


class _Exported(torch.nn.Module):
    """The runtime in the place of the network; its state tells one export from another, as weights do."""

    def __init__(
        self, run: Callable[[np.ndarray, int], np.ndarray], meta: dict[str, Any], exact: bool
    ):
        super().__init__()
        self.run = run
        digests = [meta["weights_sha256"], *meta["files"].values()]
        self.register_buffer(
            "digests", torch.tensor([exact, *bytes.fromhex("".join(digests))], dtype=torch.uint8)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(1, 3, H, W) -> (1, 4+nc, A), with as many threads as torch would take here."""
        return torch.from_numpy(self.run(x.contiguous().numpy(), torch.get_num_threads()))


def _write(model: torch.nn.Module, to: str, folder: Path) -> None:
    model = model.fuse(verbose=False)  # type: ignore[operator]
    for module in model.modules():
        if isinstance(module, Detect):
            module.export, module.dynamic, module.format = True, True, "onnx"
    file = folder / "network.onnx"
    sides = {2: "height", 3: "width"}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter(
            "ignore"
        )  # the exporter by tracing is on its way out; the new one needs another package
        torch.onnx.export(
            model, (torch.zeros(1, 3, 96, 128),), file, dynamo=False, input_names=["image"], output_names=["boxes"],
            dynamic_axes={"image": sides, "boxes": {2: "anchors"}},
        )  # fmt: skip
    if to == "openvino":
        ov = _import_openvino()
        ov.save_model(ov.Core().read_model(file), folder / "network.xml", compress_to_fp16=False)
        file.unlink()


def _openvino(folder: Path, exact: bool) -> Callable[[np.ndarray, int], np.ndarray]:
    ov = _import_openvino()
    core = ov.Core()
    network = core.read_model(folder / "network.xml")
    lock = threading.Lock()

    @functools.lru_cache(
        maxsize=4
    )  # fields of one set have one or two sizes, and their slices another
    def compiled(shape: tuple[int, ...], threads: int) -> Any:
        fixed = network.clone()
        fixed.reshape(list(shape))  # a fixed size is twice as fast as an open one
        return core.compile_model(fixed, "CPU", {
            "INFERENCE_PRECISION_HINT": "bf16" if cpu_bf16() and not exact else "f32",
            "INFERENCE_NUM_THREADS": cores(), "NUM_STREAMS": max(cores() // threads, 1),
        })  # fmt: skip

    def run(x: np.ndarray, threads: int) -> np.ndarray:
        with lock:
            request = compiled(x.shape, threads).create_infer_request()
        return request.infer([x], share_inputs=True)[
            0
        ]  # waits here, not in OpenVINO's own queue, which may hang

    return run


def _onnxruntime(folder: Path) -> Callable[[np.ndarray, int], np.ndarray]:
    import onnxruntime

    lock = threading.Lock()

    @functools.cache
    def session(threads: int) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return onnxruntime.InferenceSession(
            folder / "network.onnx", options, providers=["CPUExecutionProvider"]
        )

    def run(x: np.ndarray, threads: int) -> np.ndarray:
        with lock:
            ready = session(threads)
        return ready.run(None, {"image": x})[0]

    return run


def _import_openvino() -> Any:
    """OpenVINO without its telemetry, which would open a connection when it is imported, and ready for threads.

    The first call that needs numpy's types looks for numpy; of two threads that make it at once, each holds a lock that
    the other waits for. So it is made here.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    openvino = importlib.import_module("openvino")
    openvino.Type.f32.to_dtype()
    return openvino


def _need(*packages: str) -> None:
    for package in packages:
        try:
            _import_openvino() if package == "openvino" else importlib.import_module(package)
        except ImportError as e:
            raise MissingPackage(
                f"{package} is not installed; pip install 'openurine_lib[export]'"
            ) from e
