"""The picture of a choice: the field, a head's Grad-CAM over it, boxes in the colours of heads."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont, ImageOps

from openurine_lib.data.boxes import XYXY
from openurine_lib.explorer.state import Choice, Explorer
from openurine_lib.inference import boxes_on

SCREEN_PX = 1600  # of the longer side on the screen; what is saved has all pixels
HEAT = 0.8  # share of the map where it is brightest; the field has the rest


def picture(
    explorer: Explorer, choice: Choice | None, names: bool = True, longest: int | None = None
) -> np.ndarray:
    """The field with all that is chosen, uint8 (H, W, 3) RGB; the bare field without a choice.

    names: whether boxes have their class and confidence. longest: pixels of the longer side that
    the field is brought down to. Raises NotExplainable.
    """
    pixels = explorer.field.pixels
    factor = min(1.0, longest / max(pixels.shape[:2])) if longest else 1.0
    if choice is not None and choice.explained:
        pixels = heated(pixels, explorer.heat(choice.way, choice.explained))
    if factor < 1:
        pixels = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    nothing = pd.DataFrame(columns=["cls", *XYXY])
    boxes = nothing if choice is None else explorer.look(choice).boxes
    drawn = boxes.assign(**{c: boxes[c] * factor for c in XYXY})
    return boxes_on(pixels, drawn, explorer.classes, names)


def heated(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A map (H, W) in 0..1 over the grey field: the hotter, the less of the field is seen."""
    grey = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    colours = colormaps["inferno"](heat)[..., :3] * 255
    share = HEAT * heat[..., None]
    return (grey * (1 - share) + colours * share).astype(np.uint8)


def jpeg(pixels: np.ndarray) -> bytes:
    """For the screen."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=88)
    return file.getvalue()


def png(pixels: np.ndarray, caption: str) -> bytes:
    """For a file: without loss, with a line below that says what it shows."""
    size = max(12, pixels.shape[1] // 80)
    image = ImageOps.expand(Image.fromarray(pixels), (0, 0, 0, 2 * size), fill="white")
    font = ImageFont.truetype(findfont("DejaVu Sans"), size)  # matplotlib brings it, with its µ
    ImageDraw.Draw(image).text((size / 2, image.height - 1.6 * size), caption, "black", font)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()
