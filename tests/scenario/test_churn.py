"""Ports come and go in thousands, and the traffic of others does not notice.

CHURN=1000 for as many ports; without, there are few, because each is a request to Neutron.
"""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from calico_openstack.lab.rest import Resource
from tests.scenario.cloud import Cloud
from tests.scenario.test_faults import assert_goes_on, assert_undisturbed, flows, target_of

PORTS = int(os.environ.get("CHURN", "40"))
_AT_ONCE = 4


@pytest.mark.timeout(300 + 4 * PORTS)
def test_traffic_does_not_notice_ports_that_come_and_go(cloud: Cloud) -> None:
    """They are on the hosts and in the groups of those that talk, and get their addresses again."""
    target, port = target_of(cloud)
    model = cloud.neutron.get("ports", cloud.workload(target).port_id)
    network = cloud.neutron.create("networks", name="churn")
    cloud.neutron.create("subnets", network_id=network["id"], ip_version=4, cidr="10.70.0.0/16")
    hosts = itertools.cycle(cloud.hosts)
    numbers = itertools.count()

    def create(fixed_ips: list[dict[str, str]] | None) -> Resource:
        attributes = {} if fixed_ips is None else {"fixed_ips": fixed_ips}
        return cloud.neutron.create(
            "ports",
            network_id=network["id"],
            security_groups=model["security_groups"],
            device_owner="compute:nova",
            device_id=f"churn-{next(numbers)}",
            binding__host_id=next(hosts),
            **attributes,
        )

    def delete(created: Resource) -> None:
        cloud.neutron.delete("ports", created["id"])

    with (
        cloud.serving(target, port, 9090),
        cloud.traffic("web1", flows(cloud)) as reports,
        ThreadPoolExecutor(_AT_ONCE) as pool,
    ):
        first = list(pool.map(create, [None] * PORTS))
        list(pool.map(delete, first))
        again = list(pool.map(create, [created["fixed_ips"] for created in first]))
        assert [p["fixed_ips"] for p in again] == [p["fixed_ips"] for p in first]
        list(pool.map(delete, again))
        assert_goes_on(reports)
        assert_undisturbed(reports())
        attempts = {report.flow.kind.value: report.attempts for report in reports()}
        print(f"{2 * PORTS} ports created and deleted; attempts: {attempts}")
    cloud.neutron.delete("networks", network["id"])
