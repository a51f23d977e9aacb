"""What is explored: one detector, one field, and the boxes, counts and levels of a choice.

The detector runs once for a field and a way to cut it, from a low confidence on. Moving the
confidence only filters: suppression goes from the surest box down, so that the boxes above a
confidence are those of a run at that confidence.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from openurine_lib import default_weights
from openurine_lib.clinical import patient_report, validation
from openurine_lib.clinical.counts import CONFIDENCE
from openurine_lib.contrast import brought_to
from openurine_lib.data.boxes import XYXY
from openurine_lib.data.given import ONE_PATIENT
from openurine_lib.data.images import BadField, decode
from openurine_lib.evaluation import gradcam
from openurine_lib.inference import OVERLAP, predict_image
from openurine_lib.laboratory.predicting import check_pixel_size, open_detector, unlike_training
from openurine_lib.looking import size_at_once
from openurine_lib.speed.processor import device
from openurine_lib.training.engines.ultralytics import load_model
from openurine_lib.training.weights import usual_room
from openurine_lib.two_looks import shown_from
from openurine_lib.ways import Way
from synthurine import SIMULATOR, one_field
from synthurine.laboratories import LABORATORIES
from synthurine.patients import PROFILES

LEAST = 0.05  # confidence from which boxes are kept
# How a field may be seen: as ``predict`` does by itself, cut into slices, or whole at once.
USUAL, SLICED, WHOLE = WAYS = ("as validated", "in slices", "as a whole")
MOST_SLICES = 16  # that are explained: a slice takes half a second

__all__ = ["LABORATORIES", "LEAST", "MOST_SLICES", "PROFILES", "WAYS", "Choice", "Explorer", "Seen"]


@dataclass(frozen=True)
class Choice:
    """What the reader has chosen to see."""

    conf: float = CONFIDENCE
    way: str = USUAL  # one of WAYS
    off: frozenset[str] = frozenset()  # heads that are switched off
    explained: str | None = None  # the head whose Grad-CAM lies over the field


@dataclass(frozen=True)
class Field:
    """The field that is explored, and what was found on it so far."""

    name: str
    about: str  # one line
    pixels: np.ndarray  # (H, W, 3) RGB, uint8
    um_per_px: float | None
    truth: pd.DataFrame | None = None  # [cls, x1, y1, x2, y2] of a drawn field
    boxes: dict[str, pd.DataFrame] = field(default_factory=dict)  # by the way it is seen
    heats: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)  # (H, W) in 0..1


@dataclass(frozen=True)
class Seen:
    """What a choice shows of the field."""

    boxes: pd.DataFrame  # [image, class, head, cls, conf, x1, y1, x2, y2], the surest first
    counts: pd.DataFrame  # [class, head, found] and, of a drawn field, [drawn]
    report: pd.DataFrame  # of ``patient_report.report``
    remarks: list[str]  # what weakens every level
    per_head: dict[str, int]  # boxes of every head, also of those that are off


class Explorer:
    """A detector and the field before it. ``draw`` or ``open`` first, then ``look``."""

    field: Field

    def __init__(self, weights: str | Path | None = None):
        """weights: a weights file; None: the detector that comes with the project.

        Raises NoWeights, WeightsError.
        """
        self.weights = default_weights.path() if weights is None else Path(weights)
        self.known = validation.read(self.weights)
        shown = shown_from(LEAST, validation.usual_way(self.known).looks)
        self.detector, self.classes, self.meta = open_detector(self.weights, shown)
        self.trained_on = patient_report.trained_on(self.meta, self.known)
        self._model: Any = None  # for Grad-CAM: the detector's own is changed for speed

    def draw(self, profile: str, laboratory: int, seed: int, focus: float = 0.0) -> None:
        """Draws a field as wide as those of the detector's training; see ``synthurine.one_field``.

        The picture goes through the laboratory's JPEG, as all drawn fields do.
        """
        drawn = one_field(profile, laboratory, seed, focus)
        file = io.BytesIO()
        Image.fromarray(drawn.image).save(file, "JPEG", quality=drawn.jpeg)
        rows = [(self.classes.id(name), *xyxy) for name, *xyxy in drawn.boxes
                if self.classes.knows(name)]  # fmt: skip
        about = f"Synthetic: drawn by the simulator {SIMULATOR}, patient with the profile {profile}"
        about += f", laboratory {laboratory + 1}, seed {seed}, focus {focus:+g} µm"
        name = f"drawn-{profile.replace(' ', '-')}-laboratory{laboratory + 1}-seed{seed}"
        pixels = decode(file.getvalue())
        truth = pd.DataFrame(rows, columns=["cls", *XYXY])
        self.field = Field(name, about, pixels, drawn.um_per_px, truth)

    def open(self, name: str, content: bytes, um_per_px: float | None = None) -> None:
        """Opens a reader's own image: the bytes of a file called ``name``.

        um_per_px: micrometres a pixel, if known. Raises BadField for what is no image, BadOption.
        """
        check_pixel_size(um_per_px)
        try:
            pixels = decode(content)
        except Exception as error:  # a broken file can raise anything
            remedy = "give a JPEG, PNG or TIFF"
            raise BadField(f"{name}: not a readable image ({error}); {remedy}") from error
        height, width = pixels.shape[:2]
        size = f"{um_per_px:g} µm a pixel" if um_per_px else "size of a pixel unknown"
        about = f"{name}: {width} × {height} px, {size}"
        self.field = Field(Path(name).stem, about, pixels, um_per_px)

    def slice_px(self, way: str) -> int:
        """The side of the slices in pixels, as ``predict`` cuts; 0: the whole field."""
        usual = validation.usual_slice_px(self.meta["imgsz"], self.known, self.field.um_per_px)
        return 0 if way == WHOLE else usual

    def looking(self, way: str) -> Way:
        """How ``predict`` looks at a field; whole at the slices' scale only in the usual way."""
        usual = validation.usual_way(self.known)
        return usual if way == USUAL else replace(usual, at_once=False)

    def slices(self, way: str) -> int:
        """In how many slices the field is seen."""
        return len(self._view(way).cuts(*self.field.pixels.shape[:2]))

    def boxes(self, way: str) -> pd.DataFrame:
        """All boxes from LEAST on: [image, class, head, cls, conf, x1, y1, x2, y2]."""
        found = self.field.boxes
        if way not in found:
            boxes = predict_image(
                self.detector, self.field.pixels, self.slice_px(way) or None,
                way=self.looking(way), room=usual_room(self.meta), least=LEAST,
            )  # fmt: skip
            names = [self.classes.classes[c] for c in boxes["cls"]]
            boxes.insert(0, "head", [self.classes.head_of(c) for c in boxes["cls"]])
            boxes.insert(0, "class", names)
            boxes.insert(0, "image", self.field.name)
            found[way] = boxes
        return found[way]

    def heat(self, way: str, head: str) -> np.ndarray:
        """The Grad-CAM of a head over the field, float32 (H, W) in 0..1.

        Raises NotExplainable for a field of more than MOST_SLICES slices.
        """
        heats = self.field.heats
        if (way, head) not in heats:
            if self.slices(way) > MOST_SLICES:
                raise gradcam.NotExplainable(
                    f"Grad-CAM of {self.slices(way)} slices would take too long; let it be "
                    f"seen {WHOLE}, or open a part of the field of at most {MOST_SLICES} slices"
                )
            self._model = self._model or load_model(self.weights, device())
            shown = brought_to(self.field.pixels, self.meta.get("contrast", 0.0))
            seen = (self._model, shown, self._view(way))
            heats[way, head] = gradcam.explain(*seen, [self.classes.heads[head]])[0]
        return heats[way, head]

    def look(self, choice: Choice) -> Seen:
        """The boxes, counts and levels of a choice; detects first where that was not done yet."""
        found = self.boxes(choice.way)
        sure = found[found["conf"] >= choice.conf]
        every = sure["head"].value_counts()
        shown = sure[~sure["head"].isin(choice.off)].reset_index(drop=True)
        fields = self._as_patient(choice.way)
        # of all heads: what is switched off was looked for, but is not shown
        side, usual = self.slice_px(choice.way), self.slice_px(USUAL)
        how = (choice.conf, side, usual, self.looking(choice.way))
        other = validation.at_other_setting(self.known, *how)
        report = patient_report.report(fields, sure, self.classes, self.known, other)
        return Seen(
            shown, self._counts(shown, choice), self._without(report, choice.off),
            patient_report.remarks(fields, self.known),
            {head: int(every.get(head, 0)) for head in self.classes.heads},
        )  # fmt: skip

    def _view(self, way: str) -> gradcam.View:
        side, longest = self.slice_px(way) or None, max(self.field.pixels.shape[:2])
        if self.looking(way).at_once and (px := size_at_once(self.detector, longest, side)):
            return gradcam.View(px)
        return gradcam.View(self.meta["imgsz"], side, OVERLAP)

    def _as_patient(self, way: str) -> pd.DataFrame:
        """The field as the only one of a patient, as ``patient_report`` takes it."""
        here, side = self.field, self.slice_px(way)
        height, width = here.pixels.shape[:2]
        unlike = unlike_training(here.pixels, self.known, self.meta["imgsz"], side)
        row = {"image": here.name, "group": ONE_PATIENT, "width": width, "height": height}
        size = {} if here.um_per_px is None else {"um_per_px": here.um_per_px}
        return pd.DataFrame([row | {"unlike": unlike} | size])

    def _counts(self, shown: pd.DataFrame, choice: Choice) -> pd.DataFrame:
        """[class, head, found, drawn] of the classes that are found or drawn, the most first."""
        columns = {"found": shown["cls"].value_counts()}
        if self.field.truth is not None:
            columns["drawn"] = self.field.truth["cls"].value_counts()
        counts = pd.DataFrame(columns).fillna(0).astype(int).rename_axis("cls").reset_index()
        counts.insert(0, "head", [self.classes.head_of(c) for c in counts["cls"]])
        counts.insert(0, "class", [self.classes.classes[c] for c in counts["cls"]])
        counts = counts[~counts["head"].isin(choice.off)]
        order = [*columns, "cls"]
        ascending = [False] * len(columns) + [True]
        return counts.sort_values(order, ascending=ascending, ignore_index=True).drop(columns="cls")

    def _without(self, report: pd.DataFrame, off: frozenset[str]) -> pd.DataFrame:
        """The report without the components of which a head is switched off."""
        hidden = [
            any(self.classes.head_of(c) in off for c in self.classes.components[component])
            for component in report["component"]
        ]
        return report[~np.array(hidden, bool)].reset_index(drop=True)
