"""Runs Neutron's own unit tests with the driver loaded, and says what differs from without it.

``python -m tests.neutron_upstream [NAME...]``: modules below ``neutron.tests.unit`` instead of all
in `MODULES`. Tests that fail with the driver are run again without it; those that pass then, and
have no reason in `EXPECTED`, make the exit status 1. All take half an hour of a processor.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from xml.etree import ElementTree

import neutron.tests.unit

from tests.neutron_upstream.plugin import ETCD
from tests.support.etcd import EtcdServer

MODULES = (
    "plugins.ml2.test_plugin",
    "plugins.ml2.test_port_binding",
    "plugins.ml2.test_security_group",
    "plugins.ml2.test_ext_portsecurity",
    "plugins.ml2.test_extension_driver_api",
    "plugins.ml2.test_tracked_resources",
    "plugins.ml2.extensions.test_dns_integration",
    "plugins.ml2.extensions.test_port_security",
    "plugins.ml2.extensions.test_data_plane_status",
    "plugins.ml2.extensions.test_uplink_status_propagation",
    "plugins.ml2.extensions.test_tag_ports_during_bulk_creation",
    "extensions.test_subnetpool_prefix_ops",
    "extensions.test_subnet_dns_publish_fixed_ip",
    "services.revisions.test_revision_plugin",
)
"""Those that load ML2 with mechanism drivers."""

EXPECTED = {
    "test__filter_extensions_by_mech_driver": "has prepared what two drivers answer, not a third",
}
"""Tests that fail with any driver beside those that they know, and why."""

_ROOT = Path(neutron.tests.unit.__file__).parent


def main(names: Sequence[str]) -> int:
    """Run the tests and print the result; return the exit status."""
    paths = [str(_ROOT / (name.replace(".", "/") + ".py")) for name in names or MODULES]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        server = EtcdServer(directory / "etcd").start()
        environment = {**os.environ, ETCD: server.endpoint, "OS_CALICO__PROJECT_NAMES": "false"}
        try:
            plugin = ("-p", "tests.neutron_upstream.plugin")
            total, failed = _run(directory, environment, [*plugin, *paths])
        finally:
            server.stop()
        print(f"{total} tests with the driver, {len(failed)} failed", flush=True)
        if not total:
            return 2
        alone = _run(directory, dict(os.environ), sorted(failed))[1] if failed else set()
    unexpected = 0
    for test in sorted(failed):
        reason = EXPECTED.get(test.rpartition("::")[2])
        if test in alone:
            reason = "fails without the driver as well"
        unexpected += reason is None
        print(f"{test.rpartition('/')[2]}: {reason or 'FAILED, and passes without the driver'}")
    print(f"{unexpected} differ without an expected reason")
    return 1 if unexpected else 0


def _run(
    directory: Path, environment: dict[str, str], arguments: Collection[str]
) -> tuple[int, set[str]]:
    """Run pytest; return how many tests ran, and those that failed by their node ids."""
    configuration, results = directory / "pytest.ini", directory / "results.xml"
    configuration.write_text("[pytest]\njunit_family = xunit1\n")
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(configuration), "-W", "ignore"]
    command += [f"--rootdir={_ROOT}", "-p", "no:cacheprovider", "--tb=short", "--no-header"]
    command += [f"--junitxml={results}", *arguments]
    subprocess.run(command, env=environment, check=False)
    total, failed = 0, set()
    for case in ElementTree.parse(results).iter("testcase"):
        total += 1
        if case.find("failure") is not None or case.find("error") is not None:
            class_name = case.get("classname", "").rpartition(".")[2]
            failed.add(f"{_ROOT / case.get('file', '')}::{class_name}::{case.get('name')}")
    return total, failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
