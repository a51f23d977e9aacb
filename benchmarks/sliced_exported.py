"""Sliced inference of an 1800 x 1800 field with an exported detector (see sliced.py).

Stock sahi on a stock ultralytics model, against this project with OpenVINO and with ONNX Runtime.
"""

import tempfile
from pathlib import Path

import pairs
import sliced

from openurine_lib.training.engines.exported import detector, export


def main() -> None:
    for arch, to, name in (
        ("yolo12m", "openvino", "sliced_exported"),
        ("yolo12n", "openvino", "sliced_exported_yolo12n"),
        ("yolo12n", "onnx", "sliced_exported_onnx_yolo12n"),
    ):
        with tempfile.TemporaryDirectory() as folder:
            exported = export(sliced.weights(arch, Path(folder)), to)
            ours = detector(exported, sliced.CONFIDENCE, "cpu", sliced.SLICE)
            stock = sliced.by_sahi(arch, Path(folder))
            against = f"stock sahi, {arch}, {sliced.AGAINST}; exported to {to}"
            pairs.compare(name, against, stock, sliced.by_us(ours))


if __name__ == "__main__":
    main()
