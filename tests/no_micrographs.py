"""Pictures that somebody may hand in by mistake: no micrograph of urine is among them."""

import cv2
import numpy as np
from PIL import Image, ImageDraw

HEIGHT, WIDTH = 480, 640
TEXT = "Result of patient 4711: leukocytes many, erythrocytes few, casts none. "


def landscape() -> np.ndarray:
    """Sky above a textured meadow with flowers, (HEIGHT, WIDTH, 3)."""
    rng = np.random.default_rng(0)
    down = np.linspace(0, 1, HEIGHT)[:, None, None]
    picture = (1 - down) * (40, 110, 220) + down * (200, 225, 250)
    picture = np.repeat(picture, WIDTH, 1)
    rough = cv2.GaussianBlur(rng.normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), 2)
    meadow = np.array((60, 130, 30)) + 250 * rough[..., None] * (0.6, 1, 0.3)
    picture[HEIGHT // 2 :] = meadow[HEIGHT // 2 :]
    for colour in ((230, 30, 40), (250, 220, 20)):
        for x, y in rng.integers((0, HEIGHT // 2), (WIDTH, HEIGHT), (40, 2)):
            cv2.circle(picture, (int(x), int(y)), 6, colour, -1)
    return picture.clip(0, 255).astype(np.uint8)


def screenshot() -> np.ndarray:
    """A window full of text, black on white."""
    page = Image.new("RGB", (WIDTH, HEIGHT), "white")
    ImageDraw.Draw(page).multiline_text((8, 8), "\n".join([TEXT * 2] * 30), fill="black")
    return np.asarray(page)


PICTURES = {
    "landscape": landscape(),
    "screenshot": screenshot(),
    "black": np.zeros((HEIGHT, WIDTH, 3), np.uint8),
    "white": np.full((HEIGHT, WIDTH, 3), 255, np.uint8),
}
