"""An XML file from elsewhere opens no other file, no connection, and does not grow."""

import http.server
import threading

import four_forms as ff
import pytest
from lxml import etree

from openurine_lib.data.readers import read
from openurine_lib.data.source import MALFORMED

OBJECT = "<object><name>{}</name><bndbox><xmin>5</xmin><ymin>7</ymin><xmax>20</xmax>" \
    "<ymax>30</ymax></bndbox></object>"  # fmt: skip


def labelled_by(folder, doctype, name):
    """A data set of which one file has a document type and takes a class's name from it."""
    ff.voc(folder)
    text = f"<?xml version='1.0'?>\n{doctype}\n<annotation>{OBJECT.format(name)}</annotation>"
    (folder / "annotations" / "f03.xml").write_text(text)
    return read(folder)


def of_the_file(source):
    kinds = {problem.kind for problem in source.problems if problem.file == "annotations/f03.xml"}
    return kinds, [box for box in source.found if box[-2] == "annotations/f03.xml"]


def test_an_entity_is_not_put_in(tmp_path):
    """Not even a harmless one: what it stands for would be read without a word."""
    source = labelled_by(tmp_path, '<!DOCTYPE a [<!ENTITY cell "RBC">]>', "&cell;")
    assert of_the_file(source) == ({MALFORMED}, [])


def test_another_file_is_not_read(tmp_path):
    secret = tmp_path.parent / f"{tmp_path.name}.txt"
    secret.write_text("RBC")  # a name of a class, so that it would be taken
    source = labelled_by(tmp_path, f'<!DOCTYPE a [<!ENTITY x SYSTEM "{secret.as_uri()}">]>', "&x;")
    assert of_the_file(source) == ({MALFORMED}, [])


def test_an_entity_of_entities_does_not_grow(tmp_path):
    """Ten lines that would become a billion words."""
    lines = ['<!ENTITY l0 "lol">']
    lines += [f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10)]
    source = labelled_by(tmp_path, f"<!DOCTYPE a [{''.join(lines)}]>", "&l9;")
    assert of_the_file(source) == ({MALFORMED}, [])
    assert len(str(source.problems)) < 10_000


@pytest.mark.parametrize(
    "form", ['<!DOCTYPE a SYSTEM "{}">', '<!DOCTYPE a [<!ENTITY x SYSTEM "{}">]>']
)
def test_no_connection_is_opened(tmp_path, form, monkeypatch):
    asked, options = [], []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

    original = etree.XMLParser
    monkeypatch.setattr(
        etree, "XMLParser", lambda **given: options.append(given) or original(**given)
    )
    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/labels.dtd"
        labelled_by(tmp_path, form.format(address), "&x;" if "ENTITY" in form else "RBC")
        server.shutdown()
        thread.join()
    assert not asked
    # the parser's library may have no network at all on this machine; on another it may
    assert options and all(given["no_network"] for given in options)
