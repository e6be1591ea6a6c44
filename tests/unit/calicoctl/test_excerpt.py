"""What matters of a whole datastore to two ends."""

from __future__ import annotations

import pytest

from calico_openstack.calicoctl.endpoint_scan import on_host
from calico_openstack.calicoctl.excerpt import needed_label
from calico_openstack.datamodel import workload_endpoint_name

GROUP = "sg.projectcalico.org/openstack-1"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (b'{"spec":{"selector":"has(%b)"}}' % GROUP.encode(), True),
        (b'{"spec":{"selector":"has(%b2)"}}' % GROUP.encode(), False),
        (b'{"spec":{"selector":"!has(%b2)"}}' % GROUP.encode(), True),
        (b'{"spec":{"selector":"has(%b2) || all()"}}' % GROUP.encode(), True),
        (b'{"spec":{"ingress":[]}}', True),
        (b'{"spec":{"selector":5}}', True),
        (b"not JSON", True),
        (b"\xff", True),
    ],
)
def test_only_policies_of_groups_that_nobody_has_are_left_out(
    policy: bytes, expected: bool
) -> None:
    needed = needed_label(policy)
    assert (not needed or needed in {GROUP, "other"}) is expected


@pytest.mark.parametrize("host", ["compute", "compute-1", "compute-12"])
def test_keys_tell_the_host_of_an_endpoint(host: str) -> None:
    namespace = "/calico/resources/v3/projectcalico.org/workloadendpoints/openstack"
    key = f"{namespace}/{workload_endpoint_name('compute-1', 'openstack', 'instance', 'port')}"
    # A host whose name is the beginning of another one finds too much, never too little.
    assert key.startswith(on_host(namespace, host)) is (host != "compute-12")
