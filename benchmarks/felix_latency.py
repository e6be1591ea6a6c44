"""How long a change takes from etcd to the kernel, and how many changes a second are possible.

    python -m benchmarks.felix_latency [--load 100000:5000] [--count 200]

The time of a change is from before its put to the kernel's notification of its last part. Part of
it is etcd's: the event is sent when the put is committed, which is when its answer is sent too. So
the put's own round trip in the same run is the floor.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from benchmarks import host
from benchmarks.clusters import EXTRA, Cluster, Endpoint
from benchmarks.notifications import Notifications
from benchmarks.table import Row, show
from calico_openstack.etcd import EtcdClient
from tests.support.etcd import EtcdServer

LOCAL = 200
_PAUSE = 0.01
_REMOTE_BURST = 10_000
_LOCAL_BURST = 500
_IDLE = 10.0
_WINDOW = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes to make, none of which is in the cluster before."""

    known: list[Endpoint]
    new: list[Endpoint]
    remote: list[Endpoint]
    remote_burst: list[Endpoint]
    local_burst: list[Endpoint]

    @classmethod
    def make(cls, cluster: Cluster, count: int) -> Plan:
        """Draw the changes: members of groups that host 0 knows, of any groups, and of both."""
        local = list(cluster.local_numbers())
        numbers = iter(range(EXTRA, EXTRA + 4 * count + _REMOTE_BURST + _LOCAL_BURST))

        def some(number: int, at: int, *, known: bool = True) -> list[Endpoint]:
            """Return endpoints on a host; unknown groups are those of endpoints elsewhere."""
            likes = [local[i % len(local)] if known else 1 + 7 * i for i in range(number)]
            return [
                cluster.endpoint(next(numbers), like=like % cluster.endpoints, host=at)
                for like in likes
            ]

        mixed = some(_REMOTE_BURST // 2, 2, known=False) + some(_REMOTE_BURST // 2, 2)
        return cls(
            known=some(count, 0),
            new=some(count, 0, known=False),
            remote=some(count, 1),
            remote_burst=mixed,
            local_burst=some(_LOCAL_BURST, 0),
        )

    def taps(self) -> list[str]:
        """Return the interfaces that host 0 needs for them."""
        return [each.interface for each in (*self.known, *self.new, *self.local_burst)]


def measure(cluster: Cluster, count: int, data: Path) -> list[Row]:
    """Measure on one cluster; *data* keeps etcd's content for the next time."""
    plan = Plan.make(cluster, count)
    taps = [cluster.endpoint(number).interface for number in cluster.local_numbers()]
    with host.namespace() as namespace:
        host.plug(namespace, taps + plan.taps())
        with host.etcd(data) as server, server.client(60.0) as client:
            if client.get(cluster.endpoint(cluster.endpoints - 1).key) is None:
                host.fill(client, cluster.objects())
            _remove(client, plan)
            with host.Felix(server, cluster.host(0), data) as felix:
                felix.wait_programmed()
                rows = _changes(client, cluster, plan, felix)
                rows += _idle(server, felix)
            _remove(client, plan)
    return rows


def _changes(client: EtcdClient, cluster: Cluster, plan: Plan, felix: host.Felix) -> list[Row]:
    routes, tables = Notifications.of_routes(), Notifications.of_nftables()
    time.sleep(2.0)
    rows = _latencies("endpoint of known groups", client, plan.known, routes, (1.0, 6.0))
    rows += _latencies("endpoint of new groups", client, plan.new, routes, (3.0, None))
    rows += _latencies("member of another host", client, plan.remote, tables, (1.0, 6.0))
    rows += _rule_changes(client, cluster, tables)
    rows += _burst("remote updates", client, plan.remote_burst, tables, felix=felix, target=20_000)
    rows += _burst("local creations", client, plan.local_burst, routes, felix=felix, target=3_000)
    return rows


def _latencies(
    name: str,
    client: EtcdClient,
    endpoints: Iterable[Endpoint],
    notifications: Notifications,
    targets: tuple[float | None, float | None],
) -> list[Row]:
    puts, totals = [], []
    for endpoint in endpoints:
        put, total = _timed(
            client,
            endpoint.key,
            endpoint.value,
            notifications,
            lambda address=endpoint.address: notifications.wait_for_address(address),  # type: ignore[misc]
        )
        puts.append(put)
        totals.append(total)
    return _latency_rows(name, puts, totals, targets)


def _rule_changes(client: EtcdClient, cluster: Cluster, tables: Notifications) -> list[Row]:
    """Change a port in the policy of one group of local endpoints, again and again."""
    key, value = cluster.policy(cluster.groups_of(0)[0])
    policy = json.loads(value)
    puts, totals = [], []
    for port in range(10_000, 10_050):
        rule = {"action": "Allow", "ipVersion": 4, "protocol": "TCP"}
        policy["spec"]["ingress"][-1] = {**rule, "destination": {"ports": [port]}}
        wanted = port.to_bytes(2, "big")
        put, total = _timed(
            client,
            key,
            json.dumps(policy).encode(),
            tables,
            lambda wanted=wanted: tables.wait_for(lambda buffer: wanted in buffer),  # type: ignore[misc]
        )
        puts.append(put)
        totals.append(total)
    client.put(key, value)
    return _latency_rows("one rule of a group", puts, totals, (1.0, 6.0))


def _timed(
    client: EtcdClient,
    key: str,
    value: bytes,
    notifications: Notifications,
    programmed: Callable[[], float],
) -> tuple[float, float]:
    """Put a key; return the milliseconds until etcd answered and until the kernel had it."""
    time.sleep(_PAUSE)
    notifications.forget()
    began = time.monotonic()
    client.put(key, value)
    answered = time.monotonic()
    return (answered - began) * 1000, (programmed() - began) * 1000


def _latency_rows(
    name: str, puts: list[float], totals: list[float], targets: tuple[float | None, float | None]
) -> list[Row]:
    put = median(puts)
    middle, worst = targets
    return [
        Row(f"{name}: p50", median(totals), "ms", put + middle if middle else None, put),
        Row(f"{name}: p99", quantiles(totals, n=100)[98], "ms", worst, quantiles(puts, n=100)[98]),
    ]


def _burst(
    name: str,
    client: EtcdClient,
    endpoints: list[Endpoint],
    notifications: Notifications,
    *,
    felix: host.Felix,
    target: float,
) -> list[Row]:
    """Put many keys as fast as etcd takes them; the last one shows that all are programmed."""
    time.sleep(1.0)
    notifications.forget()
    cpu, began = felix.cpu(), time.monotonic()
    host.fill(client, [(endpoint.key, endpoint.value) for endpoint in endpoints[:-1]])
    written = time.monotonic()
    client.put(endpoints[-1].key, endpoints[-1].value)
    seconds = notifications.wait_for_address(endpoints[-1].address) - began
    time.sleep(_WINDOW)
    used = felix.cpu() - cpu
    count = len(endpoints)
    return [
        Row(f"{name} a second", count / seconds, "", target, count / (written - began)),
        Row(f"{name} a second of CPU time", count / used, ""),
    ]


def _idle(server: EtcdServer, felix: host.Felix) -> list[Row]:
    time.sleep(2.0)
    cpu, ranges = felix.cpu(), host.ranges(server)
    time.sleep(_IDLE)
    used, read = felix.cpu() - cpu, host.ranges(server) - ranges
    return [
        Row("idle: CPU time a minute", used / _IDLE * 60, "s", 0),
        Row("idle: reads of etcd a minute", read / _IDLE * 60, "", 0),
        Row("resident after all that", felix.memory("VmRSS"), "MiB"),
    ]


def _remove(client: EtcdClient, plan: Plan) -> None:
    everything = (plan.known, plan.new, plan.remote, plan.remote_burst, plan.local_burst)
    host.remove(client, [each.key for endpoints in everything for each in endpoints])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--load", default="100000:5000", help="ENDPOINTS:GROUPS")
    parser.add_argument("--count", type=int, default=200, help="changes of each kind")
    parser.add_argument("--data", type=Path, help="keep etcd's content here for the next time")
    options = parser.parse_args()
    endpoints, groups = map(int, options.load.split(":"))
    with tempfile.TemporaryDirectory() as temporary:
        data = (options.data or Path(temporary)) / f"{endpoints}-{groups}"
        show(measure(Cluster(endpoints, groups, LOCAL), options.count, data))


if __name__ == "__main__":
    main()
