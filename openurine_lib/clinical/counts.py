"""Boxes are counted and averaged per patient; and the reference that their levels are set against.

A count is per high-power field (HPF) where the pixel size of all images is known: a patient's boxes
on all fields, over the area that they show, times the area of an HPF. Otherwise it is per image,
and ``Reference.unit`` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from openurine_lib.data.levels import LEVELS, hpf_um2, levels, read_cutoffs
from openurine_lib.data.taxonomy import Taxonomy
from openurine_lib.experiments.run import Run

# ultralytics' default for prediction; the paper gives none. See ``operating_points``.
CONFIDENCE = 0.25
FIELDS = 5  # "three to five representative microscopic fields": at most five, the first by name
LABORATORY = "the laboratory's report"
ANNOTATORS = "the annotators' own boxes (there is no laboratory report)"
NO_COMMON = "the annotators' own boxes (the laboratory's report is on none of the test patients)"


class Reference(NamedTuple):
    """What the detector is set against."""

    images: pd.DataFrame  # the fields to predict, at most FIELDS a patient
    levels: pd.DataFrame  # [group, component, level (0-4), count (NaN: not reported)]
    by: str  # LABORATORY, ANNOTATORS or NO_COMMON
    without_fields: list[str]  # patients of the report that cannot be compared

    @property
    def unit(self) -> str:
        """What the counts are per."""
        if per_hpf(self.images):
            return f"counts per high-power field of {hpf_um2() / 1e6:.3f} mm²"
        known = self.images["um_per_px"].notna().sum() if "um_per_px" in self.images else 0
        fields = f"{known} of {len(self.images)} fields"
        return f"counts per field, not per HPF (the pixel size is known of {fields})"

    @property
    def about(self) -> str:
        """What must stand beside every result: the reference, and what the counts are per."""
        return f"reference: {self.by}; {self.unit}"


def reference(run: Run, fold: int) -> Reference:
    """The fields to predict, and what their patients' levels are.

    With a laboratory's report: the cohort's fields (without a cohort, the fold's test fields) of
    the patients in the report. Without one, or if it is on none of these patients: the fold's test
    fields (whole patients, up to the profile's limit), with the annotators' own boxes counted and
    graded as detections are.
    """
    data = run.dataset
    report = data.laboratory
    # the order counts: at most FIELDS a patient, then whole patients up to the limit
    test = limit_groups(choose_fields(data.test_images(fold)), run.profile.max_test_fields)
    cohort = data.cohort_images()
    images = cohort if len(cohort) else test
    if report is not None:
        images = choose_fields(images[images["group"].isin(report["group"])])
    if report is None or images.empty:
        means = patient_means(test, data.boxes_of(test), data.taxonomy)
        by = ANNOTATORS if report is None else NO_COMMON
        without = [] if report is None else sorted(set(report["group"]))
        return Reference(test, levels(means, read_cutoffs()), by, without)
    with_fields = report["group"].isin(images["group"])
    graded = report.loc[with_fields, ["group", "component", "level", "count"]]
    graded = graded.assign(level=graded["level"].map(LEVELS.index)).reset_index(drop=True)
    if not per_hpf(images):
        graded["count"] = np.nan  # the laboratory's counts are per HPF, ours are not
    return Reference(images, graded, LABORATORY, sorted(set(report.loc[~with_fields, "group"])))


def choose_fields(images: pd.DataFrame) -> pd.DataFrame:
    """At most FIELDS images a group, the first by name."""
    groups = images.sort_values("image").groupby("group", sort=True)
    return groups.head(FIELDS).reset_index(drop=True)


def limit_groups(images: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """Whole groups of at most ``limit`` images, the largest first; one group at least."""
    # Twice sorted, so that of equally large groups the first by name comes first.
    sizes = images["group"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    # cumulated: the largest groups that fit together
    fits = sizes.cumsum() <= (limit or len(images))
    chosen = sizes.index[fits] if fits.any() else sizes.index[:1]
    return images[images["group"].isin(chosen)].reset_index(drop=True)


def per_hpf(images: pd.DataFrame) -> bool:
    """Whether the pixel size of every image is known: all patients need one unit."""
    return "um_per_px" in images and bool(images["um_per_px"].notna().all())


def patient_means(
    images: pd.DataFrame,
    boxes: pd.DataFrame,
    taxonomy: Taxonomy,
    points: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Mean count, per HPF or per field: a row a patient (index group), a column a component.

    ``images`` [image, group] and, for counts per HPF, [width, height (pixels), um_per_px]. A field
    without boxes counts as 0. ``boxes`` [image, cls] may be truth or detections; ``points`` gives
    the confidence from which a component's detections count (None: all do).
    """
    group_of = images.set_index("image")["group"]
    groups = pd.Index(sorted(group_of.unique()), name="group")
    counts = pd.DataFrame(0, index=groups, columns=list(taxonomy.components))
    for component, classes in taxonomy.components.items():
        counted = boxes["cls"].isin(classes)
        if points is not None:
            counted &= boxes["conf"] >= points[component]
        of_group = boxes.loc[counted, "image"].map(group_of).value_counts()
        counts[component] = of_group.reindex(groups, fill_value=0)
    fields = pd.Series(1, images.index)
    if per_hpf(images):  # the area that a field shows, in HPFs
        fields = images["width"] * images["height"] * images["um_per_px"] ** 2 / hpf_um2()
    # (patients, components)
    return counts.div(fields.groupby(images["group"]).sum().reindex(groups), axis=0)


def paired_levels(reference: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    """[group, component, level, count, level_here, count_here]: what both of them grade."""
    return reference.merge(predicted, on=["group", "component"], suffixes=("", "_here"))


def patients_by_level(reference: Reference, taxonomy: Taxonomy) -> pd.DataFrame:
    """Patients by component and reference level; zeros for a component that nobody reported."""
    table = reference.levels.groupby(["component", "level"]).size().unstack(fill_value=0)
    table = table.reindex(index=list(taxonomy.components), columns=range(len(LEVELS)), fill_value=0)
    return table.set_axis(LEVELS, axis=1)
