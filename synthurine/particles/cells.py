"""Blood cells in urine, single and in clumps.

A red cell's looks tell of the urine it lay in (crenated if that is concentrated, swollen or a ghost
if it is dilute) and of the way it came (dysmorphic: through a glomerulus). White cells are
neutrophils, swollen or shrunken likewise. Sizes in um after Brunzel, Fundamentals of Urine and Body
Fluid Analysis: red cell 6-8, white cell 10-14.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from synthurine.particles.canvas import Array, Canvas, Rng
from synthurine.particles.shapes import (
    Points,
    blob,
    corners,
    ellipse,
    farthest,
    huddle,
    inside,
    rays,
    rounded,
    turns,
)

# optical density of haemoglobin in a red cell's rim: blue is lost most
RED = np.array((0.010, 0.072, 0.125))
GREY = np.array((0.030, 0.028, 0.024))


# --- red cells --------------------------------------------------------------------------------
def rbc(rng: Rng, k: float, dark: float = 1.0) -> Canvas:
    """A red cell of any shape; ``dark`` multiplies its thickness and its haemoglobin."""
    return _red_cell(rng, k, dark, int(rng.choice(len(RED_KINDS), p=RED_SHARES)))


def _red_cell(rng: Rng, k: float, dark: float, kind: int) -> Canvas:
    c = Canvas(rng, k, 6.0)
    RED_KINDS[kind](rng, c, dark * rng.uniform(0.85, 1.1))
    return c


def _add_haemoglobin(c: Canvas, thick: Array, dark: float) -> None:
    c.add(thick, 1.35 * dark, RED * dark)


def _hollow(c: Canvas, shape: Array, hollow: float) -> Array:
    """Thickness of a red cell of that shape, 1 at most.

    hollow: 0 is a full spheroid, 1 the biconcave disc that Evans and Fung measured, Microvasc.
    Res. 4, 335 (1972); the radius is taken from the distance to the edge.
    """
    dome = c.dome(shape)
    r2 = 1 - dome**2  # square of the distance from the axis, as a part of the radius
    disc = (0.81 + 7.83 * r2 - 4.39 * r2**2) / 2.56
    return c.blur(np.asarray(dome * (1 - hollow + hollow * disc), np.float32), 0.25)


def _disc(rng: Rng, c: Canvas, dark: float) -> None:
    """Lying flat: a ring about a pale centre."""
    r = rng.uniform(3.2, 3.95)
    body = c.fill(blob(rng, r, r * rng.uniform(0.9, 1.0), 0.012, 3))
    _add_haemoglobin(c, _hollow(c, body, rng.uniform(0.7, 1.0)), dark)


def _tilted(rng: Rng, c: Canvas, dark: float) -> None:
    """Leaning: an oval with a crescent as its hollow; thick, as one looks through more of it."""
    r = rng.uniform(3.3, 3.9)
    flat = rng.uniform(0.5, 0.78)
    body = c.fill(ellipse(r, r * flat))
    aside = (0, r * flat * rng.uniform(0.2, 0.45))
    pit = c.blur(c.fill(ellipse(r * 0.62, r * flat * 0.36), aside), 0.3)
    _add_haemoglobin(c, c.blur(c.dome(body) * (1 - 0.7 * pit), 0.15), dark * 1.25)


def _edge_on(rng: Rng, c: Canvas, dark: float) -> None:
    """Standing: the disc's cross-section, waisted like an hourglass."""
    t = turns(64)
    x = np.cos(t)
    r = rng.uniform(3.4, 3.9)
    half = np.sign(np.sin(t)) * np.abs(np.sin(t)) ** 0.65 * rng.uniform(1.15, 1.4)  # a blunt oval
    half *= 1 - rng.uniform(0.25, 0.45) * (1 - x**2) ** 2  # the waist
    body = c.fill(np.c_[r * x, half + rng.normal(0, 0.25) * (x**2 - 0.5)])
    _add_haemoglobin(c, c.blur(c.dome(body), 0.25), dark * 1.5)


def _crenated(rng: Rng, c: Canvas, dark: float) -> None:
    """A burr cell: shrunken, with spikes along the edge and, as dark points, over the face."""
    r = rng.uniform(2.2, 2.55)
    n = int(rng.integers(10, 14))
    t = turns(120)
    spikes = (0.5 + 0.5 * np.cos(n * t + rng.uniform(0.3, 1.3) * np.sin(2 * t))) ** 1.3
    spikes *= 1 + 0.35 * np.sin(3 * t + rng.uniform(0, 6))  # not quite alike
    outline = ellipse(r, r * rng.uniform(0.9, 1), 120)
    body = c.fill(outline * (1 + rng.uniform(0.12, 0.18) * spikes)[:, None])
    angles = np.arange(7) * 2.4 + rng.uniform(0, 6)  # a spiral, so evenly over the face
    away = r * np.sqrt(np.arange(7) / 7)[:, None] * 0.75
    face = away * rays(angles) + rng.normal(0, 0.25, (7, 2))
    points = c.dots(face, rng.uniform(0.3, 0.5, 7))
    thick = 0.45 * body + 0.55 * c.dome(body) + 0.4 * c.blur(points, 0.2)
    _add_haemoglobin(c, thick, dark)


def _ghost(rng: Rng, c: Canvas, dark: float) -> None:
    """A shadow cell: haemoglobin washed out, a thin ring of membrane is left."""
    r = rng.uniform(3.4, 4.35)
    outline = blob(rng, r, r * rng.uniform(0.88, 1.0), 0.02, 4)
    _add_haemoglobin(c, c.fill(outline), dark * rng.uniform(0.04, 0.12))
    c.add(c.blur(c.line(outline, 0.35, True), 0.12), 0.32, 0.04)  # the membrane


def _acanthocyte(rng: Rng, c: Canvas, dark: float) -> None:
    """Dysmorphic, the G1 cell: a ring that carries blebs of different sizes."""
    r = rng.uniform(2.5, 3.1)
    body = c.fill(blob(rng, r, r * rng.uniform(0.88, 1), 0.03, 4))
    n = int(rng.integers(1, 5))
    angles = rng.uniform(0, 6.3) + np.cumsum(rng.uniform(0.7, 2.4, n))
    at = rays(angles) * r * rng.uniform(0.95, 1.2, (n, 1))
    blebs = c.dots(at, rng.uniform(0.55, 1.15, n))
    _add_haemoglobin(c, np.maximum(_hollow(c, body, 1.15), 0.65 * c.blur(blebs, 0.25)), dark)


def _stomatocyte(rng: Rng, c: Canvas, dark: float) -> None:
    """A bowl: its hollow is a slit or a hook instead of a round centre."""
    r = rng.uniform(3.0, 3.6)
    body = c.fill(blob(rng, r, r * rng.uniform(0.84, 1), 0.03, 4))
    t = np.linspace(-1, 1, 9) * rng.uniform(0.5, 1.3)
    hook = np.c_[1.3 * np.sin(t), 1.5 * np.cos(t) - 1.2 + rng.normal(0, 0.4)] * r / 2.6  # an arc
    slit = c.blur(c.line(hook, rng.uniform(0.7, 1.2)), 0.25)
    _add_haemoglobin(c, c.blur(c.dome(body), 0.2) * (1 - 0.65 * slit), dark * 1.15)


def _fragment(rng: Rng, c: Canvas, dark: float) -> None:
    """A helmet, a triangle or a drop broken off."""
    r = rng.uniform(1.9, 2.8)
    outline = ellipse(r * 1.15, r)
    if rng.random() < 0.5:
        # a helmet: cut off below, along a curve
        outline[:, 1] = np.maximum(outline[:, 1], -r * (0.35 - 0.3 * np.cos(outline[:, 0] / r * 2)))
    else:
        outline = rounded(corners(rng, 3, r * 1.3, r, 0.15), 2)
    _add_haemoglobin(c, c.blur(c.dome(c.fill(outline)), 0.2), dark)


def _spherocyte(rng: Rng, c: Canvas, dark: float) -> None:
    """Swollen in dilute urine to a ball: small across, thick and without a hollow."""
    r = rng.uniform(2.9, 3.4)
    body = c.fill(ellipse(r, r * rng.uniform(0.95, 1)))
    _add_haemoglobin(c, c.blur(c.dome(body), 0.15), dark * 1.5)


RED_KINDS: tuple[Callable[[Rng, Canvas, float], None], ...] = (
    _disc, _crenated, _spherocyte, _acanthocyte, _stomatocyte, _tilted, _edge_on, _fragment, _ghost,
)  # fmt: skip
RED_SHARES = (0.40, 0.13, 0.09, 0.07, 0.05, 0.11, 0.04, 0.03, 0.08)


# --- white cells ------------------------------------------------------------------------------
def wbc(rng: Rng, k: float) -> Canvas:
    """A neutrophil of any shape."""
    kinds = (_granular, _glitter, _shrunken, _creeping)
    c = Canvas(rng, k, 9.5)
    kinds[int(rng.choice(4, p=(0.46, 0.18, 0.16, 0.20)))](rng, c)
    return c


def _granular(rng: Rng, c: Canvas) -> None:
    """Fresh: round, finely granular all over, the lobed nucleus showing through."""
    r = rng.uniform(5.2, 6.5)
    outline = blob(rng, r, r * rng.uniform(0.9, 1.0), 0.025)
    _neutrophil(c, outline, outline, r, 0.9, (75, 0.24, 0.3))


def _glitter(rng: Rng, c: Canvas) -> None:
    """Swollen in dilute urine: large and thin, the granules far apart (in life they dance)."""
    r = rng.uniform(6.4, 7.4)
    outline = blob(rng, r, r * rng.uniform(0.94, 1.0), 0.012)
    _neutrophil(c, outline, outline, r, 0.5, (45, 0.28, 0.42))


def _shrunken(rng: Rng, c: Canvas) -> None:
    """In concentrated urine: small, dense and crumpled, the granules crowded over the nucleus."""
    r = rng.uniform(4.9, 5.5)
    outline = blob(rng, r, r * rng.uniform(0.8, 0.98), 0.06, 9)
    _neutrophil(c, outline, outline, r, 1.2, (70, 0.28, 0.4))


def _creeping(rng: Rng, c: Canvas) -> None:
    """Alive or dying: one to three blunt pseudopods, or a clear bleb, free of granules."""
    r = rng.uniform(4.8, 5.6)
    core = blob(rng, r, r * rng.uniform(0.82, 1.0), 0.05, 6, 96)
    stretch = np.ones(96)
    if rng.random() < 0.35:
        at = core[0] * rng.uniform(0.9, 1.1)
        c.add(c.dome(c.dots([at], r * rng.uniform(0.28, 0.45))), 0.45, GREY)  # the bleb
    else:
        t = turns(96)
        for turn in np.cumsum(rng.uniform(0.8, 2.2, int(rng.integers(1, 4)))):
            away = np.angle(np.exp(1j * (t - turn)))  # -pi..pi from the pseudopod's direction
            long = rng.uniform(0.2, 0.5)
            pseudopod = long * np.exp(-((away / rng.uniform(0.25, 0.4)) ** 4))
            stretch = np.maximum(stretch, 1 + pseudopod)
    _neutrophil(c, core * stretch[:, None], core, r, 0.95, (70, 0.25, 0.3))


def _neutrophil(
    c: Canvas,
    outline: Points,
    core: Points,
    r: float,
    dense: float,
    granules: tuple[int, float, float],
) -> None:
    """Cytoplasm, a nucleus of two to four lobes strung on an arc, and granules in ``core``.

    granules: their number, radius and phase.
    """
    rng = c.rng
    body = c.fill(outline)
    # cytoplasm: flat, with a raised middle
    c.add(0.45 * body + 0.55 * c.dome(body), dense, GREY * 1.3 * dense)
    n = int(rng.integers(2, 5))
    angles = rng.uniform(1.2, 1.7) * (np.arange(n) - (n - 1) / 2) + rng.normal(0, 0.12, n)
    arc = np.c_[np.cos(angles) - 0.25, np.sin(angles)]
    at = arc * r * 0.45 * rng.uniform(0.9, 1.1, (n, 1)) + rng.normal(0, 0.3, 2)
    lobes = c.dots(at, r * rng.uniform(0.2, 0.28, n))
    nucleus = c.blur(np.maximum(lobes, c.line(at, 0.8)), 0.3)  # thin threads join the lobes
    c.add(nucleus, 0.5, (0.105, 0.10, 0.08))
    number, radius, phase = granules
    places = inside(rng, core, number)
    grains = c.dots(places, np.minimum(radius * rng.lognormal(0, 0.3, number), 0.55))
    # the nucleus hides most of those over it
    c.add(grains * (1 - 0.7 * nucleus), phase, GREY * 2.2)


# --- clumps -----------------------------------------------------------------------------------
def _clump(rng: Rng, k: float, cells: list[Canvas], apart: float) -> Canvas:
    """Cells lying against and a little over one another, each touching an earlier one."""
    at = huddle(rng, apart, len(cells))
    c = Canvas(rng, k, farthest(at) + 9.6)
    for cell, place in zip(cells, at, strict=True):
        c.stamp(cell, place)
    return c


def wbc_clump(rng: Rng, k: float) -> Canvas:
    """5-20 white cells."""
    cells = [wbc(rng, k) for _ in range(int(rng.integers(5, 21)))]
    return _clump(rng, k, cells, rng.uniform(10.2, 11.8))


def rbc_clump(rng: Rng, k: float) -> Canvas:
    """8-25 red cells. They lay in the same urine: most are discs or of one other shape."""
    n = int(rng.integers(8, 26))
    n_kinds = len(RED_KINDS) - 1  # a ghost does not stick
    shares = np.array(RED_SHARES[:n_kinds]) / sum(RED_SHARES[:n_kinds])
    usual = np.r_[rng.integers(0, 4), 0]
    is_usual = rng.random(n) < 0.7
    usual_kinds = usual[rng.integers(0, 2, n)]
    kinds = np.where(is_usual, usual_kinds, rng.choice(n_kinds, n, p=shares))
    cells = [_red_cell(rng, k, 1.05, int(kind)) for kind in kinds]
    return _clump(rng, k, cells, rng.uniform(5.4, 6.6))


DRAW = {"RBC": rbc, "WBC": wbc, "WBC clump": wbc_clump, "RBC clump": rbc_clump}
