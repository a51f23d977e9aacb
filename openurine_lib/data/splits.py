"""Five folds that share no patient or slide, balanced over classes as far as groups allow; samples; near copies."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

FOLDS = 5
EXCHANGES = 10_000  # random exchanges of groups between folds that are tried, about 0.3 s; later ones find little
FIELDS, FIELDS_WEIGH = (
    -1,
    10,
)  # fields count as one more class, and their even share as much as that of ten classes
# Of 256 bits of a perceptual hash. On UriSed2K a field that was saved again at JPEG quality 40, or at 70 % of its size,
# differs by 15 bits or fewer (95 % of fields); of 1.5 million pairs of fields of different slides three are this near,
# by the same dust on the optics. So a pair is a reason to look, not a proof.
NEAR = 24


class SplitError(ValueError):
    """The groups do not allow five folds, or a group would stand on both sides."""


def assign_folds(
    images: pd.DataFrame, boxes: pd.DataFrame, seed: int, folds: int = FOLDS
) -> pd.Series:
    """Fold of each labelled image (0 to folds - 1), indexed like ``images`` [image, group].

    scikit-learn's StratifiedGroupKFold knows one label a sample, and a field has many: so a sample here is a box, its
    label the class, and one more sample a field. It is greedy and leaves classes out of folds that could have them (12
    class-fold pairs of the demo profile's synthetic data, where none is needed), so groups are exchanged afterwards.
    The fold with most classes on both sides gets number 0, as small profiles run that one only.
    Raises SplitError with fewer groups than folds.
    """
    if images["group"].nunique() < folds:
        what = f"{images['group'].nunique()} groups cannot fill {folds} folds"
        raise SplitError(
            f"{what}: at least {folds} patients or slides with labelled images are needed"
        )
    group_of = images.set_index("image")["group"]
    label = np.concatenate([np.full(len(images), FIELDS), boxes["cls"].to_numpy(int)])
    group = np.concatenate([images["group"].to_numpy(), group_of.loc[boxes["image"]].to_numpy()])
    fold_of = np.empty(len(label), int)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="The least populated class"
        )  # rare classes stand in few groups
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        for number, (_, test) in enumerate(splitter.split(label, label, group)):
            fold_of[test] = number
    counts = pd.crosstab(group, label)  # (groups, classes)
    start = pd.Series(fold_of, group).groupby(level=0).first().loc[counts.index]
    fold = even_out(start.to_numpy(), counts.to_numpy(), folds, seed)
    return images["group"].map(dict(zip(counts.index, fold, strict=True))).astype(int)


def even_out(fold: np.ndarray, counts: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Exchanges groups between folds while that gives more classes to all folds, or more even shares of them.

    ``fold`` (G,) of each group, ``counts`` (G, C) its boxes of each class, the first column its fields.
    """
    total, weight = counts.sum(axis=0), np.where(np.arange(counts.shape[1]) == 0, FIELDS_WEIGH, 1)
    nobody = np.zeros(
        (2 * folds, counts.shape[1]), int
    )  # an exchange with an empty group is a move
    counts, fold = np.vstack([counts, nobody]), np.concatenate([fold, np.tile(np.arange(folds), 2)])
    have = np.stack([counts[fold == f].sum(axis=0) for f in range(folds)])  # (folds, C)

    def cost(have: np.ndarray) -> float:
        return float((have == 0).sum() + (weight * (have / total - 1 / folds) ** 2).sum())

    least = cost(have)
    for a, b in np.random.default_rng(seed).integers(len(fold), size=(EXCHANGES, 2)):
        change = counts[b] - counts[a]
        tried = have.copy()
        tried[fold[a]] += change
        tried[fold[b]] -= change
        if fold[a] != fold[b] and (now := cost(tried)) < least:
            have, least = tried, now
            fold[a], fold[b] = fold[b], fold[a]
    both_sides = ((have > 0) & (have < total)).sum(axis=1)
    order = np.lexsort([((have / total - 1 / folds) ** 2).sum(axis=1), -both_sides])
    return np.argsort(order)[fold[: -len(nobody)]]


def assert_disjoint(images: pd.DataFrame) -> None:
    """Raises SplitError if a group of labelled images has more than one fold."""
    labelled = images[images["split"] == "labelled"]
    cut = labelled.groupby("group")["fold"].nunique()
    if (cut > 1).any() or not labelled["fold"].between(0, FOLDS - 1).all():
        raise SplitError(f"groups on both sides of a split: {', '.join(cut[cut > 1].index)}")


def subsample(
    images: pd.DataFrame, boxes: pd.DataFrame, limit: int | None, seed: int
) -> pd.DataFrame:
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
        best = max(
            (i for i in order if i not in taken), key=lambda i: len(classes.get(i, set()) - seen)
        )
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
    bits = np.array([np.frombuffer(bytes.fromhex(h), np.uint64) for h in images["phash"]]).reshape(
        -1, 4
    )  # (n, 4)
    group = images["group"].to_numpy()
    pairs = []
    for i in range(len(bits)):
        distance = np.bitwise_count(bits[i + 1 :] ^ bits[i]).sum(axis=1)
        alike = np.flatnonzero((distance <= NEAR) & (group[i + 1 :] != group[i]))
        pairs += [(i, i + 1 + j, int(distance[j])) for j in alike]
    names = images["image"].to_numpy()
    found = pd.DataFrame(
        [(names[a], names[b], d) for a, b, d in pairs], columns=["image_a", "image_b", "bits"]
    )
    return found.sort_values("bits", kind="stable", ignore_index=True)


def boxes_per_fold(
    images: pd.DataFrame, boxes: pd.DataFrame, classes: tuple[str, ...]
) -> pd.DataFrame:
    """Boxes of each class in each fold: [class, fold 0, ..., fold 4], a row a class."""
    fold = boxes["image"].map(images.set_index("image")["fold"])
    table = pd.crosstab(boxes["cls"], fold).reindex(
        index=range(len(classes)), columns=range(FOLDS), fill_value=0
    )
    table.columns = [f"fold {k}" for k in range(FOLDS)]
    return table.assign(**{"class": list(classes)}).reset_index(drop=True)[
        ["class", *table.columns]
    ]
