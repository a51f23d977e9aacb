"""Slices side by side on a processor: each core predicts a slice of its own, from its pixels to its boxes.

Cores that share one slice wait for each other at every layer, and a batch of slices outgrows the caches; a slice a core
does neither, and gives the boxes of one slice at a time. Preprocessing, suppression and the boxes' way back to the
image are ultralytics' own functions; ``engines.ultralytics`` puts the trained network behind this door, and ``export``
an exported one.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
import torchvision  # noqa: F401  (ultralytics' suppression uses its kernel where it has been imported)
from sahi.models.ultralytics import UltralyticsDetectionModel
from torch import Tensor
from ultralytics.data.augment import LetterBox
from ultralytics.utils import DEFAULT_CFG
from ultralytics.utils.nms import non_max_suppression
from ultralytics.utils.ops import scale_boxes

from openurine_lib.inference import MAX_DETECTIONS
from openurine_lib.speed.processor import cores, use_cores


class SideBySide(UltralyticsDetectionModel):
    """sahi's door to ``model``, (1, 3, H, W) float32 in 0..1 -> (1, 4+nc, A) [or a tuple that begins with it].

    The model is called from several threads at once when sahi hands over several slices, each with one of torch's
    threads; with a single image it is called from the caller's thread, with all cores.
    """

    batch = (
        16  # slices that sahi hands over at a time; memory holds one a core and the boxes of all
    )

    def __init__(self, model: Callable[[Tensor], Any], names: list[str], conf: float, imgsz: int):
        self.pool = ThreadPoolExecutor(cores(), "slices", torch.set_num_threads, (1,))
        mapping = {str(i): name for i, name in enumerate(names)}
        super().__init__(
            model=model,
            confidence_threshold=conf,
            device="cpu",
            image_size=imgsz,
            category_mapping=mapping,
        )

    def perform_batch_inference(self, images: list[np.ndarray]) -> None:
        """images: uint8 (H, W, 3) RGB."""
        use_cores()  # of this thread; a thread of the pool has set its own, and with that what a new thread would get
        found = self.pool.map(self._boxes, images) if len(images) > 1 else map(self._boxes, images)
        self._original_predictions = list(found)
        self._original_shapes = [image.shape for image in images]
        use_cores()

    @torch.inference_mode()
    def _boxes(self, image: np.ndarray) -> Tensor:
        """(N, 6): x1, y1, x2, y2 in the image's pixels, confidence, class."""
        seen = LetterBox(self.image_size, auto=True, stride=32)(image=image)
        x = (
            torch.from_numpy(seen).permute(2, 0, 1)[None].float().div_(255)
        )  # (1, 3, H, W), channels last
        (boxes,) = non_max_suppression(
            self.model(x), self.confidence_threshold, DEFAULT_CFG.iou, max_det=MAX_DETECTIONS
        )
        boxes[:, :4] = scale_boxes(x.shape[2:], boxes[:, :4], image.shape)
        return boxes
