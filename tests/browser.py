"""Opens a page in a real browser, Debian's chromium, and says what a reader would trip over.

A test that uses this is skipped, with the reason, where there is no chromium.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

CHROMIUM = next((c for c in map(shutil.which, ("chromium", "google-chrome")) if c), None)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine (Debian: apt-get install chromium)"
)
PHONE, DESK = 360, 1280  # widths in CSS pixels
ENDLESS = 60_000  # milliseconds: the machine may have other work


@contextmanager
def opened(
    width: int = DESK,
    served: str = "file:",
    told: Sequence[str] = ("error", "warning"),
    **settings: Any,
) -> Iterator[Any]:
    """A page of a browser window so wide, with ``complaints``: what the console told.

    served: how addresses begin that may be fetched. told: the kinds of lines that are complaints.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 800}, **settings)
        page.set_default_timeout(ENDLESS)
        page.complaints = []
        page.on("console", lambda m: m.type in told and page.complaints.append(m.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("requestfailed", lambda request: page.complaints.append(request.url))
        # whatever is no file beside the page, nor of its own server, is refused, and seen
        page.route(
            lambda url: url.startswith("http") and not url.startswith(served),
            lambda route: route.abort(),
        )
        yield page
        browser.close()


def go(page: Any, file: Path) -> None:
    """Opens a file, and waits until every picture has come."""
    page.goto(file.as_uri(), wait_until="load")
    page.evaluate(
        "async () => { for (const i of document.images) { i.loading = 'eager'; "
        "if (i.src) await i.decode().catch(() => 0) } }"
    )


def unresolved(page: Any) -> list[str]:
    """Pictures that show nothing, and links to no file or to no part of the page."""
    blank = page.evaluate(
        "() => [...document.querySelectorAll('main img')]"
        ".filter(i => !i.naturalWidth).map(i => i.src)"
    )
    links = page.evaluate("() => [...document.querySelectorAll('a[href]')].map(a => a.href)")
    here = page.url.partition("#")[0]
    for link in dict.fromkeys(links):
        if link.startswith("https://"):
            continue  # a source that a reader may follow; no page needs it
        address, _, part = link.partition("#")
        if address == here and part:
            known = page.evaluate("id => !!document.getElementById(decodeURIComponent(id))", part)
        else:
            known = address.startswith("file:") and Path(unquote(urlsplit(address).path)).exists()
        if not known:
            blank.append(link)
    return blank


def scrolls_sideways(page: Any) -> bool:
    """Whether the page is wider than its window."""
    return page.evaluate(
        "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"
    )


def violations(page: Any) -> list[str]:
    """What axe-core's rules for accessibility find wrong, a line an element."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{v['id']}: {v['help']}: {node['html'][:200]}" for v in found for node in v["nodes"]]
