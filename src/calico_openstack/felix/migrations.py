"""Follows live migrations: objects from etcd, announcements from interfaces, and time.

The decisions are those of `calc.migration`; here are the sockets and the timer that they ask for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any

from msgspec import Struct, field

from calico_openstack.agent.log import fields
from calico_openstack.agent.mainloop import MainLoop, Timer
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.migration import LiveMigration
from calico_openstack.felix.calc import HostCalculation, LocalEndpoint
from calico_openstack.felix.calc.migration import (
    MigrationRole,
    MigrationRoles,
    MigrationState,
    MigrationStates,
    RoutePriority,
)
from calico_openstack.felix.kernel.announcements import AnnouncementListener
from calico_openstack.felix.kernel.dataplane import Dataplane

_log = logging.getLogger(__name__)

_Subject = tuple[str, int, bytes]
"""What is listened to: an interface by name and index, and the workload's MAC address."""


class MigrationSettings(Struct, frozen=True):
    """This *host*'s name; how long, in seconds, routes stay elevated when a migration has ended.

    *elevated* and *normal* are the metrics of routes by IP version.
    """

    host: str = ""
    convergence: float = 30.0
    elevated: Mapping[int, int] = field(default_factory=lambda: {4: 512, 6: 512})
    normal: Mapping[int, int] = field(default_factory=lambda: {4: 1024, 6: 1024})


class MigrationFollower:
    """Keeps the priorities of this host's routes in step with the migrations of its workloads.

    `follow` is called in every pass of the main *loop*; announcements and the end of a wait bring
    about a pass of their own.
    """

    def __init__(
        self,
        settings: MigrationSettings,
        dataplane: Dataplane,
        loop: MainLoop[Any],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._dataplane = dataplane
        self._loop = loop
        self._clock = clock
        self._roles = MigrationRoles(settings.host)
        self._states = MigrationStates(settings.convergence)
        self._listeners: dict[ResourceKey, tuple[_Subject, AnnouncementListener]] = {}
        self._deaf: dict[ResourceKey, str] = {}
        self._timer: Timer | None = None
        self._deadline: float | None = None
        self._resumed = False

    def close(self) -> None:
        """Stop listening."""
        for key in list(self._listeners):
            self._stop_listening(key)

    def update(self, key: ResourceKey, value: object) -> None:
        """Take up the present value of a migration; what is none counts as absent."""
        self._roles.update(key, value if isinstance(value, LiveMigration) else None)

    def count(self) -> dict[MigrationState, int]:
        """Return how many endpoints are in each state of a migration; for any thread."""
        return self._states.count()

    def awaits(self, key: ResourceKey) -> bool:
        """Tell whether the workload of an endpoint is yet to arrive at this host."""
        return self._states.state(key) is MigrationState.TARGET

    def follow(
        self, calculation: HostCalculation, changed: AbstractSet[ResourceKey]
    ) -> dict[ResourceKey, RoutePriority]:
        """Bring everything up to date, given which endpoints *changed*.

        Returns the priorities of routes that may differ.
        """
        now = self._clock()
        endpoints = calculation.state.endpoints
        differing = self._roles.flush(endpoints, changed, calculation.labels_of)
        if not self._resumed:
            self._resumed = True
            self._resume(endpoints, now)
        for key in changed | differing:
            if key in endpoints:
                self._states.set_role(key, self._roles.roles.get(key, MigrationRole.NONE), now)
            else:
                self._states.forget(key)
        self._listen(endpoints)
        self._arrange(now)
        priorities = self._states.take_changes()
        for key in priorities:
            state = self._states.state(key)
            _log.info("Live migration", extra=fields(endpoint=key.path, state=state.name))
        return priorities

    def _resume(self, endpoints: Mapping[ResourceKey, LocalEndpoint], now: float) -> None:
        """Find the endpoints whose routes are elevated since before this process began."""
        metrics = {
            version: metric
            for version, metric in self._settings.elevated.items()
            if metric != self._settings.normal[version]
        }
        try:
            elevated = self._dataplane.interfaces_with_metric(metrics)
        except OSError as error:
            _log.warning("Cannot tell whose routes are elevated: %s", error)
            return
        for key, endpoint in endpoints.items():
            if endpoint.interface in elevated:
                self._states.resume(key, now)

    # --- listening --------------------------------------------------------------------------------

    def _listen(self, endpoints: Mapping[ResourceKey, LocalEndpoint]) -> None:
        """Listen on the interfaces of those who are to be heard, as far as they exist."""
        wanted: dict[ResourceKey, _Subject] = {}
        for key in self._states.listening:
            endpoint = endpoints[key]
            interface = self._dataplane.interfaces.get(endpoint.interface)
            if interface is not None:
                wanted[key] = (interface.name, interface.index, endpoint.mac)
        for key, (subject, _) in list(self._listeners.items()):
            if wanted.get(key) != subject:
                self._stop_listening(key)
        self._deaf = {key: reason for key, reason in self._deaf.items() if key in wanted}
        for key, subject in wanted.items():
            if key not in self._listeners:
                self._start_listening(key, subject)

    def _start_listening(self, key: ResourceKey, subject: _Subject) -> None:
        name, _, mac = subject
        try:
            listener = AnnouncementListener(name, mac)
        except OSError as error:
            # The interface vanished, or we may not; the end of the migration comes in any case.
            reason = error.strerror or str(error)
            if self._deaf.get(key) != reason:
                self._deaf[key] = reason
                extra = fields(interface=name, reason=reason)
                _log.warning("Cannot listen for the arrival of a workload", extra=extra)
            return
        self._deaf.pop(key, None)
        self._listeners[key] = subject, listener
        self._loop.add_reader(listener.fileno(), partial(self._hear, key))

    def _stop_listening(self, key: ResourceKey) -> None:
        _, listener = self._listeners.pop(key)
        self._loop.remove_reader(listener.fileno())
        listener.close()

    def _hear(self, key: ResourceKey) -> None:
        subject, listener = self._listeners[key]
        heard = listener.heard()
        if heard is not None:
            extra = fields(interface=subject[0], by=heard.value)
            _log.info("A workload has arrived", extra=extra)
            self._states.announced(key, self._clock())

    # --- waiting ----------------------------------------------------------------------------------

    def _arrange(self, now: float) -> None:
        """Have the next end of a wait called back."""
        self._states.expire(now)
        deadline = self._states.next_deadline
        if deadline == self._deadline:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._deadline, self._timer = deadline, None
        if deadline is not None:
            self._timer = self._loop.after(max(0.0, deadline - now), self._wake)

    def _wake(self) -> None:
        """Forget the timer: `follow`, in the pass after this, sees what time it is."""
        self._timer, self._deadline = None, None
