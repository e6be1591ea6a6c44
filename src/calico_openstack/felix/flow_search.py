"""A thread that looks for flows while the core loop works on.

Listing the kernel's table takes a moment even when it is empty, tens of milliseconds when the host
is busy: nothing that a new endpoint should wait for.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Sequence

from msgspec import Struct

from calico_openstack.felix.calc import Withdrawal
from calico_openstack.felix.flows import concerned, named_addresses
from calico_openstack.felix.kernel.conntrack import ConntrackTable, Flow


class Found(Struct, frozen=True):
    """The result of a search: the flows, or why there are none, and how long it took (seconds)."""

    flows: list[Flow]
    problem: OSError | None
    seconds: float


class FlowSearch:
    """Searches one after the other in *table*, which nobody else may use.

    The thread is started by the first search. The descriptor of `fileno` is readable when there is
    a `result`.
    """

    def __init__(self, table: ConntrackTable) -> None:
        self._table = table
        self._wishes: queue.SimpleQueue[Sequence[Withdrawal] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[Found] = queue.SimpleQueue()
        self._ready = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="flows", daemon=True)

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._ready

    def begin(self, withdrawals: Sequence[Withdrawal]) -> None:
        """Begin to look for the flows that *withdrawals*, which nobody changes, concern."""
        if not self._thread.ident:
            self._thread.start()
        self._wishes.put(withdrawals)

    def result(self) -> Found:
        """Return what the earliest search found that was not asked for yet; wait for it."""
        found = self._results.get()
        os.eventfd_read(self._ready)
        return found

    def close(self, timeout: float = 2.0) -> None:
        """End the thread when it has finished what it does."""
        if self._thread.ident:
            self._wishes.put(None)
            self._thread.join(timeout)
        if not self._thread.is_alive():
            self._table.close()
            os.close(self._ready)

    def _run(self) -> None:
        while (withdrawals := self._wishes.get()) is not None:
            began = time.monotonic()
            flows, problem = [], None
            try:
                of = named_addresses(withdrawals)
                flows = list(concerned(self._table.flows(of), withdrawals))
            except OSError as error:
                problem = error
            # In this order: who takes a result can always clear the sign that it is there.
            os.eventfd_write(self._ready, 1)
            self._results.put(Found(flows, problem, time.monotonic() - began))
