"""The sam engine: a YOLO11 whose boxes are drawn anew around a segmentation (Akhtar et al. 2025, "YOLOv11-SAMNet").

Detection by YOLO11, segmentation by the Segment Anything Model; what the masks do to the boxes could not be read. The
reading: a detected box is the prompt, and the mask's bounding box takes its place unless the two disagree.

SAM's weights cannot be drawn at random as a detector's can. Whoever has them names the file in ``OPENURINE_SAM``
(``sam_b.pt``, ``mobile_sam.pt``, ``sam2_t.pt``, ...) before the training; otherwise GrabCut, which a box prompts too
(https://doi.org/10.1145/1015706.1015720), stands for it. The weights file says which of the two it was made for.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from sahi.models.base import DetectionModel
from torch import nn
from torchvision.ops import box_iou

from openurine_lib.files import atomic_path, digest
from openurine_lib.inference import predict_image
from openurine_lib.training.engines import ultralytics
from openurine_lib.training.engines.composed import BoxDetector, as_file, stock, train_part
from openurine_lib.training.job import TrainJob
from openurine_lib.training.weights import WeightsError, read_weights, save

SUFFIX = "-sam"  # yolo11m-sam is yolo11m with segmented boxes
PROMPT_CONF = 0.25  # ultralytics' for boxes that are shown; one below it is left as it is: each would cost a mask
AGREE = 0.5  # intersection over union of the detected box and the mask's
MARGIN = 0.25  # of the box's sides, around it: what GrabCut takes for background
SIDE = 96  # pixels, to which GrabCut's window is brought: its time goes with the area, and a hundredth is fine enough
STANDS_FOR_SAM = "grabcut"

#: Image uint8 (H, W, 3) RGB and boxes (N, 4) xyxy -> bounding boxes (N, 4) of what is in them; NaN where nothing is.
Segmenter = Callable[[np.ndarray, np.ndarray], np.ndarray]


def build(arch: str, n_classes: int, imgsz: int) -> nn.Module:
    """The untrained network without its segmentation, called with a list of images (3, H, W)."""
    return stock(arch.removesuffix(SUFFIX), n_classes)


def fit(job: TrainJob) -> Path:
    """Trains the detector in ``job.dir / "detector"``; returns ``job.dir / "weights.pt"``.

    Raises:
        WeightsError: ``OPENURINE_SAM`` names no file of tensors.
    """
    segmenter = _segmenter_id()
    part = train_part(job, "detector", "ultralytics", job.arch.removesuffix(SUFFIX))
    with atomic_path(job.dir / "log.csv") as temporary:
        shutil.copyfile(part.parent / "log.csv", temporary)
    content = read_weights(part, "ultralytics")
    meta = content["meta"] | {"engine": "sam", "arch": job.arch, "segmenter": segmenter}
    save({"state_dict": content["state_dict"], "meta": meta}, job.dir / "weights.pt")
    return job.dir / "weights.pt"


def _segmenter_id() -> str:
    """``grabcut``, or the name and digest of SAM's weights."""
    if not (path := os.environ.get("OPENURINE_SAM")):
        return STANDS_FOR_SAM
    try:
        torch.load(
            path, map_location="cpu", weights_only=True
        )  # ultralytics would run the code in a pickle
    except Exception as error:
        raise WeightsError(
            f"OPENURINE_SAM={path} is no weights file of tensors only: {error}"
        ) from error
    return f"{Path(path).name} {digest(Path(path))[:12]}"


def grabcut(image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """A ``Segmenter``: the particle in each box, from the colours inside and around it."""
    height, width = image.shape[:2]
    out = np.full((len(boxes), 4), np.nan)
    for i, (x1, y1, x2, y2) in enumerate(boxes):
        dx, dy = MARGIN * (x2 - x1) + 2, MARGIN * (y2 - y1) + 2
        left, top = max(0, int(x1 - dx)), max(0, int(y1 - dy))
        window = image[top : min(height, int(y2 + dy) + 1), left : min(width, int(x2 + dx) + 1)]
        scale = min(1.0, SIDE / max(window.shape[:2]))
        size = [max(1, round(side * scale)) for side in window.shape[1::-1]]
        window = cv2.resize(window, size, interpolation=cv2.INTER_AREA)
        labels = np.full(window.shape[:2], cv2.GC_BGD, np.uint8)
        # half of the margin is open: the particle may be larger than its box
        first = np.array([y1 - dy / 2 - top, x1 - dx / 2 - left]).clip(0) * scale
        last = np.array([y2 + dy / 2 - top, x2 + dx / 2 - left]) * scale
        labels[int(first[0]) : int(last[0]) + 1, int(first[1]) : int(last[1]) + 1] = cv2.GC_PR_FGD
        if (labels == cv2.GC_BGD).any():
            colours = np.zeros((2, 1, 65))
            cv2.setRNGSeed(0)  # its colour clusters start at random
            cv2.grabCut(window, labels, None, *colours, 3, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
            ys, xs = np.nonzero(labels == cv2.GC_PR_FGD)
            if len(xs):
                corners = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) / scale
                out[i] = corners + (left, top, left, top)
    return out


def sam(path: str, device: str) -> Segmenter:
    """SAM as a ``Segmenter``; ``path``: tensors in a file that ultralytics knows by its name (``mobile_sam.pt``)."""
    from ultralytics import SAM

    model = SAM(path)

    def segment(image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        out = np.full((len(boxes), 4), np.nan)
        found = model(image[..., ::-1], bboxes=boxes.tolist(), device=device, verbose=False)[
            0
        ].boxes
        if (
            found is not None
        ):  # the masks' bounding boxes; their "class" is the number of the prompt
            out[found.cls.cpu().numpy().astype(int)] = found.xyxy.cpu().numpy()
        return out

    return segment


def agreed(drawn: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """``drawn`` (N, 4) xyxy; where one has little to do with its box of ``boxes`` (N, 4), or is NaN, that box."""
    overlap = box_iou(torch.from_numpy(drawn), torch.from_numpy(boxes)).diagonal().numpy()
    return np.where((overlap >= AGREE)[:, None], drawn, boxes)


class Segmented(BoxDetector):
    """A detector's boxes, drawn anew around what is segmented in them."""

    door: DetectionModel
    segment: Segmenter

    def boxes(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See ``BoxDetector``."""
        found = predict_image(self.door, image, None)
        xyxy = found[["x1", "y1", "x2", "y2"]].to_numpy(float)
        prompts = found.conf.to_numpy() >= PROMPT_CONF
        if prompts.any():
            xyxy[prompts] = agreed(self.segment(image, xyxy[prompts]), xyxy[prompts])
        return xyxy, found.conf.to_numpy(), found.cls.to_numpy()


def detector(weights: Path, conf: float, device: str, imgsz: int) -> Segmented:
    """The trained detector with its segmentation; ``imgsz``: the size (pixels) that images or slices are brought to.

    Raises WeightsError for a file of another engine, or one made for SAM weights that ``OPENURINE_SAM`` does not name.
    """
    content = read_weights(weights, "sam")
    wanted, here = content["meta"]["segmenter"], _segmenter_id()
    if wanted not in (here, STANDS_FOR_SAM):
        raise WeightsError(
            f"{weights} was made for SAM's {wanted}; name that file in OPENURINE_SAM"
        )
    meta = content["meta"] | {
        "engine": "ultralytics",
        "arch": content["meta"]["arch"].removesuffix(SUFFIX),
    }
    with as_file({"state_dict": content["state_dict"], "meta": meta}) as path:
        door = ultralytics.detector(path, conf, device, imgsz)
    found = Segmented(
        model=door.model.model,  # type: ignore[attr-defined]
        confidence_threshold=conf,
        device=device,
        image_size=imgsz,
        category_mapping=door.category_mapping,
    )
    found.door = door
    found.segment = (
        grabcut if wanted == STANDS_FOR_SAM else sam(os.environ["OPENURINE_SAM"], device)
    )
    return found
