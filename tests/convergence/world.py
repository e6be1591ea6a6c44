"""What the driver's threads share, with everything that can go wrong between them.

Each operation of etcd is a moment at which another thread may run, etcd may be away, or the process
may be killed. After each commit of the database it is asked what the database allows, and after
each write to etcd what etcd allows, which must have been allowed by the database before.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterable
from typing import Any

from neutron_lib.db import api as db_api
from oslo_db import exception as db_exception
from sqlalchemy import event, orm

from calico_openstack.datamodel.codec import decode
from calico_openstack.datamodel.invalid import Invalid
from calico_openstack.datamodel.keys import RESOURCE_PREFIX, ResourceKey, parse_key
from calico_openstack.datamodel.resource import Resource
from calico_openstack.etcd import Delete, EtcdClient, EtcdConfig, EtcdUnavailable, Put
from calico_openstack.neutron import reading
from calico_openstack.neutron.sync import Synchroniser
from calico_openstack.neutron.translate.wanted import wanted_policies
from tests.convergence.openings import Opening, openings
from tests.convergence.turns import Turns

_KINDS = ("WorkloadEndpoint", "NetworkPolicy")
_CHANGED = "changed"
_CHANGES = ("INSERT", "UPDATE", "DELETE")


class Killed(BaseException):
    """A process was killed: nothing that it would have done is done."""


class World:
    """One cloud's history. ``faults`` is off while it is set up and when it comes to rest."""

    def __init__(self, seed: int, etcd_endpoint: str) -> None:
        self.rng = random.Random(seed)
        self.turns = Turns(self.rng)
        self.client = SteppingClient(self, EtcdConfig(endpoints=(etcd_endpoint,), timeout=5.0))
        self.synchroniser = Synchroniser(self.client, "openstack", "no-region")
        self.faults = False
        self.counts: Counter[str] = Counter()
        self.allowed: set[Opening] = set()
        self.violations: list[str] = []
        self._away = 0
        self._looking = threading.local()
        self._listeners = (
            (orm.Session, "before_commit", self._before_commit),
            (orm.Session, "after_flush", self._after_flush),
            (orm.Session, "after_commit", self._after_commit),
            (
                db_api.get_context_manager().writer.get_engine(),
                "before_cursor_execute",
                self._before_execute,
            ),
        )
        for listener in self._listeners:
            event.listen(*listener)

    def close(self) -> None:
        """Look no more."""
        for listener in self._listeners:
            event.remove(*listener)
        self.client.close()

    # --- etcd ---------------------------------------------------------------------------------

    def before_operation(self) -> None:
        """Let others run; etcd may be away then, or this process dead."""
        if getattr(self._looking, "now", False):
            return
        self.turns.switch()
        if not self.faults:
            return
        if self._away == 0 and self.rng.random() < 0.03:
            self._away = self.rng.randrange(3, 30)
            self.counts["outages"] += 1
        if self.rng.random() < 0.02:
            self.counts["kills"] += 1
            raise Killed
        if self._away:
            self._away -= 1
            raise EtcdUnavailable("away")

    def after_write(self) -> None:
        """Look at what etcd allows now; its answer may get lost."""
        self.counts["writes"] += 1
        self._looking.now = True
        try:
            stored = self.client.get_prefix(RESOURCE_PREFIX).kvs
        finally:
            self._looking.now = False
        resources: dict[ResourceKey, Resource | Invalid] = {}
        for kv in stored:
            key, value = parse_key(kv.key), decode(kv.key, kv.value)
            if isinstance(key, ResourceKey) and isinstance(value, Resource | Invalid):
                resources[key] = value
        for opening in sorted(openings(_of_policy(resources)) - self.allowed):
            self.violations.append(f"after {self.counts['writes']} writes: {opening}")
            self.allowed.add(opening)
        if self.faults and self.rng.random() < 0.01:
            self.counts["lost answers"] += 1
            raise EtcdUnavailable("the answer got lost")

    # --- the database -------------------------------------------------------------------------

    def _before_execute(self, connection: Any, *arguments: Any) -> None:
        statement: str = arguments[1]
        if statement.lstrip().startswith(_CHANGES) and "calico_dirty_objects" not in statement:
            connection.info[_CHANGED] = True

    def _before_commit(self, session: Any) -> None:
        # A thread may have sessions within sessions; this is about its own connection.
        if session.connection().info.pop(_CHANGED, False):
            session.info[_CHANGED] = True
        if self.faults and _CHANGED in session.info and self.rng.random() < 0.02:
            self.counts["deadlocks"] += 1
            raise db_exception.DBDeadlock

    def _after_flush(self, session: Any, _context: Any) -> None:
        # The last flush of a session comes after what is announced as before its commit.
        session.info[_CHANGED] = True

    def _after_commit(self, session: Any) -> None:
        if session.in_nested_transaction() or not session.info.pop(_CHANGED, False):
            return
        self.counts["commits"] += 1
        self.allowed |= openings(self.translation())
        # Between the commit and what follows from it others have time for anything.
        self.turns.switch()

    def translation(self) -> dict[ResourceKey, Resource | Invalid]:
        """Return the policies and endpoints that the database stands for."""
        policies = wanted_policies(reading.read_groups(None).values(), (), "openstack")
        contents = self.synchroniser.wanted_endpoints(None).contents | policies.contents
        keyed = {parse_key(path): content for path, content in contents.items()}
        return _of_policy(
            {
                key: content
                for key, content in keyed.items()
                if isinstance(key, ResourceKey) and isinstance(content, Resource)
            }
        )


def _of_policy(
    resources: dict[ResourceKey, Resource | Invalid],
) -> dict[ResourceKey, Resource | Invalid]:
    return {key: value for key, value in resources.items() if key.kind in _KINDS}


class SteppingClient(EtcdClient):
    """etcd, of which each operation is a step in the history of a world."""

    def __init__(self, world: World, config: EtcdConfig) -> None:
        super().__init__(config)
        self._world = world

    def get(self, key: str) -> Any:
        """Read a key."""
        self._world.before_operation()
        return super().get(key)

    def get_prefix(self, *arguments: Any, **more: Any) -> Any:
        """Read keys."""
        self._world.before_operation()
        return super().get_prefix(*arguments, **more)

    def txn(self, compares: Any, success: Any, *more: Any) -> Any:
        """Read or write."""
        operations = list(success)
        self._world.before_operation()
        result = super().txn(compares, operations, *more)
        if result.succeeded and any(isinstance(each, Put | Delete) for each in operations):
            self._world.after_write()
        return result

    def iterate_prefix(self, *arguments: Any, **more: Any) -> Iterable[Any]:  # type: ignore[override]
        """Read keys, page by page."""
        self._world.before_operation()
        return super().iterate_prefix(*arguments, **more)
