"""Pages: what is put into them stays text, and what they may load stands in their policy."""

from pathlib import Path

import browser
import pytest

from openurine_lib import pages

BODY = """{% extends "base.html.j2" %}
{% from "tables.html.j2" import table, picture %}
{% block title %}{{ name }}{% endblock %}
{% block contents %}<li><a href="#t">t</a></li>{% endblock %}
{% block body %}<h1 id="t">{{ name }}</h1>
{{ table(["name", "n"], [false, true], rows, label=name) }}
{{ picture("p.png", name) }}
{% endblock %}
"""
EVIL = "<script>document.title = 'taken'</script>\"'&"
ROWS = [["b", "2.5 [1, 3]"], ["a", "—"], ["c", "10"], ["d", "−1"]]
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c636000000002000148afa4710000000049454e44ae426082"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "page.html.j2").write_text(BODY)
    (tmp_path / "p.png").write_bytes(PNG)
    text = pages.render(tmp_path / "page.html.j2", name=EVIL, rows=ROWS)
    (tmp_path / "page.html").write_text(text)
    return tmp_path / "page.html"


def test_names_are_text(file: Path) -> None:
    text = file.read_text()
    assert text.count("<script>") == 1 and "&lt;script&gt;" in text
    assert text.index("Content-Security-Policy") < text.index("<style>")


@pytest.mark.browser
@browser.needs_chromium
def test_the_helper_sees_what_a_reader_would_trip_over(tmp_path: Path) -> None:
    """Each check of ``browser`` finds the fault that it is for."""
    bad = "<main><img src='gone.png'><p style='width:3000px'>x</p><a href='#gone'>a</a>"
    bad += "<script>a.b.c</script>"
    (tmp_path / "bad.html").write_text(bad)
    with browser.opened(browser.PHONE) as page:
        browser.go(page, tmp_path / "bad.html")
        assert len(browser.unresolved(page)) == 2 and browser.scrolls_sideways(page)
        assert any("image-alt" in line for line in browser.violations(page))
        assert len(page.complaints) >= 2


@pytest.mark.browser
@browser.needs_chromium
def test_nothing_that_is_written_into_a_page_runs(file: Path) -> None:
    """Even where a template forgot to escape, the policy stops a script and a foreign picture."""
    text = file.read_text().replace("<h1", "<script>document.title = 'taken'</script><h1")
    text = text.replace("<h1", "<img src='https://example.org/p.png' alt=''><h1")
    file.write_text(text)
    with browser.opened() as page:
        page.goto(file.as_uri())
        assert page.title() == EVIL
        said = " ".join(page.complaints)
        assert "script-src" in said and "img-src" in said


@pytest.mark.browser
@browser.needs_chromium
def test_tables_sort_and_figures_open(file: Path) -> None:
    with browser.opened() as page:
        browser.go(page, file)

        def column(n: int) -> list[str]:
            return page.locator(f"tbody td:nth-child({n})").all_inner_texts()

        page.get_by_role("button", name="n", exact=True).click()
        assert column(2) == ["−1", "2.5 [1, 3]", "10", "—"]
        page.get_by_role("button", name="n", exact=True).click()
        assert column(2) == ["10", "2.5 [1, 3]", "−1", "—"], "what is missing stays last"
        page.get_by_role("button", name="name").click()
        assert column(1) == ["a", "b", "c", "d"]
        assert page.locator("th[aria-sort]").count() == 1
        page.locator("a.enlarge").click()
        large = page.get_by_role("dialog")
        assert large.is_visible() and large.locator("img").get_attribute("src").endswith("p.png")
        page.keyboard.press("Escape")
        assert not large.is_visible() and page.url == file.as_uri()
        assert page.complaints == []


@pytest.mark.browser
@browser.needs_chromium
def test_a_page_has_a_dark_face_and_a_printed_one(file: Path) -> None:
    ground = "() => getComputedStyle(document.body).backgroundColor"
    with browser.opened(color_scheme="dark") as page:
        browser.go(page, file)
        assert page.evaluate(ground) != "rgb(255, 255, 255)"
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate(ground) == "rgb(255, 255, 255)"
        assert not page.locator("nav").is_visible()
