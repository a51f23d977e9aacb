"""One pass: bad input is told with file, line and remedy, all at once; repairs are counted."""

import re

import four_forms as ff
import numpy as np
import pytest
from PIL import Image

from openurine_lib.data import check as c
from openurine_lib.data import source as p
from openurine_lib.data.boxes import XYXY
from openurine_lib.data.readers import read
from openurine_lib.data.source import DataError, Problem


def problems_of(folder):
    with pytest.raises(DataError) as raised:
        c.check(read(folder))
    return [(q.kind, q.file, q.line) for q in raised.value.problems]


@pytest.mark.parametrize("form", ff.FORMS)
def test_good_data_passes_in_every_form(tmp_path, form):
    checked = c.check(read(ff.FORMS[form](tmp_path)))
    assert checked.taxonomy.name == "openurine" and checked.laboratory is None
    assert set(checked.images["group"]) == {f"S{i}" for i in range(6)}
    assert (checked.images[["width", "height"]] == (ff.WIDTH, ff.HEIGHT)).all(axis=None)
    expected = [
        [checked.taxonomy.id(ff.NAMES[k]), *xyxy]
        for boxes in ff.BOXES.values()
        for k, *xyxy in boxes
    ]
    assert np.allclose(checked.boxes[["cls", *XYXY]].to_numpy(float), expected)
    assert checked.report.frame()["found"].sum() == 0


def test_everything_wrong_is_told_at_once_with_place_and_remedy(tmp_path):
    ff.yolo(tmp_path)
    (tmp_path / "images" / "f00.png").unlink()  # missing
    (tmp_path / "images" / "f01.png").write_bytes(b"no image")  # corrupt
    ff.edit(tmp_path / "labels" / "f02.txt", 1, "0 0.5 0.5")  # malformed
    ff.edit(tmp_path / "labels" / "f03.txt", 2, "9 0.5 0.5 0.1 0.1")  # class
    ff.edit(tmp_path / "labels" / "f04.txt", 2, "0 1.4 0.5 0.1 0.1")  # outside
    ff.edit(tmp_path / "labels" / "f05.txt", 1, "0 0.5 0.5 0 0.1")  # no area
    (tmp_path / "images" / "f06.png").write_bytes(
        (tmp_path / "images" / "f11.png").read_bytes()
    )  # duplicate
    ff.images(tmp_path, "unlabelled", ["u00"], first=50)  # without a group
    with pytest.raises(DataError) as raised:
        c.check(read(tmp_path))
    assert [(q.kind, q.file, q.line) for q in raised.value.problems] == [
        (p.MISSING, "labels/f00.txt", 0),
        (p.CORRUPT, "images/f01.png", 0),
        (p.MALFORMED, "labels/f02.txt", 1),
        (p.UNKNOWN, "labels/f03.txt", 3 - 1),
        (p.OUTSIDE, "labels/f04.txt", 2),
        (p.NO_AREA, "labels/f05.txt", 1),
        (p.DUPLICATE, "images/f11.png", 0),
        (p.NO_GROUP, "slides.csv", 0),
    ]
    message = str(raised.value)
    assert (
        "8 problems" in message
        and "labels/f02.txt:1" in message
        and "unlabelled/u00.png" in message
    )
    assert all(q.what and q.remedy for q in raised.value.problems)


def test_a_long_list_is_cut_in_the_message_but_not_in_the_error():
    many = [Problem(p.MALFORMED, "a.csv", i, "is bad", "mend it") for i in range(1, 1001)]
    error = DataError("data", many)
    assert (
        len(error.problems) == 1000
        and "1000 problems" in str(error)
        and "and 960 more" in str(error)
    )


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_truncated_image_is_corrupt(tmp_path, suffix):
    path = ff.yolo(tmp_path) / "images" / f"f05.{suffix}"
    Image.open(tmp_path / "images" / "f05.png").resize((640, 480)).save(
        tmp_path / f"whole.{suffix}"
    )
    whole = (tmp_path / f"whole.{suffix}").read_bytes()
    (tmp_path / "images" / "f05.png").unlink()
    (tmp_path / f"whole.{suffix}").unlink()
    path.write_bytes(whole[: len(whole) * 3 // 4])
    kinds = [(kind, file) for kind, file, _ in problems_of(tmp_path)]
    assert (p.CORRUPT, f"images/f05.{suffix}") in kinds


def test_an_image_that_the_phone_turned_has_its_turned_size(tmp_path):
    ff.yolo(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(tmp_path / "images" / "f05.png").save(tmp_path / "images" / "f05.jpg", exif=exif)
    (tmp_path / "images" / "f05.png").unlink()
    (tmp_path / "slides.csv").write_text(
        (tmp_path / "slides.csv").read_text().replace("f05.png", "f05.jpg")
    )
    images = c.check(read(tmp_path)).images.set_index("file")
    assert images.loc["images/f05.jpg", ["width", "height"]].tolist() == [ff.HEIGHT, ff.WIDTH]


@pytest.mark.parametrize("form", ["voc", "csv"])
def test_a_class_that_no_taxonomy_knows_is_told_at_its_line(tmp_path, form):
    file, line, text = {
        "voc": ("annotations/f03.xml", 4, "<name>Platelet</name>"),
        "csv": ("boxes.csv", 4, "f03.png,Platelet,1,2,30,40"),
    }[form]
    ff.edit(ff.FORMS[form](tmp_path) / file, line, text)
    [(kind, where, at)] = problems_of(tmp_path)
    assert (kind, where) == (p.UNKNOWN, file) and at in (
        line,
        line - 1,
    )  # an XML object starts a line above its name


@pytest.mark.parametrize(("form", "file"), [("yolo", "data.yaml"), ("coco", "annotations.json")])
def test_a_declared_class_that_no_taxonomy_knows_is_told_once(tmp_path, form, file):
    path = ff.FORMS[form](tmp_path) / file
    path.write_text(path.read_text().replace("Bacteria", "Platelet"))
    line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if "Platelet" in text)
    [(kind, where, at)] = problems_of(tmp_path)
    assert (kind, where) == (p.UNKNOWN, file)
    assert at == line if form == "yolo" else at < line < at + 4


def test_a_taxonomy_in_the_folder_comes_first(tmp_path):
    path = ff.yolo(tmp_path) / "data.yaml"
    path.write_text(path.read_text().replace("Bacteria", "Platelet"))
    (tmp_path / "taxonomy.yaml").write_text(
        "name: mine\nclasses: {RBC: Cells, WBC: Cells, Platelet: Cells}\n"
    )
    assert c.check(read(tmp_path)).taxonomy.name == "mine"
    (tmp_path / "taxonomy.yaml").write_text("name: mine\nclasses: {RBC: Blood}\n")
    assert (p.LAYOUT, "taxonomy.yaml", 0) in problems_of(tmp_path)


def test_a_box_slightly_outside_is_clipped_and_counted(tmp_path):
    ff.edit(ff.table(tmp_path) / "boxes.csv", 2, f"f00.png,RBC,-0.5,3,20,{ff.HEIGHT + 0.4}")
    checked = c.check(read(tmp_path))
    assert checked.boxes.loc[0, XYXY].tolist() == [0, 3, 20, ff.HEIGHT]
    assert checked.report.repairs[c.CLIPPED] == ["boxes.csv:2"]


@pytest.mark.parametrize(
    "corners", ["-3,3,20,30", "10,3,70,30", "64.1,3,64.3,30", "100,100,120,120"]
)
def test_a_box_outside_stops(tmp_path, corners):
    ff.edit(ff.table(tmp_path) / "boxes.csv", 2, f"f00.png,RBC,{corners}")
    assert problems_of(tmp_path) == [(p.OUTSIDE, "boxes.csv", 2)]


@pytest.mark.parametrize("corners", ["10,3,10,30", "10,30,20,30", "20,3,10,30"])
def test_a_box_of_no_area_stops(tmp_path, corners):
    ff.edit(ff.table(tmp_path) / "boxes.csv", 2, f"f00.png,RBC,{corners}")
    assert problems_of(tmp_path) == [(p.NO_AREA, "boxes.csv", 2)]


def test_a_box_given_twice_is_kept_once_and_counted(tmp_path):
    path = ff.yolo(tmp_path) / "labels" / "f00.txt"
    path.write_text(path.read_text() * 2)
    checked = c.check(read(tmp_path))
    assert len(checked.boxes) == 24
    assert checked.report.repairs[c.TWICE] == ["labels/f00.txt:3", "labels/f00.txt:4"]


def test_an_unlabelled_copy_in_the_same_group_is_left_out_and_counted(tmp_path):
    ff.yolo(tmp_path)
    ff.images(tmp_path, "unlabelled", ["u00", "u01"])  # the content of f00 and f01
    ff.groups(tmp_path, [("u00.png", "S0"), ("u01.png", "S0")])
    checked = c.check(read(tmp_path))
    assert len(checked.images) == 12 and checked.report.repairs[c.COPY] == [
        "unlabelled/u00.png = images/f00.png",
        "unlabelled/u01.png = images/f01.png",
    ]


@pytest.mark.parametrize("under", ["unlabelled", "cohort"])
def test_a_copy_in_another_group_stops(tmp_path, under):
    ff.yolo(tmp_path)
    ff.images(tmp_path, under, ["u00"])
    ff.groups(tmp_path, [("u00.png", "S9")])
    assert problems_of(tmp_path) == [(p.DUPLICATE, f"{under}/u00.png", 0)]


def test_a_copy_with_other_boxes_stops(tmp_path):
    ff.yolo(tmp_path)
    (tmp_path / "images" / "f01.png").write_bytes((tmp_path / "images" / "f00.png").read_bytes())
    assert problems_of(tmp_path) == [(p.DUPLICATE, "images/f01.png", 0)]


def test_no_groups_file_or_two_of_them(tmp_path):
    (ff.yolo(tmp_path) / "slides.csv").unlink()
    assert problems_of(tmp_path) == [(p.NO_GROUP, tmp_path.name, 0)]
    ff.groups(tmp_path)
    (tmp_path / "patients.csv").write_text("image,patient\nf00.png,P0\n")
    assert (p.LAYOUT, tmp_path.name, 0) in problems_of(tmp_path)


@pytest.mark.parametrize(
    ("line", "text", "kind", "at"),
    [
        (1, "image,who", p.MALFORMED, 1),
        (5, "f03.png,", p.MALFORMED, 5),
        (5, "f03.png,S1,more,and more", p.MALFORMED, 5),
        (6, "f03.png,S7", p.MALFORMED, 6),  # f03 is of S1 above
    ],
)
def test_a_bad_groups_file(tmp_path, line, text, kind, at):
    ff.edit(ff.yolo(tmp_path) / "slides.csv", line, text)
    assert (kind, "slides.csv", at) in problems_of(tmp_path)


def test_rows_of_the_groups_file_without_an_image_are_counted(tmp_path):
    ff.yolo(tmp_path)
    ff.groups(tmp_path, [("gone.png", "S9")])
    assert c.check(read(tmp_path)).report.repairs[c.IDLE] == ["slides.csv:14: gone.png"]


def test_a_field_without_boxes_is_background_and_counted(tmp_path):
    (ff.yolo(tmp_path) / "labels" / "f07.txt").unlink()
    (tmp_path / "labels" / "f08.txt").write_text("\n")
    assert c.check(read(tmp_path)).report.repairs[c.EMPTY] == ["images/f07.png", "images/f08.png"]


def test_a_patient_of_the_cohort_must_be_new(tmp_path):
    ff.yolo(tmp_path)
    ff.images(tmp_path, "cohort", ["c00"], first=70)
    ff.groups(tmp_path, [("c00.png", "S0")])
    assert problems_of(tmp_path) == [(p.LEAK, "cohort", 0)]


LAB = "group,component,level\nS0,RBC,few\n"


@pytest.mark.parametrize(
    ("rows", "line", "says"),
    [
        ("S0,Platelets,few", 3, "column component: 'Platelets'"),
        ("S0,WBC,plenty", 3, "column level: 'plenty'.*none, rare, few, moderate, many"),
        ("S1,WBC,few\nS0,rbc,many", 4, "RBC of S0 is many here and few above"),
        ("S0,WBC,", 3, "empty level"),
    ],
)
def test_a_bad_laboratory_report_is_told_by_row_and_column(tmp_path, rows, line, says):
    (ff.yolo(tmp_path) / "laboratory.csv").write_text(LAB + rows + "\n")
    with pytest.raises(DataError) as raised:
        c.check(read(tmp_path))
    [problem] = raised.value.problems
    assert (problem.file, problem.line) == ("laboratory.csv", line) and re.search(
        says, str(problem)
    )


def test_a_laboratory_report_speaks_the_taxonomys_names(tmp_path):
    (ff.yolo(tmp_path) / "laboratory.csv").write_text(LAB + "S1, epithelial CELLS, Many\n")
    laboratory = c.check(read(tmp_path)).laboratory
    assert laboratory.iloc[:, :3].to_numpy().tolist() == [
        ["S0", "RBC", "few"],
        ["S1", "Epithelial cells", "many"],
    ]
    assert laboratory["count"].isna().all()


COUNTED = "group,component,level,count,remark\nS0,RBC,few,2.5,\n"


def test_a_laboratory_may_give_counts(tmp_path):
    (ff.yolo(tmp_path) / "laboratory.csv").write_text(
        COUNTED + "S1,RBC,none,0,\nS2,RBC,many,,too many to count\n"
    )
    assert c.check(read(tmp_path)).laboratory["count"].tolist()[:2] == [2.5, 0]


@pytest.mark.parametrize("count", ["-1", "many", "nan", "inf"])
def test_a_bad_count_is_told_by_row_and_column(tmp_path, count):
    (ff.yolo(tmp_path) / "laboratory.csv").write_text(COUNTED + f"S1,RBC,few,{count},\n")
    [problem] = raised(tmp_path)
    assert (problem.kind, problem.line) == (
        p.LABORATORY,
        3,
    ) and f"column count: '{count}'" in problem.what


def test_a_patient_of_the_report_without_a_field_is_counted(tmp_path):
    (ff.yolo(tmp_path) / "laboratory.csv").write_text(LAB + "S9,WBC,few\n")
    checked = c.check(read(tmp_path))
    assert checked.report.repairs[c.UNSEEN] == ["laboratory.csv:3: S9"]
    assert checked.laboratory["group"].tolist() == ["S0", "S9"]


def test_a_report_on_strangers_only(tmp_path):
    (ff.yolo(tmp_path) / "laboratory.csv").write_text(
        "group,component,level\nS8,RBC,few\nS9,WBC,few\n"
    )
    [problem] = raised(tmp_path)
    assert (problem.kind, problem.line) == (p.LABORATORY, 0) and "'S8'" in problem.what


def test_the_pixel_size_of_an_image_or_of_all(tmp_path):
    ff.yolo(tmp_path)
    assert c.check(read(tmp_path)).images["um_per_px"].isna().all()
    (tmp_path / "meta.json").write_text('{"um_per_px": 0.5}')
    path = tmp_path / "slides.csv"
    lines = path.read_text().splitlines()
    path.write_text(
        "\n".join(
            [lines[0] + ",um_per_px", lines[1] + ",0.25", *(line + "," for line in lines[2:])]
        )
    )
    sizes = c.check(read(tmp_path)).images.set_index("file")["um_per_px"]
    assert sorted(sizes)[:2] == [0.25, 0.5] and (sizes == 0.5).sum() == len(sizes) - 1


@pytest.mark.parametrize("wrong", ["0", "-0.2", "half", "nan"])
def test_a_bad_pixel_size_is_told_by_row_and_column(tmp_path, wrong):
    path = ff.yolo(tmp_path) / "slides.csv"
    lines = path.read_text().splitlines()
    path.write_text(
        "\n".join(
            [lines[0] + ",um_per_px", lines[1] + f",{wrong}", *(line + ",1" for line in lines[2:])]
        )
    )
    [problem] = raised(tmp_path)
    assert (problem.file, problem.line) == (
        "slides.csv",
        2,
    ) and f"column um_per_px: '{wrong}'" in problem.what
    (tmp_path / "meta.json").write_text('{"um_per_px": "half"}')
    assert {q.file for q in raised(tmp_path)} == {"slides.csv", "meta.json"}


def raised(folder):
    with pytest.raises(DataError) as caught:
        c.check(read(folder))
    return caught.value.problems


def test_a_corrupt_image_is_named_also_where_ultralytics_has_patched_pillow(tmp_path):

    import ultralytics.utils.patches  # noqa: F401

    (tmp_path / "a.jpg").write_text("not an image")
    assert isinstance(c._look(tmp_path / "a.jpg"), str)


def test_the_folder_has_a_name_also_where_it_is_the_working_directory(tmp_path, monkeypatch):
    (ff.yolo(tmp_path) / "slides.csv").unlink()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=f"{tmp_path.name}: has no groups file"):
        c.check(read("."))


def test_patients_that_nobody_knows_are_an_explicit_word(tmp_path):
    (ff.yolo(tmp_path) / "slides.csv").unlink()
    meta = tmp_path / "meta.json"
    with pytest.raises(DataError, match='say so in meta.json: {"groups": "image"}'):
        c.check(read(tmp_path))
    meta.write_text('{"groups": "image"}')
    checked = c.check(read(tmp_path))
    assert (checked.images["group"] == checked.images["file"]).all()
    report = checked.report.frame().set_index("check")
    line = report.loc["image of an unknown patient"]
    assert line.found == len(checked.images) and "may flatter" in line.then
    meta.write_text('{"groups": "field"}')
    with pytest.raises(DataError, match='write "image" if nobody knows the patients'):
        c.check(read(tmp_path))


def test_patients_cannot_be_known_and_unknown(tmp_path):
    ff.yolo(tmp_path)
    (tmp_path / "meta.json").write_text('{"groups": "image"}')
    with pytest.raises(DataError, match="nobody knows the patients, and there is slides.csv"):
        c.check(read(tmp_path))
