"""Inference with SAHI (https://doi.org/10.1109/ICIP46576.2022.9897990), the paper's way to predict.

A field is cut into overlapping slices, every slice is predicted, and the slices' boxes are merged
by non-maximum suppression. Whole fields are predicted by the same functions, so that both ways are
stored and scored alike. What the paper leaves open, and what is done here:

- the size at which the network sees a slice: the detector's ``image_size``.
- suppression: IoU with a threshold of 0.5 (sahi's default), within a class. sahi's own default,
  across classes, costs touching cells of two classes.
- no pass over the whole image is added to the slices (sahi's default adds one).
- ``at_once`` and ``looks`` are ours, not the paper's. At once, a field that is small enough is seen
  whole, at the scale of its slices. The finds of two looks are fused (``two_looks``).
- confidence: everything from 0.001 on is stored, as in ultralytics' validation, for the whole
  precision-recall curve. Who shows boxes chooses the threshold.
- one class a box, the best, as ultralytics predicts. Its validation lets a box count for every
  class above the confidence, which can give a whole-image row a little more.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from sahi.models.base import DetectionModel
from sahi.postprocess.backends import set_postprocess_backend
from sahi.predict import get_prediction, get_sliced_prediction
from tqdm.auto import tqdm

from openurine_lib.data.boxes import XYXY, with_room
from openurine_lib.data.images import BadField, read_rgb
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.files import atomic_path, digest, digest_of_file
from openurine_lib.two_looks import seen_twice

CONFIDENCE = 0.001  # least confidence that is stored, as in ultralytics' validation
MAX_DETECTIONS = 300  # a slice or image, of every engine; after merging there is no limit
OVERLAP = 0.25  # of neighbouring slices, as a part of their side (the paper's)
MATCH_THRESHOLD = 0.5  # IoU from which two boxes are one particle
TYPES: dict[str, Any] = {"image": str, "cls": int} | dict.fromkeys(["conf", *XYXY], float)
COLUMNS = list(TYPES)
AT_ONCE_PX = 1280  # longest side at which a network sees a field ``at_once``: memory grows with it
BATCH = 16  # slices a forward pass, unless the detector says (``batch``)
# A processor gains nothing from more than one, and could lose boxes: where ultralytics' suppression
# meets its time limit, it leaves the rest of the batch without any.
BATCH_CPU = 1
AHEAD = 2  # fields that are read before, and drawn after, the one that is predicted
READABLE_PX = 1000  # pictures are enlarged to this longer side, so that names can be read

logging.getLogger("sahi").setLevel(logging.ERROR)  # it warns of every box of no area
set_postprocess_backend("numpy")  # no slower here, and orders equal scores the same way every time


def predict_image(
    detector: DetectionModel,
    image: np.ndarray,
    slice_px: int | None,
    overlap: float = OVERLAP,
    at_once: bool = False,
    room: float = 0.0,
    looks: int = 1,
    least: float = 0.0,
) -> pd.DataFrame:
    """The boxes of one image, most confident first: [cls, conf, x1, y1, x2, y2] in its pixels.

    image: uint8 (H, W, 3) RGB. slice_px: side of the slices; None predicts the image as a whole, at
    the detector's ``image_size``. at_once: no slices where ``size_at_once`` knows a size. room:
    what is added on each side of a box after suppression, a share of it (``boxes.with_room``).
    looks: 1, or 2 whose finds are fused (``two_looks``): 2.3 times as long.
    least: confidence from which a box counts, after fusion; what one look is less sure of matters.
    """
    find = functools.partial(_found, detector, overlap=overlap, at_once=at_once)
    boxes = seen_twice(find, image, slice_px) if looks == 2 else find(image, slice_px)
    boxes = with_room(boxes, room)
    boxes[XYXY] = boxes[XYXY].to_numpy().clip(0, image.shape[1::-1] * 2)  # (W, H, W, H)
    # nothing is left of a box beyond the edge
    boxes = boxes[(boxes.x2 > boxes.x1) & (boxes.y2 > boxes.y1) & (boxes.conf >= least)]
    # every column decides, so equal scores have one order on every machine
    return boxes.sort_values(["conf", *XYXY, "cls"], ascending=False, ignore_index=True)


def _found(
    detector: DetectionModel, image: np.ndarray, slice_px: int | None, overlap: float, at_once: bool
) -> pd.DataFrame:
    """What one look finds, in no order."""
    px = size_at_once(detector, max(image.shape[:2]), slice_px) if at_once else None
    if px:
        with _seen_at(detector, px):
            result = get_prediction(image, detector)
    elif slice_px is None:
        result = get_prediction(image, detector)
    else:
        usual = BATCH_CPU if "cpu" in str(detector.device) else BATCH
        result = get_sliced_prediction(
            image, detector, slice_height=slice_px, slice_width=slice_px,
            overlap_height_ratio=overlap, overlap_width_ratio=overlap, perform_standard_pred=False,
            postprocess_type="NMS", postprocess_match_metric="IOU",
            postprocess_match_threshold=MATCH_THRESHOLD, postprocess_class_agnostic=False,
            batch_size=getattr(detector, "batch", usual), verbose=0,
        )  # fmt: skip
    found = result.object_prediction_list
    rows = [(p.category.id, p.score.value, *p.bbox.to_xyxy()) for p in found]
    # astype: an empty frame has no types of its own
    return pd.DataFrame(rows, columns=COLUMNS[1:]).astype({c: TYPES[c] for c in COLUMNS[1:]})


def size_at_once(detector: Any, side: int, slice_px: int | None) -> int | None:
    """Pixels at which a field of that longer side is seen whole as its slices would be.

    None if it is no larger than a slice, if AT_ONCE_PX is too small for it, or if the detector sees
    every image at one size (it has no ``any_size``).
    """
    if not slice_px or side <= slice_px or not getattr(detector, "any_size", False):
        return None
    px = math.ceil(side * detector.image_size / slice_px / 32) * 32  # whole cells of every level
    return px if px <= AT_ONCE_PX else None


@contextlib.contextmanager
def _seen_at(detector: Any, px: int) -> Iterator[None]:
    """Within, the detector brings images to that size, and gives as many more boxes."""
    usual = detector.image_size, detector.max_det
    # as many boxes on an area as slices may have there
    detector.max_det = round(detector.max_det * (px / detector.image_size) ** 2)
    detector.image_size = px
    try:
        yield
    finally:
        detector.image_size, detector.max_det = usual


def predict_fields(
    detector: DetectionModel,
    images: pd.DataFrame,
    slice_px: int | None,
    overlap: float,
    out: Path,
    then: Callable[[Any, np.ndarray, pd.DataFrame], None] = lambda *of_field: None,
    at_once: bool = False,
    room: float = 0.0,
    looks: int = 1,
    least: float = 0.0,
) -> pd.DataFrame:
    """Predicts every field and writes all boxes to ``out`` (csv), in the order of ``images``.

    Finished fields stay in ``<out>.partial`` until all are there: after an interruption the same
    call, with the same detector and setting, goes on. Fields count by content, not by name. While
    one field is predicted, the next is read; at most AHEAD are in memory.

    Args:
        images: [image, path, ...] and, where known, [width, height], which the files must have.
        slice_px, overlap, at_once, room, looks, least: see ``predict_image``.
        then: called with each field's row, pixels and boxes, in a thread beside the prediction; a
            field is finished when it returns.

    Returns [image, cls, conf, x1, y1, x2, y2] in original pixels. Raises BadField for a file that
    is missing (before any work) or of another size than ``images`` says.
    """
    missing = [path for path in images.path if not Path(path).is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise BadField(f"{missing[0]}{more}: no such image; the data set lists it")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    setting = {
        "slice": slice_px, "overlap": overlap, "at_once": at_once, "room": room, "looks": looks,
        "conf": detector.confidence_threshold, "imgsz": detector.image_size, "least": least,
        "weights": _digest(detector.model), "fields": digests(images),
    }  # fmt: skip
    how = (at_once, room, looks, least)
    done = _resume(partial, setting)
    todo = [field for field in images.itertuples() if field.image not in done]
    bar = tqdm(total=len(images), initial=len(done), desc="predicting fields", unit="field")
    with partial.open("a", encoding="utf-8") as file, ThreadPoolExecutor(AHEAD) as pool, bar:
        behind: deque[tuple[str, list[list[float]], Future[None]]] = deque()

        def finish(most: int) -> None:
            """Waits until at most so many fields are unfinished, and writes the finished ones."""
            while len(behind) > most:
                image, rows, drawn = behind.popleft()
                drawn.result()
                done[image] = rows
                file.write(json.dumps({"image": image, "boxes": rows}) + "\n")
                file.flush()  # a kill loses AHEAD fields at most
                bar.update()

        try:
            for field, pixels in _read_ahead(pool, todo):
                boxes = predict_image(detector, pixels, slice_px, overlap, *how)
                # plain numbers, so that a resumed call and an undisturbed one write the same
                rows = boxes.to_numpy().tolist()
                drawn = pool.submit(then, field, pixels, boxes)
                behind.append((field.image, rows, drawn))
                finish(AHEAD - 1)
        finally:
            finish(0)  # also those of an interrupted call
    rows = [(image, int(cls), *rest) for image in images.image for cls, *rest in done[image]]
    write_csv(pd.DataFrame(rows, columns=COLUMNS), out)
    partial.unlink()  # only now, as ``out`` is complete
    return read_predictions(out)


def _read_ahead(pool: Executor, fields: Sequence[Any]) -> Iterator[tuple[Any, np.ndarray]]:
    """The fields with their pixels, of which the next one is read while one is used."""
    waiting: deque[tuple[Any, Future[np.ndarray]]] = deque()
    for field in fields:
        waiting.append((field, pool.submit(_read_checked, field)))
        if len(waiting) == AHEAD:
            first, pixels = waiting.popleft()
            yield first, pixels.result()
    for first, pixels in waiting:
        yield first, pixels.result()


def digests(images: pd.DataFrame) -> dict[str, str]:
    """The SHA-256 of each field's file; images: [image, path]."""
    return {field.image: digest_of_file(field.path) for field in images.itertuples()}


def read_predictions(path: Path) -> pd.DataFrame:
    """The frame that ``predict_fields`` wrote: image as text, cls as int, the rest as float."""
    return pd.read_csv(path, dtype=TYPES, keep_default_na=False)


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Writes a frame, whole or not at all, with six significant digits."""
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.6g")


def boxes_on(
    image: np.ndarray, boxes: pd.DataFrame, taxonomy: Taxonomy, labels: bool = True
) -> np.ndarray:
    """The field with its boxes and their class names (and confidences), enlarged if it is small.

    image: uint8 (H, W, 3) RGB. boxes: [cls, x1, y1, x2, y2] in its pixels, and perhaps [conf].
    """
    # here, since both bring matplotlib, which prediction alone does not need
    import supervision as sv

    from openurine_lib.style import HEAD_COLOURS

    factor = math.ceil(READABLE_PX / max(image.shape[:2]))  # whole pixels: no blur
    side = factor * max(image.shape[:2])  # of the picture, its longer one
    corners = factor * boxes[XYXY].to_numpy(float).reshape(-1, 4)
    found = sv.Detections(xyxy=corners, class_id=boxes.cls.to_numpy(int))
    texts = [taxonomy.classes[c] for c in boxes.cls]
    if "conf" in boxes:
        texts = [f"{text} {conf:.2f}" for text, conf in zip(texts, boxes.conf, strict=True)]
    colours = [HEAD_COLOURS[taxonomy.head_of(c)] for c in range(taxonomy.n)]
    palette = sv.ColorPalette.from_hex(colours)
    # a copy, in BGR as supervision draws
    drawn = cv2.resize(image[..., ::-1], None, fx=factor, fy=factor)
    # lines and letters grow with the picture
    drawn = sv.BoxAnnotator(palette, thickness=max(1, side // 500)).annotate(drawn, found)
    if labels:
        annotator = sv.LabelAnnotator(palette, text_scale=side / 2500, text_padding=2)
        drawn = annotator.annotate(drawn, found, labels=texts)
    return np.ascontiguousarray(drawn[..., ::-1])


def _read_checked(field: Any) -> np.ndarray:
    image = read_rgb(field.path)
    height, width = image.shape[:2]
    if (getattr(field, "width", width), getattr(field, "height", height)) != (width, height):
        raise BadField(
            f"{field.path}: {width} x {height} px, the data set says {field.width} x "
            f"{field.height}; the file was changed or turned (EXIF); prepare the data set again"
        )
    return image


def _resume(partial: Path, setting: dict[str, Any]) -> dict[str, list[list[float]]]:
    """The finished fields of an interrupted call of the same setting; readies the file for more."""
    header = json.dumps(setting) + "\n"
    text = partial.read_text(encoding="utf-8") if partial.exists() else ""
    first, *rest = text.splitlines(keepends=True) or [""]  # a kill may have cut off the last
    finished = [line for line in rest if line.endswith("\n")] if first == header else []
    with atomic_path(partial) as temporary:
        temporary.write_text(header + "".join(finished), encoding="utf-8")
    return {entry["image"]: entry["boxes"] for entry in map(json.loads, finished)}


def _digest(model: Any) -> str:
    """Tells one set of weights from another."""
    parts: list[str | bytes] = []
    for name, tensor in model.state_dict().items():
        values = tensor.detach().cpu().contiguous().float()  # numpy knows no bfloat16
        parts += [name, values.numpy().tobytes()]  # tensors of one shape differ in name
    return digest(*parts, length=16)
