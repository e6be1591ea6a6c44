"""Ends established flows that policy no longer allows, beside everything else.

A thread searches, the core loop judges. What was withdrawn is searched for after the rules without
it are in the kernel: flows that are made later were judged by them. What the search found is judged
by the policy of the moment of the judgement, not of the search's beginning; what was withdrawn in
between is searched for once more.

A new endpoint is no exception, although most have an address that is nobody's flow. Workloads of
this host may have had flows with that address when it was elsewhere, another's before, or when
Felix did not run, and only their own policy was asked then: now the endpoint's has a say too.
Whether there are such flows only the kernel's table knows.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from calico_openstack.agent.log import fields
from calico_openstack.agent.mainloop import MainLoop, Timer
from calico_openstack.etcd import Batch
from calico_openstack.felix.calc import Withdrawal
from calico_openstack.felix.flow_search import FlowSearch
from calico_openstack.felix.flows import PendingWithdrawals, no_longer_allowed
from calico_openstack.felix.kernel.conntrack import ConntrackTable, Flow
from calico_openstack.felix.kernel.dataplane import Dataplane
from calico_openstack.policy.evaluation import Judgement
from calico_openstack.policy.packet import Packet

_log = logging.getLogger(__name__)

_RETRY: Final = 1.0
# So many flows are judged before the loop looks at other things: some tens of milliseconds.
_SLICE: Final = 1000


class FlowEnding:
    """Searches, judges, and ends; *ended* is told how many flows were.

    *judge* is called in the loop's thread.
    """

    def __init__(
        self,
        loop: MainLoop[Batch],
        dataplane: Dataplane,
        judge: Callable[[Packet], Judgement],
        ended: Callable[[int], None],
    ) -> None:
        self._loop = loop
        self._dataplane = dataplane
        self._judge = judge
        self._ended = ended
        self._pending = PendingWithdrawals()
        self._search = FlowSearch(ConntrackTable())
        # What is being searched for, and whether the kernel had the rules when that began.
        self._sought: tuple[Withdrawal, ...] = ()
        self._in_force = False
        self._unjudged: list[Flow] = []
        self._timer: Timer | None = None
        loop.add_reader(self._search.fileno(), self._found)

    def close(self) -> None:
        """End the thread."""
        self._search.close()

    def add(self, withdrawals: Iterable[Withdrawal]) -> None:
        """Take up what was withdrawn; `go_on` when the kernel is programmed."""
        self._pending.add(withdrawals)

    def go_on(self) -> None:
        """Begin a search, now or in time, if something is left to search for."""
        wait = self._pending.wait()
        if wait is None or self._sought or self._timer is not None:
            return
        if wait:
            self._timer = self._loop.after(wait, self._go_on_now)
            return
        self._in_force = not self._dataplane.needs_apply
        self._sought = self._pending.take()
        self._search.begin(self._sought)

    def _go_on_now(self) -> None:
        self._timer = None
        self.go_on()

    def _found(self) -> None:
        found = self._search.result()
        self._pending.searched(found.seconds, _RETRY if found.problem else 0.0)
        if found.problem:
            _log.error("Could not end flows that lost their permission: %s", found.problem)
        self._unjudged = found.flows
        self._end(retry=found.problem is not None)

    def _end_more(self) -> None:
        self._end(retry=False)

    def _end(self, *, retry: bool) -> None:
        """Judge some of what was found and end what is not allowed, until nothing is left."""
        began = time.monotonic()
        some, self._unjudged = self._unjudged[:_SLICE], self._unjudged[_SLICE:]
        if some:
            doomed = no_longer_allowed(some, self._host_addresses(), self._judge)
            try:
                self._note(self._dataplane.conntrack.delete(doomed))
            except OSError as error:
                _log.error("Could not end flows that lost their permission: %s", error)
                self._unjudged, retry = [], True
                self._pending.searched(time.monotonic() - began, _RETRY)
        if self._unjudged:
            self._loop.after(0.0, self._end_more)
            return
        if retry or not self._in_force:
            # Flows may have been made since, by the rules that were to be replaced.
            self._pending.add(self._sought)
        self._sought = ()
        if not self._dataplane.needs_apply:
            self.go_on()

    def _note(self, count: int) -> None:
        if count:
            self._ended(count)
            _log.info("Ended flows that lost their permission", extra=fields(count=count))

    def _host_addresses(self) -> frozenset[bytes]:
        interfaces = self._dataplane.interfaces.values()
        return frozenset(address.packed for each in interfaces for address in each.addresses)
