"""Every image file is opened here: it becomes uint8 RGB, or one clear error.

Choices that a reader of results must know:

- More than 8 bits a value (PNG, TIFF): cameras put 10, 12 or 14 bits into 16. The least of 8, 10,
  12, 14 and 16 bits that holds the image's brightest value is its range, scaled to 0..255.
- Transparency is laid over white, the background of bright field.
- Several pages or frames are refused: only the user knows which of them is the field. (Phones add a
  preview to a JPEG and call it MPO; there the photograph is the first.)
- More than MAX_PIXELS are refused before they are decoded, since sahi switches Pillow's limit off.
- Only FORMATS are decoded, whatever a file is called. Pillow knows some forty, and gives one of
  them (EPS) to another program.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")  # MPO counts as JPEG
MAX_PIXELS = 150_000_000  # about 12,000 x 12,000; decoding takes 5 to 20 bytes a pixel
BAND = 1 << 22  # pixels that are converted at once: 16 MiB of RGBA
TOO_LARGE = f"more than {MAX_PIXELS // 10**6} million pixels; cut it into smaller fields"
DEPTHS = (8, 10, 12, 14, 16)
ORIENTATION = 0x0112  # EXIF: how the camera was held


class BadField(ValueError):
    """An image that is missing, unreadable, or not of the size that the data set says."""


def read_rgb(path: str | Path) -> np.ndarray:
    """The image, uint8 (H, W, 3) RGB, turned as its EXIF says. Raises BadField naming the file."""
    try:
        return decode(Path(path).read_bytes())
    except Exception as error:  # a broken file can raise anything
        raise BadField(f"{path}: not a readable image ({error}); replace or remove it") from error


def look(path: str | Path) -> None:
    """Raises BadField for a file that is missing, no image, or refused; decodes nothing."""
    try:
        with Path(path).open("rb") as file, opened(file):
            pass
    except Exception as error:
        raise BadField(f"{path}: not a readable image ({error}); replace or remove it") from error


def opened(file: IO[bytes]) -> Image.Image:
    """The image of an open file, not yet decoded. Raises ValueError, and what Pillow raises."""
    try:
        image = Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ValueError(TOO_LARGE) from error
    # ImportError: ultralytics replaces Image.open by one that tries a plugin for unknown formats.
    except (UnidentifiedImageError, ImportError) as error:
        raise ValueError("of no image format that is known here") from error
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width} x {image.height} px, {TOO_LARGE}")
    frames = getattr(image, "n_frames", 1)  # animations, multi-page TIFFs
    if frames > 1 and image.format != "MPO":
        raise ValueError(f"{frames} pages or frames; save the one that is the field as PNG")
    if image.mode in ("I", "F"):
        raise ValueError("32 bits a value; save it with 8 or 16 bits")
    return image


def decode(content: bytes) -> np.ndarray:
    """A file's content as uint8 (H, W, 3) RGB, turned as its EXIF says. Raises as ``opened``."""
    image = opened(io.BytesIO(content))
    if _deep(image) and image.mode in ("RGB", "RGBA", "LA"):
        image = Image.fromarray(_deep_colour(image, content))
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I;16"):
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    return _bands(image) if image.mode != "RGB" or image.has_transparency_data else np.array(image)


def _bands(image: Image.Image) -> np.ndarray:
    """Any mode as uint8 (H, W, 3) RGB, over white; in bands, as RGBA takes 16 bytes a pixel."""
    width, height = image.size
    rgb = np.empty((height, width, 3), np.uint8)
    rows = max(1, BAND // width)
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(top + rows, height)))
        if band.has_transparency_data:
            white = Image.new("RGBA", band.size, "white")
            # alpha_composite blends; convert alone would drop the fourth channel
            band = Image.alpha_composite(white, band.convert("RGBA"))
        rgb[top : top + rows] = np.asarray(band.convert("RGB"))
    return rgb


def plain(image: Image.Image) -> bool:
    """Whether every library reads the file as ``decode`` does.

    OpenCV, with which ultralytics reads what it trains on, drops transparency and the low byte of
    16 bits, and turns nothing but JPEGs.
    """
    upright = image.format in ("JPEG", "MPO") or image.getexif().get(ORIENTATION, 1) == 1
    opaque = image.mode in ("L", "RGB") and not image.has_transparency_data
    return opaque and upright and not _deep(image)


def _deep(image: Image.Image) -> bool:
    """Whether a PNG or TIFF has 16 bits a value; Pillow's mode does not tell."""
    tiles = getattr(image, "tile", [])  # codec, place, offset, arguments
    arguments = tiles[0][3] if tiles else ""
    layout = arguments if isinstance(arguments, str) else str(arguments[0])  # e.g. "RGB;16B"
    return image.format in ("PNG", "TIFF") and ";16" in layout


def _deep_colour(image: Image.Image, content: bytes) -> np.ndarray:
    """A 16-bit image, read with all its bits, in 8 of them: uint8 (H, W, 3 or 4), RGB or RGBA."""
    # cv2 keeps all 16 bits, but it does not turn PNGs
    if image.getexif().get(ORIENTATION, 1) != 1:
        raise ValueError("16 bits a colour, and turned by its EXIF; save it upright, as PNG")
    values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 3:
        raise ValueError("its 16-bit layout is not understood; save it as 8-bit PNG")
    order = cv2.COLOR_BGR2RGB if values.shape[2] == 3 else cv2.COLOR_BGRA2RGBA  # OpenCV's order
    values = _eight_bits(values)  # the 16-bit values are freed before the next copy
    return cv2.cvtColor(values, order)


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """uint16 values in 8 bits, same shape; a fourth channel is transparency, and has all 16."""
    brightest = int(values[..., :3].max() if values.ndim == 3 else values.max())
    most = next(2**bits - 1 for bits in DEPTHS if brightest < 2**bits)
    # a table of all 65,536 values, looked up for every pixel
    scaled = np.rint(np.arange(2**16) * (255 / most)).clip(0, 255).astype(np.uint8)[values]
    if values.ndim == 3 and values.shape[2] == 4:
        scaled[..., 3] = values[..., 3] >> 8
    return scaled
