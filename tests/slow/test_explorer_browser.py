"""Notebook 12 in a real browser: as the page of ``make explore``, and from JupyterLab's menu."""

import contextlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser
import numpy as np
import pandas as pd
import pytest
from PIL import Image

pytestmark = [pytest.mark.slow, pytest.mark.browser, browser.needs_chromium]

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
FIRST = "Look at it first"  # is said of a field that was just drawn or opened
STARTED = 240  # seconds until a server answers: the machine may have other work
PATIENCE = 120_000  # milliseconds until a notebook has opened its detector
# What axe-core finds in ipywidgets' own markup, which is not ours to change: a slider's handle has
# no name (noUiSlider), and the name of a tab that is not chosen is grey on grey.
OF_THE_WIDGETS = ("aria-input-field-name: ", "color-contrast: ")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextlib.contextmanager
def server(folder: Path, port: int, *command: str) -> Iterator[str]:
    """The address of a server, which has settings of its own in ``folder`` and is ended."""
    names = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    own = {f"JUPYTER_{name}": str(folder / name) for name in names}
    own |= {f"JUPYTERLAB_{name}": str(folder / name) for name in ("SETTINGS_DIR", "WORKSPACES_DIR")}
    # what an outer make hands down is not of this call
    outer = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    environment = outer | own | {"PYTHONPATH": str(ROOT), "JUPYTER_PREFER_ENV_PATH": "1"}
    log = folder / "server.log"
    with log.open("w") as said:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=said, stderr=said, start_new_session=True
        )
    try:
        for _ in range(STARTED):
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(OSError):
                socket.create_connection(("localhost", port), 5).close()
                break
            time.sleep(1)
        yield f"http://localhost:{port}/"
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # kernels end with their server
        process.wait(60)


@contextlib.contextmanager
def page_of(address: str) -> Iterator[Any]:
    """A page that fetches from this server alone, and waits as long as a notebook may take."""
    with browser.opened(served=address, told=["error"]) as page:
        page.set_default_timeout(PATIENCE)
        yield page


def count(page: Any, conf: str) -> int:
    """The number of particles that the explorer says it shows, once it is at that confidence."""
    line = page.get_by_role("status").filter(has_text=f"from confidence {conf} on")
    return int(line.inner_text().split()[0])


def test_the_explorer_is_driven(tmp_path: Path) -> None:
    """As ``make explore`` serves it: draw, detect, filter, save, open a large image."""
    port = free_port()
    programs = tmp_path / "venv" / "bin"
    programs.mkdir(parents=True)
    (tmp_path / "venv" / ".installed").touch()
    voila = programs / "voila"
    voila.write_text(f'#!/bin/sh\nexec "{BIN}/voila" --no-browser --port {port} "$@"\n')
    voila.chmod(0o755)
    command = ["make", "-s", "explore", f"VENV={tmp_path / 'venv'}"]
    with server(tmp_path, port, *command) as address, page_of(address) as page:
        page.goto(address)
        page.get_by_role("status").filter(has_text=FIRST).wait_for()
        page.get_by_label("Patient").select_option("stones")
        page.get_by_label("Seed").fill("3")
        page.get_by_label("Seed").press("Enter")
        page.get_by_role("button", name="Draw a field").click()
        page.get_by_role("img", name="profile stones, laboratory 1, seed 3").wait_for()
        page.get_by_role("button", name="Detect").click()
        before = count(page, "0.25")
        slider = page.get_by_role("slider").last  # the other one is the focus
        counts = [before]
        for conf in ("0.30", "0.35", "0.40", "0.45", "0.50"):
            slider.press("ArrowRight")
            counts.append(count(page, conf))
        sure = counts[-1]
        assert counts == sorted(counts, reverse=True) and 0 < sure < before
        page.get_by_label("Cells").uncheck()
        page.get_by_text("Not shown, since their head is off: RBC, WBC").wait_for()
        shown = count(page, "0.50")
        assert shown < sure
        page.get_by_role("button", name="Save").click()
        with page.expect_download() as download:
            page.get_by_role("link", name="boxes.csv").click()
        boxes = pd.read_csv(download.value.path())
        assert len(boxes) == shown and "Cells" not in set(boxes["head"])
        assert [v for v in browser.violations(page) if not v.startswith(OF_THE_WIDGETS)] == []
        own = io.BytesIO()
        pixels = np.random.default_rng(0).integers(120, 220, (2000, 2600, 3), np.uint8)
        Image.fromarray(pixels).save(own, "PNG", compress_level=1)
        assert len(own.getvalue()) > 11e6  # more than the server's own limit of a message
        page.get_by_role("tab", name="Open your own").click()
        content = {"name": "mine.png", "mimeType": "image/png", "buffer": own.getvalue()}
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Open an image").click()
        chooser.value.set_files(content)
        page.get_by_role("img", name="mine.png: 2600 × 2000 px").wait_for()
        page.set_viewport_size({"width": browser.PHONE, "height": 800})
        assert not browser.scrolls_sideways(page)
        assert page.complaints == []


def test_the_notebook_runs_to_its_end_from_the_menu_of_jupyterlab(tmp_path: Path) -> None:
    port = free_port()
    notebooks = tmp_path / "notebooks"  # JupyterLab saves what it has run
    notebooks.mkdir()
    shutil.copy(ROOT / "notebooks" / "12_explore.ipynb", notebooks)
    command = [str(BIN / "jupyter"), "lab", str(notebooks), "--no-browser", f"--port={port}"]
    command += ["--allow-root", "--IdentityProvider.token="]
    with server(tmp_path, port, *command) as address, page_of(address) as page:
        page.goto(f"{address}lab/tree/12_explore.ipynb")
        page.get_by_role("heading", name="12 · Explore a field").wait_for()
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        page.get_by_role("status").filter(has_text=FIRST).wait_for()
        page.get_by_role("button", name="Detect").click()
        assert count(page, "0.25") > 10
        page.get_by_role("cell", name="not validated").first.wait_for()
        assert page.get_by_text("Traceback").count() == 0
