"""What a comparison leaves in etcd for operators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from oslo_config import cfg

from calico_openstack.datamodel.comparison import decode_last_comparison, last_comparison_path
from calico_openstack.etcd import EtcdClient, EtcdConfig, KeyValue, Status
from calico_openstack.neutron.options import Settings
from calico_openstack.neutron.resync import Resync
from calico_openstack.neutron.resync_report import ALL, Phase, Report
from calico_openstack.neutron.resync_service import ResyncService
from calico_openstack.neutron.sync import Outcome

SETTINGS = Settings(EtcdConfig(("http://etcd:2379",)), None, 1, "auto", 600, project_names=False)
TOLD = last_comparison_path(SETTINGS.region_string)


class Memory:
    """What the service needs of etcd."""

    def __init__(self) -> None:
        self.stored: dict[str, KeyValue] = {}
        self.puts: list[str] = []

    def get(self, path: str) -> KeyValue | None:
        return self.stored.get(path)

    def put(self, path: str, value: bytes) -> None:
        self.puts.append(path)
        self.stored[path] = KeyValue(path, value, len(self.puts))

    def status(self) -> Status:
        return Status(1, 1, "3.5", 0, 1, 5, 2, 9)


class Compared:
    """A comparison whose end is known."""

    def __init__(self, *outcomes: str, error: str | None = None) -> None:
        self.outcomes = dict.fromkeys(outcomes, Outcome.CREATED)
        self.error = error

    def run(self, **_: Any) -> Report:
        report = Report(ALL, phases=[Phase("endpoints", outcomes=self.outcomes)])
        report.finish(0.1, self.error)
        return report

    def is_cluster_provided(self) -> bool:
        return True

    def provide_cluster(self) -> None:
        pass


@pytest.fixture
def memory() -> Iterator[Memory]:
    cfg.CONF([], default_config_files=[])
    yield Memory()
    cfg.CONF.clear()


def service(memory: Memory, compared: Compared) -> ResyncService:
    made = ResyncService(SETTINGS)
    made.client = cast(EtcdClient, memory)
    made._resync = cast(Resync, compared)
    return made


def test_a_first_comparison_is_expected_to_find_much(memory: Memory) -> None:
    assert service(memory, Compared("/a", "/b"))._run_once(compare=False)
    told = decode_last_comparison(memory.stored[TOLD].value)
    assert told is not None
    assert (told.differing, told.keys, told.interval) == (2, ("/a", "/b"), 600.0)
    assert "never compared" in told.reason


def test_a_clean_cloud_is_told_of_once(memory: Memory) -> None:
    for _ in range(3):
        assert service(memory, Compared())._run_once(compare=True)
    assert memory.puts.count(TOLD) == 1


def test_what_differs_later_has_no_excuse_and_is_told_until_nothing_does(memory: Memory) -> None:
    assert service(memory, Compared())._run_once(compare=True)
    assert service(memory, Compared("/a"))._run_once(compare=True)
    told = decode_last_comparison(memory.stored[TOLD].value)
    assert told is not None
    assert (told.differing, told.reason) == (1, "")
    assert service(memory, Compared())._run_once(compare=True)
    told = decode_last_comparison(memory.stored[TOLD].value)
    assert told is not None
    assert told.is_clean


def test_a_database_that_is_away_is_told_and_tried_again(memory: Memory) -> None:
    assert not service(memory, Compared(error="OperationalError: gone"))._run_once(compare=True)
    told = decode_last_comparison(memory.stored[TOLD].value)
    assert told is not None
    assert told.error == "OperationalError: gone"
