"""Every test runs in a folder of its own, with one thread and nothing from the network."""

import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import pytest

for _name in ("OMP_NUM_THREADS", "OPENURINE_THREADS"):
    os.environ.setdefault(_name, "1")
matplotlib.use("Agg")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The whole run begins first: it takes as long as all other slow tests, which run beside it."""
    items.sort(key=lambda item: item.path.name != "test_whole_run.py")


@pytest.fixture(autouse=True)
def _own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that a test opens writes below ``tmp_path``, never into the checkout."""
    monkeypatch.setenv("OPENURINE_ROOT", str(tmp_path))


@pytest.fixture(autouse=True)
def _no_figure_stays_open() -> Iterator[None]:
    """Matplotlib keeps every figure until it is closed, and warns of many."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of an untrained detector with six heads; a module has a file of its own."""
    import tiny  # brings torch, which most tests do without

    return tiny.untrained(tmp_path_factory.mktemp("weights"))


class NoNetwork(AssertionError):
    """Something tried to reach another machine."""


def _refuse_others(address: Any) -> None:
    """Raises NoNetwork unless an address is of this machine: a path, or a number of its own."""
    if not isinstance(address, tuple):  # a path: AF_UNIX
        return
    host = str(address[0])
    try:
        here = ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:  # a name, which only the network could resolve
        here = host in ("", "localhost")
    if not here:
        raise NoNetwork(f"a test tried to reach {host}; nothing here needs the network")


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """No test reaches another machine. Jupyter's kernels and torch's processes stay on this one."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "sendto"):
            original = getattr(socket.socket, name)

            def guarded(self: socket.socket, *given: Any, original: Any = original) -> Any:
                _refuse_others(given[-1])  # the address comes last
                return original(self, *given)

            patch.setattr(socket.socket, name, guarded)
        resolve = socket.getaddrinfo

        def getaddrinfo(host: Any, *given: Any, **named: Any) -> Any:
            if host is not None:
                _refuse_others((host.decode() if isinstance(host, bytes) else host,))
            return resolve(host, *given, **named)

        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        yield
