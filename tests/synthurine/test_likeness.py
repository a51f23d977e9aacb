"""What the simulator learns of a camera from fields that nobody labelled."""

import dataclasses
import math

import cv2
import numpy as np
import pytest
from drawing import PLAIN, TINY

import synthurine
from synthurine import command, dataset, likeness
from synthurine.fields import lay
from synthurine.laboratories import LABORATORIES, read_laboratories, write_laboratories
from synthurine.look import look, look_at, quality
from synthurine.optics import Microscope

UM = 0.25
CELLS = ["RBC"] * 24 + ["WBC"] * 2 + ["Calcium oxalate"] * 2
# a dim, bluish, noisy and oversharpened camera, as none of the eight is
OURS = dataclasses.replace(
    PLAIN, light=(0.45, 0.5, 0.6), noise=0.05, sharpen=2.0, jpeg=80, vignette=0.1, uneven=0.03,
    microscope=Microscope(na=0.65, condenser=0.16, axial=0.4), focus=2.5,
)  # fmt: skip


def photographed(folder, lab, n, um=UM, first=0, px=420):
    folder.mkdir(exist_ok=True)
    for i in range(first, first + n):
        image, _ = lay(CELLS, px, um, lab, np.random.default_rng([7, i]))
        setting = [cv2.IMWRITE_JPEG_QUALITY, lab.jpeg]
        cv2.imwrite(str(folder / f"field{i}.jpg"), image[..., ::-1], setting)
    return likeness.images_in(folder)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ours")
    paths = photographed(folder, OURS, 5)
    with pytest.MonkeyPatch.context() as few:
        few.setattr(likeness, "GUESSES", (8, 8))
        labs, um = synthurine.laboratories_like(paths)
    return folder, paths, labs, um


def middle_of(labs, um):
    looks = []
    for i, lab in enumerate(labs):
        image, _ = lay(CELLS, 420, um, lab, np.random.default_rng([8, i]))
        looks.append(look(image, lab.jpeg))
    return likeness.middle(looks)


def test_a_camera_that_is_known_is_recovered(learned):
    _, _, labs, um = learned
    assert len(labs) == 1 and labs[0].jpeg == pytest.approx(OURS.jpeg, abs=2)
    assert um == pytest.approx(UM, rel=0.15)
    # what cannot be told apart in a picture (blur and sharpening, focus and aperture) may differ:
    # the pictures must be alike
    ours, like = middle_of([OURS] * 3, UM), middle_of(list(labs) * 3, um)
    for colour in ("red", "green", "blue"):
        assert like[colour] == pytest.approx(ours[colour], abs=0.04)
    assert like["noise"] == pytest.approx(ours["noise"], rel=0.2)
    assert like["grain"] == pytest.approx(ours["grain"], abs=0.15)


def test_fields_drawn_like_others_are_nearer_to_them_than_the_usual_ones(learned):
    _, paths, labs, um = learned
    real = likeness.middle([look_at(path) for path in paths])
    like, usual = middle_of(list(labs) * 3, um), middle_of(LABORATORIES, UM)

    def unlike(other):
        light = sum(abs(other[c] - real[c]) for c in ("red", "green", "blue"))
        return light, abs(math.log(other["noise"] / real["noise"])), likeness.distance(real, other)

    assert all(near < far for near, far in zip(unlike(like), unlike(usual), strict=True))


def test_two_cameras_are_told_apart(tmp_path):
    photographed(tmp_path, OURS, 3)
    paths = photographed(tmp_path, dataclasses.replace(OURS, light=(0.9, 0.8, 0.7)), 2, first=3)
    groups = likeness.cameras([look_at(path) for path in paths])
    assert [len(group) for group in groups] == [3, 2]
    assert groups[0][0].light[0] < 0.6 < groups[1][0].light[0]


def test_small_red_cells_mean_a_weaker_objective():
    nothing = look(np.full((200, 200, 3), 180, np.uint8))
    assert math.isnan(nothing.cell) and math.isnan(nothing.dark)
    assert likeness.usual_scale([nothing]) == likeness.USUAL_UM
    usual_cells = dataclasses.replace(nothing, cell=likeness.RED_CELL / UM + likeness.RIM)
    small_cells = dataclasses.replace(nothing, cell=10.0)
    usual = likeness.usual_scale([usual_cells, usual_cells, small_cells, nothing])
    assert usual == pytest.approx(UM)
    (strong, _), (weak, told) = likeness.scales([usual_cells, small_cells], usual)
    assert strong == usual and weak == pytest.approx(1.4) and "weaker" in told
    assert [um for um, _ in likeness.scales([small_cells], usual)] == [weak]
    assert [um for um, _ in likeness.scales([nothing], usual)] == [usual]


@pytest.mark.parametrize("stored", [60, 75, 90])
def test_the_quality_of_a_file_is_read_off_its_table(tmp_path, stored):
    image = np.full((64, 64, 3), 200, np.uint8)
    cv2.imwrite(str(tmp_path / "f.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, stored])
    assert quality(tmp_path / "f.jpg") == pytest.approx(stored, abs=2)


def test_what_was_learned_can_be_edited_and_drawn_with(learned, tmp_path, capsys):
    _, _, labs, um = learned
    file = tmp_path / "laboratories.yaml"
    write_laboratories(file, [dataclasses.replace(labs[0], light=(0.9, 0.9, 0.9))], um)
    out = tmp_path / "drawn"
    options = ["--out", str(out), "--like", str(file), "--fields", "2", "--field-px", "160"]
    assert command.main([*options, "--workers", "1"]) == 0
    assert "laboratories.yaml" in capsys.readouterr().out
    (lab,), drawn_um = read_laboratories(out / dataset.LABORATORIES_FILE)
    assert lab.light == (0.9, 0.9, 0.9) and drawn_um == pytest.approx(um, rel=0.01)
    drawn = likeness.middle([look_at(path) for path in likeness.images_in(out / "images")])
    assert drawn["red"] > OURS.light[0] + 0.2
    sheet = (out / "DATASHEET.md").read_text(encoding="utf-8")
    assert "learned from other fields" in sheet and "--like laboratories.yaml --seed 0" in sheet
    # a call with another camera does not add to these fields
    assert command.main([*options[:2], "--fields", "2"]) == 2
    assert "another" in capsys.readouterr().err


def test_wrong_requests_name_the_file_and_the_remedy(tmp_path, capsys):
    with pytest.raises(ValueError, match="no image"):
        likeness.images_in(tmp_path)
    (tmp_path / "bad.jpg").write_text("no image")
    with pytest.raises(ValueError, match=r"bad\.jpg.*remove"):
        synthurine.laboratories_like([tmp_path / "bad.jpg"])
    for text in ("- 1", "laboratories: []\num_per_px: 0.2", "{"):
        (tmp_path / "l.yaml").write_text(text)
        with pytest.raises(ValueError, match=r"l\.yaml"):
            read_laboratories(tmp_path / "l.yaml")
    options = ["--out", str(tmp_path / "o"), "--like", str(tmp_path), "--field-um", "200"]
    assert command.main(options) == 2
    assert "--um-per-px" in capsys.readouterr().err


def test_without_a_folder_nothing_changes(tmp_path):
    out = dataset.write(tmp_path, TINY, 0, 1)
    assert not (out / dataset.LABORATORIES_FILE).exists()
    assert "laboratories" not in (out / "meta.json").read_text()
