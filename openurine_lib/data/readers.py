"""YOLO, COCO, Pascal VOC, LabelMe and CSV labels are read into a Source, which knows their lines.

Why not through globox or supervision? Here every bad line is to be named, all at once. globox 2.9
and supervision 0.31 stop at the first one, and for most forms they name no line. So the syntax is
left to parsers that know lines (csv, json, lxml), and only the fields of a box are picked here.
"""

from __future__ import annotations

import math
import os
from pathlib import Path, PurePosixPath

from lxml import etree
from tqdm.auto import tqdm

from openurine_lib.data import source as s
from openurine_lib.data.boxes import XYXY
from openurine_lib.data.coco import read_coco
from openurine_lib.data.labelme import is_labelme, read_labelme
from openurine_lib.data.parsed import number
from openurine_lib.data.patients import GROUP_FILES
from openurine_lib.data.source import Source
from openurine_lib.data.tables import header, table_rows
from openurine_lib.data.yolo import read_yolo

CSV_COLUMNS = ("image", "class", *XYXY)
# JSON that tells of a set and holds no labels: this project's own file, and Croissant's usual name
DESCRIPTIONS = ("meta.json", "croissant.json")
# Other names of these columns, as tools write them: Roboflow and TensorFlow (filename, xmin),
# RetinaNet's and Kaggle's tables (image_id, label, x_min).
SPELLINGS = {
    "image": ("image", "filename", "file_name", "file", "image_path", "image_id", "path"),
    "class": ("class", "label", "class_name", "category", "name"),
    "x1": ("x1", "xmin", "x_min", "left"),
    "y1": ("y1", "ymin", "y_min", "top"),
    "x2": ("x2", "xmax", "x_max", "right"),
    "y2": ("y2", "ymax", "y_max", "bottom"),
}


def read(folder: str | Path) -> Source:
    """A data set's folder in whichever of the five forms it has. Raises DataError without one."""
    folder = Path(folder).resolve()  # also "." has a name then, which messages show
    files = s.listed(folder)
    images = [f.relative_to(folder).as_posix() for f in files if f.suffix.lower() in s.SUFFIXES]
    source = Source(folder, {image: s.split_of(image) for image in images})
    judge_names(source, files)
    texts = [f for f in files if f.suffix.lower() == ".json" and f.name not in DESCRIPTIONS]
    labelme = [f for f in texts if is_labelme(f)]
    coco = [f for f in texts if f not in labelme]
    voc = [f for f in files if f.suffix.lower() == ".xml"]
    tables = [f for f in files if f.suffix.lower() == ".csv" and _is_table(f)]
    if (folder / "data.yaml").is_file():
        read_yolo(source, [f for f in files if f.suffix.lower() == ".txt"])
    elif not coco + labelme + voc + tables:
        raise s.DataError(str(folder), [*source.problems, *_without_labels(folder, files)])
    else:
        forms = [(read_coco, coco), (read_labelme, labelme), (read_voc, voc), (read_table, tables)]
        reader, chosen = next(form for form in forms if form[1])
        for file in tqdm(chosen, desc="reading labels", unit="file", leave=False, delay=2):
            reader(source, file)
    if "labelled" not in source.images.values():
        source.bad(s.LAYOUT, str(folder), 0, "holds no labelled images", "put them into images/")
    elif not source.found and not source.problems:
        read = "data.yaml and labels/" if source.fractions else "its labels"
        source.bad(s.LAYOUT, str(folder), 0, f"holds no box: {read} give none", "add the boxes")
    return source


def judge_names(source: Source, files: list[Path]) -> None:
    """Names of files and folders that would be misread, or that a run could not write down."""
    misspelled: set[str] = set()
    for file in files:
        path = PurePosixPath(source.relative(file))
        if not s.readable(str(path)):
            what = "the name of this file holds a control character, or is not UTF-8"
            source.bad(s.LAYOUT, ascii(str(path)), 0, what, "rename it")
        for parent in path.parents:
            if parent.name.lower() in s.SPLIT_FOLDERS and parent.name not in s.SPLIT_FOLDERS:
                misspelled.add(str(parent))
    for place in sorted(misspelled):
        what = "its fields would count as labelled, since the case of letters matters"
        source.bad(s.LAYOUT, place, 0, what, f"call it {PurePosixPath(place).name.lower()}")


def _is_table(file: Path) -> bool:
    """Whether a CSV is meant as a table of boxes; ``read_table`` tells what its header lacks."""
    # the names of other tables: patients.csv, laboratory.csv
    return len(columns_of(header(file))) > len(CSV_COLUMNS) / 2


def columns_of(names: list[str]) -> dict[str, str]:
    """Our name of a column -> the file's own, of those in SPELLINGS that a header has."""
    there = {name.casefold(): name for name in reversed(names)}
    found = {}
    for column, spellings in SPELLINGS.items():
        own = next((there[spelling] for spelling in spellings if spelling in there), None)
        if own is not None:
            found[column] = own
    return found


def _without_labels(folder: Path, files: list[Path]) -> list[s.Problem]:
    """What is wrong with a folder of no form, and with the files that may have been meant."""
    forms = "data.yaml with labels/ (YOLO), .json (COCO, LabelMe), .xml (Pascal VOC)"
    columns = ", ".join(CSV_COLUMNS)
    remedy = f"it needs {forms} or a CSV with the columns {columns}"
    problems = [s.Problem(s.LAYOUT, str(folder), 0, "holds no labels", remedy)]
    for file in files:
        name = file.relative_to(folder).as_posix()
        if file.suffix.lower() in (".yaml", ".yml") and name != "taxonomy.yaml":
            what = "is not called data.yaml and does not lie beside images/"
            problems.append(s.Problem(s.LAYOUT, name, 0, what, "if it names the classes, move it"))
        elif file.suffix.lower() == ".csv" and name not in (*GROUP_FILES, "laboratory.csv"):
            what = f"is no table of boxes: its header, as UTF-8, is not {columns}"
            problems.append(s.Problem(s.MALFORMED, name, 1, what, "if it holds boxes, correct it"))
    return problems


def read_voc(source: Source, path: Path) -> None:
    """Pascal VOC XML, one file an image.

    Its pixels count from 1 and the last one is included, so x1 = xmin - 1 and x2 = xmax.
    """
    file = source.relative(path)
    # a file from elsewhere must not open others
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    try:
        root = etree.parse(str(path), parser).getroot()
    except (etree.XMLSyntaxError, OSError) as error:
        what = f"is not XML: {error.msg if isinstance(error, etree.XMLSyntaxError) else error}"
        line = getattr(error, "lineno", 0) or 0
        source.bad(s.MALFORMED, file, line, what, "correct or delete the file")
        return
    for element in root.iter(etree.Element):
        # neither a namespace nor the case of letters hides an object
        element.tag = etree.QName(element).localname.lower()
    image = _annotated(source, file, root)
    if image is None:
        return
    for stray in root.iter("bndbox"):
        if stray.getparent().tag not in (
            "object",
            "part",
        ):  # parts: heads and hands in PASCAL's own
            what = "a bndbox stands outside of an object"
            source.bad(s.MALFORMED, file, stray.sourceline or 0, what, "put it into an object")
    for entry in root.iter("object"):
        line = entry.sourceline or 0
        cls = _text(entry, "name")
        frames = entry.findall("bndbox")
        corners = [_text(f, side) for f in frames for side in ("xmin", "ymin", "xmax", "ymax")]
        x1, y1, x2, y2 = map(number, corners if len(frames) == 1 else [None] * 4)
        if cls and not any(map(math.isnan, (x1, y1, x2, y2))):
            source.add(image, cls, (x1 - 1, y1 - 1, x2, y2), file, line)  # counted from 1 -> from 0
        else:
            what = "an object has not one name, one bndbox and one number a side"
            source.bad(s.MALFORMED, file, line, what, "complete or delete it")


def _annotated(source: Source, file: str, root: etree._Element) -> str | None:
    """The image that a VOC file is about; None, and a problem, if that is not clear."""
    own = PurePosixPath(file)
    if root.tag != "annotation":
        what = f"is no Pascal VOC: its root is {root.tag!r:.40}, not annotation"
        source.bad(s.MALFORMED, file, 0, what, "correct it, or move it elsewhere")
        return None
    name = _text(root, "filename") if root.find("filename") is not None else own.stem
    if not name:
        what = "has several filenames, or an empty one"
        source.bad(s.MALFORMED, file, 0, what, "keep the one of its image")
        return None
    called = PurePosixPath(name.replace("\\", "/"))
    of_its_stem = _near(source, file, own.stem)
    if of_its_stem and own.stem not in (called.name, called.stem):
        what = f"is called as {of_its_stem} is, but its filename is {name!r:.80}"
        source.bad(s.MALFORMED, file, 0, what, "correct the filename, or rename the file")
        return None
    image = source.image(name) if len(called.parts) > 1 else _near(source, file, name)
    image = image or of_its_stem  # f03.jpg may have become f03.png
    if image is None:
        source.missing(file, 0, name)
    elif source.file_of.setdefault(image, file) != file:
        what = f"is about {image}, as {source.file_of[image]} is"
        source.bad(s.MALFORMED, file, 0, what, "keep one of the two")
        return None
    return image


def _near(source: Source, file: str, name: str) -> str | None:
    """The one image of that name in the folder that mirrors the file's: annotations/p0, images/p0.

    Where one side has no such subfolders, the name decides.
    """
    fitting = []
    ours = file.split("/")[:-1]
    for image in source.named(name):
        theirs = image.split("/")[:-1]
        below = len(os.path.commonprefix([ours, theirs])) + 1  # annotations/ and images/
        subfolders = [ours[below:], theirs[below:]]
        if not all(subfolders) or subfolders[0] == subfolders[1]:
            fitting.append(image)
    return fitting[0] if len(fitting) == 1 else None


def _text(entry: etree._Element, tag: str) -> str | None:
    """The text of the one child of that name; None for several, or for one that holds more."""
    found = entry.findall(tag)
    if len(found) != 1 or len(found[0]):  # comments and entities within a text count, too
        return None
    return (found[0].text or "").strip()


def read_table(source: Source, path: Path) -> None:
    """CSV with the columns image, class, x1, y1, x2, y2 (pixels), by whichever of SPELLINGS."""
    file = source.relative(path)
    own = columns_of(header(path))
    images: dict[str, str | None] = {}  # as the table calls it -> image
    name_of: dict[str, str] = {}
    for line, row in table_rows(source, path, tuple(own.get(c, c) for c in CSV_COLUMNS)):
        row = {column: row[own[column]] for column in CSV_COLUMNS}
        name = row["image"]
        if name not in images:
            images[name] = source.image(name, file)
        image = images[name]
        if image is None:
            source.missing(file, line, name)
            continue
        first = name_of.setdefault(image, name)
        if PurePosixPath(first).parent != PurePosixPath(name).parent:
            what = f"{name!r} and {first!r} (above) are one image here, {image}"
            source.bad(s.MALFORMED, file, line, what, "call each image by its path in the folder")
        source.add(image, row["class"], tuple(row[c] for c in XYXY), file, line)
