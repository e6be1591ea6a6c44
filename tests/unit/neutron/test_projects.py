"""Names of projects are known as far as Keystone tells them, and never an obstacle."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from calico_openstack.neutron.projects import Keystone, Project, ProjectNames, no_projects

DEMO = Project("demo", "default")


class Directory:
    """A Keystone in memory."""

    def __init__(self) -> None:
        self.projects = {"p1": DEMO}
        self.asked: list[set[str]] = []
        self.down = False
        self.now = 0.0

    def fetch(self, ids: Collection[str]) -> dict[str, Project]:
        self.asked.append(set(ids))
        if self.down:
            raise OSError("no route")
        return {i: self.projects[i] for i in ids if i in self.projects}


@pytest.fixture
def directory() -> Directory:
    return Directory()


@pytest.fixture
def names(directory: Directory) -> ProjectNames:
    return ProjectNames(directory.fetch, lambda: directory.now)


def test_a_name_is_asked_for_once(directory: Directory, names: ProjectNames) -> None:
    for _ in range(3):
        assert names.look_up({"p1", "unknown"}) == {"p1": DEMO}
    assert directory.asked == [{"p1", "unknown"}]


def test_a_renamed_project_is_noticed_in_time(directory: Directory, names: ProjectNames) -> None:
    names.look_up({"p1"})
    directory.projects["p1"] = renamed = Project("renamed", "default")
    directory.now += 601
    assert names.look_up({"p1"}) == {"p1": renamed}


def test_what_is_known_outlives_keystone(directory: Directory, names: ProjectNames) -> None:
    names.look_up({"p1"})
    directory.down = True
    directory.now += 601
    for _ in range(3):
        assert names.look_up({"p1", "p2"}) == {"p1": DEMO}
    assert len(directory.asked) == 2
    directory.down = False
    directory.projects["p2"] = Project("two", "default")
    directory.now += 31
    assert names.look_up({"p1", "p2"}).keys() == {"p1", "p2"}


def test_without_keystone_nothing_is_known() -> None:
    assert ProjectNames(no_projects).look_up({"p1"}) == {}


@pytest.fixture
def keystone(tmp_path: Path) -> Iterator[Path]:
    """A configuration file for a small Keystone over HTTP."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            project = {"id": "p1", "name": "demo", "parent_id": "default"}
            answers = {
                "/v3/projects": {"projects": [project]},
                "/v3/projects/p1": {"project": project},
            }
            body = json.dumps(answers.get(self.path, {})).encode()
            self.send_response(200 if self.path in answers else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    path = tmp_path / "neutron.conf"
    endpoint = f"http://127.0.0.1:{server.server_port}"
    path.write_text(f"[keystone_authtoken]\nauth_type = none\nendpoint = {endpoint}\n")
    yield path
    server.shutdown()
    server.server_close()


def test_keystone_over_http(keystone: Path) -> None:
    fetch = Keystone([str(keystone)])
    assert fetch({"p1", "unknown"}) == {"p1": DEMO}
    assert fetch({f"p{n}" for n in range(10)}) == {"p1": DEMO}


def test_a_cloud_without_credentials(tmp_path: Path) -> None:
    path = tmp_path / "neutron.conf"
    path.write_text("[DEFAULT]\n")
    assert Keystone([str(path)])({"p1"}) == {}
