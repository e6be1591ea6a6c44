"""Makes etcd equal to the translation of Neutron's database, for what has changed.

Nothing is taken from the event that caused it: the keys concerned are read from etcd, then the
objects from the database, and what differs is written on condition that nothing of it has
changed since it was read. The order is what makes this safe with any number of servers and
threads: whoever writes a key after our reading makes our write fail, and we read again; whoever
commits to the database after our reading writes etcd after its commit, and finds our value.

What etcd allows is never more than what the database allowed at some moment: everything is read in
one snapshot, to which belong the changes that others have recorded and not written yet, and what
differs is written in one transaction, but for live migrations that begin, which open nothing and
come in one before it. A key that every such transaction writes, and that is read before the
snapshot, puts them in one order. (If a port leaves a group that then is opened, and both were
written by themselves, the group might come first, and the port be open.) Two things are beyond
that: more keys than one transaction may have, which are written in several, and a database that
does not read repeatably.
"""

from __future__ import annotations

import dataclasses
import enum
import random
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from neutron_lib.db import api as db_api
from oslo_config import cfg
from oslo_log import log

from calico_openstack.datamodel.codec import decode
from calico_openstack.datamodel.dhcp import DhcpSubnet
from calico_openstack.datamodel.invalid import Invalid
from calico_openstack.datamodel.keys import (
    DhcpSubnetKey,
    ResourceKey,
    parse_workload_endpoint_name,
    prefix_of,
)
from calico_openstack.etcd import Delete, EtcdClient, KeyValue, Put, unchanged
from calico_openstack.neutron import reading
from calico_openstack.neutron.changes import Concerned, Kind, concerned_by
from calico_openstack.neutron.markers import order_path
from calico_openstack.neutron.options import Settings
from calico_openstack.neutron.projects import Keystone, Project, ProjectNames, no_projects
from calico_openstack.neutron.queries import Ids, snapshot
from calico_openstack.neutron.reading_logs import read_logs
from calico_openstack.neutron.reading_ports import read_ports
from calico_openstack.neutron.records import Records, forget, oldest_records
from calico_openstack.neutron.telling import store_details
from calico_openstack.neutron.transactions import get_many, write_portions
from calico_openstack.neutron.translate.envelope import Birth, renewed
from calico_openstack.neutron.translate.facts import PortFacts, Problem
from calico_openstack.neutron.translate.order import writing_order
from calico_openstack.neutron.translate.policy import policy_name, refusals
from calico_openstack.neutron.translate.qos import NO_LIMITS, Limits
from calico_openstack.neutron.translate.wanted import (
    Content,
    Wanted,
    endpoint_paths,
    wanted_endpoints,
    wanted_policies,
    wanted_subnets,
)

LOG = log.getLogger(__name__)

ATTEMPTS = 8
WAITING_AT_ONCE = 200
"""As many recorded changes are written together."""
_FIRST_PAUSE = 0.01


class Outcome(enum.Enum):
    """What became of a key."""

    UNCHANGED = "unchanged"
    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    CONTESTED = "contested"


def new_birth() -> Birth:
    """Return what an object that is created now is given."""
    return Birth(str(uuid.uuid4()), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))


def new_value(stored: bytes | None, content: Content) -> bytes | None:
    """Return the value to write so that ``content`` is stored, None where it is already."""
    if isinstance(content, DhcpSubnet):
        value = content.encode()
        return None if value == stored else value
    return renewed(stored, content, new_birth())


@dataclass(frozen=True, slots=True)
class _Picture:
    """What must be stored, as of one moment, and the records that are done when it is.

    ``members`` are ports whose bindings may have to tell something else of their groups.
    """

    wanted: Wanted
    records: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Done:
    """What became of keys, and the records that are done."""

    outcomes: dict[str, Outcome]
    records: set[str]


class Synchroniser:
    """Synchronises objects, within the request that changed them or later.

    All methods raise `EtcdError` when etcd fails; what was not written by then is left to the
    next resynchronisation. Safe to share between threads.
    """

    def __init__(
        self,
        client: EtcdClient,
        namespace: str,
        region: str,
        *,
        limits: Limits = NO_LIMITS,
        projects: ProjectNames | None = None,
    ) -> None:
        self.client = client
        self.namespace = namespace
        self.region = region
        self._limits = limits
        self._projects = projects or ProjectNames(no_projects)
        self._order_path = order_path(region)

    def settle(self, records: Records, *, alone: bool = False) -> Done | None:
        """Synchronise what recorded changes are about; return what is done.

        None: others kept writing, or so much waits before these changes that they wait too. With
        ``alone``, for records that cannot be settled, what others have recorded is left out.
        """
        names = {change.id for change in records.values() if change.kind is Kind.ENDPOINT}
        paths = self._paths(Concerned(left=names))
        done = self._converge(paths, records, Concerned(), alone=alone)
        return None if done is None or Outcome.CONTESTED in done.outcomes.values() else done

    def sync_ports(self, ids: Collection[str], left: Collection[str] = ()) -> dict[str, Outcome]:
        """Synchronise ports; ``left`` are names of endpoints that they may have had before."""
        return self._sync(Concerned(ports=set(ids), left=set(left)))

    def sync_groups(self, ids: Collection[str]) -> dict[str, Outcome]:
        """Synchronise policies: those of security groups, and of network logs by `LOG_POLICY`."""
        return self._sync(Concerned(groups=set(ids)))

    def sync_subnets(self, ids: Collection[str]) -> dict[str, Outcome]:
        """Synchronise the DHCP agents' values of subnets."""
        return self._sync(Concerned(subnets=set(ids)))

    def wanted_endpoints(self, ids: Ids) -> Wanted:
        """Return what must be stored for ports; for None of all of them."""
        ports = read_ports(ids).values()
        known = self._projects.look_up({port.project_id for port in ports if port.project_id})
        named = (_with_project(port, known.get(port.project_id or "")) for port in ports)
        return wanted_endpoints(named, self.namespace, self._limits)

    def tell(self, ids: Collection[str]) -> None:
        """Let the bindings of ports tell what cannot be honoured.

        Until they do: who has read older data may have written after us.
        """
        for _ in range(ATTEMPTS):
            details = self.wanted_endpoints(ids).details if ids else {}
            if not details:
                return
            store_details(details)

    def _sync(self, concerned: Concerned) -> dict[str, Outcome]:
        paths = self._paths(concerned)
        done = self._converge(paths, {}, concerned)
        if done is None:
            return dict.fromkeys(paths, Outcome.CONTESTED)
        if done.records:
            forget(done.records)
        return done.outcomes

    # --- what must be stored --------------------------------------------------------------------

    def _paths(self, concerned: Concerned) -> set[str]:
        """Return the keys that may have to vanish, whatever the database says."""
        paths = {path for name in concerned.left for path in endpoint_paths(name, self.namespace)}
        paths |= {policy_path(group, self.namespace) for group in concerned.groups}
        return paths | {DhcpSubnetKey(self.region, each).path for each in concerned.subnets}

    @db_api.retry_db_errors
    def _look(self, records: Records, also: Concerned, *, alone: bool) -> _Picture | None:
        """Read the database: what these changes, and those that wait, are about.

        None: more waits than can be written at once, and these changes are not the first of it.
        """
        with snapshot():
            waiting = records if alone else oldest_records(WAITING_AT_ONCE)
            if records and not records.keys() & waiting.keys():
                # Others have settled them together with their own, or have left no room.
                return _Picture(Wanted()) if len(waiting) < WAITING_AT_ONCE else None
            concerned = concerned_by(waiting.values())
            concerned.add(also)
            members: set[str] = set()
            return _Picture(self._wanted(concerned, members), set(waiting), members)

    def _wanted(self, concerned: Concerned, members: set[str]) -> Wanted:
        wanted = Wanted(possible=self._paths(concerned))
        ports = set(concerned.ports)
        ports |= {_port_of(name) for name in concerned.left} - {""}
        if concerned.groups:
            groups = reading.read_groups(concerned.groups).values()
            refused = {group.id for group in groups if refusals(group.rules)}
            members.update(reading.members_to_tell(concerned.groups, refused))
            logs = read_logs(concerned.groups)
            wanted.add(wanted_policies(groups, logs, self.namespace))
        if concerned.subnets:
            subnets = reading.read_subnets(concerned.subnets).values()
            wanted.add(wanted_subnets(subnets, self.region))
        if ports:
            wanted.add(self.wanted_endpoints(ports))
        return wanted

    # --- writing it -----------------------------------------------------------------------------

    def _converge(
        self, paths: Collection[str], records: Records, also: Concerned, *, alone: bool = False
    ) -> Done | None:
        """Make keys hold what the database says; None if so much waits that this must wait too.

        Those in ``paths`` are read beforehand; others that are concerned may need another look.
        """
        known = {self._order_path, *paths}
        outcomes: dict[str, Outcome] = {}
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(_FIRST_PAUSE * 2**attempt * random.uniform(0.5, 1.0))
            view = self._view(known, lambda: self._look(records, also, alone=alone))
            if view is None:
                return None
            stored, picture = view
            known |= stored.keys()
            differing = _differences(stored, picture.wanted)
            written = self._write(stored, differing, confirm=bool(picture.records))
            right = stored.keys() - differing.keys() - {self._order_path}
            outcomes = dict.fromkeys(right, Outcome.UNCHANGED) | outcomes | written
            for path, outcome in written.items():
                if outcome in (Outcome.CREATED, Outcome.UPDATED):
                    report(picture.wanted.problems.get(path, ()))
            if Outcome.CONTESTED not in written.values():
                outcomes.pop(self._order_path, None)
                report(picture.wanted.elsewhere)
                self._report_rules(picture.wanted, written)
                self.tell(picture.wanted.details.keys() | picture.members)
                return Done(outcomes, picture.records)
        LOG.warning("Others kept writing; left to the journal: %s", ", ".join(sorted(written)))
        return Done(outcomes, set())

    def _report_rules(self, wanted: Wanted, written: Collection[str]) -> None:
        """Log rules that are left out where that changes nothing in etcd: nobody wrote of them."""
        policies = prefix_of("NetworkPolicy", self.namespace)
        for path in wanted.problems.keys() - set(written):
            if path.startswith(policies):
                report(wanted.problems[path])

    def _view(
        self, known: Collection[str], look: Callable[[], _Picture | None]
    ) -> tuple[dict[str, KeyValue | None], _Picture] | None:
        """Read etcd and then the database, until nothing differs that was not read before it.

        Others than this driver may write a key after our look at the database.
        """
        stored = get_many(self.client, known)
        picture = look()
        for _ in range(ATTEMPTS):
            if picture is None:
                return None
            later = get_many(self.client, picture.wanted.paths - stored.keys())
            stored |= later
            if not _differences(later, picture.wanted):
                break
            picture = look()
        return None if picture is None else (stored, picture)

    def _write(
        self,
        stored: Mapping[str, KeyValue | None],
        differing: Mapping[str, bytes | None],
        *,
        confirm: bool,
    ) -> dict[str, Outcome]:
        """Write what differs, if nothing of it has changed; all at once, if etcd takes as much.

        To ``confirm`` is to write the key of the order even if nothing else differs: who has read
        older data, and found a difference, must not write it after the records are gone.
        """
        result: dict[str, Outcome] = {}
        order = _revision(stored[self._order_path])
        removed = {path for path, value in differing.items() if value is None}
        portions = write_portions(writing_order(differing, removed), differing)
        for some in portions or ([[]] if confirm else []):
            conditions = [unchanged(path, _revision(stored[path])) for path in some]
            operations = [_operation(path, differing[path]) for path in some]
            done = self.client.txn(
                [unchanged(self._order_path, order), *conditions],
                [Put(self._order_path, b"1"), *operations],
            )
            if not done.succeeded:
                return result | dict.fromkeys([*some, self._order_path], Outcome.CONTESTED)
            order = done.revision
            result |= {path: _outcome(stored[path], differing[path]) for path in some}
        return result


def make_synchroniser(client: EtcdClient, settings: Settings) -> Synchroniser:
    """Return the synchroniser of a cloud with these settings."""
    projects = ProjectNames(Keystone(cfg.CONF.config_file or ()))
    return Synchroniser(
        client,
        settings.namespace,
        settings.region_string,
        limits=settings.limits,
        projects=projects if settings.project_names else None,
    )


def _with_project(port: PortFacts, project: Project | None) -> PortFacts:
    if project is None:
        return port
    return dataclasses.replace(port, project_name=project.name, project_parent_id=project.parent_id)


def policy_path(group_id: str, namespace: str) -> str:
    """Return the key of a security group's policy."""
    return ResourceKey("NetworkPolicy", policy_name(group_id), namespace).path


def report(problems: Iterable[Problem]) -> None:
    """Log what cannot be honoured."""
    for problem in problems:
        LOG.warning("Cannot be honoured: %s", problem)


def _differences(stored: Mapping[str, KeyValue | None], now: Wanted) -> dict[str, bytes | None]:
    """Return the values to write so that what is wanted is stored; None: the key must vanish."""
    result: dict[str, bytes | None] = {}
    for path, kv in stored.items():
        if path not in now.paths:
            continue
        content = now.content(path, kv is not None)
        if content is None:
            if kv is not None:
                result[path] = None
            continue
        value = new_value(kv.value if kv else None, content)
        if value is not None:
            result[path] = value
    return result


def _operation(path: str, value: bytes | None) -> Put | Delete:
    if value is None:
        return Delete(path)
    written = decode(path, value)
    if isinstance(written, Invalid):
        # Written all the same: readers deny what they cannot use, whereas the value before
        # may allow what the database no longer does.
        LOG.error("What was translated is refused by its readers, and so denies: %s", written)
    return Put(path, value)


def _outcome(stored: KeyValue | None, value: bytes | None) -> Outcome:
    if value is None:
        return Outcome.DELETED
    return Outcome.UPDATED if stored else Outcome.CREATED


def _revision(stored: KeyValue | None) -> int:
    return stored.mod_revision if stored else 0


def _port_of(name: str) -> str:
    """Return the port that the name of an endpoint names, empty if it is none."""
    parsed = parse_workload_endpoint_name(name)
    return parsed[3] if parsed else ""
