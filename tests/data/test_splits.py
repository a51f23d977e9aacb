"""Folds share no group and miss no class needlessly; samples keep classes; near duplicates."""

import io

import numpy as np
import pandas as pd
import pytest
from imagehash import phash
from PIL import Image, ImageFilter

from openurine_lib.data import splits
from openurine_lib.data.splits import SplitError


def data(groups: int = 30, fields: int = 4, classes: int = 12, seed: int = 0):
    """Groups with common and rare classes: class k in groups / (k + 1) groups, least eight."""
    rng = np.random.default_rng(seed)
    images, boxes = [], []
    shown = {
        k: rng.choice(groups, min(groups, max(8, groups // (k + 1))), replace=False)
        for k in range(classes)
    }
    for g in range(groups):
        for f in range(int(rng.integers(1, fields + 1))):
            images.append((f"g{g}f{f}", f"g{g}", "labelled"))
            here = [k for k in range(classes) if g in shown[k] for _ in range(1 + k % 3)]
            boxes += [(f"g{g}f{f}", k, 0.0, 0.0, 1.0, 1.0) for k in here]
    return (
        pd.DataFrame(images, columns=["image", "group", "split"]),
        pd.DataFrame(boxes, columns=["image", "cls", "x1", "y1", "x2", "y2"]),
    )


@pytest.mark.parametrize("seed", range(3))
def test_groups_stay_whole_and_every_class_is_in_every_fold(seed):
    images, boxes = data(seed=seed)
    images["fold"] = splits.assign_folds(images, boxes, seed)
    splits.assert_disjoint(images)
    table = splits.boxes_per_fold(images, boxes, tuple("abcdefghijkl")).set_index("class")
    assert (table > 0).all(axis=None)
    fields = images["fold"].value_counts()
    assert fields.max() - fields.min() <= 4


def test_one_seed_one_split_in_whatever_order_the_rows_come():
    images, boxes = data()
    first = splits.assign_folds(images, boxes, 0)
    assert first.equals(splits.assign_folds(images, boxes, 0))
    shuffled = images.sample(frac=1, random_state=1)
    again = splits.assign_folds(shuffled, boxes.sample(frac=1, random_state=2), 0)
    assert again.sort_index().equals(first)


def test_a_class_of_one_group_is_not_in_the_first_fold():
    images, boxes = data()
    lonely = boxes.assign(cls=boxes["cls"].where(boxes["cls"] != 11, 10))
    lonely.loc[lonely["image"].str.startswith("g3f"), "cls"] = 11
    images["fold"] = splits.assign_folds(images, lonely, 0)
    assert images.loc[images["group"] == "g3", "fold"].iloc[0] != 0


@pytest.mark.parametrize("seed", range(4))
def test_a_class_of_two_groups_is_trained_and_tested_in_the_first_fold(seed):
    """Two folds of the five can test it and train on it, and a small profile runs the first."""
    images, boxes = data(seed=seed)
    rare = boxes.assign(cls=boxes["cls"].where(boxes["cls"] != 11, 10))
    rare.loc[rare["image"].str.startswith(("g3f", "g7f")), "cls"] = 11
    fold = splits.assign_folds(images, rare, seed).groupby(images["group"]).first()
    assert 0 in (fold["g3"], fold["g7"]) and fold["g3"] != fold["g7"]


def test_fields_without_boxes_are_shared_out_too():
    images = pd.DataFrame(
        {"image": [f"i{k}" for k in range(20)], "group": [f"g{k // 2}" for k in range(20)]}
    )
    boxes = pd.DataFrame({"image": ["i0", "i4"], "cls": [0, 0]})
    assert splits.assign_folds(images, boxes, 0).value_counts().tolist() == [4] * 5


def test_too_few_groups():
    images, boxes = data(groups=5)
    four = images[images["group"] != "g0"]
    with pytest.raises(SplitError, match="4 groups cannot fill 5 folds"):
        splits.assign_folds(four, boxes[boxes["image"].isin(four["image"])], 0)


def test_assert_disjoint_names_the_group():
    images, boxes = data()
    images["fold"] = splits.assign_folds(images, boxes, 0)
    cut = images["group"].duplicated()
    images.loc[cut.idxmax(), "fold"] = (images.loc[cut.idxmax(), "fold"] + 1) % 5
    with pytest.raises(SplitError, match=images.loc[cut.idxmax(), "group"]):
        splits.assert_disjoint(images)


@pytest.mark.parametrize("limit", [3, 12, 20])
def test_a_sample_keeps_as_many_classes_as_it_can(limit):
    images, boxes = data()
    sample = splits.subsample(images, boxes, limit, 0)
    assert len(sample) == limit and sample.index.is_monotonic_increasing
    assert sample.equals(splits.subsample(images, boxes, limit, 0))
    kept = boxes[boxes["image"].isin(sample["image"])]["cls"].nunique()
    assert kept == 12 if limit >= 12 else kept >= 8
    larger = splits.subsample(images, boxes, limit + 5, 0)
    assert set(sample["image"]) <= set(larger["image"])


def test_a_sample_without_boxes_or_limit():
    images, boxes = data()
    assert splits.subsample(images, boxes, None, 0) is images
    assert splits.subsample(images, boxes, 10**6, 0) is images
    assert len(splits.subsample(images, boxes.iloc[:0], 7, 0)) == 7


def field(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (240, 320), dtype=np.uint8)).filter(
        ImageFilter.GaussianBlur(6)
    )


def saved_again(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.resize((224, 168)).save(file, "JPEG", quality=40)
    return Image.open(file)


def test_near_copies_in_other_groups_are_found_and_only_those():
    shown = [*(field(i) for i in range(20)), saved_again(field(3)), saved_again(field(5))]
    group = [*(f"g{i}" for i in range(20)), "g3", "other"]  # the copy of field 3 stays in its group
    images = pd.DataFrame({"image": [f"i{k}" for k in range(22)], "group": group})
    images["phash"] = [str(phash(image, hash_size=16)) for image in shown]
    found = splits.near_duplicates(images)
    assert found[["image_a", "image_b"]].to_numpy().tolist() == [["i5", "i21"]]
    assert (found["bits"] <= splits.NEAR).all() and found["copy"].tolist() == ["as it is"]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (Image.Transpose.FLIP_LEFT_RIGHT, "mirrored left to right"),
        (Image.Transpose.FLIP_TOP_BOTTOM, "mirrored top to bottom"),
        (Image.Transpose.ROTATE_180, "turned by 180 degrees"),
        (Image.Transpose.TRANSPOSE, "transposed"),
        (Image.Transpose.ROTATE_270, "turned by 90 degrees"),  # Pillow turns the other way
        (Image.Transpose.ROTATE_90, "turned by 270 degrees"),
        (Image.Transpose.TRANSVERSE, "transposed and turned"),
    ],
)
def test_mirrored_and_turned_copies_are_found_and_only_those(how, said):
    shown = [*(field(i) for i in range(20)), field(7).transpose(how)]
    images = pd.DataFrame({"image": [f"i{k}" for k in range(21)]})
    images["group"] = images["image"]
    images["phash"] = [str(phash(image, hash_size=16)) for image in shown]
    found = splits.near_duplicates(images)
    assert found[["image_a", "image_b", "copy"]].to_numpy().tolist() == [["i7", "i20", said]]


@pytest.mark.parametrize("bits", [splits.NEAR, splits.NEAR + 1])
def test_how_near_is_near(bits):
    hashes = [f"{0:064x}", f"{2**bits - 1:064x}"]
    images = pd.DataFrame({"image": ["a", "b"], "group": ["g", "h"], "phash": hashes})
    assert splits.near_duplicates(images)["bits"].tolist() == [bits] * (bits <= splits.NEAR)


def test_exchanges_make_the_shares_even():
    """Two rich groups start in one fold and two poor ones in the other; fields are even."""
    counts = np.array([[1, 3], [1, 3], [1, 1], [1, 1]])
    fold = splits.even_out(np.array([0, 0, 1, 1]), counts, 2, seed=0)
    assert [counts[fold == f].sum(axis=0).tolist() for f in (0, 1)] == [[2, 4], [2, 4]]
