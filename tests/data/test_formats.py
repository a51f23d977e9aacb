"""The forms in which people have their labels, each with a file as its tool writes it."""

import json

import four_forms as ff
import pytest
import yaml

from openurine_lib.data import check as c
from openurine_lib.data import source as p
from openurine_lib.data.readers import read
from openurine_lib.data.source import DataError
from openurine_lib.data.taxonomy import parse

HEADERS = {
    "ours": "image,class,x1,y1,x2,y2",
    "Roboflow, TensorFlow": "filename,width,height,class,xmin,ymin,xmax,ymax",
    "Kaggle": "image_id,label,x_min,y_min,x_max,y_max",
    "in capitals": "Image,Label,Left,Top,Right,Bottom",
}


def boxes_in(folder):
    """(image, class, corners) of all that is read, without the files."""
    found = read(folder)
    assert found.problems == []
    return sorted((box[0].rsplit("/", 1)[-1], box[1], box[2:6]) for box in found.found)


WANTED = sorted(
    (f"{name}.png", ff.NAMES[cls], tuple(map(float, corners)))
    for name, boxes in ff.BOXES.items()
    for cls, *corners in boxes
)


def rows(header):
    columns = header.casefold().split(",")
    order = ("width", "height", ("filename", "image", "image_id"), ("class", "label"))
    for name, boxes in ff.BOXES.items():
        for cls, *corners in boxes:
            values = [ff.WIDTH, ff.HEIGHT, f"{name}.png", ff.NAMES[cls]]
            cells = dict(zip(order, values, strict=True))
            corners = iter(corners)
            found = [next((v for k, v in cells.items() if c in k), None) for c in columns]
            yield ",".join(str(next(corners) if v is None else v) for v in found)


@pytest.mark.parametrize("tool", HEADERS)
def test_tables_of_several_tools(tmp_path, tool):
    ff.images(tmp_path)
    text = "\n".join([HEADERS[tool], *rows(HEADERS[tool])])
    (tmp_path / "labels.csv").write_text(text + "\n")
    assert boxes_in(tmp_path) == WANTED


def parted(folder, suffix=".png"):
    """Fields of an export: train/, valid/ and test/; part -> names."""
    ff.images(folder)
    names = sorted(ff.BOXES)
    parts = {"train": names[:-4], "valid": names[-4:-2], "test": names[-2:]}
    for part, some in parts.items():
        (folder / part).mkdir()
        for name in some:
            (folder / "images" / f"{name}.png").rename(folder / part / f"{name}.png")
    return parts


def test_a_table_for_each_part(tmp_path):
    header = HEADERS["Roboflow, TensorFlow"]
    for part, names in parted(tmp_path).items():
        mine = [row for row in rows(header) if row.split(",")[0].removesuffix(".png") in names]
        (tmp_path / part / "_annotations.csv").write_text("\n".join([header, *mine]) + "\n")
    assert boxes_in(tmp_path) == WANTED


def test_one_name_in_two_parts_is_the_one_beside_its_table(tmp_path):
    parts = parted(tmp_path)
    name = parts["train"][0]
    other = tmp_path / "test" / f"{parts['test'][0]}.png"
    other.rename(tmp_path / "test" / f"{name}.png")  # another field of the same name
    for part in ("train", "test"):
        text = f"{HEADERS['ours']}\n{name}.png,RBC,1,1,9,9\n"
        (tmp_path / part / "_annotations.csv").write_text(text)
    found = read(tmp_path)
    assert [box[0] for box in found.found] == [f"test/{name}.png", f"train/{name}.png"]


def test_coco_as_roboflow_writes_it(tmp_path):
    categories = [{"id": 0, "name": "RBC", "supercategory": "none"}]
    categories += [{"id": i + 1, "name": n, "supercategory": "RBC"} for i, n in enumerate(ff.NAMES)]
    for part, names in parted(tmp_path).items():
        images = [{"id": i, "file_name": f"{n}.png"} for i, n in enumerate(names)]
        annotations = [
            {"id": 0, "image_id": i, "category_id": cls + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            for i, name in enumerate(names)
            for cls, x1, y1, x2, y2 in ff.BOXES[name]
        ]
        content = {"images": images, "annotations": annotations, "categories": categories[1:]}
        (tmp_path / part / "_annotations.coco.json").write_text(json.dumps(content))
    assert boxes_in(tmp_path) == WANTED


def test_yolo_as_roboflow_writes_it_with_polygons(tmp_path):
    for part, names in parted(tmp_path).items():
        for kind in ("images", "labels"):
            (tmp_path / part / kind).mkdir()
        for name in names:
            file = tmp_path / part / f"{name}.png"
            file.rename(tmp_path / part / "images" / file.name)
            lines = []
            for cls, x1, y1, x2, y2 in ff.BOXES[name]:
                corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
                points = [f"{x / ff.WIDTH!r} {y / ff.HEIGHT!r}" for x, y in corners]
                lines.append(" ".join([str(cls), *points]))
            (tmp_path / part / "labels" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    text = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
    (tmp_path / "data.yaml").write_text(text + f"nc: {len(ff.NAMES)}\nnames: {list(ff.NAMES)}\n")
    (tmp_path / "README.roboflow.txt").write_text("exported\n")
    found = read(tmp_path)
    assert found.problems == []
    size = (ff.WIDTH, ff.HEIGHT, ff.WIDTH, ff.HEIGHT)
    boxes = [(b[0], b[1], *(v * s for v, s in zip(b[2:6], size, strict=True))) for b in found.found]
    for (name, cls, corners), box in zip(WANTED, sorted(boxes, key=sort_key), strict=True):
        assert box[0].endswith(name) and box[1] == cls
        assert list(box[2:]) == pytest.approx(corners, abs=1e-6)


def sort_key(box):
    return box[0].rsplit("/", 1)[-1], box[1], tuple(round(v, 3) for v in box[2:])


def labelme(folder):
    """A file an image, as LabelMe 5 writes it, with a path of the annotator's machine."""
    ff.images(folder)
    for name, boxes in ff.BOXES.items():
        shapes = []
        for i, (cls, x1, y1, x2, y2) in enumerate(boxes):
            points = [[x2, y1], [x1, y2]] if i % 2 else [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]
            kind = "rectangle" if i % 2 else "polygon"
            shape = {"label": ff.NAMES[cls], "points": points, "shape_type": kind, "flags": {}}
            shapes.append(shape)
        content = {
            "version": "5.2.1", "flags": {}, "shapes": shapes,
            "imagePath": f"..\\slides\\{name}.png", "imageData": "aGVsbG8=",
        }  # fmt: skip
        (folder / "images" / f"{name}.json").write_text(json.dumps(content, indent=2))
    return folder


def test_labelme(tmp_path):
    assert boxes_in(labelme(tmp_path)) == WANTED


def test_a_shape_without_an_area_is_told_at_its_line(tmp_path):
    file = labelme(tmp_path) / "images" / "f03.json"
    content = json.loads(file.read_text())
    content["shapes"].append({"label": "RBC", "points": [[1, 2]], "shape_type": "point"})
    content["shapes"].append({"label": "RBC", "points": [[9, 9], [9, 12]], "shape_type": "circle"})
    file.write_text(json.dumps(content, indent=2))
    found = read(tmp_path)
    (problem,) = found.problems
    assert problem.kind == p.MALFORMED and problem.file == "images/f03.json"
    assert '"label"' in file.read_text().splitlines()[problem.line]  # the object starts above
    assert [b[2:6] for b in found.found if b[0] == "images/f03.png"][-1] == (6, 6, 12, 12)


def test_copies_of_one_image_stay_together_where_patients_are_unknown(tmp_path):
    ff.table(tmp_path)
    names = sorted(ff.BOXES)
    for old, new in ((names[0], "a_png.rf.0f"), (names[1], "a_png.rf.7c")):
        (tmp_path / "images" / f"{old}.png").rename(tmp_path / "images" / f"{new}.png")
        boxes = (tmp_path / "boxes.csv").read_text().replace(f"{old}.png", f"{new}.png")
        (tmp_path / "boxes.csv").write_text(boxes)
    (tmp_path / "slides.csv").unlink()
    checked = c.check(read(tmp_path), groups="image")
    groups = checked.images.set_index("image").group
    assert groups["a_png.rf.0f"] == groups["a_png.rf.7c"]
    assert groups.nunique() == len(names) - 1
    assert len(checked.report.repairs[c.ALONE]) == len(names)


def test_unknown_classes_are_listed_once_and_a_taxonomy_is_proposed(tmp_path):
    ff.table(tmp_path)
    text = (tmp_path / "boxes.csv").read_text()
    text = text.replace("Bacteria", "oxalate crystal, di").replace(
        "oxalate crystal, di", "Oxalate2"
    )
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(DataError) as raised:
        c.check(read(tmp_path))
    (problem,) = raised.value.problems
    assert problem.kind == p.UNKNOWN and f"({text.count('Oxalate2')} boxes)" in problem.what
    content = yaml.safe_load(raised.value.proposal)
    assert content["classes"]["Oxalate2"] == "Crystals"
    assert set(content["classes"]) == {b[1] for b in read(tmp_path).found}
    assert content["components"]["RBC"] == ["RBC"]
    parse(raised.value.proposal, "proposed")  # it can be read as it is
    (tmp_path / "taxonomy.yaml").write_text(raised.value.proposal)
    assert c.check(read(tmp_path)).taxonomy.name == "proposed"


def test_a_component_without_cut_offs_is_refused_before_a_run_would_stop_at_it(tmp_path):
    ff.table(tmp_path)
    classes = "".join(f"  {name}: Cells\n" for name in ff.NAMES)
    entry = f"name: ours\nclasses:\n{classes}components: {{Platelets: [RBC]}}\n"
    (tmp_path / "taxonomy.yaml").write_text(entry)
    with pytest.raises(DataError, match="component 'Platelets' has no cut-offs"):
        c.check(read(tmp_path))
