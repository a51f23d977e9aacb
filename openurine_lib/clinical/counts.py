"""Table 8: boxes are counted and averaged per patient, graded in five levels, and set against a reference.

A count is per high-power field (HPF) where the pixel size of all images is known: boxes on all fields of a patient,
over the area that they show, times the area of an HPF. Otherwise it is per image, and ``Reference.unit`` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from openurine_lib.data.levels import LEVELS, hpf_um2, levels, read_cutoffs

if TYPE_CHECKING:
    from openurine_lib.data.taxonomy import Taxonomy
    from openurine_lib.experiments.run import Run

CONFIDENCE = 0.25  # ultralytics' default for prediction; the paper gives none. See ``operating``
FIELDS = 5  # "three to five representative microscopic fields": at most five, the first by name
LABORATORY, ANNOTATORS = (
    "the laboratory's report",
    "the annotators' own boxes (there is no laboratory report)",
)


class NoCommonPatient(ValueError):
    """The laboratory's report and the fields share no patient."""


class Reference(NamedTuple):
    """What the detector is set against."""

    images: pd.DataFrame  # the fields to predict, at most FIELDS a patient
    levels: (
        pd.DataFrame
    )  # [group, component, level (0-4), count (per HPF or per field; NaN: not reported)]
    by: str  # LABORATORY or ANNOTATORS
    without_fields: list[str]  # patients of the report that cannot be compared

    @property
    def unit(self) -> str:
        """What the counts are per."""
        if per_hpf(self.images):
            return f"counts per high-power field of {hpf_um2() / 1e6:.3f} mm²"
        known = self.images["um_per_px"].notna().sum() if "um_per_px" in self.images else 0
        return f"counts per field, not per HPF (the pixel size is known of {known} of {len(self.images)} fields)"

    @property
    def about(self) -> str:
        """What must stand beside every result: what the reference is, and what the counts are per."""
        return f"reference: {self.by}; {self.unit}"


def reference(run: Run, fold: int) -> Reference:
    """The fields to predict, and what their patients' levels are.

    Where the data set has a laboratory's report: the cohort's fields (if it has no cohort, the fold's test fields) of
    the patients in the report. Otherwise the fold's test fields (whole patients, up to the profile's limit), with the
    annotators' own boxes counted and graded as detections are.
    Raises NoCommonPatient if report and fields share no patient.
    """
    data = run.dataset
    test = within(choose_fields(data.test_images(fold)), run.profile.max_test_fields)
    if data.laboratory is None:
        known = levels(patient_means(test, data.boxes_of(test), data.taxonomy), read_cutoffs())
        return Reference(test, known, ANNOTATORS, [])
    cohort = data.cohort_images()
    images = cohort if len(cohort) else test
    images = choose_fields(images[images["group"].isin(data.laboratory["group"])])
    if images.empty:
        raise NoCommonPatient(
            "the laboratory's report is on no patient of the cohort (or, without one, the test fields)"
        )
    seen = data.laboratory["group"].isin(images["group"])
    report = data.laboratory[seen].reset_index(drop=True)
    known = report.assign(level=report["level"].map(LEVELS.index))[
        ["group", "component", "level", "count"]
    ]
    if not per_hpf(images):
        known["count"] = float("nan")  # the laboratory's are per HPF, ours are not
    return Reference(images, known, LABORATORY, sorted(set(data.laboratory.loc[~seen, "group"])))


def choose_fields(images: pd.DataFrame) -> pd.DataFrame:
    """At most FIELDS images a group, the first by name."""
    return (
        images.sort_values("image").groupby("group", sort=True).head(FIELDS).reset_index(drop=True)
    )


def within(images: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """Whole groups, those with most images first, as long as they are at most ``limit`` images; one group at least."""
    sizes = images["group"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    fits = sizes.cumsum() <= (limit or len(images))
    chosen = sizes.index[fits] if fits.any() else sizes.index[:1]
    return images[images["group"].isin(chosen)].reset_index(drop=True)


def per_hpf(images: pd.DataFrame) -> bool:
    """Whether the pixel size of every image is known. Of some only does not do: one unit for all patients."""
    return "um_per_px" in images and bool(images["um_per_px"].notna().all())


def patient_means(
    images: pd.DataFrame,
    boxes: pd.DataFrame,
    taxonomy: Taxonomy,
    points: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Mean count, per HPF or per field (``per_hpf``): a row a patient (index group), a column a component.

    ``images`` [image, group] and, for counts per HPF, [width, height (pixels), um_per_px]: a patient's boxes, over the
    area of all his or her fields, times an HPF's area. A field without boxes counts as 0. ``boxes`` [image, cls] may be
    truth or detections; ``points`` gives the confidence from which a component's detections count (None: all do).
    """
    group = images.set_index("image")["group"]
    counts = pd.DataFrame(
        0, index=pd.Index(sorted(group.unique()), name="group"), columns=list(taxonomy.components)
    )
    for component, classes in taxonomy.components.items():
        counted = boxes["cls"].isin(classes) & (
            points is None or boxes["conf"] >= (points or {})[component]
        )
        counts[component] = (
            boxes.loc[counted, "image"]
            .map(group)
            .value_counts()
            .reindex(counts.index, fill_value=0)
        )
    if per_hpf(images):
        shown = (
            images["width"] * images["height"] * images["um_per_px"] ** 2 / hpf_um2()
        )  # fields, in HPFs
        size = shown.groupby(images["group"].to_numpy()).sum()
    else:
        size = images["group"].value_counts()
    return counts.div(size.reindex(counts.index), axis=0)


def pair(known: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    """[group, component, level, count, level_here, count_here]: what both the reference and the prediction grade."""
    return known.merge(predicted, on=["group", "component"], suffixes=("", "_here"))


def overview(reference: Reference, taxonomy: Taxonomy) -> pd.DataFrame:
    """Patients by component and reference level; a component that nobody reported stands there with zeros."""
    table = reference.levels.groupby(["component", "level"]).size().unstack(fill_value=0)
    table = table.reindex(index=list(taxonomy.components), columns=range(len(LEVELS)), fill_value=0)
    return table.set_axis(LEVELS, axis=1)
