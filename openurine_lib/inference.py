"""Inference with SAHI (https://doi.org/10.1109/ICIP46576.2022.9897990), the paper's way to predict.

A field is cut into overlapping slices, every slice is predicted, and the slices' boxes are merged
by non-maximum suppression. Whole fields are predicted by the same functions, so that both ways are
stored and scored alike. What the paper leaves open, and what is done here:

- the size at which the network sees a slice: the detector's ``image_size``.
- suppression: IoU with a threshold of 0.5 (sahi's default), within a class. sahi's own default,
  across classes, costs touching cells of two classes.
- no pass over the whole image is added to the slices (sahi's default adds one).
- other ways to look at a field than the paper's are ours (``looking``).
- confidence: everything from 0.001 on is stored, as in ultralytics' validation, for the whole
  precision-recall curve. Who shows boxes chooses the threshold.
- one class a box, the best, as ultralytics predicts. Its validation lets a box count for every
  class above the confidence, which can give a whole-image row a little more.
"""

from __future__ import annotations

import functools
import json
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from sahi.models.base import DetectionModel
from tqdm.auto import tqdm

from openurine_lib import looking
from openurine_lib.contrast import brought_to
from openurine_lib.data.boxes import XYXY, with_room
from openurine_lib.data.images import BadField, read_rgb
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.files import atomic_path, digest, digest_of_file
from openurine_lib.two_looks import seen_twice
from openurine_lib.ways import SLICES, Way

CONFIDENCE = 0.001  # least confidence that is stored, as in ultralytics' validation
MAX_DETECTIONS = 300  # a slice or image, of every engine; after merging there is no limit
OVERLAP = 0.25  # of neighbouring slices, as a part of their side (the paper's)
TYPES: dict[str, Any] = {"image": str} | looking.TYPES
COLUMNS = list(TYPES)
AHEAD = 2  # fields that are read before, and drawn after, the one that is predicted
READABLE_PX = 1000  # pictures are enlarged to this longer side, so that names can be read


def predict_image(
    detector: DetectionModel,
    image: np.ndarray,
    slice_px: int | None,
    overlap: float = OVERLAP,
    way: Way = SLICES,
    room: float = 0.0,
    least: float = 0.0,
) -> pd.DataFrame:
    """The boxes of one image, most confident first: [cls, conf, x1, y1, x2, y2] in its pixels.

    image: uint8 (H, W, 3) RGB. slice_px: side of the slices; None predicts the image as a whole, at
    the detector's ``image_size``. way: how the field is looked at. room: what is added on each side
    of a box after suppression, a share of it (``boxes.with_room``). least: confidence from which a
    box counts, after fusion; what one look is less sure of matters. A detector that asks for a
    ``contrast`` sees the image brought to it, at the first of two looks.
    """
    contrast = getattr(detector, "contrast", 0.0)
    find = functools.partial(looking.found, detector, overlap=overlap, way=way)
    if way.looks == 2:
        boxes = seen_twice(find, image, slice_px, contrast)
    else:
        boxes = find(brought_to(image, contrast), slice_px)
    boxes = with_room(boxes, room)
    boxes[XYXY] = boxes[XYXY].to_numpy().clip(0, image.shape[1::-1] * 2)  # (W, H, W, H)
    # nothing is left of a box beyond the edge
    boxes = boxes[(boxes.x2 > boxes.x1) & (boxes.y2 > boxes.y1) & (boxes.conf >= least)]
    # every column decides, so equal scores have one order on every machine
    return boxes.sort_values(["conf", *XYXY, "cls"], ascending=False, ignore_index=True)


def predict_fields(
    detector: DetectionModel,
    images: pd.DataFrame,
    slice_px: int | None,
    overlap: float,
    out: Path,
    then: Callable[[Any, np.ndarray, pd.DataFrame], None] = lambda *of_field: None,
    way: Way = SLICES,
    room: float = 0.0,
    least: float = 0.0,
) -> pd.DataFrame:
    """Predicts every field and writes all boxes to ``out`` (csv), in the order of ``images``.

    Finished fields stay in ``<out>.partial`` until all are there: after an interruption the same
    call, with the same detector and setting, goes on. Fields count by content, not by name. While
    one field is predicted, the next is read; at most AHEAD are in memory.

    Args:
        images: [image, path, ...] and, where known, [width, height], which the files must have.
        slice_px, overlap, way, room, least: see ``predict_image``.
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
        "slice": slice_px, "overlap": overlap, **asdict(way), "room": room, "least": least,
        "conf": detector.confidence_threshold, "imgsz": detector.image_size,
        "contrast": getattr(detector, "contrast", 0.0),
        "weights": _digest(detector.model), "fields": digests(images),
    }  # fmt: skip
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
                boxes = predict_image(detector, pixels, slice_px, overlap, way, room, least)
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
