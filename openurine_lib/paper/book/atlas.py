"""The atlas: each of the 39 particles drawn, with its size, its meaning, and what tells it apart.

The text is that of ``docs/particles.md``; the meaning stands in ``config/descriptions.yaml``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image
from tqdm.auto import tqdm

from openurine_lib.config import read_config
from openurine_lib.data import taxonomy
from openurine_lib.files import atomic_path
from openurine_lib.paper.book.prose import Prose
from openurine_lib.paper.report import read_markdown
from synthurine import CLASSES, SIMULATOR, simulated

EACH = 3  # examples of a class
SIDE = 160  # pixels of a picture's longer side


def entries(document: Path, out: Path, prose: Prose) -> tuple[list[dict[str, Any]], Any]:
    """The heads with their classes in the taxonomy's order, and the rest of the document as HTML.

    A head: name, about, classes; a class: name, meaning, size, told_apart, source, pictures.
    """
    text = document.read_text(encoding="utf-8")
    _, _, rows = read_markdown(text)
    known = {name: (size, apart, source) for name, size, apart, source in rows}
    means = read_config("descriptions.yaml")
    classes = taxonomy.load("openurine")
    bar = tqdm(total=classes.n, desc="drawing particles", unit="class")
    heads = []
    for head, numbers in classes.heads.items():
        listed = []
        for number in numbers:
            name = classes.classes[number]
            size, apart, source = known[name]
            listed.append({
                "name": name, "meaning": means["classes"][name], "size": size, "told_apart": apart,
                "source": source, "pictures": _drawn(number, out),
            })  # fmt: skip
            bar.update()
        heads.append({"name": head, "about": means["heads"][head], "classes": listed})
    bar.close()
    rest = text[text.index("\n## ") :]  # after the table: sources, and what makes a field
    return heads, prose.text(rest, document.parent)


def _drawn(number: int, out: Path) -> list[str]:
    """Pictures of a class, drawn unless this simulator has drawn them here before."""
    names = []
    for i in range(EACH):
        file = Path("pictures") / f"particle{number:02d}-{i}-{SIMULATOR}.png"
        if not (out / file).exists():
            picture = Image.fromarray(simulated(CLASSES[number], EACH * number + i))
            picture.thumbnail((SIDE, SIDE))
            with atomic_path(out / file) as temporary:
                picture.save(temporary)
        names.append(file.as_posix())
    return names
