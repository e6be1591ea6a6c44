"""How soon do many reports of Felix reach Neutron's ports? Prints JSON.

    python -m benchmarks.neutron_status CONNECTION ETCD [--ports N] [--changed N]

One process of Neutron with ports that nobody has told the driver of. While the status service runs,
a report of each is put into etcd, as fast as etcd takes them; some say what Neutron does not know.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from neutron.db import models_v2
from oslo_config import cfg
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.host import fill as put_all
from benchmarks.neutron_ports import HOST, Cloud
from benchmarks.neutron_ports import fill as make_ports
from calico_openstack.datamodel.keys import EndpointStatusKey, FelixStatusKey
from calico_openstack.datamodel.status import AgentStatus, EndpointStatus
from calico_openstack.etcd import EtcdClient, EtcdConfig
from calico_openstack.neutron import options
from calico_openstack.neutron.queries import reader
from calico_openstack.neutron.status_service import StatusService
from tests.support import inner_neutron
from tests.support.processes import eventually, free_port

_SOON = 600.0
_PAUSE = 0.2


def measure(cloud: Cloud, client: EtcdClient, ports: int, changed: int) -> dict[str, Any]:
    """Report all ports as they are, but for those that are down; return the figures."""
    make_ports(cloud, ports)
    settings = replace(options.read(cfg.CONF), metrics_port=free_port())
    alive = AgentStatus(time="2026-01-01T00:00:00Z", uptime=1.0, first_update=True)
    client.put(FelixStatusKey(settings.region_string, HOST).path, alive.encode())
    down = set(sorted(_status(cloud))[:changed])

    def reports() -> Iterator[tuple[str, bytes]]:
        for port_id, (device_id, _) in _status(cloud).items():
            workload = f"{settings.namespace}/{device_id}"
            key = EndpointStatusKey(settings.region_string, HOST, "openstack", workload, port_id)
            status = EndpointStatus(status="down" if port_id in down else "up")
            yield key.path, status.encode()

    put_all(client, [(key, EndpointStatus(status="up").encode()) for key, _ in reports()])
    service = StatusService(settings, heartbeat_seconds=25.0)
    service.start()
    try:
        eventually(lambda: _metric(settings.metrics_port, "hosts_alive") == 1, _SOON, "in sync")
        statements, began = cloud.statements, time.monotonic()
        put_all(client, reports())
        written = time.monotonic() - began
        asked = 1
        while _metric(settings.metrics_port, "port_status_lag_seconds_count") < ports:
            assert time.monotonic() - began < _SOON, "not all reports were dealt with"
            asked += 1
            time.sleep(_PAUSE)
        seconds = time.monotonic() - began
        # Each answer counts the records in the database.
        needed = cloud.statements - statements - asked
        lag = _metric(settings.metrics_port, "port_status_lag_seconds_sum") / ports
        found = {port_id for port_id, (_, status) in _status(cloud).items() if status == "DOWN"}
        return {
            "put_s": written,
            "seconds": seconds,
            "mean_lag_s": lag,
            "statements": needed,
            "right": found == down,
            "failed": _metric(settings.metrics_port, "ports_failed"),
        }
    finally:
        service.stop()
        service.join()


def _status(cloud: Cloud) -> dict[str, tuple[str, str]]:
    """Return the device and status of the ports by their ids."""
    port = models_v2.Port
    statement = sa.select(port.id, port.device_id, port.status)
    with reader() as session:
        found = session.execute(statement.where(port.network_id == cloud.network))
        return {row[0]: (row[1], row[2]) for row in found}


def _metric(port: int, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    samples = (sample for family in families for sample in family.samples)
    return next((s.value for s in samples if s.name == f"calico_neutron_{name}"), 0.0)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("connection")
    parser.add_argument("etcd")
    parser.add_argument("--ports", type=int, default=3000)
    parser.add_argument("--changed", type=int, default=300)
    chosen = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="neutron-bench-") as folder:
        plugin = inner_neutron.start(Path(folder), chosen.etcd, connection=chosen.connection)
        with EtcdClient(EtcdConfig((chosen.etcd,))) as client:
            result = measure(Cloud(plugin, chosen.etcd), client, chosen.ports, chosen.changed)
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
