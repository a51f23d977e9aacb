"""The tests themselves: whatever tries to reach another machine fails, and its test with it."""

import contextlib
import socket
import urllib.request

import pytest
from conftest import NoNetwork

ELSEWHERE = "192.0.2.1"  # an address that is nobody's (RFC 5737)


def refused(call):
    with pytest.raises(NoNetwork, match="tried to reach"):
        call()


def test_another_machine_cannot_be_reached():
    refused(lambda: socket.create_connection((ELSEWHERE, 80), timeout=1))
    refused(lambda: socket.create_connection(("example.org", 80), timeout=1))
    refused(lambda: urllib.request.urlopen("http://example.org", timeout=1))
    with contextlib.closing(socket.socket(socket.AF_INET6, socket.SOCK_STREAM)) as s:
        refused(lambda: s.connect_ex(("2001:db8::1", 80, 0, 0)))
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as s:
        refused(lambda: s.sendto(b"telemetry", (ELSEWHERE, 9)))


def test_this_machine_can(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
        socket.create_connection(("localhost", server.getsockname()[1])).close()
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
            client.connect(str(tmp_path / "s"))
