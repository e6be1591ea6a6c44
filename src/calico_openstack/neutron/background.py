"""What a worker does beside others: a thread with a connection to etcd, from start to stop."""

from __future__ import annotations

import abc
import threading

from calico_openstack.etcd import EtcdClient
from calico_openstack.neutron.options import Settings


class BackgroundService(abc.ABC):
    """A thread that does its work until it is asked to end."""

    name: str
    """What the thread is called."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.client = EtcdClient(settings.etcd)
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self.run, name=self.name, daemon=True)

    @abc.abstractmethod
    def run(self) -> None:
        """Do the work, and return soon when `stopping` is set."""

    def start(self) -> None:
        """Start the thread; call it in the process that it belongs to."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; what is being written is finished."""
        self.stopping.set()

    def join(self) -> None:
        """Wait for the end of the thread."""
        self._thread.join()
        self.client.close()
