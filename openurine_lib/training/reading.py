"""Fields of a pretraining, read ahead of the steps that need them, in bounded memory.

A pool of unlabelled fields has no limit: the paper's 5,640, at twice the detector's input, are
60 GB. So no more is held than a cache of fixed size and the batches that come next. Which field
is shown when is decided by the caller; reading has no part in chance, and the size of the cache
changes no digit of a result.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import cv2
import numpy as np
import torch
from torch import Tensor

from openurine_lib.data.images import read_rgb
from openurine_lib.speed.processor import cores

CACHE = 3 << 30  # bytes; with the network and a batch, a pretraining stays below 4 GiB
AHEAD = 2  # batches that are read while one is computed


class Fields:
    """Fields as uint8 tensors (3, H, W) in RGB, read when they are first needed.

    paths: image files. longest: a field whose longer side has more pixels is shrunk to it. cache:
    bytes of fields that are kept once they are read; the others are read again each time.
    """

    def __init__(self, paths: Sequence[str], longest: int, cache: int = CACHE):
        self.paths = list(paths)
        self.longest = longest
        self.cache = cache
        self._kept: dict[int, Tensor] = {}
        self._held = 0  # bytes
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Tensor:
        field = self._kept.get(i)
        if field is None:
            field = _read(self.paths[i], self.longest)
            with self._lock:
                # What is kept first stays. In an epoch each field is shown once, so throwing out
                # the oldest would throw out just what is shown next.
                if i not in self._kept and self._held + field.nbytes <= self.cache:
                    self._kept[i] = field
                    self._held += field.nbytes
        return field

    def batches(self, order: Iterable[Tensor]) -> Iterator[list[Tensor]]:
        """The fields of each batch of indices; threads read the next ones meanwhile."""
        ahead: deque[list[Future[Tensor]]] = deque()
        with ThreadPoolExecutor(cores(), "read-fields") as readers:
            for batch in order:
                ahead.append([readers.submit(self.__getitem__, i) for i in batch.tolist()])
                if len(ahead) > AHEAD:
                    yield [field.result() for field in ahead.popleft()]
            while ahead:
                yield [field.result() for field in ahead.popleft()]


def _read(path: str, longest: int) -> Tensor:
    image = read_rgb(path)
    scale = longest / max(image.shape[:2])
    if scale < 1:
        # averages areas: fine structures leave no moire
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
