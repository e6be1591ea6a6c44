"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from calico_openstack.etcd import EtcdClient
from tests.support.etcd import EtcdServer

# How long an example takes says something about the machine, not about what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session")
def etcd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """A real etcd that all tests of the run share; use `etcd` unless you need its address."""
    server = EtcdServer(tmp_path_factory.mktemp("etcd")).start()
    yield server
    server.stop()


@pytest.fixture
def etcd(etcd_server: EtcdServer) -> Iterator[EtcdClient]:
    """A client of the shared etcd, which is empty at the start of the test."""
    with etcd_server.client() as client:
        client.delete_prefix("")
        yield client
