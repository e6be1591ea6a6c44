"""Live migration: which part a local endpoint plays, and what that means for its routes. Pure.

Two things, apart from each other:

- `MigrationRoles`: which endpoints of this host are the source or the target of a migration, by the
  objects in the datastore alone.
- `MigrationStates`: a state machine for each endpoint (specification section 3.18). A target's
  routes are withheld until its workload is heard, because up to then the workload runs elsewhere;
  then they are preferred to the source's, which may not have been withdrawn everywhere, and after
  the end of the migration for a while longer.

========== ======== ========================================================================
State      Routes   Until
========== ======== ========================================================================
BASE       normal   the role becomes target
TARGET     withheld the workload announces itself; or the migration ends without a word of it
LIVE       elevated the migration ends
TIME_WAIT  elevated the convergence time is over
========== ======== ========================================================================

What is to be done follows from the state alone: listen for announcements in TARGET, wait in
TIME_WAIT. Every input may come again without harm. The machine's only memory is the state; after a
restart it is found again in the kernel: an endpoint with a route of elevated priority was LIVE or
in TIME_WAIT, and its time begins anew. All others begin in BASE, where a role of target withholds
what is not elevated yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from enum import Enum, auto
from typing import Final

from msgspec import Struct

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.migration import LiveMigration, WorkloadEndpointRef, WorkloadRef
from calico_openstack.datamodel.selector import Selector, parse
from calico_openstack.felix.calc.state import LocalEndpoint


class MigrationRole(Enum):
    """Which part an endpoint plays in a migration."""

    NONE = auto()
    SOURCE = auto()
    TARGET = auto()


class MigrationState(Enum):
    """How far an endpoint is; see the module's docstring."""

    BASE = auto()
    TARGET = auto()
    LIVE = auto()
    TIME_WAIT = auto()


class MigrationInput(Enum):
    """What can happen to an endpoint, beside its end.

    The first three are its role at present. ANNOUNCED: its workload was heard. EXPIRED: the
    convergence time is over. RESUMED: at a restart, its routes were found to be elevated.
    """

    NO_ROLE = auto()
    SOURCE = auto()
    TARGET = auto()
    ANNOUNCED = auto()
    EXPIRED = auto()
    RESUMED = auto()


class RoutePriority(Enum):
    """How much the routes of an endpoint are preferred to others'."""

    NORMAL = auto()
    ELEVATED = auto()
    WITHHELD = auto()


_S, _I = MigrationState, MigrationInput

TRANSITIONS: Final[Mapping[tuple[MigrationState, MigrationInput], MigrationState]] = {
    (_S.BASE, _I.NO_ROLE): _S.BASE,
    (_S.BASE, _I.SOURCE): _S.BASE,
    (_S.BASE, _I.TARGET): _S.TARGET,
    (_S.BASE, _I.ANNOUNCED): _S.BASE,
    (_S.BASE, _I.EXPIRED): _S.BASE,
    (_S.BASE, _I.RESUMED): _S.LIVE,
    # Nothing was heard, but the migration is over: the workload is here, or the endpoint vanishes.
    (_S.TARGET, _I.NO_ROLE): _S.TIME_WAIT,
    (_S.TARGET, _I.SOURCE): _S.BASE,
    (_S.TARGET, _I.TARGET): _S.TARGET,
    (_S.TARGET, _I.ANNOUNCED): _S.LIVE,
    (_S.TARGET, _I.EXPIRED): _S.TARGET,
    (_S.TARGET, _I.RESUMED): _S.LIVE,
    (_S.LIVE, _I.NO_ROLE): _S.TIME_WAIT,
    # On to the next host, at once.
    (_S.LIVE, _I.SOURCE): _S.BASE,
    (_S.LIVE, _I.TARGET): _S.LIVE,
    (_S.LIVE, _I.ANNOUNCED): _S.LIVE,
    (_S.LIVE, _I.EXPIRED): _S.LIVE,
    (_S.LIVE, _I.RESUMED): _S.LIVE,
    (_S.TIME_WAIT, _I.NO_ROLE): _S.TIME_WAIT,
    (_S.TIME_WAIT, _I.SOURCE): _S.BASE,
    (_S.TIME_WAIT, _I.TARGET): _S.TARGET,
    (_S.TIME_WAIT, _I.ANNOUNCED): _S.TIME_WAIT,
    (_S.TIME_WAIT, _I.EXPIRED): _S.BASE,
    (_S.TIME_WAIT, _I.RESUMED): _S.TIME_WAIT,
}
"""The state machine, completely."""

PRIORITIES: Final[Mapping[MigrationState, RoutePriority]] = {
    _S.BASE: RoutePriority.NORMAL,
    _S.TARGET: RoutePriority.WITHHELD,
    _S.LIVE: RoutePriority.ELEVATED,
    _S.TIME_WAIT: RoutePriority.ELEVATED,
}

_ROLE_INPUTS: Final = {
    MigrationRole.NONE: _I.NO_ROLE,
    MigrationRole.SOURCE: _I.SOURCE,
    MigrationRole.TARGET: _I.TARGET,
}


class MigrationStates:
    """The states of all endpoints of this host; those in BASE are not kept.

    Times are seconds of any clock that does not go back, *convergence* is how long TIME_WAIT lasts.
    """

    def __init__(self, convergence: float) -> None:
        self._convergence = convergence
        self._states: dict[ResourceKey, MigrationState] = {}
        self._deadlines: dict[ResourceKey, float] = {}
        self._changed: set[ResourceKey] = set()

    def state(self, key: ResourceKey) -> MigrationState:
        """Return the state of an endpoint."""
        return self._states.get(key, MigrationState.BASE)

    def priority(self, key: ResourceKey) -> RoutePriority:
        """Return the priority of an endpoint's routes."""
        return PRIORITIES[self.state(key)]

    def count(self) -> dict[MigrationState, int]:
        """Return how many endpoints are in each state but BASE; may be asked by any thread."""
        return Counter(list(self._states.values()))

    @property
    def listening(self) -> frozenset[ResourceKey]:
        """The endpoints whose announcements are waited for."""
        return frozenset(k for k, state in self._states.items() if state is MigrationState.TARGET)

    @property
    def next_deadline(self) -> float | None:
        """When `expire` has something to do next, None for never."""
        return min(self._deadlines.values(), default=None)

    def set_role(self, key: ResourceKey, role: MigrationRole, now: float) -> None:
        """Take in the present role of an endpoint."""
        self._feed(key, _ROLE_INPUTS[role], now)

    def announced(self, key: ResourceKey, now: float) -> None:
        """Take in that an endpoint's workload was heard."""
        self._feed(key, MigrationInput.ANNOUNCED, now)

    def resume(self, key: ResourceKey, now: float) -> None:
        """Take in, before any role, that an endpoint's routes were found to be elevated."""
        self._feed(key, MigrationInput.RESUMED, now)

    def expire(self, now: float) -> None:
        """Take in what time it is."""
        for key in [key for key, deadline in self._deadlines.items() if deadline <= now]:
            self._feed(key, MigrationInput.EXPIRED, now)

    def forget(self, key: ResourceKey) -> None:
        """Take in that there is no such endpoint."""
        self._deadlines.pop(key, None)
        if self._states.pop(key, None) is not None:
            self._changed.add(key)

    def take_changes(self) -> dict[ResourceKey, RoutePriority]:
        """Return the priorities that may differ since the last call."""
        changed, self._changed = self._changed, set()
        return {key: self.priority(key) for key in changed}

    def _feed(self, key: ResourceKey, event: MigrationInput, now: float) -> None:
        before = self.state(key)
        after = TRANSITIONS[before, event]
        if after is before:
            return
        self._changed.add(key)
        self._deadlines.pop(key, None)
        if after is MigrationState.TIME_WAIT:
            self._deadlines[key] = now + self._convergence
        if after is MigrationState.BASE:
            del self._states[key]
        else:
            self._states[key] = after


_Identity = tuple[str, str, str]
"""Orchestrator, workload with its namespace, endpoint; for a whole workload that is empty."""


class _Parts(Struct, frozen=True):
    """What one migration says about endpoints of this host."""

    source: _Identity | None
    target: _Identity | None
    selector: Selector | None
    namespace: str


class MigrationRoles:
    """The roles of the endpoints of this host.

    A target by selector comes before a target by name, that before a source. A selector is for
    endpoints in the namespace of the migration.
    """

    def __init__(self, hostname: str) -> None:
        self.roles: dict[ResourceKey, MigrationRole] = {}
        self._hostname = hostname
        self._migrations: dict[ResourceKey, _Parts] = {}
        self._dirty = False

    def update(self, key: ResourceKey, migration: LiveMigration | None) -> None:
        """Take up the present value of a migration; None: there is none that can be used."""
        parts = self._parts(key, migration) if migration else None
        if self._migrations.get(key) == parts:
            return
        self._migrations.pop(key, None)
        if parts:
            self._migrations[key] = parts
        self._dirty = True

    def _parts(self, key: ResourceKey, migration: LiveMigration) -> _Parts | None:
        """Return what a migration says about this host, None for nothing."""
        source, target = migration.spec.source, migration.spec.target
        from_here = self._local(source.workload_endpoint or source.workload) if source else None
        to_here = self._local(target.workload_endpoint) if target else None
        selector = parse(target.selector) if target and target.selector is not None else None
        if not (from_here or to_here or selector):
            return None
        return _Parts(from_here, to_here, selector, key.namespace)

    def _local(self, reference: WorkloadEndpointRef | WorkloadRef | None) -> _Identity | None:
        if reference is None or reference.hostname != self._hostname:
            return None
        endpoint = reference.endpoint_id if isinstance(reference, WorkloadEndpointRef) else ""
        return reference.orchestrator_id, reference.workload_id, endpoint

    def flush(
        self,
        endpoints: Mapping[ResourceKey, LocalEndpoint],
        changed: AbstractSet[ResourceKey],
        labels: Callable[[ResourceKey], Mapping[str, str]],
    ) -> set[ResourceKey]:
        """Bring ``roles`` up to date, given which *endpoints* changed; return whose role differs.

        *labels* returns the effective labels of an endpoint.
        """
        if not self._migrations and not self.roles:
            self._dirty = False
            return set()
        selecting = any(parts.selector for parts in self._migrations.values())
        everything = self._dirty or selecting
        self._dirty = False
        concerned: Iterable[ResourceKey] = changed
        if everything:
            concerned = endpoints.keys() | self.roles.keys()
        different = set()
        for key in concerned:
            endpoint = endpoints.get(key)
            role = self._role(endpoint, labels) if endpoint else MigrationRole.NONE
            if role is not self.roles.get(key, MigrationRole.NONE):
                different.add(key)
                self.roles.pop(key, None)
                if role is not MigrationRole.NONE:
                    self.roles[key] = role
        return different

    def _role(
        self, endpoint: LocalEndpoint, labels: Callable[[ResourceKey], Mapping[str, str]]
    ) -> MigrationRole:
        key, spec = endpoint.key, endpoint.spec
        workload = (spec.orchestrator, f"{key.namespace}/{spec.workload}", "")
        identity = (*workload[:2], spec.endpoint)
        role = MigrationRole.NONE
        for parts in self._migrations.values():
            if parts.target == identity:
                return MigrationRole.TARGET
            selector = parts.selector
            if selector and parts.namespace == key.namespace and selector.matches(labels(key)):
                return MigrationRole.TARGET
            if parts.source in (workload, identity):
                role = MigrationRole.SOURCE
        return role
