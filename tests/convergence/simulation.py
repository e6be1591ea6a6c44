"""Random histories: requests of several servers, with everything that may come in between.

    python -m tests.convergence.simulation --seed 1 --runs 10

Exit status 1 tells that etcd ended unlike the database, or allowed at some moment what the database
never did; the seed that is printed with it repeats the run.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from neutron_lib import exceptions

from calico_openstack.etcd import EtcdError
from calico_openstack.neutron.records import count_records
from calico_openstack.neutron.resync import Resync
from tests.convergence.tenant import Tenant
from tests.convergence.world import Killed, World
from tests.support import inner_neutron
from tests.support.etcd import EtcdServer

_SERVERS = 3
_ACTIONS = 25


class Simulation:
    """One run: a cloud, servers that answer requests, a journal worker, and resynchronisations."""

    def __init__(self, plugin: Any, seed: int, etcd: EtcdServer) -> None:
        self._world = World(seed, etcd.endpoint)
        self._driver = plugin.mechanism_manager.mech_drivers["calico"].obj
        self._driver._synchroniser = self._world.synchroniser
        self._world.client.delete_prefix("/")
        self._tenant = Tenant(plugin, random.Random(seed))
        self._serving = _SERVERS

    def run(self) -> list[str]:
        """Run it; return what went wrong."""
        self._world.faults = True
        self._world.turns.run([*[self._serve] * _SERVERS, self._journal, self._resync])
        self._world.faults = False
        while not self._driver.journal.settle_all(-1.0, lambda: False):
            pass
        report = Resync(self._world.synchroniser, audit=True).run()
        wrong = [*self._world.violations]
        for phase in report.phases:
            if phase.name != "cluster" and phase.writes:
                wrong.append(f"at the end: {phase.as_dict()['keys']}")
        if report.error or count_records():
            wrong.append(f"at the end: {report.error}, {count_records()} records")
        self._tenant.close()
        self._world.close()
        return wrong

    @property
    def counts(self) -> dict[str, int]:
        """How often what has happened."""
        return dict(self._world.counts)

    def _serve(self) -> None:
        for _ in range(_ACTIONS):
            try:
                self._tenant.act()
            except Killed:
                continue
            except (exceptions.NeutronException, EtcdError, IndexError) as error:
                self._world.counts[f"refused: {type(error).__name__}"] += 1
        self._serving -= 1

    def _journal(self) -> None:
        while self._serving:
            self._world.turns.switch()
            try:
                self._driver.journal.settle_all(-1.0, lambda: not self._serving)
            except Killed:
                continue

    def _resync(self) -> None:
        while self._serving:
            self._world.turns.switch()
            if self._world.rng.random() < 0.05:
                try:
                    Resync(self._world.synchroniser).run()
                except Killed:
                    continue


def main() -> int:
    """Run histories; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1)
    chosen = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="convergence-", dir="/dev/shm") as folder:
        etcd = EtcdServer(Path(folder, "etcd")).start()
        try:
            plugin = inner_neutron.start(Path(folder), etcd.endpoint)
            for seed in range(chosen.seed, chosen.seed + chosen.runs):
                began = time.monotonic()
                simulation = Simulation(plugin, seed, etcd)
                wrong = simulation.run()
                print(f"seed {seed}: {time.monotonic() - began:.1f} s, {simulation.counts}")
                if wrong:
                    print("\n".join(wrong[:20]))
                    return 1
        finally:
            etcd.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
