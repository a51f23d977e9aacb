"""Exported detectors: a trained one as a network file for OpenVINO or ONNX Runtime.

They serve laboratories that predict often on a processor. An export is a folder beside the weights,
``weights_openvino`` or ``weights_onnx``: the network, and an ``export.json`` that says of which
weights it is and what its classes are. The network takes any image size that is a multiple of 32,
and gives boxes before suppression; suppression stays ultralytics'.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import shutil
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sahi.models.base import DetectionModel
from ultralytics.nn.modules.head import Detect

from openurine_lib import default_weights
from openurine_lib.files import digest_of_file, write_json
from openurine_lib.inference import MAX_DETECTIONS
from openurine_lib.speed.parallel import ParallelDetectionModel
from openurine_lib.speed.processor import cores, cpu_bf16
from openurine_lib.training.engines import MissingPackage
from openurine_lib.training.engines.ultralytics import load_model
from openurine_lib.training.weights import DETECTOR, WeightsError, read_weights

FORMAT = 1  # of the folder; another one is refused
META = "export.json"
TOLD = ("synthetic", "taxonomy_entry", "contrast")  # of the weights, where they know it
FILES = {"openvino": ("network.xml", "network.bin"), "onnx": ("network.onnx",)}
RUNTIME = {"openvino": "openvino", "onnx": "onnxruntime"}
AGAIN = "export the weights again: openurine export weights.pt --to openvino"

#: A batch (1, 3, H, W) and the number of threads -> (1, 4+nc, A).
Run = Callable[[np.ndarray, int], np.ndarray]


def export(weights: Path, to: str, imgsz: int | None = None) -> Path:
    """Writes the detector beside its weights ``to`` openvino or onnx. Returns the folder.

    imgsz: pixels that images are brought to in prediction; if not given, the training's.

    Raises:
        WeightsError: no such weights; another engine, or RT-DETR, which has its own preprocessing.
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
    _need("onnx", RUNTIME[to])  # before anything is written
    out = weights.with_name(f"{weights.stem}_{to}")
    # beside ``out``, so on the same disk: a rename can then put it in place at once
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
        folder = Path(temporary) / "new"
        folder.mkdir()
        _write(load_model(weights), to, folder)
        files = {name: digest_of_file(folder / name) for name in FILES[to]}
        told = {name: meta[name] for name in (*DETECTOR, *TOLD) if name in meta}
        if (
            record := weights.with_name(default_weights.RECORD)
        ).is_file():  # what the detector is known to find
            shutil.copyfile(record, folder / default_weights.RECORD)
        write_json(folder / META, told | {
            "format": FORMAT, "to": to, "imgsz": imgsz, "files": files,
            "weights": weights.name, "weights_sha256": digest_of_file(weights),
        })  # fmt: skip
        if out.exists():  # a folder cannot take another's place in one step
            os.replace(out, Path(temporary) / "old")
        os.replace(folder, out)
    return out


def _write(model: torch.nn.Module, to: str, folder: Path) -> None:
    """Writes the network, fused and with its decoding of boxes, for any size of image."""
    model = model.fuse(verbose=False)  # type: ignore[operator]
    for module in model.modules():
        if isinstance(module, Detect):
            module.export = True
            module.dynamic = True  # grids for every size of image
            module.format = "onnx"  # one output, and no special case of another runtime
    file = folder / "network.onnx"
    axes = {"image": {2: "height", 3: "width"}, "boxes": {2: "anchors"}}  # axes of open length
    with warnings.catch_warnings(), torch.no_grad():
        # the exporter by tracing is on its way out; the new one needs another package
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (torch.zeros(1, 3, 96, 128),), file, dynamo=False, dynamic_axes=axes,
            input_names=["image"], output_names=["boxes"],
        )  # fmt: skip
    if to == "openvino":
        ov = _import_openvino()
        # float32, as trained: OpenVINO itself rounds to bfloat16 where it computes in it
        ov.save_model(ov.Core().read_model(file), folder / "network.xml", compress_to_fp16=False)
        file.unlink()  # only a step on the way


def read_meta(exported: Path) -> dict[str, Any]:
    """What an export says of itself: classes, heads, imgsz, sha256 of the weights.

    Raises WeightsError for what is no export of this project, or one of another version, a damaged
    one, or one of weights that have been trained anew since.
    """
    exported = Path(exported)
    try:
        meta = json.loads((exported / META).read_text(encoding="utf-8"))
        version, digests = meta["format"], meta["files"]
        weights = exported.with_name(meta["weights"])
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise WeightsError(
            f"{exported} is not an exported detector of this project (no readable {META}); {AGAIN}"
        ) from e
    if version != FORMAT or set(digests) != set(FILES.get(meta["to"], ())):
        raise WeightsError(f"{exported} was exported by another version of this project; {AGAIN}")
    # a file cut off by a full disk could still open, and find other boxes
    for name, digest in digests.items():
        if not (exported / name).is_file() or digest_of_file(exported / name) != digest:
            raise WeightsError(f"{exported / name} is missing or damaged; {AGAIN}")
    if weights.is_file() and digest_of_file(weights) != meta["weights_sha256"]:
        raise WeightsError(f"{exported} is older than {weights}, which was trained anew; {AGAIN}")
    return meta


def detector(
    exported: Path, conf: float, device: str, imgsz: int, exact: bool = False
) -> DetectionModel:
    """The exported detector as sahi calls it, like an engine's; it runs on the processor.

    OpenVINO runs in bfloat16 where the processor has units for it, unless ``exact``; ONNX Runtime
    in float32. Errors: see ``read_meta``, ``export``.
    """
    meta = read_meta(exported)
    _need(RUNTIME[meta["to"]])
    folder = Path(exported)
    run = _openvino(folder, exact) if meta["to"] == "openvino" else _onnxruntime(folder)
    network = _Exported(run, meta, exact)
    contrast = meta.get("contrast", 0.0)
    return ParallelDetectionModel(network, meta["classes"], conf, imgsz, MAX_DETECTIONS, contrast)


class _Exported(torch.nn.Module):
    """The runtime in the place of the network."""

    def __init__(self, run: Run, meta: dict[str, Any], exact: bool):
        super().__init__()
        self.run = run
        # its state tells one export from another, as the weights of a network do
        digests = "".join([meta["weights_sha256"], *meta["files"].values()])
        state = torch.tensor([exact, *bytes.fromhex(digests)], dtype=torch.uint8)
        self.register_buffer("digests", state)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(1, 3, H, W) -> (1, 4+nc, A), with as many threads as torch would take."""
        return torch.from_numpy(self.run(x.contiguous().numpy(), torch.get_num_threads()))


def _openvino(folder: Path, exact: bool) -> Run:
    core = _import_openvino().Core()
    network = core.read_model(folder / "network.xml")
    precision = "bf16" if cpu_bf16() and not exact else "f32"
    lock = threading.Lock()  # the first thread compiles, the others wait

    # fields of one set have one or two sizes, and their slices another
    @functools.lru_cache(maxsize=4)
    def compiled(shape: tuple[int, ...], threads: int) -> Any:
        fixed = network.clone()  # reshape changes a network in place
        fixed.reshape(list(shape))  # a fixed size is twice as fast as an open one
        return core.compile_model(fixed, "CPU", {
            "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": cores(),
            # as many slices at once as the cores allow
            "NUM_STREAMS": max(cores() // threads, 1),
        })  # fmt: skip

    def run(x: np.ndarray, threads: int) -> np.ndarray:
        with lock:
            request = compiled(x.shape, threads).create_infer_request()
        # waits here, not in OpenVINO's own queue, which may hang
        return request.infer([x], share_inputs=True)[0]

    return run


def _onnxruntime(folder: Path) -> Run:
    import onnxruntime

    lock = threading.Lock()

    @functools.cache
    def session(threads: int) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # threads that wait sleep: other slices need their cores
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        file = folder / "network.onnx"
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def run(x: np.ndarray, threads: int) -> np.ndarray:
        with lock:
            ready = session(threads)
        return ready.run(None, {"image": x})[0]  # (1, 4 + nc, A)

    return run


def _import_openvino() -> Any:
    """OpenVINO without its telemetry, which would open a connection when it is imported."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    openvino = importlib.import_module("openvino")
    # its first call that needs numpy's types looks for numpy; of two threads that make it at once,
    # each would hold a lock that the other waits for
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
