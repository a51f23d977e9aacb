"""Five folds that share no patient or slide, as even as groups allow; samples; near duplicates."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

FOLDS = 5
EXCHANGES = 10_000  # exchanges of groups that are tried, about 0.3 s; later ones find little
FIELDS = -1  # fields count as one more class, with this number
FIELDS_WEIGHT = 10  # the even share of fields counts as much as that of ten classes
# Of 256 bits of a perceptual hash. On UriSed2K a field saved again at JPEG quality 40, or at 70 %
# of its size, differs by 15 bits or fewer (95 % of fields). Of 1.5 million pairs of fields of
# different slides three are this near, by the same dust on the optics: a reason to look, no proof.
NEAR = 24
SIDE = 16  # of the square of bits
#: How a copy may lie, in the order of ``orientations``.
ORIENTATIONS = (
    "as it is", "mirrored left to right", "mirrored top to bottom", "turned by 180 degrees",
    "transposed", "turned by 90 degrees", "turned by 270 degrees", "transposed and turned",
)  # fmt: skip


class SplitError(ValueError):
    """The groups do not allow five folds, or a group would stand on both sides."""


def assign_folds(
    images: pd.DataFrame, boxes: pd.DataFrame, seed: int, folds: int = FOLDS
) -> pd.Series:
    """Fold of each labelled image (0 to folds - 1), indexed like ``images`` [image, group].

    scikit-learn's StratifiedGroupKFold knows one label a sample, and a field has many. So a sample
    is here a box, its label the class, and one more sample a field. It is greedy and leaves classes
    out of folds that could have them, so groups are exchanged afterwards. The fold with most
    classes on both sides gets number 0, as small profiles run that one only.
    Raises SplitError with fewer groups than folds.
    """
    # scikit-learn takes two seconds to load, and every job of a workflow loads this module
    from sklearn.model_selection import StratifiedGroupKFold

    too_few = shortage(images["group"].nunique(), folds)
    if too_few:
        raise SplitError(too_few)
    # One sample a field, then one a box.
    group_of = images.set_index("image")["group"]
    # (samples,): fields first, then boxes
    label = np.concatenate([np.full(len(images), FIELDS), boxes["cls"].to_numpy(int)])
    group = np.concatenate([images["group"].to_numpy(), group_of.loc[boxes["image"]].to_numpy()])
    fold_of = np.empty(len(label), int)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # Rare classes stand in few groups; that is known.
        warnings.filterwarnings("ignore", message="The least populated class")
        for number, (_, test) in enumerate(splitter.split(label, label, group)):
            fold_of[test] = number
    counts = pd.crosstab(group, label)  # (groups, 1 + classes)
    # one row a group, as all its samples have one fold
    start = pd.Series(fold_of, group).groupby(level=0).first().loc[counts.index]
    fold = even_out(start.to_numpy(), counts.to_numpy(), folds, seed)
    return images["group"].map(dict(zip(counts.index, fold, strict=True))).astype(int)


def shortage(groups: int, folds: int) -> str:
    """What is wrong with so few groups; empty if they are enough."""
    if groups >= folds:
        return ""
    needs = f"at least {folds} patients or slides with labelled images are needed"
    return f"{groups} groups cannot fill {folds} folds: {needs}"


def even_out(fold: np.ndarray, counts: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Exchanges groups between folds while that makes the folds' shares of the classes more even.

    ``fold`` (G,) of each group; ``counts`` (G, C) its boxes of each class, the first its fields.
    """
    groups, classes = counts.shape
    total = counts.sum(axis=0)  # (C,)
    weight = np.ones(classes)
    weight[0] = FIELDS_WEIGHT
    # Two empty groups join each fold: to exchange a group with an empty one is to move it.
    counts = np.vstack([counts, np.zeros((2 * folds, classes), int)])
    fold = np.concatenate([fold, np.tile(np.arange(folds), 2)])  # (G + 2 * folds,)
    have = np.stack([counts[fold == f].sum(axis=0) for f in range(folds)])  # (folds, C)

    def unevenness(have: np.ndarray) -> np.ndarray:
        """(folds, C): squared distance of each fold's share of a class from an even one."""
        return (have / total - 1 / folds) ** 2

    def cost(have: np.ndarray) -> float:
        absent = (have == 0).sum()
        # a class that a fold lacks costs 1, more than its unevenness ever can
        return float(absent + (weight * unevenness(have)).sum())

    least = cost(have)
    for a, b in np.random.default_rng(seed).integers(len(fold), size=(EXCHANGES, 2)):
        fold_a = fold[a]
        fold_b = fold[b]
        if fold_a == fold_b:
            continue
        gain = counts[b] - counts[a]  # of the fold that gives a for b
        exchanged = have.copy()
        exchanged[fold_a] += gain
        exchanged[fold_b] -= gain
        cost_exchanged = cost(exchanged)
        if cost_exchanged < least:  # only what helps
            have = exchanged
            least = cost_exchanged
            fold[a] = fold_b
            fold[b] = fold_a

    # New numbers: most classes on both sides first, among equals the most even fold.
    both_sides = ((have > 0) & (have < total)).sum(axis=1)  # (folds,)
    best_first = np.lexsort([unevenness(have).sum(axis=1), -both_sides])  # the last key sorts first
    number = np.empty(folds, int)
    number[best_first] = np.arange(folds)
    return number[fold[:groups]]  # without the empty groups


def assert_disjoint(images: pd.DataFrame) -> None:
    """Raises SplitError if a group of labelled images has more than one fold."""
    labelled = images[images["split"] == "labelled"]
    folds_of = labelled.groupby("group")["fold"].nunique()
    cut = folds_of.index[folds_of > 1]
    if len(cut) or not labelled["fold"].between(0, FOLDS - 1).all():
        raise SplitError(f"groups on both sides of a split: {', '.join(cut)}")


def subsample(
    images: pd.DataFrame, boxes: pd.DataFrame, limit: int | None, seed: int
) -> pd.DataFrame:
    """At most ``limit`` of the images, in their order, which show as many classes as they can.

    Greedy: the image with most classes not yet seen, until all are; then at random. The sample for
    a smaller limit is part of that for a larger one.
    """
    if limit is None or limit >= len(images):
        return images
    # shuffled once: ``max`` takes the first of equals, so chance decides between them
    rest = list(np.random.default_rng(seed).permutation(images["image"].to_numpy()))
    classes = boxes.groupby("image")["cls"].agg(set).to_dict()
    chosen: list[str] = []
    seen: set[int] = set()
    while len(chosen) < limit:
        best = max(rest, key=lambda image: len(classes.get(image, set()) - seen))
        if not classes.get(best, set()) - seen:  # every class has been seen
            break
        chosen.append(best)
        rest.remove(best)
        seen |= classes[best]
    return images[images["image"].isin([*chosen, *rest][:limit])]  # then the rest, at random


def near_duplicates(images: pd.DataFrame) -> pd.DataFrame:
    """Pairs of images of different groups that look the same: [image_a, image_b, bits, copy].

    ``images``: [image, group, phash (64 hexadecimal digits)]; ``bits``: their distance, of 256;
    ``copy``: how the second one lies, of ORIENTATIONS. Mirrored and turned copies are found, too:
    augmented images are at times handed out as if they were others.
    """
    name = images["image"].to_numpy()
    group = images["group"].to_numpy()
    content = b"".join(bytes.fromhex(phash) for phash in images["phash"])
    square = np.unpackbits(np.frombuffer(content, np.uint8)).reshape(-1, SIDE, SIDE)  # (N, 16, 16)
    words = square_as_words(square)
    turned = {way: square_as_words(bits) for way, bits in orientations(square).items()}
    pairs: list[tuple[str, str, int, str]] = []
    for i in range(len(words)):
        later = slice(i + 1, None)  # each pair once
        # (8, N - i - 1): bits that differ from the image as each of the eight orientations has it
        distance = np.stack(
            [np.bitwise_count(words[later] ^ bits[i]).sum(axis=1) for bits in turned.values()]
        )
        nearest = distance.min(axis=0, initial=SIDE**2)
        near = np.flatnonzero((nearest <= NEAR) & (group[later] != group[i]))
        for j in near:
            way = ORIENTATIONS[int(distance[:, j].argmin())]
            pairs.append((name[i], name[later][j], int(nearest[j]), way))
    found = pd.DataFrame(pairs, columns=["image_a", "image_b", "bits", "copy"])
    return found.sort_values("bits", kind="stable", ignore_index=True)


def orientations(square: np.ndarray) -> dict[str, np.ndarray]:
    """Perceptual hashes (N, 16, 16) of the eight orientations of each image, from its own hash.

    A bit says whether a coefficient of the cosine transform (rows: vertical frequencies) is above
    the median, which is nearly 0. Mirroring an image turns the sign of every odd frequency, and
    transposing it transposes the coefficients. So the hash of a mirrored image need not be made.
    """
    odd = np.arange(SIDE, dtype=np.uint8) % 2
    across, down = odd[None, :], odd[:, None]  # (1, 16) and (16, 1)
    transposed = square.transpose(0, 2, 1)
    flips = [across & 0, across, down, across ^ down]
    found = [bits ^ flip for bits in (square, transposed) for flip in flips]
    return dict(zip(ORIENTATIONS, found, strict=True))


def square_as_words(square: np.ndarray) -> np.ndarray:
    """Bits (N, 16, 16) as (N, 4) words, whose differences are counted fast."""
    return np.packbits(square.reshape(len(square), -1), axis=1).view(np.uint64)


def boxes_per_fold(
    images: pd.DataFrame, boxes: pd.DataFrame, classes: tuple[str, ...]
) -> pd.DataFrame:
    """Boxes of each class in each fold: [class, fold 0, ..., fold 4], a row a class."""
    fold = boxes["image"].map(images.set_index("image")["fold"])
    table = pd.crosstab(boxes["cls"], fold)
    table = table.reindex(index=range(len(classes)), columns=range(FOLDS), fill_value=0)
    table.columns = [f"fold {k}" for k in range(FOLDS)]
    table.insert(0, "class", list(classes))
    return table.reset_index(drop=True)
