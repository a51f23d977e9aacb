"""Four label forms give the same boxes; what is malformed is told with its line."""

import json

import four_forms as ff
import pandas as pd
import pytest

from openurine_lib.data.readers import read
from openurine_lib.data.source import LAYOUT, MALFORMED, MISSING, UNKNOWN, DataError


def told(source):
    return [(q.kind, q.file, q.line) for q in source.problems]


def line_of(path, text):
    return next(i for i, line in enumerate(path.read_text().splitlines(), 1) if text in line)


@pytest.mark.parametrize("form", ff.FORMS)
def test_every_form_gives_the_same_boxes(tmp_path, form):
    source = read(ff.FORMS[form](tmp_path))
    assert source.problems == []
    rows = source.rows
    scale = [ff.WIDTH, ff.HEIGHT] * 2 if source.fractions else [1] * 4
    found = [
        (
            row.image,
            rows.at[i, "class"],
            *(pytest.approx(v * s) for v, s in zip(row[3:7], scale, strict=True)),
        )
        for i, row in enumerate(rows.itertuples())
    ]
    expected = [
        (f"images/{n}.png", ff.NAMES[c], *xyxy)
        for n, boxes in ff.BOXES.items()
        for c, *xyxy in boxes
    ]
    assert found == expected


@pytest.mark.parametrize("form", ff.FORMS)
def test_every_box_knows_its_line(tmp_path, form):
    source = read(ff.FORMS[form](tmp_path))
    row = source.rows.iloc[5]  # the second box of f02
    lines = (tmp_path / row["file"]).read_text().splitlines()
    expected = {"yolo": "0.78125", "coco": "{", "voc": "<object>", "csv": "f02.png,RBC,40.0"}[form]
    assert expected in lines[row["line"] - 1]
    if form == "coco":
        assert '"image_id": 2' in lines[row["line"]]


@pytest.mark.parametrize(
    "line",
    [
        "0 0.5 0.5 0.1",
        "0 0.5 0.5 0.1 0.1 0.9",
        "RBC 0.5 0.5 0.1 0.1",
        "0 0,5 0.5 0.1 0.1",
        "0 nan 0.5 0.1 0.1",
        "0 0.1 0.1 0.2 0.1 0.2 0.2 0.3",  # a polygon whose last point has no y
    ],
)
def test_yolo_malformed_line(tmp_path, line):
    ff.edit(ff.yolo(tmp_path) / "labels" / "f03.txt", 2, line)
    source = read(tmp_path)
    assert told(source) == [(MALFORMED, "labels/f03.txt", 2)]
    assert len(source.found) == 23  # the other boxes are kept


def test_yolo_class_that_is_not_declared(tmp_path):
    ff.edit(ff.yolo(tmp_path) / "labels" / "f03.txt", 3, "7 0.5 0.5 0.1 0.1")
    assert told(read(tmp_path)) == [(UNKNOWN, "labels/f03.txt", 3)]


def test_yolo_label_without_an_image(tmp_path):
    (ff.yolo(tmp_path) / "images" / "f04.png").unlink()
    assert told(read(tmp_path)) == [(MISSING, "labels/f04.txt", 0)]


@pytest.mark.parametrize(
    ("text", "line"), [("names: [RBC\n", 2), ("train: images\n", 0), ("names: 3\n", 0)]
)
def test_yolo_names_that_cannot_be_read(tmp_path, text, line):
    (ff.yolo(tmp_path) / "data.yaml").write_text(text)
    assert told(read(tmp_path))[0] == (MALFORMED, "data.yaml", line)


def test_not_utf8(tmp_path):
    (ff.yolo(tmp_path) / "labels" / "f00.txt").write_bytes(b"0 0.5 0.5 0.1 0.1 \xff\xfe")
    assert told(read(tmp_path)) == [(MALFORMED, "labels/f00.txt", 0)]


def test_yolo_with_its_own_train_and_val_folders(tmp_path):
    ff.yolo(tmp_path)
    for kind, suffix in (("images", "png"), ("labels", "txt")):
        (tmp_path / kind / "val").mkdir()
        (tmp_path / kind / f"f11.{suffix}").rename(tmp_path / kind / "val" / f"f11.{suffix}")
    source = read(tmp_path)
    assert source.problems == [] and len(source.found) == 24


def test_yolo_labels_lie_beside_the_last_folder_of_images(tmp_path):
    ff.yolo(tmp_path)
    (tmp_path / "images").rename(tmp_path / "pictures")
    day = tmp_path / "images" / "monday"
    day.mkdir(parents=True)
    (tmp_path / "pictures").rename(day / "images")
    (tmp_path / "labels").rename(day / "labels")
    source = read(tmp_path)
    assert source.problems == [] and len(source.found) == 24


def coco_with(tmp_path, change):
    path = ff.coco(tmp_path) / "annotations.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content, indent=1))
    return path, read(tmp_path)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"bbox": [1, 2, 3]}, MALFORMED),
        ({"bbox": [1, 2, 3, "wide"]}, MALFORMED),
        ({"bbox": [1, 2, 3, float("nan")]}, MALFORMED),
        ({"bbox": None}, MALFORMED),
        ({"category_id": 99}, UNKNOWN),
        ({"image_id": 99}, MISSING),
    ],
)
def test_coco_bad_annotation(tmp_path, change, kind):
    _, source = coco_with(tmp_path, lambda c: c["annotations"][7].update(change, mark="here"))
    assert [(k, f) for k, f, _ in told(source)] == [(kind, "annotations.json")]
    lines = (tmp_path / "annotations.json").read_text().splitlines()
    mark = line_of(tmp_path / "annotations.json", "here")
    assert source.problems[0].line == max(
        i for i, line in enumerate(lines[:mark], 1) if line == "  {"
    )
    assert len(source.found) == 23


def test_coco_image_that_is_not_there(tmp_path):
    path, source = coco_with(
        tmp_path, lambda c: c["images"].append({"id": 50, "file_name": "gone.png"})
    )
    assert told(source) == [(MISSING, "annotations.json", line_of(path, '"id": 50') - 1)]


def test_coco_that_is_no_json(tmp_path):
    path = ff.coco(tmp_path) / "annotations.json"
    path.write_text(path.read_text()[:-30])
    assert told(read(tmp_path)) == [
        (MALFORMED, "annotations.json", len(path.read_text().splitlines()))
    ]


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_coco_without_one_of_its_lists(tmp_path, key):
    _, source = coco_with(tmp_path, lambda c: c.pop(key))
    assert told(source) == [(MALFORMED, "annotations.json", 0)] and key in source.problems[0].what


@pytest.mark.parametrize(
    "corners", ["<xmin>5</xmin>", "<xmin>a</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>"]
)
def test_voc_bad_object(tmp_path, corners):
    ff.edit(ff.voc(tmp_path) / "annotations" / "f03.xml", 9, f"<bndbox>{corners}</bndbox>")
    source = read(tmp_path)
    assert told(source) == [(MALFORMED, "annotations/f03.xml", 7)] and len(source.found) == 23


def test_voc_that_is_no_xml(tmp_path):
    ff.edit(ff.voc(tmp_path) / "annotations" / "f03.xml", 6, "</objekt>")
    assert told(read(tmp_path)) == [(MALFORMED, "annotations/f03.xml", 6)]


def test_voc_without_its_image(tmp_path):
    (ff.voc(tmp_path) / "images" / "f04.png").unlink()
    assert told(read(tmp_path)) == [(MISSING, "annotations/f04.xml", 0)]


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ("f00.png,RBC,1,2,3", MALFORMED),
        ("f00.png,RBC,1,2,3,4,5", MALFORMED),
        ("f00.png,RBC,1,2,3,four", MALFORMED),
        ("f00.png,,1,2,3,4", MALFORMED),
        ("gone.png,RBC,1,2,3,4", MISSING),
    ],
)
def test_csv_bad_row(tmp_path, row, kind):
    ff.edit(ff.table(tmp_path) / "boxes.csv", 5, row)
    source = read(tmp_path)
    assert told(source) == [(kind, "boxes.csv", 5)] and len(source.found) == 23


def test_a_folder_without_labels_says_what_it_needs(tmp_path):
    ff.images(tmp_path)
    with pytest.raises(
        DataError, match=r"holds no labels.*data.yaml.*COCO.*Pascal VOC.*image, class, x1"
    ):
        read(tmp_path)


def test_a_folder_without_images(tmp_path):
    ff.yolo(tmp_path)
    for file in (tmp_path / "images").iterdir():
        file.unlink()
    assert (LAYOUT, str(tmp_path), 0) in told(read(tmp_path))


def test_image_names_may_be_paths_names_or_stems(tmp_path):
    ff.images(tmp_path, "unlabeled", ["f00", "u00"])
    source = read(ff.yolo(tmp_path))
    assert (
        source.image("u00")
        == source.image("u00.png")
        == source.image("elsewhere/u00.png")
        == "unlabeled/u00.png"
    )
    assert source.image("f00.png") is None  # two images have this name
    assert source.image("images/f00.png") == "images/f00.png"
    assert pd.Series(source.images).value_counts().to_dict() == {"labelled": 12, "unlabelled": 2}
