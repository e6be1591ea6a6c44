"""Bandwidth limits on a real kernel: what is made, read back, mended and removed."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from calico_openstack.felix.kernel.qdiscs import egress_device
from calico_openstack.felix.render.dataplane import DataplaneDelta
from calico_openstack.felix.render.qos import Shaping, TokenBucket
from tests.kernel.conftest import NamespaceFactory
from tests.kernel.host import Host, eventually
from tests.support.netns import NetworkNamespace, needs_root

pytestmark = needs_root

MEGABIT = 125_000
SLOW = TokenBucket(10 * MEGABIT, 20_000)
FAST = TokenBucket(80_000 * MEGABIT, 1 << 29, 160_000 * MEGABIT, 3000)
LONG = TokenBucket(125, 1 << 29)
BOTH = Shaping(SLOW, TokenBucket(20 * MEGABIT, 20_000))
IFB = egress_device("tap1")


@pytest.fixture
def host(namespace: NetworkNamespace, new_namespace: NamespaceFactory) -> Iterator[Host]:
    made = Host(namespace, new_namespace)
    yield made
    made.dataplane.close()


def shape(host: Host, shaping: Shaping | None, name: str = "tap1") -> None:
    host.desired.shaping.pop(name, None)
    if shaping:
        host.desired.shaping[name] = shaping
    host.apply(DataplaneDelta(shaping={name}))
    assert not host.dataplane.failures


def plugged(host: Host, number: int = 1) -> NetworkNamespace:
    workload = host.plug(number)
    host.apply(host.want(number))
    host.settle()
    return workload


def qdiscs(host: Host, interface: str) -> dict[str, Any]:
    """The disciplines of an interface by kind, but for the kernel's defaults."""
    text = host.namespace.run("tc", "-j", "qdisc", "show", "dev", interface).stdout
    return {each["kind"]: each for each in json.loads(text) if each["kind"] != "noqueue"}


def redirections(host: Host, interface: str) -> list[str]:
    text = host.namespace.run("tc", "filter", "show", "dev", interface, "parent", "ffff:").stdout
    return re.findall(r"Redirect to device (\S+)\)", text)


def links(host: Host) -> str:
    return host.namespace.ip("-br", "link")


def assert_quiet(host: Host) -> None:
    """Neither another apply, nor an audit, nor a restart writes anything."""
    before = host.dataplane.writes
    host.settle()
    host.dataplane.audit(host.clock.now)
    host.apply()
    assert host.dataplane.writes == before
    again = host.new_dataplane()
    try:
        with host.namespace.entered():
            again.apply(host.desired, DataplaneDelta(), host.clock.now)
        assert again.writes == 0
    finally:
        again.close()


def test_both_directions_are_limited_and_read_back(host: Host) -> None:
    plugged(host)
    shape(host, BOTH)
    tap = qdiscs(host, "tap1")
    assert tap["tbf"]["options"]["rate"] == 10 * MEGABIT
    assert tap["tbf"]["options"]["burst"] == 20_000
    assert tap["tbf"]["root"]
    assert tap["tbf"]["handle"] == "1:"
    assert "ingress" in tap
    assert redirections(host, "tap1") == [IFB]
    assert qdiscs(host, IFB)["tbf"]["options"]["rate"] == 20 * MEGABIT
    assert len(IFB) == 15
    assert_quiet(host)


@pytest.mark.parametrize("bucket", [SLOW, FAST, LONG, TokenBucket(MEGABIT, 125)])
def test_any_size_is_recognised_again(host: Host, bucket: TokenBucket) -> None:
    plugged(host)
    shape(host, Shaping(bucket, bucket))
    assert_quiet(host)


def test_a_changed_limit_is_changed_in_place(host: Host) -> None:
    plugged(host)
    shape(host, BOTH)
    before = host.dataplane.writes
    shape(host, Shaping(TokenBucket(30 * MEGABIT, 20_000), BOTH.egress))
    assert host.dataplane.writes == before + 1
    assert qdiscs(host, "tap1")["tbf"]["options"]["rate"] == 30 * MEGABIT
    assert_quiet(host)


def test_limits_that_go_leave_nothing(host: Host) -> None:
    plugged(host)
    before = qdiscs(host, "tap1")
    shape(host, BOTH)
    shape(host, Shaping(egress=BOTH.egress))
    assert "tbf" not in qdiscs(host, "tap1")
    shape(host, None)
    assert qdiscs(host, "tap1") == before
    assert "bwcali" not in links(host)
    assert_quiet(host)


def test_an_endpoint_that_goes_takes_its_device_along(host: Host) -> None:
    plugged(host)
    shape(host, BOTH)
    host.namespace.ip("link", "del", "tap1")
    host.wake()
    host.settle()
    assert "bwcali" not in links(host)


def test_a_recreated_interface_is_limited_again(host: Host) -> None:
    plugged(host)
    shape(host, BOTH)
    host.namespace.ip("link", "del", "tap1")
    host.settle()
    host.plug(1)
    host.settle()
    assert qdiscs(host, "tap1").keys() == {"tbf", "ingress"}
    assert redirections(host, "tap1") == [IFB]
    assert_quiet(host)


def test_leftovers_of_an_earlier_life_are_removed(host: Host) -> None:
    plugged(host)
    plugged(host, 2)
    shape(host, BOTH)
    shape(host, BOTH, "tap2")
    host.desired.shaping.clear()
    host.namespace.ip("link", "del", "tap2")
    again = host.new_dataplane()
    try:
        with host.namespace.entered():
            again.apply(host.desired, DataplaneDelta(), host.clock.now)
        assert qdiscs(host, "tap1") == {}
        assert "bwcali" not in links(host)
    finally:
        again.close()


def test_what_others_made_is_left_alone(host: Host) -> None:
    plugged(host)
    run = host.namespace.run
    run("tc", "qdisc", "add", "dev", "tap1", "root", "handle", "5:", "htb")
    run("tc", "qdisc", "add", "dev", "tap1", "ingress")
    # fmt: off
    run(
        "tc", "filter", "add", "dev", "tap1", "parent", "ffff:", "protocol", "ip", "prio", "7",
        "u32", "match", "u32", "0", "0", "action", "mirred", "egress", "mirror", "dev", "eth0",
    )
    # fmt: on
    host.dataplane.audit(host.clock.now)
    host.apply()
    assert qdiscs(host, "tap1").keys() == {"htb", "ingress"}
    assert_quiet(host)


def test_a_root_of_another_kind_is_replaced(host: Host) -> None:
    plugged(host)
    for handle in ("5:", "1:"):
        host.namespace.run("tc", "qdisc", "add", "dev", "tap1", "root", "handle", handle, "htb")
        shape(host, BOTH)
        assert qdiscs(host, "tap1").keys() == {"tbf", "ingress"}
        shape(host, None)


@pytest.mark.parametrize(
    "damage",
    [
        "tc qdisc del dev tap1 root",
        "tc qdisc del dev tap1 ingress",
        "tc filter del dev tap1 parent ffff:",
        f"tc qdisc del dev {IFB} root",
        "tc qdisc replace dev tap1 root handle 1: tbf rate 1mbit burst 5000 limit 9000",
        f"ip link del {IFB}",
        f"ip link set {IFB} down",
    ],
)
def test_damage_is_noticed_and_mended(host: Host, damage: str) -> None:
    plugged(host)
    shape(host, BOTH)
    host.settle()
    host.namespace.run(*damage.split())
    host.wake()
    host.settle()
    assert qdiscs(host, "tap1")["tbf"]["options"]["rate"] == 10 * MEGABIT
    assert redirections(host, "tap1") == [IFB]
    assert qdiscs(host, IFB)["tbf"]["options"]["rate"] == 20 * MEGABIT
    assert ",UP" in next(line for line in links(host).splitlines() if IFB in line)
    assert_quiet(host)


def test_a_device_of_another_kind_with_our_name_is_a_problem_of_its_interface_only(
    host: Host,
) -> None:
    plugged(host)
    host.namespace.ip("link", "add", IFB, "type", "veth", "peer", "name", "other")
    host.desired.shaping["tap1"] = BOTH
    host.apply(DataplaneDelta(shaping={"tap1"}))
    assert any("tap1" in failure for failure in host.dataplane.failures)
    assert host.dataplane.status("tap1").working
    assert "tbf" in qdiscs(host, "tap1")
    assert IFB in links(host)


def test_what_the_kernel_refuses_costs_the_limit_only(host: Host) -> None:
    plugged(host)
    # Somebody else's discipline for received packets, which leaves no room for ours.
    host.namespace.run("tc", "qdisc", "add", "dev", "tap1", "clsact")
    host.desired.shaping["tap1"] = BOTH
    host.apply(DataplaneDelta(shaping={"tap1"}))
    assert any("bandwidth of tap1" in failure for failure in host.dataplane.failures)
    assert host.dataplane.status("tap1").working
    assert qdiscs(host, "tap1").keys() == {"tbf", "clsact"}
    # It is not tried again and again, but with the next audit.
    assert not host.dataplane.needs_apply
    host.namespace.run("tc", "qdisc", "del", "dev", "tap1", "clsact")
    host.dataplane.audit(host.clock.now)
    host.apply()
    assert not host.dataplane.failures
    assert redirections(host, "tap1") == [IFB]


def _receive(listener: socket.socket, counted: list[int]) -> None:
    connection, _ = listener.accept()
    with connection:
        while data := connection.recv(1 << 16):
            counted.append(len(data))


def _rate(source: NetworkNamespace, target: NetworkNamespace, address: str) -> float:
    """Send by TCP for a second and a half; return bytes a second without the first moment."""
    with target.entered():
        listener = socket.create_server((address, 5001))
    counted: list[int] = []
    receiver = threading.Thread(target=_receive, args=(listener, counted))
    receiver.start()
    with source.entered():
        sender = socket.create_connection((address, 5001), timeout=10)
    end = time.monotonic() + 2.0
    after, skipped = time.monotonic() + 0.5, 0
    try:
        while (now := time.monotonic()) < end:
            if not skipped and now > after:
                skipped = sum(counted) or 1
                after = now
            sender.send(bytes(1 << 14))
        return (sum(counted) - skipped) / (time.monotonic() - after)
    finally:
        sender.close()
        receiver.join(10)
        listener.close()


def test_traffic_is_as_slow_as_it_should_be(host: Host) -> None:
    one = plugged(host)
    other = plugged(host, 2)
    shape(host, BOTH)
    # To the workload 10 Mbit/s, from it 20 Mbit/s; wide bounds, the machine has other things to do.
    assert 0.3 * 10 * MEGABIT < _rate(other, one, "10.65.0.1") < 1.4 * 10 * MEGABIT
    assert 0.3 * 20 * MEGABIT < _rate(one, other, "10.65.0.2") < 1.4 * 20 * MEGABIT
    assert eventually(lambda: qdiscs(host, IFB) != {})
    statistics = host.namespace.run("tc", "-s", "qdisc", "show", "dev", IFB).stdout
    assert int(re.findall(r"overlimits (\d+)", statistics)[0]) > 0
