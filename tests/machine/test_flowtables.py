"""Offloaded flows, in a virtual machine whose kernel has flowtables. Takes minutes."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

from benchmarks.packet_path import End, PacketHost, traffic_program
from calico_openstack.datamodel.endpoints import QosControls
from calico_openstack.felix.calc import HostCalculation
from calico_openstack.felix.render import Renderer, RenderSettings
from tests.support import machine
from tests.support.netns import needs_root
from tests.support.resources import allow, group_policy, workload

pytestmark = needs_root


def rendered(*, opened: bool = True, controls: QosControls | None = None) -> PacketHost:
    """Return a host with two workloads; what the second lets in, and its limits, differ."""
    calculation = HostCalculation("here")
    calculation.update(*group_policy("web", *([allow("UDP")] if opened else [])))
    ends = []
    for number in (1, 2):
        key, endpoint = workload(number, "web", qos_controls=controls if number == 2 else None)
        calculation.update(key, endpoint)
        ends.append(End(endpoint.spec.interface_name, f"10.0.0.{number}", endpoint.spec.mac))
    renderer = Renderer(RenderSettings(flow_offload=True), calculation.state)
    renderer.apply(calculation.flush())
    return PacketHost(renderer.desired, *ends)


def test_flowtables(tmp_path: Path) -> None:
    states = {
        "open": rendered(),
        "closed": rendered(opened=False),
        "limited": rendered(controls=QosControls(ingress_packet_rate=1000)),
    }
    with traffic_program(tmp_path) as traffic:
        files = {"states": pickle.dumps(states), "traffic": traffic.read_bytes()}
        output = machine.run(
            ["python3", "-m", "tests.machine.flowtable_guest"], tmp_path, files=files, timeout=500
        )
    assert len(re.findall("^PASSED", output, re.MULTILINE)) == 4
