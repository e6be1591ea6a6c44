"""Compute hosts that come, are drained and go while the cloud runs, in each layout of BGP."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from calico_openstack.lab import compute, demo, host_changes, router
from calico_openstack.lab.bgp_layout import BgpLayout
from calico_openstack.lab.cloud import topology_of
from tests.bgp.fabric import birdc
from tests.scenario.cloud import Cloud, eventually
from tests.scenario.conftest import running

_GRACEFUL_SHUTDOWN = "(65535,0)"


@pytest.fixture(params=BgpLayout)
def any_cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    """A cloud with the demonstration's workloads, in each layout."""
    layout: BgpLayout = request.param
    if layout is BgpLayout.MESH:
        yield request.getfixturevalue("cloud")
        return
    with running(f"lt{os.getpid()}{layout[0]}", layout) as lab:
        made = Cloud(lab)
        demo.create(lab, made.progress)
        yield made


def sessions(control: Path) -> dict[str, str]:
    """Return since when each session of a BIRD has been up, by name."""
    text = birdc(control, "show", "protocols")
    return dict(re.findall(r"^(\S+)\s+BGP\s+\S+\s+up\s+(\S+)\s+Established", text, re.MULTILINE))


def test_a_host_comes_is_drained_and_goes(any_cloud: Cloud) -> None:
    cloud, lab = any_cloud, any_cloud.lab
    first = topology_of(lab).compute[0]
    tor, own = router.control_socket(lab), compute.run_folder(lab, first.name) / "bird.ctl"

    def reached() -> bool:
        pairs = (("web1", "late"), ("late", "web1"), ("client", "late"))
        return all(cloud.reaches(*pair, family=family) for pair in pairs for family in (4, 6))

    def drained() -> bool:
        addresses = [cloud.address("late", family) for family in (4, 6)]
        told = [birdc(tor, "show", "route", "for", address, "all") for address in addresses]
        return all(_GRACEFUL_SHUTDOWN in text for text in told)

    eventually(lambda: cloud.reaches("client", "web1"), "the demonstration is reached")
    before = sessions(own), sessions(tor)
    host = host_changes.add(lab, cloud.progress)
    cloud.boot("late", network=demo.NETWORK, security_groups=("web",), host=host.name)
    eventually(reached, f"a workload on {host.name} is reached")
    assert not drained()
    host_changes.drain(lab, host.name)
    eventually(drained, "the router hears of the drain")
    assert reached()
    host_changes.drain(lab, host.name, undo=True)
    eventually(lambda: not drained(), "the router hears of its end")
    gone = {cloud.address("late", family) for family in (4, 6)}
    cloud.remove_all_but(set(cloud.store.names()) - {"late"})
    host_changes.remove(lab, cloud.progress)
    for where in (first.name, "tor"):
        eventually(lambda w=where: not gone & cloud.routes(w), f"{where} has no route to it")  # type: ignore[misc]
    # Nobody else noticed.
    for earlier, control in zip(before, (own, tor), strict=True):
        assert earlier.items() <= sessions(control).items()
