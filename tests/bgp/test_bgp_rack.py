"""A rack with an AS of its own, whose router starts again. Needs root."""

from __future__ import annotations

from pathlib import Path

from tests.bgp.fabric import Fabric
from tests.bgp.rack import RackRouter, store_rack
from tests.bgp.stream import Stream
from tests.support.netns import needs_root
from tests.support.processes import eventually

pytestmark = needs_root


def test_a_router_that_is_killed_and_back_loses_no_packet(fabric: Fabric, tmp_path: Path) -> None:
    store_rack(fabric, {}, maxRestartTime="20s")
    hosts = fabric.add_hosts(3)
    router = RackRouter(fabric, bfd=None)
    for host in hosts:
        host.start_agent()
    here, there, other = (fabric.workload(host, 1 + n) for n, host in enumerate(hosts))
    for address in (there.ipv4, there.ipv6):
        eventually(lambda a=address: here.ping(a, 1).returncode == 0, 30)
    streams = [
        Stream(here.namespace, address, [there.namespace], tmp_path)
        for address in (there.ipv4, there.ipv6)
    ]
    before = [host.established() for host in hosts]
    router.restart()

    def back() -> bool:
        now = [host.established() for host in hosts]
        return all(
            old.keys() == new.keys() and not set(old.items()) & set(new.items())
            for old, new in zip(before, now, strict=True)
        )

    eventually(back, 40)
    # What is new passes as before.
    fabric.workload(hosts[0], 9)
    eventually(lambda: other.ping("10.65.0.9", 1).returncode == 0, 30)
    for stream in streams:
        outcome = stream.finish()
        assert len(outcome.sent) > 500
        assert (outcome.lost, outcome.unanswered) == (0, 0)
