"""Mutations that must be told, of any form: damaged files, missing images, the groups file."""

import json
import re
from pathlib import Path

import four_forms as ff
from mutations import ALL, changes

GARBAGE = '$%"<>{}[]\0\xe9'


@changes(*ALL, *ALL, *ALL)  # thrice: the chance is in the place
def a_stray_character(p):
    text = p.label.read_text()
    places = [i for i, c in enumerate(text) if not c.isspace()]
    i = p.any(places)
    return p.edit(lambda text: text[:i] + p.any(GARBAGE) + text[i:])


@changes(*ALL, *ALL)
def a_truncated_file(p):
    def truncated(text):
        if p.form in ("coco", "voc"):
            return text[: int(p.rng.integers(1, len(text.rstrip()) - 1))]
        rows = list(re.finditer(r"(?m)^.+$", text))
        row = p.any(rows[1:])  # within a row, before its last number
        separator = {"yolo": " ", "csv": ","}[p.form]
        last = text.rindex(separator, row.start(), row.end())
        return text[: int(p.rng.integers(row.start() + 1, last))]

    return p.edit(truncated)


@changes(*ALL)
def an_empty_file(p):
    return [*p.edit(lambda text: ""), p.image.name]


@changes(*ALL)
def no_label_file(p):
    p.label.unlink()
    return [p.image.name, p.folder.name]


@changes(*ALL)
def no_image(p):
    p.image.unlink()
    return [p.label.name, p.image.name]


@changes(*ALL)
def an_image_that_is_cut_off(p):
    content = p.image.read_bytes()
    p.image.write_bytes(content[: int(p.rng.integers(0, len(content) - 40))])
    return [p.image.name]


@changes(*ALL)
def another_name_of_an_image(p):
    p.image.rename(p.image.with_name(p.any(["g77.png", p.image.name.upper()])))
    return [p.label.name]


@changes(*ALL)
def a_namesake_with_another_suffix(p):
    ff.images(p.folder, "images", ["again"], first=90)
    (p.folder / "images" / "again.png").rename(p.image.with_suffix(".jpg"))
    p.edit(lambda text: text + f"{p.field}.jpg,S{ff.IMAGES.index(p.field) // 2}\n",
           p.folder / "slides.csv")  # fmt: skip
    return [p.field]


@changes(*ALL)
def a_field_moved_out_of_the_labelled(p):
    where = p.any(["unlabelled", "cohort", "Unlabelled", "Cohort"])
    (p.folder / where).mkdir()
    p.image.rename(p.folder / where / p.image.name)
    return [p.label.name, where]


@changes(*ALL)
def a_missing_image_with_a_namesake(p):
    """images/p0/001.png is gone, images/p1/001.png is there."""
    for i in (0, 1):
        for path in (p.folder / "images").glob(f"f{i:02d}.png"):
            (p.folder / "images" / f"p{i}").mkdir()
            path.rename(p.folder / "images" / f"p{i}" / "001.png")
        edited = [p.folder / "slides.csv"]
        if p.form in ("coco", "csv"):
            edited.append(p.label)
        for path in edited:
            p.edit(lambda text, i=i: text.replace(f"f{i:02d}.png", f"images/p{i}/001.png"), path)
        under = {"yolo": "labels", "voc": "annotations"}.get(p.form)
        for path in (p.folder / (under or "none")).glob(f"f{i:02d}.*"):
            p.edit(lambda text, i=i: text.replace(f"f{i:02d}.png", "001.png"), path)
            (path.parent / f"p{i}").mkdir()
            path.rename(path.parent / f"p{i}" / f"001{path.suffix}")
    (p.folder / "images" / "p0" / "001.png").unlink()
    if p.any([False, True]) and under:
        (p.folder / under / "p1" / f"001{path.suffix}").unlink()
    return ["001"]


NUMBERS = ["9" * 400, "9" * 5000, "1e400", "NaN", "Infinity", "-Infinity", "-50", "1e308"]
TEXTS = ["1_0", "\u0663", "0x10", "", "1;5", "true", "[1]", "--1"]


@changes(*ALL, *ALL)
def a_number_that_is_none(p):
    value = p.any(NUMBERS + TEXTS)
    if p.form == "coco":
        raw = value if value in NUMBERS or value in ("true", "[1]") else json.dumps(value)
        p.json(lambda c: p.any(c["annotations"])["bbox"].__setitem__(p.any([0, 2]), "HERE"))
        return p.edit(lambda text: text.replace('"HERE"', raw))
    if p.form == "voc":
        return p.edit(lambda text: re.sub(r"<xmin>[^<]*", f"<xmin>{value}", text, count=1))
    if p.form == "csv":
        return p.row(lambda cells: cells.__setitem__(p.any([2, 3]), value))
    return p.line(lambda line: line.replace(line.split()[1], value))


@changes("csv", "voc", "coco", "yolo")
def corners_the_wrong_way_round(p):
    if p.form == "coco":
        return p.json(lambda c: p.any(c["annotations"])["bbox"].__setitem__(2, -3))
    if p.form == "voc":
        other = {"xmin": "xmax", "xmax": "xmin"}
        return p.edit(lambda text: re.sub("xmin|xmax", lambda m: other[m[0]], text))
    if p.form == "csv":
        return p.row(lambda cells: cells.__setitem__(slice(2, 6), [cells[4], *cells[3:1:-1], "9"]))
    return p.line(lambda line: " ".join(line.split()[::-1]))


# --- the files beside the labels


@changes(*ALL)
def an_encoding_that_is_not_utf8(p):
    path = p.any(
        [p.label, p.folder / "slides.csv"] if p.form != "voc" else [p.folder / "slides.csv"]
    )
    text = path.read_text()
    if p.any([False, True]):
        path.write_bytes(text.encode("utf-16"))
    else:
        path.write_bytes(text.encode() + b"caf\xe9\n")
    return [path.name]


@changes(*ALL)
def too_few_patients(p):
    p.edit(
        lambda text: re.sub(r"S\d", lambda m: f"S{int(m[0][1]) % 3}", text), p.folder / "slides.csv"
    )
    return [p.folder.name]


@changes(*ALL)
def a_groups_file_that_is_damaged(p):
    how = p.any(
        ["gone", "upper", "empty", "row gone", "quote", "huge", "twice", "second", "header"]
    )
    path = p.folder / "slides.csv"
    lines = path.read_text().splitlines()
    i = int(p.rng.integers(1, len(lines)))
    if how == "gone":
        path.unlink()
    elif how == "upper":
        path.rename(p.folder / "Slides.csv")
    elif how == "second":
        (p.folder / "patients.csv").write_text("image,patient\n")
    else:
        lines[i : i + 1] = {
            "empty": [], "row gone": [], "header": [lines[i]], "quote": ['"' + lines[i]],
            "huge": [lines[i], "x" * 200_000 + ",S1"], "twice": [lines[i], lines[i][:-1] + "9"],
        }[how]  # fmt: skip
        lines = [] if how == "empty" else lines
        if how == "header":
            lines = [line + "," + line.split(",")[1] for line in lines]
        path.write_text("".join(line + "\n" for line in lines))
    return ["slides.csv"]


@changes("coco", "voc")
def deep_nesting(p):
    deep = int(p.rng.integers(2_000, 50_000))
    if p.form == "coco":
        return p.edit(lambda text: text.rstrip()[:-1] + f', "x": {"[" * deep}{"]" * deep}}}')
    return p.edit(
        lambda text: text.replace("<object>", "<a>" * deep + "</a>" * deep + "<object>", 1)
    )


@changes(*ALL)
def a_file_name_that_is_no_text(p):
    name = p.any([b"u\n00.png", b"u\xff00.png", b"u\x0700.png"])
    ff.images(p.folder, "unlabelled", ["u00"], first=60)
    target = bytes(p.folder / "unlabelled") + b"/" + name
    (p.folder / "unlabelled" / "u00.png").rename(Path(target.decode("utf-8", "surrogateescape")))
    with (p.folder / "slides.csv").open("ab") as file:
        file.write(b'"unlabelled/' + name.replace(b"\xff", b"?") + b'",S1\n')
    return ["unlabelled"]
