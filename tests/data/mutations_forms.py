"""Mutations that must be told, of one form: ids, keys, tags, columns and names given twice."""

import re

from mutations import changes

# --- COCO

IDS = [[1], {"a": 1}, None, True, [[[]]], 1.5, ["9" * 400], 10**400]


@changes("coco")
def an_id_of_another_type(p):
    key, name = p.any(
        [("images", "id"), ("categories", "id"), ("annotations", "image_id"),
         ("annotations", "category_id")]
    )  # fmt: skip
    return p.json(lambda c: p.any(c[key]).__setitem__(name, p.any(IDS)))


@changes("coco")
def an_entry_of_another_type(p):
    key = p.any(["images", "categories", "annotations"])

    def change(content):
        content[key][0] = p.any([None, 3, "text", [], {}, [[1]], {"id": {}}])

    return p.json(change)


@changes("coco")
def a_list_of_another_type(p):
    key = p.any(["images", "categories", "annotations"])
    return p.json(lambda c: c.__setitem__(key, p.any([None, 3, "text", {}, {"0": {}}, True])))


@changes("coco")
def a_box_of_another_type(p):
    bad = [
        "1234",
        {"1": 0, "2": 0, "30": 0, "40": 0},
        None,
        4,
        [1, 2, 3],
        [1, 2, 3, 4, 5],
        [[1]] * 4,
    ]
    return p.json(lambda c: p.any(c["annotations"]).__setitem__("bbox", p.any(bad)))


@changes("coco")
def a_name_of_another_type(p):
    key, name = p.any([("images", "file_name"), ("categories", "name")])
    return p.json(
        lambda c: p.any(c[key]).__setitem__(name, p.any([None, [1], {}, True, ["f00.png"]]))
    )


@changes("coco")
def an_entry_given_twice(p):
    key, name = p.any([("images", "id"), ("categories", "id"), ("categories", "name"),
                       ("images", "file_name")])  # fmt: skip
    return p.json(lambda c: c[key][0].__setitem__(name, c[key][1][name]))


@changes("coco")
def a_category_declared_again(p):
    return p.json(lambda c: c["categories"].append({"id": 1, "name": "WBC"}))


@changes("coco")
def a_key_given_twice(p):
    if p.any([False, True]):
        twice = '"bbox": [9, 9, 9, 9], "bbox": ['
        return p.edit(lambda text: text.replace('"bbox": [', twice, 1))
    return p.edit(lambda text: text.rstrip()[:-1] + ', "annotations": []}')


# --- Pascal VOC


@changes("voc")
def something_given_twice(p):
    tag = p.any(["bndbox", "name", "xmin", "ymax", "filename"])
    other = "<{0}>7</{0}>" if tag != "bndbox" else "<{0}><xmin>1</xmin></{0}>"
    place = p.any([f"<{tag}>", f"</{tag}>"])
    what = other.format(tag)
    return p.edit(lambda t: t.replace(place, what + place if "/" not in place else place + what, 1))


@changes("voc")
def the_filename_of_another_image(p):
    name = p.any(["f11.png" if p.field != "f11" else "f10.png", "gone.png", "images/f99.png"])
    return p.edit(lambda text: text.replace(f"{p.field}.png", name))


@changes("voc")
def two_files_about_an_image(p):
    text = p.label.read_text().replace("<xmin>", "<xmin>1", 1)
    p.label.with_name("second.xml").write_text(text)
    return ["second.xml", p.label.name]


@changes("voc")
def a_tag_that_is_called_otherwise(p):
    tag = p.any(["object", "name", "bndbox", "xmin", "annotation"])
    return p.edit(lambda text: text.replace(f"{tag}>", f"{tag}s>"))


@changes("voc")
def a_comment_within_a_value(p):
    tag = p.any(["xmin", "name", "filename"])
    return p.edit(lambda text: re.sub(f"(<{tag}>.)", r"\1<!-- here -->", text, count=1))


# --- YOLO


@changes("yolo")
def labels_where_nobody_looks(p):
    labels = p.folder / "labels"
    how = p.any(["beside", "in capitals", "Labels", "LABELS", "label", "annotations/yolo"])
    if how == "beside":
        for path in labels.iterdir():
            path.rename(p.folder / "images" / path.name)
    elif how == "in capitals":
        p.label.rename(p.label.with_suffix(".TXT"))
    else:
        (p.folder / how).parent.mkdir(exist_ok=True)
        labels.rename(p.folder / how)
    return [p.field]


@changes("yolo")
def a_class_given_twice(p):
    names = p.any(
        [
            "{0: RBC, 1: WBC, 2: Bacteria, 0: WBC}",
            "{0: RBC, 00: WBC, 1: WBC, 2: Bacteria}",
            "{0: WBC, 1: WBC, 2: Bacteria}",
            "[WBC, WBC, Bacteria]",
            "[rbc, RBC, Bacteria]",
        ]
    )
    (p.folder / "data.yaml").write_text(f"names: {names}\n")
    return ["data.yaml"]


@changes("yolo")
def names_of_another_type(p):
    wrong = ["3", "null", "RBC", "{a: RBC}", "{0.5: RBC}", "{[0]: RBC}", "!!python/name:os"]
    wrong += ["[RBC, [WBC], Bacteria]", "[RBC, null, Bacteria]", "[RBC, no, Bacteria]"]
    names = p.any([*wrong, "{0: RBC, 1: {}, 2: Bacteria}"])
    (p.folder / "data.yaml").write_text(f"names: {names}\n")
    return ["data.yaml"]


@changes("yolo")
def fewer_names_than_classes(p):
    (p.folder / "data.yaml").write_text("nc: 3\nnames: [WBC, Bacteria]\n")
    return ["data.yaml"]


@changes("yolo")
def a_file_of_names_that_is_called_otherwise(p):
    name = p.any(["Data.yaml", "data.yml", "dataset.yaml", "sub/data.yaml"])
    (p.folder / "sub").mkdir()
    (p.folder / "data.yaml").rename(p.folder / name)
    return [name]


# --- CSV


@changes("csv")
def an_unclosed_quote(p):
    def quoted(line):
        cells = line.split(",")
        i = int(p.rng.integers(len(cells)))
        return ",".join([*cells[:i], '"' + cells[i], *cells[i + 1 :]])

    return p.line(quoted)


@changes("csv")
def a_quote_that_swallows_a_row(p):
    lines = p.label.read_text().splitlines()
    lines = [lines[0] + ",remark", *(line + ",ok" for line in lines[1:])]
    i = int(p.rng.integers(1, 20))
    lines[i] = lines[i].removesuffix("ok") + '"ok'
    lines[i + 2] += '"'
    p.label.write_text("\n".join(lines) + "\n")
    return ["boxes.csv"]


@changes("csv")
def a_column_given_twice(p):
    column = p.any(["image", "class", "x1", "y2"])
    lines = p.label.read_text().splitlines()
    extra = {"image": "f00.png", "class": "WBC"}.get(column, "7")
    lines = [f"{lines[0]},{column}", *(f"{line},{extra}" for line in lines[1:])]
    p.label.write_text("\n".join(lines) + "\n")
    return ["boxes.csv"]


@changes("csv")
def a_header_that_is_spelled_otherwise(p):
    old, new = p.any([("image", "Image"), ("x1,y1", "X1,Y1"), ("class", "label"), ("x1", "xmin"),
                      (",", ";"), ("x1,", "")])  # fmt: skip
    return p.edit(lambda text: text.replace(old, new, text.count(old) if old == "," else 1))


@changes("csv")
def a_second_table_with_a_bad_header(p):
    lines = p.label.read_text().splitlines()
    half = len(lines) // 2
    header = p.any(["image,klass,x1,y1,x2,y2", "Image,Class,X1,Y1,X2,Y2"])
    (p.folder / "more.csv").write_text("\n".join([header, *lines[half:]]) + "\n")
    p.label.write_text("\n".join(lines[:half]) + "\n")
    return ["more.csv"]


@changes("csv")
def a_row_that_is_none(p):
    def change(cells):
        i, j = p.rng.choice(5, 2, replace=False)
        what = p.any(["swap", "drop", "more", "huge"])
        if what == "swap":
            cells[0], cells[int(i) + 1] = cells[int(i) + 1], cells[0]
        elif what == "drop":
            del cells[int(j)]
        elif what == "more":
            cells.insert(int(j), "7")
        else:
            cells[0] = "x" * 200_000

    return p.row(change)
