"""Table 8: boxes counted per field, averaged per patient, graded in five levels, and set against a reference.

The paper gives neither the cut-offs (see ``config/cutoffs.yaml``) nor the confidence from which a detection counts:
here CONFIDENCE, fixed beforehand, so that nothing is tuned on the patients that are scored.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import seaborn as sns
import yaml
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from scipy.stats import bootstrap
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from openurine_lib import published, style
from openurine_lib.methods import CONFIG
from openurine_lib.sidecars import LEVELS

if TYPE_CHECKING:
    from openurine_lib.run import Run
    from openurine_lib.taxonomy import Taxonomy

CONFIDENCE = 0.25  # ultralytics' default for prediction; fixed, not tuned
FIELDS = 5  # "three to five representative microscopic fields": at most five, the first by name
AGREEMENT = ["accuracy", "within_one", "kappa"]
(MEAN,) = published.SUMMARY_ROWS[8]
CUTOFFS = Path(str(CONFIG / "cutoffs.yaml"))


class BadCutoffs(ValueError):
    """A cut-off file that cannot be used."""


class NoCommonPatient(ValueError):
    """The laboratory's report and the fields share no patient."""


def read_cutoffs(path: Path = CUTOFFS) -> dict[str, list[float]]:
    """Component -> its four rising cut-offs (mean boxes per field). Raises BadCutoffs naming file and component."""
    try:
        entries: Any = yaml.safe_load(path.read_text(encoding="utf-8"))["components"]
        items = list(entries.items())
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise BadCutoffs(
            f"{path}: needs `components:`, a mapping component -> [rare, few, moderate, many]: {error}"
        ) from error
    for component, cuts in items:
        numbers = isinstance(cuts, list) and all(isinstance(c, int | float) and not isinstance(c, bool) for c in cuts)
        if not numbers or len(cuts) != len(LEVELS) - 1:
            raise BadCutoffs(f"{path}: {component}: needs four numbers [rare, few, moderate, many], has {cuts!r}")
        if not all(a < b for a, b in zip([0, *cuts], cuts, strict=False)):
            raise BadCutoffs(f"{path}: {component}: cut-offs must be above 0 and rise, has {cuts!r}")
    return {str(component): [float(c) for c in cuts] for component, cuts in items}


def reference(run: Run, fold: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The fields to predict, and what their patients' levels are: (images, [group, component, level]).

    Where the data set has a laboratory's report: the cohort's fields (if it has no cohort, the fold's test fields) of
    the patients in the report. Otherwise the fold's test fields (whole patients, up to the profile's limit), with the
    annotators' own boxes counted and graded as detections are. At most FIELDS fields a patient.
    Raises NoCommonPatient if report and fields share no patient.
    """
    data = run.dataset
    test = within(choose_fields(data.test_images(fold)), run.profile.max_test_fields)
    if data.laboratory is None:
        return test, levels(patient_means(test, data.boxes_of(test), data.taxonomy), read_cutoffs())
    cohort = data.cohort_images()
    images = cohort if len(cohort) else test
    images = choose_fields(images[images["group"].isin(data.laboratory["group"])])
    if images.empty:
        raise NoCommonPatient(
            "the laboratory's report is on no patient of the cohort (or, without one, the test fields)"
        )
    report = data.laboratory[data.laboratory["group"].isin(images["group"])]
    return images, report.assign(level=report["level"].map(LEVELS.index)).reset_index(drop=True)


def choose_fields(images: pd.DataFrame) -> pd.DataFrame:
    """At most FIELDS images a group, the first by name."""
    return images.sort_values("image").groupby("group", sort=True).head(FIELDS).reset_index(drop=True)


def within(images: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """Whole groups, those with most images first, as long as they are at most ``limit`` images; one group at least."""
    sizes = images["group"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    fits = sizes.cumsum() <= (limit or len(images))
    chosen = sizes.index[fits] if fits.any() else sizes.index[:1]
    return images[images["group"].isin(chosen)].reset_index(drop=True)


def patient_means(images: pd.DataFrame, boxes: pd.DataFrame, taxonomy: Taxonomy) -> pd.DataFrame:
    """Mean number of boxes per field: a row a patient (index group), a column a component of the taxonomy.

    A field without boxes counts as 0. ``boxes`` may be truth or detections, already cut at a confidence.
    """
    counts = pd.DataFrame(0, index=pd.Index(images["image"], name="image"), columns=list(taxonomy.components))
    for component, classes in taxonomy.components.items():
        per_image = boxes.loc[boxes["cls"].isin(classes), "image"].value_counts()
        counts[component] = per_image.reindex(counts.index, fill_value=0)
    return counts.groupby(images["group"].to_numpy()).mean().rename_axis("group")


def levels(means: pd.DataFrame, cutoffs: dict[str, list[float]]) -> pd.DataFrame:
    """Levels 0-4 [group, component, level] from ``patient_means``: the number of cut-offs that the mean reached.

    Raises BadCutoffs for a component without cut-offs.
    """
    absent = [c for c in means if c not in cutoffs]
    if absent:
        raise BadCutoffs(f"no cut-offs for {', '.join(map(repr, absent))}; add them to {CUTOFFS.name}")
    graded = means.apply(lambda column: np.searchsorted(cutoffs[str(column.name)], column, side="right"))
    return graded.rename_axis("group").reset_index().melt("group", var_name="component", value_name="level")


def predicted_levels(images: pd.DataFrame, predictions: pd.DataFrame, taxonomy: Taxonomy) -> pd.DataFrame:
    """Levels 0-4 [group, component, level] from detections of at least CONFIDENCE on ``images``."""
    return levels(patient_means(images, predictions[predictions["conf"] >= CONFIDENCE], taxonomy), read_cutoffs())


def pair(known: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    """[group, component, level, level_here]: what both the reference and the prediction grade."""
    return known.merge(predicted, on=["group", "component"], suffixes=("", "_here"))


def agreement(pairs: pd.DataFrame) -> pd.DataFrame:
    """Table 8: [row, patients, accuracy, within_one (percent), kappa] a component, and the mean over components.

    kappa is Cohen's with quadratic weights; NaN where it is undefined (reference and prediction are one and the same
    level for everybody). Rows in the order of Table 8, then other components.
    """
    rows = []
    for component, p in pairs.groupby("component"):
        apart = (p["level"] - p["level_here"]).abs()
        accuracy, within = 100 * (apart == 0).mean(), 100 * (apart <= 1).mean()
        rows.append(
            {"row": component, "patients": len(p), "accuracy": accuracy, "within_one": within, "kappa": kappa(p)}
        )
    table = pd.DataFrame(rows, columns=["row", "patients", *AGREEMENT]).astype(dict.fromkeys(AGREEMENT, float))
    order = {row: i for i, row in enumerate(published.table(8)["row"])}
    table = table.sort_values("row", key=lambda r: r.map(order).fillna(len(order)), kind="stable")
    mean = {"row": MEAN, "patients": pairs["group"].nunique(), **table[AGREEMENT].mean()}
    return pd.concat([table, pd.DataFrame([mean])], ignore_index=True).astype({"patients": "Int64"})


def kappa(p: pd.DataFrame) -> float:
    """Cohen's kappa with quadratic weights between ``level`` and ``level_here``."""
    if pd.concat([p["level"], p["level_here"]]).nunique() < 2:
        return float("nan")  # chance alone agrees on everything: 0 / 0
    return float(cohen_kappa_score(p["level"], p["level_here"], labels=range(len(LEVELS)), weights="quadratic"))


def mean_accuracy_interval(pairs: pd.DataFrame, seed: int = 0) -> tuple[float, float]:
    """95% interval (percent) of the mean accuracy: patients are drawn again, 1000 times (percentile bootstrap).

    NaN for fewer than two patients.
    """
    right = (pairs["level"] == pairs["level_here"]).astype(float)
    hits = right.groupby([pairs["group"], pairs["component"]]).first().unstack().to_numpy()  # (patients, components)
    if len(hits) < 2:
        return float("nan"), float("nan")

    def mean_accuracy(patients: np.ndarray) -> float:
        drawn = pd.DataFrame(hits[patients])
        return 100 * float(drawn.mean().mean())  # components first, as in Table 8; absent ones are skipped

    drawn = bootstrap(
        (np.arange(len(hits)),), mean_accuracy, n_resamples=1000, method="percentile", vectorized=False, rng=seed
    )
    return float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)


def plot_levels(pairs: pd.DataFrame, face: str) -> Figure:
    """For each component the patients by reference level (down) and level here (across)."""
    components = list(agreement(pairs)["row"][:-1])
    fig, axes = plt.subplots(
        1, max(len(components), 1), figsize=style.size(style.PAGE, 0.3), sharey=True, squeeze=False
    )
    for ax, component in zip(axes[0], components, strict=False):
        p = pairs[pairs["component"] == component]
        counts = confusion_matrix(p["level"], p["level_here"], labels=range(len(LEVELS)))
        sns.heatmap(counts, ax=ax, annot=True, fmt="d", cbar=False, square=True, cmap=style.SEQUENTIAL,
                    xticklabels=LEVELS, yticklabels=LEVELS, annot_kws={"fontsize": 5})  # fmt: skip
        ax.set_title(component, fontsize=6)
    fig.supxlabel(f"level here\n{face}", fontsize=6)
    fig.supylabel("reference level", fontsize=6)
    return fig
