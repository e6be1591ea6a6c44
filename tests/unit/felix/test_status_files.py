"""The files about endpoints that are programmed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from calico_openstack.datamodel.endpoints import WorkloadEndpointSpec
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.felix.calc import LocalEndpoint
from calico_openstack.felix.status_files import StatusFiles, StatusFileWriter, directory_of
from calico_openstack.policy.rules import EndpointPolicy


def endpoint(number: int, workload: str = "vm 1") -> tuple[ResourceKey, LocalEndpoint]:
    key = ResourceKey("WorkloadEndpoint", f"name{number}", "openstack")
    spec = WorkloadEndpointSpec(orchestrator="openstack", workload=workload, endpoint=f"p{number}")
    addresses = (bytes((10, 0, 0, number)), bytes(15) + bytes((number,)))
    mac = bytes((0xFA, 0x16, 0x3E, 0, 0, number))
    return key, LocalEndpoint(key, f"tap{number}", mac, addresses, (), spec, EndpointPolicy((), ()))


def test_files_follow_the_endpoints(tmp_path: Path) -> None:
    directory = directory_of(str(tmp_path / "run"))
    assert directory is not None
    files = StatusFiles(directory)
    endpoints = dict([endpoint(1), endpoint(2)])
    files.apply(endpoints, endpoints)
    name = "openstack openstack%2Fvm%201 p1"
    assert {path.name for path in directory.iterdir()} == {name, name[:-1] + "2"}
    assert json.loads((directory / name).read_text()) == {
        "ifaceName": "tap1",
        "mac": "fa:16:3e:00:00:01",
        "ipv4Nets": ["10.0.0.1/32"],
        "ipv6Nets": ["::1/128"],
        "bgpPeerName": "",
    }
    # Under another name the old file goes; an endpoint that is gone takes its file with it.
    key, renamed = endpoint(1, "other")
    gone, _ = endpoint(2)
    files.apply([key, gone], {key: renamed})
    assert [path.name for path in directory.iterdir()] == ["openstack openstack%2Fother p1"]
    # A new run keeps what is right, by not touching it, and removes the rest.
    (kept,) = directory.iterdir()
    (directory / "openstack openstack%2Fold p9").write_text("{}")
    before = kept.stat()
    StatusFiles(directory).apply([key], {key: renamed})
    assert [*directory.iterdir()] == [kept]
    assert kept.stat().st_ino == before.st_ino


def test_trouble_is_told_once_and_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    in_the_way = tmp_path / "endpoint-status"
    in_the_way.write_text("no directory")
    files = StatusFiles(in_the_way)
    key, value = endpoint(1)
    for _ in range(3):
        files.apply([key], {key: value})
    assert caplog.text.count("Cannot keep") == 1
    in_the_way.unlink()
    files.apply([], {})
    assert len([*in_the_way.iterdir()]) == 1


@pytest.mark.parametrize("prefix", ["", "none", "None"])
def test_no_files_are_wanted(prefix: str) -> None:
    assert directory_of(prefix) is None
    key, value = endpoint(1)
    StatusFiles(None).apply([key], {key: value})


def test_a_thread_writes_all_that_was_said_before_it_is_closed(tmp_path: Path) -> None:
    writer = StatusFileWriter(StatusFiles(tmp_path))
    (tmp_path / "left by an earlier run").write_text("{}")
    endpoints = dict(map(endpoint, range(1, 30)))
    for key in endpoints:
        writer.apply([key], endpoints)
    gone, _ = endpoint(7)
    del endpoints[gone]
    writer.apply([gone], endpoints)
    writer.close()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"openstack openstack%2Fvm%201 p{i}" for i in range(1, 30) if i != 7}


def test_the_first_call_removes_what_an_earlier_run_has_left(tmp_path: Path) -> None:
    (tmp_path / "left by an earlier run").write_text("{}")
    writer = StatusFileWriter(StatusFiles(tmp_path))
    writer.apply([], {})
    writer.close()
    assert not [*tmp_path.iterdir()]
