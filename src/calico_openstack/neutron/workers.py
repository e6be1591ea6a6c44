"""The driver's background work, as workers of ``neutron-periodic-workers``.

Each runs in a process of its own, so that comparing everything does not delay the status of a
port. A worker holds its settings only, and makes threads and connections when it is started:
it may be sent to its process by fork or by pickling, and be started again.
"""

from __future__ import annotations

import abc
from importlib.metadata import version
from typing import Protocol

import neutron  # noqa: F401  (chooses oslo.service's backend of threads, before its first use)
from neutron_lib import worker
from oslo_config import cfg

from calico_openstack.neutron.compaction import CompactionService
from calico_openstack.neutron.journal_service import JournalService
from calico_openstack.neutron.options import Settings
from calico_openstack.neutron.resync_service import ResyncService
from calico_openstack.neutron.status_service import StatusService

# The first release whose neutron-periodic-workers runs workers that ask for a process.
_FIRST_WITH_PROCESSES = 29


def process_count(neutron_version: str) -> int:
    """Return the number of processes that a worker must ask for in order to get one of its own.

    Releases before 29 give a process to each worker that asks for none, and leave out those that
    ask for any. Later ones put all workers that ask for none into one process.
    """
    return int(int(neutron_version.split(".", maxsplit=1)[0]) >= _FIRST_WITH_PROCESSES)


class _Service(Protocol):
    def start(self) -> None: ...

    def stop(self) -> None: ...

    def join(self) -> None: ...


class _CalicoWorker(worker.BaseWorker):
    """Runs services from `start` to `stop`."""

    desc = ""

    def __init__(self, settings: Settings) -> None:
        super().__init__(process_count(version("neutron")), desc=self.desc)
        self._settings = settings
        self._services: list[_Service] = []

    @abc.abstractmethod
    def make_services(self) -> list[_Service]:
        """Return the services, not yet started."""

    def start(self) -> None:
        """Start the services in this process."""
        super().start(name="neutron", desc=self.desc)
        self._services = self.make_services()
        for service in self._services:
            service.start()

    def stop(self) -> None:
        """Ask the services to end."""
        for service in self._services:
            service.stop()

    def wait(self) -> None:
        """Wait for the services' end."""
        for service in self._services:
            service.join()
        self._services = []

    def reset(self) -> None:
        """Nothing: the options that can change at run time are not the driver's."""


class StatusWorker(_CalicoWorker):
    """Brings Felix's reports to Neutron's agents and ports."""

    desc = "calico-status"

    def make_services(self) -> list[_Service]:
        """Return the services, not yet started."""
        # A third, so that two reports in a row may be late.
        return [StatusService(self._settings, cfg.CONF.agent_down_time / 3)]


class ResyncWorker(_CalicoWorker):
    """Compares etcd with Neutron's database, and lets etcd forget its history."""

    desc = "calico-resync"

    def make_services(self) -> list[_Service]:
        """Return the services, not yet started."""
        return [ResyncService(self._settings), CompactionService(self._settings)]


class JournalWorker(_CalicoWorker):
    """Settles what requests have left undone."""

    desc = "calico-journal"

    def make_services(self) -> list[_Service]:
        """Return the services, not yet started."""
        return [JournalService(self._settings)]
