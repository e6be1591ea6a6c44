"""What a change costs, counted in calls: the same however large the rest of the cluster is."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.remote import RemoteEndpoint
from calico_openstack.felix.calc import HostCalculation
from calico_openstack.felix.render import Renderer
from calico_openstack.felix.render.settings import RenderSettings
from tests.support.resources import allow, group_policy, workload

SMALL, LARGE = 20, 500


def calls(work: Callable[[], object]) -> int:
    """Return how many functions *work* calls, those written in C included."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    # The collector may call what has nothing to do with it.
    gc.disable()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


def remote(number: int, *groups: str) -> RemoteEndpoint:
    labels = (*(f"sg-{group}" for group in groups), "projectcalico.org/namespace")
    values = (*("" for _ in groups), "openstack")
    address = (0x0A010000 + number).to_bytes(4, "big")
    return RemoteEndpoint(f"/endpoint/{number}", labels + values, (), (address,))


class Host:
    """A host with a local member of ``db``, which *members* of ``web`` may reach, and renderer.

    There are as many policies and endpoints besides that have nothing to do with it.
    """

    def __init__(self, members: int) -> None:
        self.calculation = HostCalculation("here")
        self.renderer = Renderer(RenderSettings(), self.calculation.state)
        self.put(group_policy("db", allow("TCP", 3306, group="web")), workload(1, "db"))
        for number in range(members):
            self.put(group_policy(f"other{number}", allow(group=f"another{number}")))
            self.calculation.update_remote(remote(members + number, f"other{number}"))
            self.calculation.update_remote(remote(number, "web"))
        self.program()

    def put(self, *items: tuple[ResourceKey, Any]) -> None:
        for key, value in items:
            self.calculation.update(key, value)

    def program(self) -> None:
        self.renderer.apply(self.calculation.flush())

    def new_member(self) -> None:
        self.calculation.update_remote(remote(2 * LARGE, "web"))
        self.program()

    def gone_member(self) -> None:
        self.calculation.update_remote(remote(0, "elsewhere"))
        self.program()

    def new_stranger(self) -> None:
        self.calculation.update_remote(remote(2 * LARGE, "other1"))
        self.program()

    def new_rule(self) -> None:
        self.put(group_policy("db", allow("TCP", 5432, group="web")))
        self.program()

    def new_endpoint(self) -> None:
        self.put(workload(2, "db"))
        self.program()


@pytest.mark.parametrize(
    "change",
    [Host.new_member, Host.gone_member, Host.new_stranger, Host.new_rule, Host.new_endpoint],
)
def test_cost_is_independent_of_everything_else(change: Callable[[Host], None]) -> None:
    small, large = Host(SMALL), Host(LARGE)
    # Once before, so that caches are filled.
    change(Host(SMALL))
    one, other = calls(lambda: change(small)), calls(lambda: change(large))
    assert one == other


def test_a_change_takes_few_calls() -> None:
    assert calls(Host(SMALL).new_member) < 200
