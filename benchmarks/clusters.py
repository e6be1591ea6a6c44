"""Clusters for benchmarks, in the shapes in which Calico's OpenStack driver stores them.

Everything is drawn from seeds: the same cluster comes out every time, object by object, so that an
endpoint can be made without the ones before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from random import Random

import msgspec

from calico_openstack.datamodel import ResourceKey, openstack_namespace, workload_endpoint_name

NAMESPACE = openstack_namespace(None)
_PROJECT_SIZE = 100
_CREATED = "2026-01-01T00:00:00Z"
_GROUP = "sg.projectcalico.org/openstack-"
_GROUP_NAME = "sg-name.projectcalico.org/openstack-"
# What is drawn, each from numbers of its own.
_PROJECTS, _GROUPS, _MEMBERSHIP, _ENDPOINT, _POLICY = range(5)
# Endpoints that are not part of the cluster begin here; see `Cluster.endpoint`.
EXTRA = 10_000_000


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A workload endpoint: its key, its value, and what a benchmark must know of it."""

    key: str
    value: bytes
    interface: str
    address: str


@dataclass(frozen=True)
class Cluster:
    """*endpoints* over so many hosts that each has *local* of them, and *groups* security groups.

    A project has a hundred endpoints, which are spread over all hosts. Every endpoint is in its
    project's default group; most are in one or two more. Six of ten groups and all default groups
    admit their own members from everywhere, half of them another group of the project, half a
    prefix; everything may go out, in both IP versions.
    """

    endpoints: int
    groups: int
    local: int = 200
    seed: int = 1

    @cached_property
    def hosts(self) -> int:
        """How many hosts there are."""
        return max(1, self.endpoints // self.local)

    @cached_property
    def projects(self) -> list[str]:
        """The projects' ids."""
        random = self._random(_PROJECTS, 0)
        return [
            _uuid(random).replace("-", "") for _ in range(max(1, self.endpoints // _PROJECT_SIZE))
        ]

    @cached_property
    def group_ids(self) -> list[str]:
        """The security groups' ids; group g belongs to project g modulo their number."""
        random = self._random(_GROUPS, 0)
        return [_uuid(random) for _ in range(self.groups)]

    def host(self, number: int) -> str:
        """Return a host's name."""
        return f"compute-{number:04d}"

    def objects(self) -> Iterator[tuple[str, bytes]]:
        """Yield everything: what declares the datastore ready, policies, endpoints."""
        yield _declaration()
        for group in range(self.groups):
            yield self.policy(group)
        for number in range(self.endpoints):
            endpoint = self.endpoint(number)
            yield endpoint.key, endpoint.value

    def local_numbers(self) -> range:
        """Return the numbers of the endpoints of host 0."""
        return range(0, self.endpoints, self.hosts)

    def groups_of(self, number: int) -> list[int]:
        """Return the groups of an endpoint."""
        random = self._random(_MEMBERSHIP, number)
        own = self._project_groups(random.randrange(len(self.projects)))
        chosen = [own[0]]
        chosen += [random.choice(own) for chance in (0.6, 0.2) if random.random() < chance]
        return list(dict.fromkeys(chosen))

    def endpoint(
        self, number: int, *, like: int | None = None, host: int | None = None
    ) -> Endpoint:
        """Return an endpoint; one beyond the cluster's number is not part of the cluster.

        *like*: it has the project and groups of that endpoint. *host*: it is on that host, in
        place of the one that its number gives.
        """
        random = self._random(_ENDPOINT, number)
        owner = number if like is None else like
        project = self._random(_MEMBERSHIP, owner).randrange(len(self.projects))
        port, instance, uid, network = (_uuid(random) for _ in range(4))
        node = self.host(number % self.hosts if host is None else host)
        name = workload_endpoint_name(node, "openstack", instance, port)
        labels = {}
        for group in self.groups_of(owner):
            labels[_GROUP + self.group_ids[group]] = f"group-{group}"
            labels[f"{_GROUP_NAME}group-{group}"] = self.group_ids[group]
        labels |= {
            "projectcalico.org/namespace": NAMESPACE,
            "projectcalico.org/openstack-network-name": f"network-{project}",
            "projectcalico.org/openstack-project-id": self.projects[project],
            "projectcalico.org/openstack-project-name": f"project-{project}",
            "projectcalico.org/orchestrator": "openstack",
        }
        address = _address(number)
        mac = ":".join(f"{number >> shift & 255:02x}" for shift in (16, 8, 0))
        resource = {
            "kind": "WorkloadEndpoint",
            "apiVersion": "projectcalico.org/v3",
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "uid": uid,
                "creationTimestamp": _CREATED,
                "labels": labels,
                "annotations": {"openstack.projectcalico.org/network-id": network},
            },
            "spec": {
                "orchestrator": "openstack",
                "workload": instance,
                "node": node,
                "endpoint": port,
                "ipNetworks": [f"{address}/32"],
                "allowedIps": [],
                "ipv4Gateway": "10.0.0.1",
                "interfaceName": f"tap{port[:11]}",
                "mac": f"fa:16:3e:{mac}",
            },
        }
        key = ResourceKey("WorkloadEndpoint", name, NAMESPACE).path
        return Endpoint(key, _encoded(resource), f"tap{port[:11]}", address)

    def policy(self, group: int) -> tuple[str, bytes]:
        """Return key and value of a security group's policy."""
        random = self._random(_POLICY, group)
        siblings = self._project_groups(group % len(self.projects))
        ingress: list[dict[str, object]] = []
        if group == siblings[0] or random.random() < 0.6:
            ingress += [_allow(v, source={"selector": self._selector(group)}) for v in (4, 6)]
        ingress.append(_allow(4, "TCP", ports=[random.choice((22, 80, 443))]))
        if random.random() < 0.5:
            selector = self._selector(random.choice(siblings))
            ingress.append(_allow(4, "TCP", ports=["3000:4000"], source={"selector": selector}))
        if random.random() < 0.5:
            ingress.append(_allow(4, "UDP", ports=[53], source={"nets": ["192.168.0.0/16"]}))
        name = f"default.ossg.default.{self.group_ids[group]}"
        resource = {
            "kind": "NetworkPolicy",
            "apiVersion": "projectcalico.org/v3",
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "uid": _uuid(random),
                "creationTimestamp": _CREATED,
                "labels": {"projectcalico.org/tier": "default"},
            },
            "spec": {
                "tier": "default",
                "order": 1000,
                "selector": self._selector(group),
                "types": ["Ingress", "Egress"],
                "ingress": ingress,
                "egress": [_allow(4), _allow(6)],
            },
        }
        return ResourceKey("NetworkPolicy", name, NAMESPACE).path, _encoded(resource)

    def _project_groups(self, project: int) -> list[int]:
        owned = range(project, self.groups, len(self.projects))
        # With more projects than groups, projects share.
        return list(owned) or [project % self.groups]

    def _selector(self, group: int) -> str:
        return f"has({_GROUP}{self.group_ids[group]})"

    def _random(self, what: int, number: int) -> Random:
        return Random((self.seed << 40) + (number << 4) + what)


def _declaration() -> tuple[str, bytes]:
    spec = {"clusterType": "openstack", "datastoreReady": True}
    resource = {
        "kind": "ClusterInformation",
        "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": "default", "creationTimestamp": _CREATED},
        "spec": spec,
    }
    return ResourceKey("ClusterInformation", "default").path, _encoded(resource)


def _allow(
    version: int,
    protocol: str = "",
    *,
    ports: list[int | str] | None = None,
    source: dict[str, object] | None = None,
) -> dict[str, object]:
    rule: dict[str, object] = {"action": "Allow", "ipVersion": version}
    if protocol:
        rule["protocol"] = protocol
    if source:
        rule["source"] = source
    if ports:
        rule["destination"] = {"ports": ports}
    return rule


def _address(number: int) -> str:
    # What is no part of the cluster has addresses of its own.
    first, number = (11, number - EXTRA) if number >= EXTRA else (10, number)
    return f"{first}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def _uuid(random: Random) -> str:
    digits = f"{random.getrandbits(128):032x}"
    # RFC 9562 section 5.4: version and variant of a random UUID.
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _encoded(resource: Mapping[str, object]) -> bytes:
    return msgspec.json.encode(resource)
