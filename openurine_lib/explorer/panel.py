"""The widgets of notebook 12: what is asked of an ``Explorer``, and what it shows."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import escape

from openurine_lib.clinical.counts import CONFIDENCE
from openurine_lib.clinical.fhir import NOT_FOR_DIAGNOSIS, UNITS
from openurine_lib.clinical.result_files import HEADS, file_name
from openurine_lib.experiments.formatting import defused
from openurine_lib.explorer.picture import SCREEN_PX, jpeg, picture, png
from openurine_lib.explorer.state import LABORATORIES, LEAST, PROFILES, WAYS, Choice, Explorer, Seen
from openurine_lib.style import HEAD_COLOURS

NOTHING = "nothing"  # is explained
HERE = Path(__file__).parent
TEMPLATES = Environment(
    loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined,
    trim_blocks=True, lstrip_blocks=True,
)  # fmt: skip


class Panel(widgets.VBox):
    """Draws or opens a field, detects, and shows picture, counts and report beside each other."""

    def __init__(
        self, explorer: Explorer, patient: str = "normal", laboratory: int = 0, seed: int = 0
    ):
        """Begins with a drawn field; patient, laboratory, seed: see ``Explorer.draw``."""
        self.explorer = explorer
        self.detected = False  # on the field that is shown
        labelled: dict[str, Any] = {"style": {"description_width": "initial"}}
        laboratories = [(f"{i + 1}: {lab.about}", i) for i, lab in enumerate(LABORATORIES)]
        self.laboratory = widgets.Dropdown(
            options=laboratories, value=laboratory, description="Laboratory", **labelled
        )
        self.profile = widgets.Dropdown(
            options=list(PROFILES), value=patient, description="Patient", **labelled
        )
        self.seed = widgets.BoundedIntText(seed, max=10**6, description="Seed", **labelled)
        self.focus = widgets.FloatSlider(
            min=-6, max=6, step=0.5, description="Focus, µm", readout_format="+.1f", **labelled
        )
        self.draw = widgets.Button(description="Draw a field", icon="paint-brush")
        self.upload = widgets.FileUpload(accept="image/*", description="Open an image")
        self.um_per_px = widgets.BoundedFloatText(
            max=100, step=0.01, description="µm a pixel (0: unknown)", **labelled
        )
        self.detect = widgets.Button(description="Detect", button_style="primary", icon="search")
        self.conf = widgets.FloatSlider(
            CONFIDENCE, min=LEAST, max=0.95, step=0.05, description="Confidence from",
            continuous_update=False, **labelled,
        )  # fmt: skip
        short: dict[str, Any] = {"indent": False, "layout": widgets.Layout(width="auto")}
        self.way = widgets.Dropdown(options=WAYS, description="Field seen", **labelled)
        self.names = widgets.Checkbox(True, description="Names", **short)
        heads = explorer.classes.heads
        self.explained = widgets.Dropdown(
            options=[NOTHING, *heads], description="Grad-CAM of", **labelled
        )
        self.heads = {
            head: widgets.Checkbox(True, description_allow_html=True, **short) for head in heads
        }
        self.save = widgets.Button(description="Save", icon="download")
        self.links, self.status, self.picture, self.tables = (widgets.HTML() for _ in range(4))
        super().__init__(self._arranged())
        self._connect()
        self.draw.click()

    def _arranged(self) -> list[widgets.Widget]:
        """Everything in its place; ``style.css`` says what stands beside what."""

        def row(*parts: widgets.Widget) -> widgets.Box:
            layout = widgets.Layout(flex_flow="row wrap", align_items="center", grid_gap="2px 14px")
            return widgets.Box(parts, layout=layout)

        widths = {
            "auto": [self.laboratory, self.profile, self.conf, self.links],
            "8rem": [self.seed, self.draw, self.detect, self.save],
            "14rem": [self.focus, self.um_per_px, self.way, self.explained],
        }
        for width, parts in widths.items():
            for part in parts:
                part.layout.width = width
        drawing = [self.laboratory, self.profile, row(self.seed, self.focus, self.draw)]
        tabs = widgets.Tab(
            [widgets.VBox(drawing), row(self.upload, self.um_per_px)],
            titles=["Draw a field", "Open your own"],
        )
        controls = widgets.VBox([
            tabs, row(self.detect, self.save, self.links), self.conf,
            row(self.way, self.explained, self.names), row(*self.heads.values()), self.status,
        ])  # fmt: skip
        areas = {"controls": controls, "picture": self.picture, "tables": self.tables}
        for name, area in areas.items():
            area.layout.grid_area = name
            area.add_class(f"explorer-{name}")
        stage = widgets.GridBox([*areas.values()])
        stage.add_class("explorer-stage")
        self.add_class("explorer")
        style = (HERE / "style.css").read_text(encoding="utf-8")
        return [widgets.HTML(f"<style>{style}</style>"), stage]

    def _connect(self) -> None:
        self.draw.on_click(lambda _: self._try("Drawing a field ...", self._draw))
        self.detect.on_click(lambda _: self._try(self._detecting(), self._detect))
        self.save.on_click(lambda _: self._try("Preparing the files ...", self._save))
        for given in (self.upload, self.um_per_px):
            given.observe(lambda _: self._try("Opening the image ...", self._open), "value")
        for choice in (self.conf, self.way, self.names, self.explained, *self.heads.values()):
            choice.observe(lambda _: self._try(self._detecting(), self._show), "value")

    @property
    def choice(self) -> Choice:
        """What the widgets say."""
        off = frozenset(head for head, box in self.heads.items() if not box.value)
        explained = None if self.explained.value == NOTHING else self.explained.value
        return Choice(self.conf.value, self.way.value, off, explained)

    def _try(self, doing: str, step: Callable[[], None]) -> None:
        """One click: says what is being done, does it, and says what went wrong if it did."""
        self._say(doing)
        try:
            step()
        except ValueError as error:  # all that a reader can cause, with a remedy
            self._say(str(error))

    def _say(self, text: str) -> None:
        self.status.value = f'<div role="status"><b>{escape(text)}</b></div>'

    def _detecting(self) -> str:
        n = self.explorer.slices(self.way.value)
        return "Looking at the whole field ..." if n == 1 else f"Looking at {n} slices ..."

    def _draw(self) -> None:
        self.explorer.draw(
            self.profile.value, self.laboratory.value, self.seed.value, self.focus.value
        )
        self._new_field()

    def _open(self) -> None:
        if self.upload.value:
            file = self.upload.value[-1]
            self.explorer.open(file.name, bytes(file.content), self.um_per_px.value or None)
            self._new_field()

    def _new_field(self) -> None:
        self.detected = False
        self.save.disabled = True
        self.tables.value = ""
        self._show()

    def _detect(self) -> None:
        self.detected = True
        self.save.disabled = False
        self._show()

    def _show(self) -> None:
        """Picture and tables of what is chosen."""
        self.links.value = ""  # they were of another choice
        seen = self.explorer.look(self.choice) if self.detected else None
        for head, box in self.heads.items():
            count = "" if seen is None else f" ({seen.per_head[head]})"
            colour = HEAD_COLOURS[head]
            box.description = f'<span style="color: {colour}">■</span> {head}{count}'
            box.tooltip = f"Shows or hides {head}"
        if seen is None:
            self._picture(None)
            self._say("Look at it first: what do you see? Then let the detector look.")
            return
        self._tables(seen)
        self._picture(self.choice)
        n = len(seen.boxes)
        particles = "particle" if n == 1 else "particles"
        self._say(f"{n} {particles} from confidence {self.choice.conf:.2f} on")

    def _picture(self, choice: Choice | None) -> None:
        shown = picture(self.explorer, choice, self.names.value, SCREEN_PX)
        height, width = shown.shape[:2]
        source = _data("image/jpeg", jpeg(shown))
        about = escape(self.explorer.field.about)
        size = f'width="{width}" height="{height}"'
        self.picture.value = f'<img src="{source}" {size} alt="{about}"><div>{about}</div>'

    def _tables(self, seen: Seen) -> None:
        unit = next(u for u in UNITS if u in seen.report)
        shown = set(seen.report["component"])
        self.tables.value = TEMPLATES.get_template("tables.html.j2").render(
            report=seen.report.rename(columns={unit: "count"}).to_dict("records"),
            unit=HEADS[unit], remarks=seen.remarks, use=NOT_FOR_DIAGNOSIS, colours=HEAD_COLOURS,
            counts=seen.counts.to_dict("records"), drawn="drawn" in seen.counts,
            off=[name for name in self.explorer.classes.components if name not in shown],
        )  # fmt: skip

    def _save(self) -> None:
        """Offers what is shown as files: boxes and report as CSV, and the picture."""
        seen, field = self.explorer.look(self.choice), self.explorer.field
        whole = picture(self.explorer, self.choice, self.names.value)
        caption = f"{field.about}. Boxes from confidence {self.choice.conf:.2f} on."
        said = {"remarks": "; ".join(seen.remarks), "detector": self.explorer.trained_on}
        files = {
            "boxes.csv": _data("text/csv", _csv(seen.boxes)),
            "report.csv": _data("text/csv", _csv(seen.report.assign(**said))),
            "picture.png": _data("image/png", png(whole, caption)),
        }
        links = [
            f'<a download="{escape(file_name(field.name))}-{name}" href="{content}">{name}</a>'
            for name, content in files.items()
        ]
        self.links.value = " · ".join(links)
        self._say(f"Take what you want: {', '.join(files)}")


def _csv(frame: Any) -> bytes:
    return defused(frame).to_csv(index=False, float_format="%.6g").encode()


def _data(kind: str, content: bytes) -> str:
    """Content as an address, which needs no file and no server."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
