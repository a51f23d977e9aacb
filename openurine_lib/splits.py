"""Five folds that share no patient or slide, balanced over classes as far as groups allow; smaller samples; near copies."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

FOLDS = 5
SHUFFLES = 20  # orders of the groups that are tried; the most even result is kept
NEAR = 24  # of the 256 bits of a perceptual hash. UriSed2K: a field saved again at quality 40 or at 70 % of its size
#            differs by 15 bits or fewer (95 %), the most alike fields of different slides by more than 24 with few exceptions


class SplitError(ValueError):
    """The groups do not allow five folds, or a group would stand on both sides."""


def assign_folds(images: pd.DataFrame, boxes: pd.DataFrame, seed: int, folds: int = FOLDS) -> pd.Series:
    """Fold of each labelled image (0 to folds - 1), indexed like ``images`` [image, group].

    scikit-learn's StratifiedGroupKFold knows one label a sample, and a field has many: so a sample here is a box, its
    label the class, and one more sample a field with a label of its own (so that fields are shared out evenly too).
    It evens out each class's share in every fold, a rare class as much as a common one, groups never cut.
    Raises SplitError with fewer groups than folds.
    """
    if images["group"].nunique() < folds:
        what = f"{images['group'].nunique()} groups cannot fill {folds} folds"
        raise SplitError(f"{what}: at least {folds} patients or slides with labelled images are needed")
    group_of = images.set_index("image")["group"]
    label = np.concatenate([boxes["cls"].to_numpy(int), np.full(len(images), -1)])
    group = np.concatenate([group_of.loc[boxes["image"]].to_numpy(), images["group"].to_numpy()])
    fold_of = min((_one_split(label, group, seed + i, folds) for i in range(SHUFFLES)), key=lambda f: _uneven(label, group, f, folds))
    return images["group"].map(fold_of).astype(int)


def _one_split(label: np.ndarray, group: np.ndarray, seed: int, folds: int) -> dict[str, int]:
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # such classes exist, in few groups
        parts = splitter.split(label, label, group)
        return {str(g): fold for fold, (_, test) in enumerate(parts) for g in np.unique(group[test])}


def _uneven(label: np.ndarray, group: np.ndarray, fold_of: dict[str, int], folds: int) -> tuple[int, float]:
    """(classes missing in folds, mean deviation of the classes' shares from 1/folds): smaller is better."""
    share = pd.crosstab(label, pd.Series(group).map(fold_of), normalize="index").reindex(columns=range(folds), fill_value=0)
    return int((share == 0).sum().sum()), float((share - 1 / folds).abs().to_numpy().mean())


def assert_disjoint(images: pd.DataFrame) -> None:
    """Raises SplitError if a group of labelled images has more than one fold."""
    labelled = images[images["split"] == "labelled"]
    cut = labelled.groupby("group")["fold"].nunique()
    if (cut > 1).any() or not labelled["fold"].between(0, FOLDS - 1).all():
        raise SplitError(f"groups on both sides of a split: {', '.join(cut[cut > 1].index)}")


def subsample(images: pd.DataFrame, boxes: pd.DataFrame, limit: int | None, seed: int) -> pd.DataFrame:
    """At most ``limit`` of the images, in their order; the first ones taken cover as many classes as they can.

    Greedy: the image with most classes not yet seen, until all are; then at random. The sample for a smaller limit is
    part of that for a larger one.
    """
    if limit is None or limit >= len(images):
        return images
    order = np.random.default_rng(seed).permutation(images["image"].to_numpy())
    classes = boxes.groupby("image")["cls"].agg(set).to_dict()
    taken: dict[str, None] = {}
    seen: set[int] = set()
    while len(taken) < limit:
        best = max((i for i in order if i not in taken), key=lambda i: len(classes.get(i, set()) - seen))
        if not classes.get(best, set()) - seen:
            break
        taken[best] = None
        seen |= classes[best]
    chosen = [*taken, *(i for i in order if i not in taken)][:limit]
    return images[images["image"].isin(chosen)]


def near_duplicates(images: pd.DataFrame) -> pd.DataFrame:
    """Pairs of images of different groups that look the same: [image_a, image_b, bits], most alike first.

    ``images`` has the columns image, group, phash (64 hexadecimal digits); bits is the Hamming distance, of 256.
    """
    bits = np.array([np.frombuffer(bytes.fromhex(h), np.uint64) for h in images["phash"]]).reshape(-1, 4)  # (n, 4)
    group = images["group"].to_numpy()
    pairs = []
    for i in range(len(bits)):
        distance = np.bitwise_count(bits[i + 1 :] ^ bits[i]).sum(axis=1)
        pairs += [(i, i + 1 + j, int(distance[j])) for j in np.flatnonzero((distance <= NEAR) & (group[i + 1 :] != group[i]))]
    names = images["image"].to_numpy()
    found = pd.DataFrame([(names[a], names[b], d) for a, b, d in pairs], columns=["image_a", "image_b", "bits"])
    return found.sort_values("bits", kind="stable", ignore_index=True)


def boxes_per_fold(images: pd.DataFrame, boxes: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """Boxes of each class in each fold: [class, fold 0, ..., fold 4], a row a class."""
    fold = boxes["image"].map(images.set_index("image")["fold"])
    table = pd.crosstab(boxes["cls"], fold).reindex(index=range(len(classes)), columns=range(FOLDS), fill_value=0)
    table.columns = [f"fold {k}" for k in range(FOLDS)]
    return table.assign(**{"class": list(classes)}).reset_index(drop=True)[["class", *table.columns]]
