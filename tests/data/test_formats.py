"""The forms in which people have their labels, each with a file as its tool writes it."""

import json
import shutil
from pathlib import Path

import four_forms as ff
import pandas as pd
import pytest
import yaml

from openurine_lib.cli import main
from openurine_lib.data import check as c
from openurine_lib.data import source as p
from openurine_lib.data.readers import SPELLINGS, read
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


NAMES_OF_COLUMNS = [(column, name) for column, names in SPELLINGS.items() for name in names]


@pytest.mark.parametrize("column, name", NAMES_OF_COLUMNS)
def test_every_name_of_a_column_is_read_in_any_case_and_order(tmp_path, column, name):
    ff.table(tmp_path)
    file = tmp_path / "boxes.csv"
    table = pd.read_csv(file).rename(columns={column: name.upper()})
    table[table.columns[::-1]].to_csv(file, index=False)
    assert boxes_in(tmp_path) == WANTED


def test_the_page_of_formats_lists_these_names():
    page = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    listed = page[page.index("The names of a CSV's columns") : page.index("in any case of letters")]
    for column in ("image", "class", "x1"):
        assert all(f"`{name}`" in listed for name in SPELLINGS[column]), column


def test_several_tables_together(tmp_path):
    ff.table(tmp_path)
    header, *rest = (tmp_path / "boxes.csv").read_text().splitlines()
    (tmp_path / "boxes.csv").unlink()
    for i in range(3):
        (tmp_path / f"part{i}.csv").write_text("\n".join([header, *rest[i::3]]) + "\n")
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


def test_voc_as_roboflow_writes_it(tmp_path):
    """Beside the image, with the whole file name and without a folder."""
    ff.voc(tmp_path / "voc")
    for part, names in parted(tmp_path).items():
        for name in names:
            text = (tmp_path / "voc" / "annotations" / f"{name}.xml").read_text()
            text = text.replace("<annotation>", "<annotation>\n<folder></folder>")
            (tmp_path / part / f"{name}.xml").write_text(text)
    shutil.rmtree(tmp_path / "voc")
    assert boxes_in(tmp_path) == WANTED


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


def test_labelme_3_knew_polygons_only(tmp_path):
    for file in (labelme(tmp_path) / "images").glob("*.json"):
        content = json.loads(file.read_text())
        del content["version"], content["flags"]
        for shape in content["shapes"]:
            if shape.pop("shape_type") == "rectangle":
                (x1, y1), (x2, y2) = shape["points"]
                shape["points"] = [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]
            shape |= {"line_color": None, "fill_color": None}
        content |= {"lineColor": [0, 255, 0, 128], "fillColor": [255, 0, 0, 128]}
        file.write_text(json.dumps(content))
    assert boxes_in(tmp_path) == WANTED


def without_a_header(folder):
    rows = [
        f"images/{name}.png,{x1:.0f},{y1:.0f},{x2:.0f},{y2:.0f},{ff.NAMES[cls]}"
        for name, boxes in ff.BOXES.items()
        for cls, x1, y1, x2, y2 in boxes
    ]
    (folder / "annotations.csv").write_text("\n".join(rows) + "\n")
    return "annotations.csv", "is no table of boxes: its header"


def via(folder):
    """VGG Image Annotator 2, its CSV."""
    header = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,"
    rows = [header + "region_attributes"]
    for name, boxes in ff.BOXES.items():
        for i, (cls, x1, y1, x2, y2) in enumerate(boxes):
            shape = {"name": "rect", "x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}
            cells = [json.dumps(cell).replace('"', '""') for cell in (shape, {"c": ff.NAMES[cls]})]
            rows.append(f'{name}.png,1,"{{}}",{len(boxes)},{i},"{cells[0]}","{cells[1]}"')
    (folder / "via_region_data.csv").write_text("\n".join(rows) + "\n")
    return "via_region_data.csv", "is no table of boxes: its header"


def via_json(folder):
    content = {"f00.png1": {"filename": "f00.png", "size": 1, "regions": [], "file_attributes": {}}}
    (folder / "via_region_data.json").write_text(json.dumps(content))
    return "via_region_data.json", "is not COCO JSON: images is not a list"


def create_ml(folder):
    where = {"x": 12, "y": 18, "width": 16, "height": 24}
    label = {"label": "RBC", "coordinates": where}
    (folder / "_annotations.createml.json").write_text(
        json.dumps([{"image": "f00.png", "annotations": [label]}])
    )
    return "_annotations.createml.json", "is not COCO JSON: images is not a list"


@pytest.mark.parametrize("write", [without_a_header, via, via_json, create_ml])
def test_a_form_that_is_not_read_is_named_with_what_is_needed(tmp_path, write):
    ff.images(tmp_path)
    ff.groups(tmp_path)
    file, what = write(tmp_path)
    with pytest.raises(DataError) as raised:
        c.check(read(tmp_path))
    told = [str(p) for p in raised.value.problems if p.file == file]
    assert len(told) == 1 and what in told[0], raised.value
    assert any("image, class, x1" in str(p) or "needs the lists" in str(p)
               for p in raised.value.problems)  # fmt: skip


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


def test_a_proposed_taxonomy_can_be_written_by_the_shell_and_used(tmp_path, capsys):
    """``openurine check FOLDER > taxonomy.yaml``: standard output holds nothing else."""
    ff.table(tmp_path)
    file = tmp_path / "boxes.csv"
    file.write_text(file.read_text().replace("Bacteria", "Oxalate2"))
    assert main(["check", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "class 'Oxalate2'" in said.err
    (tmp_path / "taxonomy.yaml").write_text(said.out)
    assert main(["check", str(tmp_path)]) == 0
    assert "taxonomy proposed" in capsys.readouterr().out


def test_unknown_patients_are_said_on_the_command_line_or_in_the_folder(tmp_path, capsys):
    ff.table(tmp_path)
    (tmp_path / "slides.csv").unlink()
    assert main(["check", str(tmp_path)]) == 2
    assert "if nobody knows the patients" in capsys.readouterr().err
    assert main(["check", str(tmp_path), "--groups", "image"]) == 0
    (tmp_path / "meta.json").write_text('{"groups": "image"}')
    assert main(["check", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("scores may flatter") == 2
