"""Slices side by side on a processor: each core predicts a slice of its own.

Cores that share a slice wait for each other at every layer, and a batch outgrows the caches."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
import torchvision  # noqa: F401  (ultralytics' suppression is faster where it has been imported)
from sahi.models.ultralytics import UltralyticsDetectionModel
from torch import Tensor
from ultralytics.data.augment import LetterBox
from ultralytics.utils import DEFAULT_CFG
from ultralytics.utils.nms import non_max_suppression
from ultralytics.utils.ops import scale_boxes

from openurine_lib.speed.processor import cores, use_cores


class ParallelDetectionModel(UltralyticsDetectionModel):
    """sahi's adapter for a network: of several slices each takes a core, a single one all."""

    batch = 16  # slices that sahi hands over at a time; memory holds one a core
    any_size = True  # ``image_size`` and ``max_det`` may change from call to call

    def __init__(
        self,
        model: Any,
        names: list[str],
        conf: float,
        imgsz: int,
        max_det: int,
        contrast: float = 0.0,
    ):
        """model: (1, 3, H, W) float32 in 0..1 -> (1, 4+nc, A), or a tuple that begins with it.

        contrast: to which a field is brought first, in grey levels; 0: it stays as it is.
        """
        self.max_det, self.contrast = max_det, contrast  # max_det: boxes a slice
        # each of the pool's threads computes on one core
        self.pool = ThreadPoolExecutor(cores(), "slices", torch.set_num_threads, (1,))
        mapping = {str(i): name for i, name in enumerate(names)}  # sahi's ids are strings
        settings: Any = {"confidence_threshold": conf, "image_size": imgsz, "device": "cpu"}
        super().__init__(model=model, category_mapping=mapping, **settings)

    def perform_batch_inference(self, images: list[np.ndarray]) -> None:
        """images: uint8 (H, W, 3) RGB."""
        use_cores()  # of this thread; a thread of the pool has set its own, and that of new ones
        # a single slice does not need the pool: all cores share it
        run = self.pool.map if len(images) > 1 else map
        self._original_predictions = list(run(self._boxes, images))
        self._original_shapes = [image.shape for image in images]
        use_cores()  # a new thread of the pool has changed torch's number

    @torch.inference_mode()
    def _boxes(self, image: np.ndarray) -> Tensor:
        """(N, 6): x1, y1, x2, y2 in the image's pixels, confidence, class."""
        # the longer side becomes image_size, the shorter is padded to a multiple of 32
        resized = LetterBox(self.image_size, auto=True, stride=32)(image=image)
        x = torch.from_numpy(resized).permute(2, 0, 1)[None].float().div_(255)  # (1, 3, H, W)
        limits = (self.confidence_threshold, DEFAULT_CFG.iou)  # IoU 0.7
        # a batch of one: the list of results has one tensor
        (boxes,) = non_max_suppression(self.model(x), *limits, max_det=self.max_det)
        boxes[:, :4] = scale_boxes(x.shape[2:], boxes[:, :4], image.shape)  # input -> slice
        return boxes
