"""Any image file becomes uint8 RGB or one clear error; training sees the same pixels."""

import os
import subprocess
import sys
import warnings

import cv2
import numpy as np
import pytest
import tiny
from PIL import Image

from openurine_lib.data import check, images
from openurine_lib.data.images import BadField, look, read_rgb
from openurine_lib.training.engines import ultralytics as engine

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5  # (6, 8), 0..235
COLOUR = np.stack([RAMP, RAMP[::-1], 255 - RAMP], 2)


def saved(path, image, **how):
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(path, **how)
    return path


def deep(path, values):
    assert cv2.imwrite(
        str(path), values if values.ndim == 2 else values[..., [2, 1, 0, 3][: values.shape[2]]]
    )
    return path


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_16_bits_are_scaled_by_the_depth_that_the_camera_used(tmp_path, suffix, bits):
    most = 2**bits - 1
    values = np.rint(COLOUR / 255 * most).astype(np.uint16)
    values[0, 0] = most  # something in the field is as bright as the camera can tell
    seen = COLOUR.copy()
    seen[0, 0] = 255
    assert np.abs(read_rgb(deep(tmp_path / f"c.{suffix}", values)).astype(int) - seen).max() <= 1
    grey = read_rgb(deep(tmp_path / f"g.{suffix}", values[..., 0]))
    assert grey.shape == (6, 8, 3) and np.abs(grey.astype(int) - seen[..., :1]).max() <= 1


def test_a_dark_12_bit_field_is_not_black(tmp_path):
    """Read by its high byte, as OpenCV and Pillow do, it would be: 4095 becomes 15."""
    values = np.full((6, 8, 3), 4000, np.uint16)
    path = deep(tmp_path / "c.png", values)
    assert np.asarray(Image.open(path)).max() <= 16
    assert read_rgb(path).min() == round(4000 / 4095 * 255)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_white(tmp_path, mode):
    image = Image.fromarray(COLOUR).convert("RGBA")
    image.putalpha(Image.fromarray(np.repeat(np.array([[0] * 4 + [255] * 4], np.uint8), 6, 0)))
    if mode == "PA":
        image, path = image.quantize(200), tmp_path / "a.png"
    else:
        image, path = image.convert(mode), tmp_path / "a.png"
    seen = read_rgb(saved(path, image))
    assert (seen[:, :4] == 255).all() and not (seen[:, 4:] == 255).all()


def test_16_bit_transparency_is_white(tmp_path):
    values = np.dstack([COLOUR.astype(np.uint16) * 257, np.zeros((6, 8), np.uint16)])
    values[:, 4:, 3] = 65535
    seen = read_rgb(deep(tmp_path / "a.png", values))
    assert (seen[:, :4] == 255).all() and (seen[:, 4:] == COLOUR[:, 4:]).all()


def test_palette_grey_and_bilevel_keep_their_colours(tmp_path):
    palette = Image.fromarray(COLOUR).quantize(48)
    assert (
        read_rgb(saved(tmp_path / "p.png", palette)) == np.asarray(palette.convert("RGB"))
    ).all()
    assert (read_rgb(saved(tmp_path / "l.png", RAMP)) == RAMP[..., None]).all()
    bilevel = read_rgb(saved(tmp_path / "b.png", Image.fromarray(RAMP > 99)))
    assert (bilevel == np.where(RAMP > 99, 255, 0)[..., None]).all()


def test_cmyk_jpeg_keeps_its_colours(tmp_path):
    flat = np.full((32, 32, 3), (200, 60, 30), np.uint8)
    path = saved(tmp_path / "c.jpg", Image.fromarray(flat).convert("CMYK"), quality=100)
    assert np.abs(read_rgb(path).astype(int) - flat).max() <= 12


@pytest.mark.parametrize(("turn", "undo"), [(3, 2), (6, -1), (8, 1)])
@pytest.mark.parametrize("kind", ["8.png", "16.tif"])
def test_turned_as_exif_says(tmp_path, turn, undo, kind):
    path = tmp_path / f"t{kind}"
    exif = Image.Exif()
    exif[images.ORIENTATION] = turn
    if kind == "8.png":
        saved(path, COLOUR, exif=exif)
    else:
        grey16 = Image.fromarray(COLOUR[..., 0].astype(np.uint16) * 257)
        grey16.save(path, tiffinfo={274: turn})
    expected = np.rot90(COLOUR if kind == "8.png" else np.repeat(COLOUR[..., :1], 3, 2), undo)
    assert (read_rgb(path) == expected).all()


def test_a_photograph_with_a_preview_is_its_first_picture(tmp_path):
    first, second = Image.fromarray(np.full((16, 16, 3), 200, np.uint8)), Image.new("RGB", (8, 8))
    first.save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[second])
    seen = read_rgb(tmp_path / "phone.jpg")
    assert seen.shape == (16, 16, 3) and abs(int(seen.mean()) - 200) < 3


def bad_files(folder):
    """name -> what the error says; each file is written to ``folder``."""
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "pages.tif", save_all=True, append_images=frames[1:])
    saved(folder / "float.tif", RAMP.astype(np.float32))
    saved(folder / "int32.tif", RAMP.astype(np.int32))
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("no picture")
    (folder / "folder.png").mkdir()
    Image.new("1", (20_000, 20_000)).save(folder / "huge.png")  # 50 kB on disk, 1.2 GB decoded
    return {"moving.gif": "2 pages or frames", "pages.tif": "2 pages or frames",
            "float.tif": "32 bits",
            "int32.tif": "32 bits", "empty.png": "no image format", "text.jpg": "no image format",
            "folder.png": "directory", "gone.png": "No such file",
            "huge.png": "million"}  # fmt: skip


@pytest.mark.parametrize(
    "guard", [None, Image.MAX_IMAGE_PIXELS]
)  # sahi switches Pillow's guard off
def test_what_is_refused_is_named_with_the_reason(tmp_path, monkeypatch, guard):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", guard)
    for name, reason in bad_files(tmp_path).items():
        for reads in (read_rgb, look):
            with pytest.raises(
                BadField,
                match=rf"{name}: not a readable image \(.*({reason}).*\); replace or remove",
            ):
                reads(tmp_path / name)


def test_a_cut_off_image_is_refused_when_it_is_read(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    for suffix in ("png", "jpg", "tif"):
        path = saved(tmp_path / f"cut.{suffix}", noise)
        path.write_bytes(path.read_bytes()[:-1500])
        with pytest.raises(BadField, match=f"cut.{suffix}"):
            read_rgb(path)


def test_the_data_check_judges_as_the_reader_does(tmp_path):
    for name in bad_files(tmp_path):
        assert isinstance(check._look(tmp_path / name), str), name
    deep(tmp_path / "c16.png", COLOUR.astype(np.uint16) * 257)
    saved(tmp_path / "c8.png", COLOUR)
    one, other = (check._look(tmp_path / f"c{bits}.png") for bits in (16, 8))
    assert one[:2] == other[:2] == (8, 6)
    apart = bin(int(one[3], 16) ^ int(other[3], 16)).count("1")
    assert apart < 24  # the same picture in another depth looks the same


def test_training_sees_what_prediction_sees(tmp_path):
    """OpenCV, as ultralytics reads, drops the low byte of 16 bits and shows what alpha hides."""
    from ultralytics.utils.patches import imread

    job = tiny.job(tmp_path, n=4)
    pixels = [read_rgb(path) for path in job.images.path]
    alpha = Image.fromarray(pixels[1]).convert("RGBA")
    alpha.putalpha(Image.fromarray(np.tile(np.array([0, 255], np.uint8), (96, 48))))
    job.images.loc[0, "path"] = str(deep(tmp_path / "twelve.tif", pixels[0].astype(np.uint16) * 16))
    job.images.loc[1, "path"] = str(saved(tmp_path / "alpha.png", alpha))
    job.images.loc[2, "path"] = str(
        saved(tmp_path / "palette.png", Image.fromarray(pixels[2]).quantize(64))
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        written = engine.write_fields(job, tmp_path / "fields").read_text().split()
    for path, original in zip(written, job.images.path, strict=True):
        assert (imread(path)[..., ::-1] == read_rgb(original)).all(), original
    assert [written[i].endswith(".png") for i in range(4)] == [True] * 4
    assert read_rgb(written[0]).max() > 200


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"


def test_a_file_of_another_format_reaches_no_other_program(tmp_path, monkeypatch):
    """Pillow goes by the content, and would give PostScript to Ghostscript."""
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "field.png").write_bytes(EPS)
    with pytest.raises(BadField, match=r"field.png: .*of no image format that is known here"):
        read_rgb(tmp_path / "field.png")
    assert "of no image format" in check._look(tmp_path / "field.png")
    assert not (tmp_path / "ran").exists(), "Ghostscript was started"


@pytest.mark.parametrize("mode", ["P", "PA", "L", "LA", "RGBA", "CMYK", "1", "RGB"])
def test_bands_are_the_whole(tmp_path, monkeypatch, mode):
    image = Image.fromarray(COLOUR)
    image.putalpha(Image.fromarray(RAMP))
    image = image.quantize(40) if mode == "PA" else image.convert("RGB").convert(mode)
    path = saved(tmp_path / f"field.{'tif' if mode == 'CMYK' else 'png'}", image)
    whole = read_rgb(path)
    monkeypatch.setattr(images, "BAND", 16)  # two rows at once
    assert (read_rgb(path) == whole).all()


PEAK = """
import os, resource, sys
os.cpu_count = lambda: 8
from pathlib import Path
from openurine_lib.data import check, source
folder = Path(sys.argv[1])
scan = lambda: check.scan(source.Source(folder, {p.name: "labelled" for p in folder.iterdir()}))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert len(scan()) == 4
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_does_not_grow_with_the_cores(tmp_path):
    """Files of some kB with a transparent palette, 36 million pixels each, on eight cores."""
    image = Image.new("P", (6000, 6000))
    image.putpalette([1, 2, 3, 4, 5, 6])
    image.save(tmp_path / "0.png", transparency=b"\x00\x80")
    for i in (1, 2, 3):
        (tmp_path / f"{i}.png").write_bytes((tmp_path / "0.png").read_bytes())
    assert (tmp_path / "0.png").stat().st_size < 100_000
    ran = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path)], capture_output=True, text=True, check=True
    )
    one = 36 * 10  # MB: ten bytes a pixel, of one image at a time
    assert int(ran.stdout) < 1.5 * one, f"{ran.stdout} MB for four images of which one needs {one}"
