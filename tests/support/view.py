"""What a snapshot-and-watch has told: the state that a consumer would hold."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from calico_openstack.etcd import Batch, EtcdClient, SnapshotWatch
from tests.support.processes import eventually


class View:
    """Follows batches; refuses deletions of keys that it was never told about."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.batches: list[Batch] = []
        self.in_sync = False
        self.connected = False
        self._lock = threading.Lock()

    def deliver(self, batch: Batch) -> None:
        with self._lock:
            for update in batch.updates:
                if update.value is None:
                    del self.content[update.key]
                else:
                    self.content[update.key] = update.value
            self.batches.append(batch)
            self.in_sync, self.connected = batch.in_sync, batch.connected

    def updates(self) -> int:
        """Return how many updates there were so far."""
        return sum(len(batch.updates) for batch in list(self.batches))

    def wait_for(self, content: dict[str, bytes], timeout: float = 15.0) -> None:
        """Wait until the view is in sync and has exactly this content."""
        eventually(
            lambda: self.in_sync and self.content == content,
            timeout,
            f"view {self.content} to become {content}",
        )

    def wait_connected(self, connected: bool = True, timeout: float = 15.0) -> None:
        """Wait until the view says whether it is current."""
        eventually(lambda: self.connected == connected, timeout, f"connected: {connected}")


@contextmanager
def watching(
    client: EtcdClient, prefixes: Sequence[str] = ("/w/",), *, page_size: int = 2500
) -> Iterator[View]:
    """Run a watch for the ``with`` block."""
    view = View()
    watch = SnapshotWatch(client, prefixes, view.deliver, page_size=page_size)
    watch.start()
    try:
        yield view
    finally:
        watch.stop()
        client.close()
        watch.join(20)
