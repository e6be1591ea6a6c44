"""The chains that lead packets of the host's own interfaces to the policy of host endpoints.

None of them exists on a host without host endpoints, and each only where some policy wants it. How
a packet goes then, beyond what `layout` says:

- raw-prerouting, raw-output: by interface to untracked policies. What they allow is not tracked,
  and marked.
- mangle-prerouting: from other than workloads: by interface to the policies that come before
  destinations are translated. What they allow is marked.
- filter-forward: from workloads: workload-forward, which goes on as without host endpoints. From
  others: from-host-forward, by interface to what applies to forwarded packets; what is allowed,
  undecided or marked goes to forwarded-from-host, from there to to-workload if it leaves by a
  workload's interface. What leaves by another, whoever sent it, goes to to-host-forward and by
  interface to the policies there.
- filter-input: from other than workloads: from-host-endpoint, by interface to what applies to the
  host itself. What is marked is accepted.
- filter-output: to other than workloads: to-host-endpoint likewise.

An interface without an element in a map belongs to the endpoint for all others, if there is one.
Where policy decides about the host itself, and before connection tracking, some ports are always
open, and so is IPv6 neighbour discovery, without which no port can be reached.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from calico_openstack.felix.render import names
from calico_openstack.felix.render.matches import port_is, protocol_is
from calico_openstack.felix.render.nft import (
    ACCEPT,
    DROP,
    Chain,
    Compare,
    Counter,
    CtState,
    CtStateIs,
    Expression,
    Field,
    Hook,
    InNetwork,
    InSet,
    MarkBits,
    Rule,
    SetMark,
    Untrack,
    Verdict,
    VerdictKind,
    VerdictMap,
)
from calico_openstack.felix.render.settings import OpenPort, RenderSettings
from calico_openstack.policy.packet import Direction

_IN, _OUT = Direction.INGRESS, Direction.EGRESS
_KNOWN = Rule((CtStateIs(CtState.ESTABLISHED | CtState.RELATED), ACCEPT))
_NAME = {_IN: Field.IIFNAME, _OUT: Field.OIFNAME}
_ADDRESS = {
    (4, _IN): Field.IP_SADDR,
    (6, _IN): Field.IP6_SADDR,
    (4, _OUT): Field.IP_DADDR,
    (6, _OUT): Field.IP6_DADDR,
}
_ICMPV6 = 58
# Neighbour solicitation and advertisement (RFC 4861).
_NEIGHBOUR_DISCOVERY = (135, 136)
_OPPOSITE = {_IN: _OUT, _OUT: _IN}


class HostPoint(Struct, frozen=True):
    """A point where host endpoints decide.

    *mapped*: the map by interface has elements. *otherwise* is the chain of the endpoint for all
    interfaces that are not in the map, if there is one.
    """

    mapped: bool
    otherwise: str = ""


class HostLayout(Struct, frozen=True):
    """The chains for host endpoints that decide at *points*, by the name of each one's map.

    *everywhere*: there is an endpoint for all interfaces that have none of their own.
    """

    version: int
    settings: RenderSettings
    points: Mapping[str, HostPoint]
    everywhere: bool = False

    def chains(self) -> dict[str, Chain]:
        """Return the chains that exist because of host endpoints."""
        chains: dict[str, Chain] = {}
        if names.FROM_HOST_ENDPOINT in self.points:
            chains[names.FROM_HOST_ENDPOINT] = Chain(
                (*self._marked(ACCEPT), *self._local(_IN, names.FROM_HOST_ENDPOINT))
            )
            chains[names.TO_HOST_ENDPOINT] = Chain(
                (
                    *self._marked(ACCEPT, names.UNTRACKED_OUT),
                    *self._local(_OUT, names.TO_HOST_ENDPOINT),
                )
            )
            chains[names.FILTER_OUTPUT] = Chain(
                (*self._workloads(_OUT, ACCEPT), Rule((goto(names.TO_HOST_ENDPOINT),))),
                Hook("filter", "output", 0),
            )
        if names.FROM_HOST_FORWARD in self.points:
            allowed = goto(names.FORWARDED_FROM_HOST)
            chains[names.FROM_HOST_FORWARD] = Chain(
                (
                    *self._marked(allowed),
                    *self._invalid(_IN),
                    *self._dispatch(_IN, names.FROM_HOST_FORWARD),
                    Rule((allowed,)),
                )
            )
            chains[names.FORWARDED_FROM_HOST] = Chain(
                (*self._workloads(_OUT, goto(names.TO_WORKLOAD)), Rule((self.leaves,)))
            )
        if names.TO_HOST_FORWARD in self.points:
            chains[names.TO_HOST_FORWARD] = Chain(
                (
                    *self._invalid(_OUT),
                    *self._dispatch(_OUT, names.TO_HOST_FORWARD),
                    Rule((ACCEPT,)),
                )
            )
        chains |= self._before_translation()
        chains |= self._before_tracking()
        return chains

    @property
    def leaves(self) -> Verdict:
        """What becomes of an allowed packet that leaves by an interface of the host."""
        return goto(names.TO_HOST_FORWARD) if names.TO_HOST_FORWARD in self.points else ACCEPT

    @property
    def input(self) -> tuple[Rule, ...]:
        """The rules for what the host receives from other than workloads."""
        if names.FROM_HOST_ENDPOINT not in self.points:
            return ()
        return (Rule((goto(names.FROM_HOST_ENDPOINT),)),)

    @property
    def forward(self) -> tuple[Rule, ...]:
        """The rules for all that is forwarded and comes from other than workloads."""
        if names.FROM_HOST_FORWARD not in self.points:
            return ()
        return (Rule((goto(names.FROM_HOST_FORWARD),)),)

    @property
    def leaving(self) -> tuple[Rule, ...]:
        """The rules for what is forwarded and goes to other than workloads."""
        return (Rule((self.leaves,)),) if self.leaves != ACCEPT else ()

    @property
    def untracked(self) -> tuple[Rule, ...]:
        """The rules before connection tracking for what comes from other than workloads."""
        if names.UNTRACKED_IN not in self.points:
            return ()
        return (self._unmark(), *self._stateless(_IN), *self._dispatch(_IN, names.UNTRACKED_IN))

    # --- parts --------------------------------------------------------------------------------

    def _before_translation(self) -> dict[str, Chain]:
        if names.PRE_DNAT not in self.points:
            return {}
        # Where there are untracked policies, the mark has been cleared before them.
        marked = self._marked(ACCEPT, names.UNTRACKED_IN) or (self._unmark(),)
        rules = (
            *self._workloads(_IN, ACCEPT),
            *marked,
            *self._local(_IN, names.PRE_DNAT),
        )
        return {
            names.MANGLE_PREROUTING: Chain(rules, Hook("filter", "prerouting", -150)),
            names.PRE_DNAT_ALLOWED: Chain((self._mark(), Rule((ACCEPT,)))),
        }

    def _before_tracking(self) -> dict[str, Chain]:
        chains: dict[str, Chain] = {}
        if names.UNTRACKED_IN in self.points or names.UNTRACKED_OUT in self.points:
            rules = (Rule((Untrack(),)), self._mark(), Rule((ACCEPT,)))
            chains[names.UNTRACKED_ALLOWED] = Chain(rules)
        if names.UNTRACKED_OUT in self.points:
            outgoing = self._dispatch(_OUT, names.UNTRACKED_OUT)
            chains[names.RAW_OUTPUT] = Chain(
                (self._unmark(), *self._stateless(_OUT), *outgoing), Hook("filter", "output", -300)
            )
        return chains

    def _local(self, direction: Direction, point: str) -> tuple[Rule, ...]:
        return (
            _KNOWN,
            *self._invalid(direction),
            *self._neighbour_discovery(),
            *self._failsafe(direction, direction),
            *self._dispatch(direction, point),
        )

    def _stateless(self, direction: Direction) -> tuple[Rule, ...]:
        """Return what opens the failsafe ports without tracking: requests and answers."""
        return (
            *self._neighbour_discovery(),
            *self._failsafe(direction, direction),
            *self._failsafe(_OPPOSITE[direction], direction, answers=True),
        )

    def _neighbour_discovery(self) -> tuple[Rule, ...]:
        if self.version == 4:
            return ()
        return tuple(
            Rule((protocol_is(_ICMPV6), Compare(Field.ICMPV6_TYPE, bytes((kind,))), ACCEPT))
            for kind in _NEIGHBOUR_DISCOVERY
        )

    def _failsafe(
        self, listed: Direction, direction: Direction, *, answers: bool = False
    ) -> tuple[Rule, ...]:
        """Return what opens the ports *listed* for one direction to packets of *direction*."""
        port = Field.TH_SPORT if answers else Field.TH_DPORT
        entries = self.settings.failsafe(listed)
        rules = []
        if any(entry.network is None for entry in entries):
            in_set = InSet((Field.L4PROTO, port), names.FAILSAFE[listed])
            rules.append(Rule((in_set, ACCEPT), "failsafe ports"))
        for entry in entries:
            if entry.network is not None and entry.network.version == self.version:
                near = InNetwork(_ADDRESS[self.version, direction], entry.network)
                rules.append(Rule((*_port(entry, port), near, ACCEPT), "failsafe port"))
        return tuple(rules)

    def _dispatch(self, direction: Direction, point: str) -> tuple[Rule, ...]:
        here = self.points[point]
        rules = []
        if here.mapped:
            rules.append(Rule((VerdictMap((_NAME[direction],), point),)))
        if here.otherwise:
            rules.append(Rule((goto(here.otherwise),)))
        return tuple(rules)

    def _invalid(self, direction: Direction) -> tuple[Rule, ...]:
        if not self.settings.drop_invalid:
            return ()
        match: list[Expression] = [CtStateIs(CtState.INVALID)]
        if not self.everywhere:
            match.append(InSet((_NAME[direction],), names.HOST_INTERFACES))
        return (Rule((*match, Counter(), DROP), "invalid to conntrack"),)

    def _workloads(self, direction: Direction, verdict: Verdict) -> tuple[Rule, ...]:
        return of_workloads(self.settings, _NAME[direction], verdict)

    def _marked(self, verdict: Verdict, *points: str) -> tuple[Rule, ...]:
        """Return what becomes of packets that an earlier point (of *points*) has allowed."""
        if not self.points.keys() & (points or (names.PRE_DNAT, names.UNTRACKED_IN)):
            return ()
        mark = self.settings.accept_mark
        return (Rule((MarkBits(mark, mark), verdict)),)

    def _mark(self) -> Rule:
        mark = self.settings.accept_mark
        return Rule((SetMark(mark, mark),))

    def _unmark(self) -> Rule:
        return Rule((SetMark(self.settings.accept_mark, 0),))


def of_workloads(
    settings: RenderSettings, field: Field, *then: Expression, comment: str = ""
) -> tuple[Rule, ...]:
    """Return rules that do something with the packets of workload interfaces."""
    return tuple(
        Rule((Compare(field, prefix.encode(), prefix=True), *then), comment)
        for prefix in settings.interface_prefixes
    )


def goto(chain: str) -> Verdict:
    """Return the verdict to go on in another chain and not to come back."""
    return Verdict(VerdictKind.GOTO, chain)


def _port(entry: OpenPort, field: Field) -> tuple[Expression, ...]:
    return (protocol_is(entry.protocol), port_is(field, entry.port))
