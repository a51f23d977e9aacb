"""Mutations of the folders that ``four_forms`` writes, and those that leave every box as it was.

A mutation changes a folder and returns the names of which one must be told. What nobody can notice
is not here: a whole line that is gone, one plausible number for another, two classes that change
places, a last row that was cut within its last number.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import four_forms as ff
import numpy as np

ALL = tuple(ff.FORMS)
KEEPS: dict[str, tuple] = {}  # name -> (forms, function)
CHANGES: dict[str, tuple] = {}


@dataclass
class Place:
    """A data set's folder, and one of its fields and label files, chosen by chance."""

    folder: Path
    form: str
    rng: np.random.Generator
    field: str = field(init=False)

    def __post_init__(self):
        self.field = str(self.rng.choice(ff.IMAGES))

    @property
    def label(self):
        """The file that holds the field's boxes."""
        names = {
            "yolo": f"labels/{self.field}.txt",
            "coco": "annotations.json",
            "voc": f"annotations/{self.field}.xml",
            "csv": "boxes.csv",
        }
        return self.folder / names[self.form]

    @property
    def image(self):
        return self.folder / "images" / f"{self.field}.png"

    def any(self, values):
        return values[int(self.rng.integers(len(values)))]

    def edit(self, change, path=None):
        """Rewrites a text file, by default the label file; tells its name."""
        path = path or self.label
        path.write_text(change(path.read_text()))
        return [path.name]

    def json(self, change):
        """Changes the content of the COCO file."""
        content = json.loads(self.label.read_text())
        change(content)
        self.label.write_text(json.dumps(content, indent=1))
        return [self.label.name]

    def line(self, change, first=0):
        """Changes a line of the label file, from ``first`` on."""
        lines = self.label.read_text().splitlines()
        i = int(self.rng.integers(first, len(lines)))
        lines[i] = change(lines[i])
        self.label.write_text("\n".join(lines) + "\n")
        return [self.label.name]

    def row(self, change):
        """Changes the cells of a row of the CSV."""

        def changed(line):
            cells = line.split(",")
            change(cells)
            return ",".join(cells)

        return self.line(changed, first=1)


def keeps(*forms):
    return lambda function: KEEPS.setdefault(function.__name__, (forms, function))


def changes(*forms):
    return lambda function: CHANGES.setdefault(function.__name__, (forms, function))


# --- what leaves the boxes as they were


@keeps(*ALL)
def a_byte_order_mark(p):
    path = p.any([p.label, p.folder / "slides.csv"])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


@keeps("yolo")
def a_byte_order_mark_before_the_names(p):
    p.edit(lambda text: "\ufeff" + text, p.folder / "data.yaml")


@keeps(*ALL)
def lines_that_end_as_in_windows(p):
    p.label.write_bytes(p.label.read_bytes().replace(b"\n", b"\r\n"))


@keeps(*ALL)
def empty_lines_at_the_end(p):
    p.edit(lambda text: text + "\n \n\n" if p.form != "csv" else text + "\n\n")


@keeps(*ALL)
def files_that_are_none_of_ours(p):
    notes = p.folder / "notes.csv"
    notes.write_bytes(
        p.any(
            [
                b"a,b\n" + b"x" * 200_000 + b",1\n",
                b"x" * 200_000,
                b"caf\xe9,1\n",
                b'a,"b\n',
                b"\0\0",
            ]
        )
    )
    (p.folder / "README.txt").write_bytes(b"caf\xe9 0 1 2 3")


@keeps(*ALL)
def boxes_given_twice(p):
    if p.form == "coco":
        p.json(lambda c: c["annotations"].append(p.any(c["annotations"])))
    elif p.form == "voc":
        p.edit(lambda text: re.sub(r"(?s)(<object>.*?</object>\n)", r"\1\1", text, count=1))
    else:
        p.edit(lambda text: text + p.any(text.splitlines()[1:]) + "\n")


@keeps("coco")
def another_layout_of_the_json(p):
    content = json.loads(p.label.read_text())
    p.rng.shuffle(content["annotations"])
    indent = p.any([None, 0, 4])
    p.label.write_text(json.dumps(content, sort_keys=True, indent=indent))


@keeps("csv")
def another_layout_of_the_table(p):
    rows = [line.split(",") for line in p.label.read_text().splitlines()]
    order = p.rng.permutation(6)
    rows = [[row[i] for i in order] + ["a remark"] for row in rows]
    mark = p.any(['"', ""])
    join = p.any([",", ", "])
    p.label.write_text("\n".join(join.join(f"{mark}{c}{mark}" for c in row) for row in rows))


@keeps("csv")
def a_remark_of_two_lines(p):
    def remarked(text):
        first, *rest = text.splitlines()
        return "\n".join([first + ",remark", *(line + ',"seen\ntwice"' for line in rest)])

    p.edit(remarked)


@keeps("coco", "csv")
def images_called_by_paths(p):
    path = p.any(["images/", "/home/ann/images/", "./images/", "C:/scans/", "batch_7/"])
    p.edit(lambda text: text.replace("f0", f"{path}f0"))


@keeps("csv")
def images_called_by_paths_of_windows(p):
    p.edit(lambda text: text.replace("f0", "C:\\scans\\f0"))


@keeps("coco", "csv", "voc")
def images_called_by_stems(p):
    p.edit(lambda text: text.replace(".png", ""))


@keeps("voc")
def a_namespace(p):
    p.edit(lambda text: text.replace("<annotation>", '<annotation xmlns="http://host/voc">'))


@keeps("voc")
def tags_in_another_case(p):
    p.edit(lambda text: re.sub(r"(</?)(\w+)", lambda m: m[1] + m[2].upper(), text))


@keeps("voc")
def what_tools_add_to_voc(p):
    size = "<!-- by hand --><size><width>64</width></size>"
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>"
    p.edit(lambda t: t.replace("</filename>", f"</filename>{size}").replace("</object>", part))


@keeps("voc")
def a_declared_encoding(p):
    text = '<?xml version="1.0" encoding="ISO-8859-1"?><!-- caf\xe9 -->\n' + p.label.read_text()
    p.label.write_bytes(text.encode("latin-1"))


@keeps("yolo")
def names_as_a_list(p):
    (p.folder / "data.yaml").write_text(f"nc: 3\nnames: {ff.NAMES}  # in order\n".replace("'", ""))


@keeps("yolo")
def numbers_written_otherwise(p):
    def written(text):
        rows = [line.split() for line in text.splitlines()]
        return "\n".join(
            "\t".join([row[0], *(f"{float(v):.12e}" for v in row[1:])]) for row in rows
        )

    p.edit(written)
