"""The port of a workload, when calls of the API are cut: by a server of which a process dies."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from itertools import count
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from calico_openstack.lab.booting import Order, _create_port
from calico_openstack.lab.neutron_api import NeutronApi
from calico_openstack.lab.rest import RestError


class Ports(ThreadingUnixStreamServer):
    """Neutron's ports, one network, and calls that lose their answers."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), _Handler)
        self.ports: dict[str, dict[str, Any]] = {}
        self.numbers = count()
        self.cut: list[str] = []  # methods of which the next call is cut after it was done


class _Handler(BaseHTTPRequestHandler):
    server: Ports

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/v2.0/networks":
            found: list[dict[str, Any]] = [{"id": "n", "name": "demo"}]
        else:
            wanted = dict(parse_qsl(url.query)).items()
            found = [port for port in self.server.ports.values() if wanted <= port.items()]
        self.answer(200, {url.path.rpartition("/")[2]: found})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        port = {"id": f"port-{next(self.server.numbers)}", **body["port"]}
        self.server.ports[port["id"]] = port
        self.answer(201, {"port": port})

    def do_DELETE(self) -> None:
        del self.server.ports[self.path.rpartition("/")[2]]
        self.answer(204, {})

    def answer(self, status: int, body: dict[str, Any]) -> None:
        if self.command in self.server.cut:
            self.server.cut.remove(self.command)
            self.close_connection = True
            return
        text = json.dumps(body).encode() if body else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if text:
            self.wfile.write(text)

    def address_string(self) -> str:
        return "a Unix socket has no address"

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as inherited
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Ports]:
    with Ports(tmp_path / "api") as made:
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def api(server: Ports, tmp_path: Path) -> NeutronApi:
    return NeutronApi(tmp_path / "api")


ORDER = Order("web1", "demo")


def test_a_port_whose_creation_was_not_answered_is_taken(server: Ports, api: NeutronApi) -> None:
    server.cut = ["POST"]
    port = _create_port(api, ORDER, "compute-1")
    assert list(server.ports) == [port["id"]]


def test_a_port_of_an_attempt_that_failed_is_removed(server: Ports, api: NeutronApi) -> None:
    first = _create_port(api, ORDER, "compute-1")
    other = _create_port(api, Order("web2", "demo"), "compute-1")
    again = _create_port(api, ORDER, "compute-2")
    assert again["device_id"] != first["device_id"]
    assert {port["device_id"] for port in server.ports.values()} == {
        again["device_id"],
        other["device_id"],
    }


def test_what_only_reads_is_asked_once_more(server: Ports, api: NeutronApi) -> None:
    server.cut = ["GET"]
    assert api.find("networks", "demo")["id"] == "n"
    server.cut = ["GET", "GET"]
    with pytest.raises(RestError, match="does not answer"):
        api.find("networks", "demo")


def test_what_changes_something_is_not(server: Ports, api: NeutronApi) -> None:
    server.cut = ["POST"]
    with pytest.raises(RestError, match="does not answer"):
        api.create("ports", name="x")
    assert len(server.ports) == 1
