"""What was once lost without a word is told with its place; what a run refuses, the check refuses.

``test_fuzz`` draws such cases by chance; here stand the ones that were found by hand.
"""

import json

import four_forms as ff
import pytest

from openurine_lib.data import check as c
from openurine_lib.data.readers import read
from openurine_lib.data.source import DataError


def told(folder):
    """(file, line) of each problem."""
    with pytest.raises(DataError) as raised:
        c.check(read(folder))
    return [(problem.file, problem.line) for problem in raised.value.problems]


def in_two_folders(folder):
    """The first two fields lie in images/p0/001.png and images/p1/001.png."""
    for i in (0, 1):
        (folder / "images" / f"p{i}").mkdir()
        image = folder / "images" / f"f0{i}.png"
        image.rename(folder / "images" / f"p{i}" / "001.png")
        for name in ("slides.csv", "boxes.csv"):
            path = folder / name
            path.write_text(path.read_text().replace(f"f0{i}.png", f"images/p{i}/001.png"))


def test_no_image_takes_the_place_of_a_missing_one(tmp_path):
    in_two_folders(ff.table(tmp_path))
    assert len(c.check(read(tmp_path)).boxes) == 24
    (tmp_path / "images" / "p0" / "001.png").unlink()
    assert told(tmp_path) == [("boxes.csv", 2), ("boxes.csv", 3)]


def test_two_paths_of_another_machine_are_not_one_image(tmp_path):
    path = ff.table(tmp_path) / "boxes.csv"
    text = path.read_text().replace("f01.png", "/scans/b/f00.png")
    path.write_text(text.replace("\nf00.png", "\n/scans/a/f00.png"))
    assert told(tmp_path) == [("boxes.csv", 4), ("boxes.csv", 5)]


@pytest.mark.parametrize(("number", "name"), [(1, "WBC"), (9, "rbc"), (2, "Uric acid")])
def test_a_coco_category_given_twice(tmp_path, number, name):
    path = ff.coco(tmp_path) / "annotations.json"
    content = json.loads(path.read_text())
    content["categories"].append({"id": number, "name": name})
    path.write_text(json.dumps(content, indent=1))
    line = path.read_text().splitlines().index(f'   "id": {number},', 20)
    assert told(tmp_path) == [("annotations.json", line)]


def test_a_coco_file_of_one_line_tells_what_is_given_twice(tmp_path):
    path = ff.coco(tmp_path) / "annotations.json"
    content = json.loads(path.read_text())
    content["images"][1]["file_name"] = "f00.png"
    path.write_text(json.dumps(content))
    assert told(tmp_path) == [("annotations.json", 1)]


@pytest.mark.parametrize("names", ["{0: RBC, 1: WBC, 2: Bacteria, 0: WBC}", "[WBC, wbc, Bacteria]"])
def test_a_yolo_name_given_twice(tmp_path, names):
    (ff.yolo(tmp_path) / "data.yaml").write_text(f"names: {names}\n")
    assert told(tmp_path)[0][0] == "data.yaml"


@pytest.mark.parametrize("text", ["names: {0: RBC, 2: Bacteria}\nnc: 3\n", "nc: 4\nnames: [RBC]\n"])
def test_yolo_names_that_are_not_as_many_as_it_says(tmp_path, text):
    (ff.yolo(tmp_path) / "data.yaml").write_text(text)
    assert told(tmp_path)[0] == ("data.yaml", 0)


@pytest.mark.parametrize(("tag", "value"), [("bndbox", ""), ("name", "WBC"), ("xmin", "7")])
def test_a_voc_object_that_has_something_twice(tmp_path, tag, value):
    path = ff.voc(tmp_path) / "annotations" / "f03.xml"
    path.write_text(path.read_text().replace(f"</{tag}>", f"</{tag}><{tag}>{value}</{tag}>", 1))
    assert told(tmp_path) == [("annotations/f03.xml", 3)]


@pytest.mark.parametrize("name", ["f04.png", "gone.png"])
def test_a_voc_file_that_says_it_is_about_another_image(tmp_path, name):
    ff.edit(ff.voc(tmp_path) / "annotations" / "f03.xml", 2, f"<filename>{name}</filename>")
    assert told(tmp_path) == [("annotations/f03.xml", 0)]


def test_voc_with_a_namespace_has_its_boxes(tmp_path):
    for path in (ff.voc(tmp_path) / "annotations").iterdir():
        path.write_text(path.read_text().replace("<annotation>", '<annotation xmlns="http://x/y">'))
    assert len(c.check(read(tmp_path)).boxes) == 24


@pytest.mark.parametrize("line", range(2, 25))  # of all rows but the last
def test_an_unclosed_quote_is_told_at_its_line(tmp_path, line):
    path = ff.table(tmp_path) / "boxes.csv"
    ff.edit(path, line, '"' + path.read_text().splitlines()[line - 1])
    assert told(tmp_path) == [("boxes.csv", line)]


@pytest.mark.parametrize("column", ["class", "x1"])
def test_a_column_given_twice(tmp_path, column):
    path = ff.table(tmp_path) / "boxes.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([f"{lines[0]},{column}", *(f"{line},7" for line in lines[1:])]))
    assert told(tmp_path) == [("boxes.csv", 1)]


@pytest.mark.parametrize("where", ["Labels", "label", "images"])
def test_labels_where_nobody_looks(tmp_path, where):
    labels = ff.yolo(tmp_path) / "labels"
    (tmp_path / where).mkdir(exist_ok=True)
    for path in labels.iterdir():
        path.rename(tmp_path / where / path.name)
    assert told(tmp_path) == [(f"{where}/{name}.txt", 0) for name in ff.IMAGES]


def test_boxes_of_a_field_that_is_not_labelled_are_counted(tmp_path):
    (ff.table(tmp_path) / "unlabelled").mkdir()
    (tmp_path / "images" / "f11.png").rename(tmp_path / "unlabelled" / "f11.png")
    checked = c.check(read(tmp_path))
    assert len(checked.boxes) == 22
    assert checked.report.repairs[c.ASIDE] == ["boxes.csv:24", "boxes.csv:25"]


def test_a_patients_file_that_has_slides_too_is_split_by_patients(tmp_path):
    path = ff.yolo(tmp_path) / "slides.csv"
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    lines = ["image,slide,patient", *(f"{image},{image},{group}" for image, group in rows)]
    path.rename(tmp_path / "patients.csv").write_text("\n".join(lines))
    assert set(c.check(read(tmp_path)).images["group"]) == {f"S{i}" for i in range(6)}


# --- what a run refuses, the check refuses first


def test_too_few_patients_for_five_folds(tmp_path):
    path = ff.yolo(tmp_path) / "slides.csv"
    path.write_text(path.read_text().replace("S5", "S0").replace("S4", "S0").replace("S3", "S0"))
    with pytest.raises(DataError, match="3 groups cannot fill 5 folds"):
        c.check(read(tmp_path))


def test_two_images_that_differ_by_their_suffix(tmp_path):
    ff.images(ff.yolo(tmp_path), names=["new"], first=90)
    (tmp_path / "images" / "new.png").rename(tmp_path / "images" / "f03.jpg")
    ff.groups(tmp_path, [("f03.jpg", "S1")])
    assert told(tmp_path) == [("images/f03.png", 0)]


def test_a_set_that_gives_no_box(tmp_path):
    for path in (ff.yolo(tmp_path) / "labels").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="holds no box"):
        c.check(read(tmp_path))
