"""Fixtures of the DHCP agent's tests on a real kernel, with real dnsmasq and real clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dhcp.host import Host, sweep_stale
from tests.support import netns


@pytest.fixture(scope="session", autouse=True)
def _swept() -> None:
    netns.sweep_stale()
    sweep_stale()


@pytest.fixture
def host() -> Iterator[Host]:
    """A host with etcd; the test starts the agent."""
    made = Host()
    yield made
    made.close()
