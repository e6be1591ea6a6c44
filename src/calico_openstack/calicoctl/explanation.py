"""Why a packet gets through or not, from the state of the datastore alone.

Both ends are asked, although the first that refuses is the end of the packet: who repairs one wants
to know of the other. The source's host is followed from the instance to the outside, that of the
destination from there to the instance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from calico_openstack.calicoctl.ends import End, EndError, described, packet_words, titled
from calico_openstack.calicoctl.kernels import HostView
from calico_openstack.calicoctl.treatment import limits, outgoing_translation
from calico_openstack.calicoctl.wording import SecurityGroup, groups_of, remedy, rule_words
from calico_openstack.datamodel import (
    GlobalNetworkPolicy,
    Invalid,
    NetworkPolicy,
    Profile,
    Resource,
    ResourceKey,
)
from calico_openstack.policy.cluster import Cluster
from calico_openstack.policy.evaluation import Reason
from calico_openstack.policy.host_interfaces import EVERY_INTERFACE, expected_addresses
from calico_openstack.policy.packet import Direction, Packet
from calico_openstack.policy.passage import HostRules, Place, Step, passage

_OUTSIDE = "the uplink"
_SHOWN = 5
_UNTRANSLATED = {Place.FIXED: "tunnels (VXLAN, IP in IP) are never accepted from instances"}

Resources = Mapping[ResourceKey, Resource | Invalid]


class Stage(Struct, frozen=True, omit_defaults=True):
    """What one place on the way says. *allowed* None: it leaves the packet to the next.

    *policy* and *rule* (index in its list) decided, unless a default did; *words* say it, *remedy*
    what would let the packet through.
    """

    host: str
    place: str
    direction: str
    allowed: bool | None
    words: str
    policy: str = ""
    rule: int | None = None
    tier: str = ""
    security_group: str = ""
    remedy: str = ""


class Explanation(Struct, frozen=True):
    """The stages of a packet in order, and whether it gets through.

    *ends* are source and destination in words, *titles* briefly, *notes* what was assumed.
    *hosts* is what the kernels on the way have, if they were asked.
    """

    packet: str
    source: End
    destination: End
    ends: tuple[str, str]
    titles: tuple[str, str]
    allowed: bool
    stages: tuple[Stage, ...]
    notes: tuple[str, ...]
    hosts: tuple[HostView, ...] = ()

    @property
    def passes(self) -> bool:
        """Whether the packet gets through as far as anybody knows: allowed, and no fault found."""
        return self.allowed and not any(host.faults for host in self.hosts)


def explain(
    resources: Resources, cluster: Cluster, packet: Packet, source: End, destination: End
) -> Explanation:
    """Explain what becomes of *packet*, whose destination is the address behind any floating one.

    Raises `EndError` if there is an endpoint at neither end.
    """
    if source.endpoint is None and destination.endpoint is None:
        raise EndError(
            f"neither {source.address} nor {destination.address} belongs to an endpoint, so no "
            "policy is asked: name a port, instance or address of this cloud (calicoctl get wep -A)"
        )
    teller = _Teller(resources, cluster, packet, source, destination)
    stages: list[Stage] = []
    if source.endpoint is not None:
        stages += teller.side(source.endpoint, Direction.EGRESS)
        stages += teller.treatment(source.endpoint, Direction.EGRESS)
    if destination.floating:
        stages.append(teller.translation())
    if destination.endpoint is not None:
        stages += teller.side(destination.endpoint, Direction.INGRESS)
        stages += teller.treatment(destination.endpoint, Direction.INGRESS)
    notes = tuple(filter(None, (source.note, destination.note, *teller.notes)))
    allowed = all(stage.allowed is not False for stage in stages)
    return Explanation(
        packet=packet_words(packet),
        source=source,
        destination=destination,
        ends=(described(source, cluster.endpoints), described(destination, cluster.endpoints)),
        titles=(titled(source, cluster.endpoints), titled(destination, cluster.endpoints)),
        allowed=allowed,
        stages=tuple(stages),
        notes=notes,
    )


class _Teller(Struct):
    resources: Resources
    cluster: Cluster
    packet: Packet
    source: End
    destination: End
    notes: list[str] = msgspec.field(default_factory=list)

    def side(self, key: ResourceKey, direction: Direction) -> list[Stage]:
        """Return the stages at the host of an endpoint."""
        spec = self.cluster.endpoints[key].spec
        tap = spec.interface_name
        local = self._local()
        uplink, interfaces = ("", {}) if local else self._uplink(spec.node)
        host = self.cluster.host(spec.node, interfaces, HostRules(workload_prefixes=(tap,)))
        if local:
            host = msgspec.structs.replace(host, host_endpoints={})
        holder = host.workloads.get(tap)
        if holder is None or holder.key != key:
            other = holder.key.name if holder else "nobody"
            words = f"interface {tap} of {spec.node} belongs to {other}, not to this endpoint"
            return [Stage(spec.node, "interface", direction.value, False, words)]
        outgoing = direction is Direction.EGRESS
        ways = (tap, uplink or _OUTSIDE) if outgoing else (uplink or _OUTSIDE, tap)
        # Floating addresses are translated where their endpoint is, before policy is asked.
        packet = self.packet
        if outgoing and self.destination.floating and not local:
            floating = End(self.destination.floating)
            packet = msgspec.structs.replace(packet, destination=floating.packed)
        return [self._stage(spec.node, step) for step in passage(host, packet, *ways).steps]

    def treatment(self, key: ResourceKey, direction: Direction) -> list[Stage]:
        """Return what is done to a packet at the host of an endpoint besides allowing it."""
        spec = self.cluster.endpoints[key].spec
        found = [("limits", limits(spec.qos_controls, direction))]
        if direction is Direction.EGRESS and self.destination.endpoint is None:
            packet = self.packet
            shown = outgoing_translation(self.resources, packet.source, packet.destination)
            found.append(("outgoing translation", shown))
        return [
            Stage(spec.node, place, direction.value, None, words) for place, words in found if words
        ]

    def translation(self) -> Stage:
        """Return the stage of the floating address."""
        end = self.destination
        assert end.endpoint is not None
        node = self.cluster.endpoints[end.endpoint].spec.node
        words = f"{end.floating} is a floating IP, translated to {end.address}"
        return Stage(node, "floating IP", Direction.INGRESS.value, None, words)

    def _local(self) -> bool:
        ends = (self.source.endpoint, self.destination.endpoint)
        nodes = {self.cluster.endpoints[key].spec.node if key else None for key in ends}
        return len(nodes) == 1

    def _uplink(self, node: str) -> tuple[str, dict[str, frozenset[bytes]]]:
        """Return the interface through which the host's traffic is taken to pass, and its own.

        Which interface that is stands nowhere in the datastore.
        """
        own = [
            key
            for key, endpoint in self.cluster.host_endpoints.items()
            if endpoint.spec.node == node and endpoint.spec.interface_name != EVERY_INTERFACE
        ]
        own.sort(key=lambda key: key.name)
        if not own:
            return "", {}
        spec = self.cluster.host_endpoints[own[0]].spec
        name = spec.interface_name or _OUTSIDE
        if len(own) > 1:
            self.notes.append(
                f"{node} has {len(own)} host endpoints; the traffic is taken to pass {own[0].name}"
            )
        return name, {name: frozenset(expected_addresses(spec))}

    def _stage(self, host: str, step: Step) -> Stage:
        reason = _deciding(step)
        groups = self._groups(step)
        block = reason.block if reason else None
        stage = Stage(
            host=host,
            place=step.place.value,
            direction=step.direction.value,
            allowed=step.allowed,
            words=self._words(step, reason, groups),
            policy=f"{block.kind}({block.name})" if block else "",
            rule=reason.rule if reason else None,
            tier=reason.tier if reason else "",
            security_group=groups[block.name].title if block and block.name in groups else "",
        )
        if step.allowed is not False:
            return stage
        change = remedy(step, reason, list(groups.values()), self.packet)
        return msgspec.structs.replace(stage, remedy=change)

    def _groups(self, step: Step) -> dict[str, SecurityGroup]:
        endpoint = self.cluster.endpoints.get(step.endpoint) if step.endpoint else None
        return groups_of(endpoint.metadata.labels) if endpoint else {}

    def _words(self, step: Step, reason: Reason | None, groups: Mapping[str, SecurityGroup]) -> str:
        if reason is None:
            if step.place is Place.SPOOFING:
                return (
                    "the port may send from this address"
                    if step.allowed
                    else "the port may not send from this address"
                )
            return _UNTRANSLATED.get(step.place, "decided by Felix's configuration alone")
        if reason.block is None:
            asked = _titles([each.block for each in step.reasons if each.block], groups)
            if not reason.tier:
                return "no policy and no profile allows it: " + (
                    f"asked were {asked}" if asked else "the port has no security group"
                )
            action = reason.action.value if reason.action else ""
            return f"no rule of {asked} matches; at its end tier {reason.tier} says {action}"
        rule = self._rule(reason, step.direction)
        place = groups.get(reason.block.name)
        name = place.title if place else f"{reason.block.kind} {reason.block.name}"
        return f"{name}, {step.direction.value} rule {reason.rule}: {rule}"

    def _group_names(self) -> dict[str, str]:
        """Return the names of the groups of all endpoints that matter, by their ids."""
        groups = (groups_of(each.metadata.labels) for each in self.cluster.endpoints.values())
        return {group.id: group.name for some in groups for group in some.values()}

    def _rule(self, reason: Reason, direction: Direction) -> str:
        value = self.resources.get(reason.block) if reason.block else None
        if isinstance(value, NetworkPolicy | GlobalNetworkPolicy | Profile):
            rules = value.spec.ingress if direction is Direction.INGRESS else value.spec.egress
            if reason.rule is not None and reason.rule < len(rules):
                return rule_words(rules[reason.rule], self._group_names())
        if isinstance(value, Invalid):
            return f"the policy is invalid and denies everything ({value.reasons[0]})"
        return f"{reason.action.value if reason.action else 'nothing'} (built in or missing)"


def _titles(blocks: Sequence[ResourceKey], groups: Mapping[str, SecurityGroup]) -> str:
    """Return policies by the names that their users know, not more than a few."""
    titles = [
        groups[each.name].title if each.name in groups else f"{each.kind} {each.name}"
        for each in dict.fromkeys(blocks)
    ]
    shown = ", ".join(titles[:_SHOWN])
    return shown if len(titles) <= _SHOWN else f"{shown} and {len(titles) - _SHOWN} more"


def _deciding(step: Step) -> Reason | None:
    """Return the reason that decided: the last one that did something."""
    acted = [reason for reason in step.reasons if reason.action is not None]
    return acted[-1] if acted else None
