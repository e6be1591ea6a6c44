"""What does the Neutron driver cost? One table: beside Neutron's own driver that does nothing.

.venv/bin/python -m benchmarks.neutron [--rounds N] [--ports N] [--many N] [--workers N]

A part can be left out by 0: rounds, ports of comparisons (many), workers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.table import Row, show
from calico_openstack.lab import neutron_config
from tests.support.etcd import EtcdServer
from tests.support.neutron import NeutronServer

# Neutron's mechanism driver for tests, which binds ports and checks what it is called with.
_NOTHING, _OURS = "test", "calico"
_OVERHEAD = 1.10
_COMPARISON_SECONDS = 2.0
_FIGURES = (("wall_ms", "ms"), ("cpu_ms", "ms"), ("statements", ""), ("requests", ""))


def main() -> None:
    """Run the rounds, and show the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ports", type=int, default=60)
    parser.add_argument("--many", type=int, default=3000)
    parser.add_argument("--workers", type=int, default=4)
    chosen = parser.parse_args()
    rounds: dict[str, list[dict[str, Any]]] = {_NOTHING: [], _OURS: []}
    with tempfile.TemporaryDirectory(prefix="neutron-bench-") as folder:
        Path(folder).chmod(0o755)
        etcd = EtcdServer(Path(folder, "etcd")).start()
        server = NeutronServer(Path(folder, "neutron"), etcd.endpoint)
        try:
            connection = server.start_database()
            for number in range(chosen.rounds):
                for driver, found in rounds.items():
                    empty(server, etcd)
                    many = chosen.many if driver == _OURS and number == 0 else 0
                    numbers = ("--ports", str(chosen.ports), "--many", str(many))
                    found.append(_measure(driver, connection, etcd.endpoint, *numbers))
            rates = {}
            for driver in rounds if chosen.workers else ():
                empty(server, etcd)
                where = (driver, connection, etcd.endpoint)
                rates[driver] = _rate(chosen.workers, chosen.ports, *where)
        finally:
            server.stop()
            etcd.stop()
    rows = _rows(rounds)
    if rates:
        ours, nothing = rates[_OURS], rates[_NOTHING]
        note = f"{100 * (ours / nothing - 1):+.0f} %"
        rows.append(Row(f"creates with {chosen.workers} workers", ours, "/s", None, nothing, note))
    if chosen.many and chosen.rounds:
        rows += _rows_of_many(rounds[_OURS][0]["many"], chosen.many)
    show(rows)


def empty(server: NeutronServer, etcd: EtcdServer) -> None:
    """Let Neutron's database and etcd be as new."""
    name = neutron_config.DATABASE
    server.sql_anywhere(f"DROP DATABASE IF EXISTS {name}; {neutron_config.create_database_sql()}")
    with etcd.client() as client:
        client.delete_prefix("/")


def _rate(workers: int, ports: int, *where: str) -> float:
    """Return how many ports a second several processes create beside each other."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.neutron_ports", *where]
    command += ["--together", "--ports", str(ports)]
    processes = []
    try:
        for _ in range(workers):
            # One after the other: the first one makes the tables.
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            processes.append(process)
            assert process.stdin is not None
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise SystemExit("a worker did not start")
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        found = [json.loads(process.communicate()[0]) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    seconds = max(each["ended"] for each in found) - min(each["began"] for each in found)
    return workers * ports / seconds


def _measure(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.neutron_ports", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(result.stderr[-3000:])
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def _rows(rounds: dict[str, list[dict[str, Any]]]) -> list[Row]:
    rows: list[Row] = []
    if not rounds[_OURS]:
        return rows
    for action in ("create", "update", "delete"):
        for figure, unit in _FIGURES:
            ours, nothing = (
                statistics.median(each[action][figure] for each in rounds[driver])
                for driver in (_OURS, _NOTHING)
            )
            name = f"{action} a port, {figure.removesuffix('_ms')}"
            target = nothing * _OVERHEAD if action == "create" and unit else None
            note = f"{100 * (ours / nothing - 1):+.0f} %" if nothing else ""
            rows.append(Row(name, ours, unit, target, nothing, note))
    return rows


def _rows_of_many(many: dict[str, Any], ports: int) -> list[Row]:
    def row(name: str, key: str, target: float | None = None, note: str = "") -> Row:
        cost = many[key]
        cpu = f"{cost['cpu_ms'] / 1000:.2f} s CPU, {cost['statements']:.0f} statements"
        return Row(name, cost["wall_ms"] / 1000, "s", target, note=f"{cpu}{note}")

    members = ports // 3
    return [
        row(f"rule of a group of {members:,}", "rule"),
        row(f"name of a group of {members:,}", "rename"),
        row("compare and repair", "repair", note=f", {many['repaired']} writes"),
        row(
            f"compare {ports:,} ports, clean",
            "clean",
            _COMPARISON_SECONDS,
            f", {many['writes']} writes",
        ),
    ]


if __name__ == "__main__":
    main()
