"""The sam engine: a YOLO11 whose boxes stand only where a segmentation finds a particle.

It serves Akhtar et al. 2025 ("YOLOv11-SAMNet"): detection by YOLO11, segmentation by the Segment
Anything Model. What the masks do to the boxes could not be read. The paper's Table 4 tells it
indirectly: beside YOLO11-medium the precision is 8 points higher, while both mAPs are equal within
0.1 point. New corners would move the mAPs; fewer boxes move the precision. So a detected box is the
prompt here, and it stands as it was, or goes if its mask is empty or lies elsewhere.

Who has SAM's weights names the file in ``OPENURINE_SAM`` (``sam_b.pt``, ``mobile_sam.pt``, ...)
before the training. Without them nothing is removed, and the row is its detector: GrabCut in SAM's
place found nothing in many transparent particles, and cost 10 points of mAP50 (docs/measured.md).
The weights file says which it was.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sahi.models.base import DetectionModel
from torch import nn
from torchvision.ops import box_iou

from openurine_lib.data.boxes import XYXY
from openurine_lib.files import atomic_path, digest_of_file
from openurine_lib.inference import predict_image
from openurine_lib.training.engines import sahi_adapter, ultralytics
from openurine_lib.training.engines.composed import BoxDetector, as_file, stock, train_part
from openurine_lib.training.job import TrainJob
from openurine_lib.training.weights import WeightsError, read_weights, save

SUFFIX = "-sam"  # yolo11m-sam is yolo11m with boxes that a segmentation confirms
PROMPT_CONF = 0.25  # as ultralytics shows boxes; a mask for each box below would cost too much
AGREE = 0.5  # intersection over union of the detected box and the mask's bounding box
NO_SAM = "none"

#: Image uint8 (H, W, 3) RGB and boxes (N, 4) xyxy -> bounding boxes (N, 4) of what is in them;
#: NaN where nothing is.
Segmenter = Callable[[np.ndarray, np.ndarray], np.ndarray]


def build(arch: str, n_classes: int, imgsz: int) -> nn.Module:
    """The untrained network without its segmentation, called with a list of images (3, H, W)."""
    return stock(arch.removesuffix(SUFFIX), n_classes)


def fit(job: TrainJob) -> Path:
    """Trains the detector in a folder; WeightsError if ``OPENURINE_SAM`` names no tensors."""
    segmenter = _segmenter_id()
    part = train_part(job, "detector", "ultralytics", job.arch.removesuffix(SUFFIX))
    with atomic_path(job.dir / "log.csv") as temporary:
        shutil.copyfile(part.with_name("log.csv"), temporary)
    content = read_weights(part, "ultralytics")
    meta = content["meta"] | {"engine": "sam", "arch": job.arch, "segmenter": segmenter}
    save({"state_dict": content["state_dict"], "meta": meta}, job.dir / "weights.pt")
    return job.dir / "weights.pt"


def _segmenter_id() -> str:
    """NO_SAM, or the name and digest of SAM's weights."""
    path = os.environ.get("OPENURINE_SAM")
    if not path:
        return NO_SAM
    try:  # before ultralytics opens it, which would run the code in a pickle
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(
            f"OPENURINE_SAM={path} is no weights file of tensors only: {error}"
        ) from error
    return f"{Path(path).name} {digest_of_file(path, 12)}"


def sam(path: str, device: str) -> Segmenter:
    """SAM as a ``Segmenter``; ``path``: tensors, in a file whose name ultralytics knows."""
    from ultralytics import SAM

    model = SAM(path)

    def segment(image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        out = np.full((len(boxes), 4), np.nan)
        bgr = image[..., ::-1]  # ultralytics takes BGR
        found = model(bgr, bboxes=boxes.tolist(), device=device, verbose=False)[0].boxes
        if found is not None:
            # the masks' bounding boxes; their "class" is the number of the prompt
            out[found.cls.cpu().numpy().astype(int)] = found.xyxy.cpu().numpy()
        return out

    return segment


def confirmed(seen: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Which of ``boxes`` (N, 4) xyxy have a mask: bool (N,). ``seen`` (N, 4): a ``Segmenter``'s."""
    overlap = box_iou(torch.from_numpy(seen), torch.from_numpy(boxes)).diagonal().numpy()  # (N,)
    # a comparison with NaN is false, so a box in which nothing was found is not confirmed
    return overlap >= AGREE


class Segmented(BoxDetector):
    """A detector's boxes, without those in which no particle is segmented."""

    prompter: DetectionModel
    segment: Segmenter | None = None  # None: all boxes stand

    def boxes(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See ``BoxDetector``. Boxes that are too unsure for a prompt stand."""
        found = predict_image(self.prompter, image, None)
        xyxy = found[XYXY].to_numpy(float)
        prompts = found.conf.to_numpy() >= PROMPT_CONF
        stands = ~prompts
        if self.segment is None:
            stands[:] = True
        elif prompts.any():
            stands[prompts] = confirmed(self.segment(image, xyxy[prompts]), xyxy[prompts])
        return xyxy[stands], found.conf.to_numpy()[stands], found.cls.to_numpy()[stands]


def detector(weights: Path, conf: float, device: str, imgsz: int) -> Segmented:
    """The trained detector with its segmentation.

    Raises WeightsError for a file made for SAM weights that ``OPENURINE_SAM`` does not name."""
    content = read_weights(weights, "sam")
    meta = content["meta"]
    wanted = meta["segmenter"]
    if wanted not in (_segmenter_id(), NO_SAM):
        raise WeightsError(
            f"{weights} was made for SAM's {wanted}; name that file in OPENURINE_SAM"
        )
    # for the ultralytics engine, these are weights of its own
    inner = {"engine": "ultralytics", "arch": meta["arch"].removesuffix(SUFFIX)}
    with as_file({"state_dict": content["state_dict"], "meta": meta | inner}) as path:
        prompter = ultralytics.detector(path, conf, device, imgsz)
    found = sahi_adapter(Segmented, prompter.model, meta["classes"], conf, device, imgsz)
    found.prompter = prompter
    if wanted != NO_SAM:
        found.segment = sam(os.environ["OPENURINE_SAM"], device)
    return found
