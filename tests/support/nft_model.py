"""An executable model of the nftables objects: what becomes of a packet at a hook.

Knows nothing of how rules are generated; follows nft(8) on plain data. A field that the packet does
not have ends the rule, as in the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from calico_openstack.felix.render.nft import (
    ACCEPT,
    Chain,
    Compare,
    Counter,
    CtState,
    CtStateIs,
    DestinationNat,
    Element,
    ElementValue,
    Expression,
    Field,
    InNetwork,
    InRange,
    InSet,
    KeyType,
    Limit,
    Log,
    MarkBits,
    MoreConnections,
    NatKind,
    NatMap,
    OffloadFlow,
    Range,
    Reject,
    RewriteTcp,
    Set,
    SetDscp,
    SetMark,
    SourceNat,
    TableState,
    Untrack,
    Verdict,
    VerdictKind,
    VerdictMap,
)

# What masquerading makes of a source: the model knows no addresses of interfaces.
MASQUERADED = {4: b"\xff" * 4, 16: b"\xff" * 16}

_BY_NAME = {Field.IIF: Field.IIFNAME, Field.OIF: Field.OIFNAME}

# As the kernel: NFT_JUMP_STACK_SIZE.
MAX_DEPTH = 16


@dataclass(frozen=True, slots=True)
class Frame:
    """A packet on its way through the host; interfaces are empty where there is none."""

    iifname: str
    oifname: str
    source: bytes
    destination: bytes
    protocol: int
    # What follows the IP header, as far as rules look at it.
    source_port: int | None = None
    destination_port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    state: CtState = CtState.NEW
    mark: int = 0
    arp_operation: int | None = None
    dscp: int = 0
    # What limits say of the packet when they are asked: above the rate, above the number.
    above_rate: bool = False
    above_number: bool = False

    def value(self, field: Field) -> bytes | None:
        """Return a field's value as the kernel loads it, None if the packet has none."""
        transport = self._transport()
        version = 4 if len(self.source) == 4 else 6
        operation = self.arp_operation
        values: dict[Field, bytes | None] = {
            Field.IIF: (1 if self.iifname else 0).to_bytes(4, "little"),
            Field.IIFNAME: self.iifname.encode().ljust(16, b"\0"),
            Field.OIFNAME: self.oifname.encode().ljust(16, b"\0"),
            Field.OIF: (1 if self.oifname else 0).to_bytes(4, "little"),
            Field.L4PROTO: bytes((self.protocol,)),
            Field.MARK: self.mark.to_bytes(4, "little"),
            Field.IP_PROTOCOL: bytes((self.protocol,)) if version == 4 else None,
            Field.IP_SADDR: self.source if version == 4 else None,
            Field.IP_DADDR: self.destination if version == 4 else None,
            Field.IP6_SADDR: self.source if version == 6 else None,
            Field.IP6_DADDR: self.destination if version == 6 else None,
            Field.ARP_SADDR_IP: self.source if version == 4 else None,
            Field.TH_SPORT: transport[0:2],
            Field.TH_DPORT: transport[2:4],
            Field.ICMP_TYPE: transport[0:1],
            Field.ICMPV6_TYPE: transport[0:1],
            Field.ICMP_CODE: transport[1:2],
            Field.ICMPV6_CODE: transport[1:2],
            Field.ARP_OPERATION: None if operation is None else operation.to_bytes(2, "big"),
        }
        return values[field]

    def _transport(self) -> bytes:
        """Return the first bytes behind the IP header, whatever the protocol makes of them."""
        if self.source_port is not None and self.destination_port is not None:
            return self.source_port.to_bytes(2, "big") + self.destination_port.to_bytes(2, "big")
        if self.icmp_type is not None:
            # Type and code, then a checksum, that a rule for ports must not mistake for one.
            return bytes((self.icmp_type, self.icmp_code or 0)) + (80).to_bytes(2, "big")
        return (80).to_bytes(2, "big") * 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a base chain decided, by which rule's comment, and what it changed in the packet."""

    accepted: bool
    comment: str
    frame: Frame
    logs: tuple[str, ...] = ()


class _Decided(Exception):  # noqa: N818 - ends the walk, not an error
    def __init__(self, accepted: bool, comment: str) -> None:
        super().__init__(comment)
        self.accepted = accepted
        self.comment = comment


class Machine:
    """One packet in one table."""

    def __init__(self, table: TableState, frame: Frame) -> None:
        self._table = table
        self.frame = frame
        self.logs: list[str] = []

    def run(self, base_chain: str) -> Outcome:
        """Run a base chain; packets that no rule decides are accepted."""
        assert self._table.chains[base_chain].hook is not None
        try:
            self._run_chain(base_chain, depth=0)
        except _Decided as decided:
            return Outcome(decided.accepted, decided.comment, self.frame, tuple(self.logs))
        return Outcome(True, "end of the base chain", self.frame, tuple(self.logs))

    def _run_chain(self, name: str, depth: int) -> None:
        """Run a chain, and those that it goes to, until the end, a return or a decision."""
        while True:
            target = self._run_rules(self._table.chains[name], depth)
            if target is None:
                return
            name = target

    def _run_rules(self, chain: Chain, depth: int) -> str | None:
        """Return the chain to go to; None to return to the caller."""
        assert depth < MAX_DEPTH
        for rule in chain.rules:
            verdict = self._run_rule(rule.expressions, rule.comment)
            if verdict is None:
                continue
            match verdict.kind:
                case VerdictKind.ACCEPT:
                    raise _Decided(True, rule.comment)
                case VerdictKind.DROP:
                    raise _Decided(False, rule.comment)
                case VerdictKind.RETURN:
                    return None
                case VerdictKind.GOTO:
                    return verdict.chain
                case VerdictKind.JUMP:
                    self._run_chain(verdict.chain, depth + 1)
        return None

    def _run_rule(self, expressions: tuple[Expression, ...], comment: str) -> Verdict | None:
        for expression in expressions:
            match expression:
                case Verdict():
                    return expression
                case DestinationNat() | NatMap() | SourceNat():
                    if not self._translate(expression):
                        return None
                    raise _Decided(True, comment)
                case VerdictMap(fields, name):
                    kind = self._table.sets[name]
                    assert kind.verdicts
                    verdict = self._look_up(kind, name, fields)
                    # No element: the rule ends here.
                    return verdict if isinstance(verdict, Verdict) else None
                case Reject():
                    raise _Decided(False, comment)
                case Log(prefix):
                    self.logs.append(prefix)
                case SetMark() | SetDscp() | Untrack() | RewriteTcp():
                    self._change(expression)
                case Counter() | OffloadFlow():
                    pass
                case _:
                    if not self._matches(expression):
                        return None
        return None

    def _change(self, statement: SetMark | SetDscp | Untrack | RewriteTcp) -> None:
        match statement:
            case RewriteTcp(kind, address, port):
                end = "source" if kind is NatKind.SOURCE else "destination"
                changed = {end: address, f"{end}_port": port}
                self.frame = replace(self.frame, **changed)  # type: ignore[arg-type]
            case SetMark(mask, value):
                self.frame = replace(self.frame, mark=self.frame.mark & ~mask | value)
            case SetDscp(value):
                self.frame = replace(self.frame, dscp=value)
            case Untrack():
                self.frame = replace(self.frame, state=CtState.UNTRACKED)

    def _translate(self, statement: DestinationNat | NatMap | SourceNat) -> bool:
        """Rewrite an address; tell whether there was anything to rewrite it to."""
        match statement:
            case DestinationNat(address, port):
                self.frame = replace(self.frame, destination=address)
                if port is not None:
                    self.frame = replace(self.frame, destination_port=port)
            case NatMap(kind, fields, name):
                found = self._look_up(self._table.sets[name], name, fields)
                if found is False:
                    return False
                assert isinstance(found, bytes)
                end = "source" if kind is NatKind.SOURCE else "destination"
                self.frame = replace(self.frame, **{end: found})
            case SourceNat(shown):
                address = shown or MASQUERADED[len(self.frame.source)]
                self.frame = replace(self.frame, source=address)
        return True

    def _matches(self, expression: Expression) -> bool:
        match expression:
            case MarkBits(mask, value, invert):
                return (self.frame.mark & mask == value) != invert
            case Limit(over=over):
                return self.frame.above_rate == over
            case MoreConnections():
                return self.frame.above_number
            case CtStateIs(states, invert):
                return bool(self.frame.state & states) != invert
            case InSet(fields, name, invert, prefix):
                missing = any(self.frame.value(field) is None for field in fields)
                kind = self._table.sets[name]
                assert not kind.verdicts
                found = not missing and self._look_up(kind, name, fields, prefix) is not False
                return not missing and found != invert
            case Compare() | InNetwork() | InRange():
                actual = self.frame.value(expression.field)
                return actual is not None and _holds(expression, actual) != expression.invert
        raise AssertionError(f"the model does not know {expression}")

    def _look_up(
        self, kind: Set, name: str, fields: tuple[Field, ...], prefix: int | None = None
    ) -> ElementValue | bool:
        """Return what an element leads to, None for a plain element, False for none."""
        # Sets of interfaces state them by name, whatever the rule that looks into them loads.
        parts = [self.frame.value(_BY_NAME.get(field, field)) or b"" for field in fields]
        if prefix is not None:
            parts[0] = ip_network((parts[0], prefix), strict=False).network_address.packed
        lengths = {KeyType.IPV4: 4, KeyType.IPV6: 16, KeyType.PROTOCOL: 1, KeyType.PORT: 2}
        for part, key in zip(parts, kind.key, strict=True):
            assert len(part) == lengths.get(key, 16), (name, fields)
        elements = self._table.elements[name]
        key = b"".join(part.ljust(-(-len(part) // 4) * 4, b"\0") for part in parts)
        return _in_ranges(elements, key) if kind.interval else elements.get(key, False)


def _holds(expression: Compare | InNetwork | InRange, actual: bytes) -> bool:
    match expression:
        case Compare(field, value, _, prefix):
            if field in (Field.IIFNAME, Field.OIFNAME) and not prefix:
                value = value.ljust(16, b"\0")
            assert prefix or len(value) == len(actual), (field, value, actual)
            return actual[: len(value)] == value
        case InNetwork(_, network):
            return ip_address(actual) in network
        case InRange(_, low, high):
            return low <= int.from_bytes(actual, "big") <= high


def _in_ranges(elements: dict[Element, ElementValue], address: bytes) -> bool | None:
    # Of a concatenation only the last component has a range here, so that keys order alike.
    found = [e for e in elements if isinstance(e, Range) and e.first <= address <= e.last]
    assert len(found) <= 1, "interval sets refuse overlaps"
    return None if found else False


def check(table: TableState) -> None:
    """Assert what the kernel would refuse or leave dangling: names of missing chains and sets."""
    assert table.sets.keys() == table.elements.keys()
    for name, chain in table.chains.items():
        for rule in chain.rules:
            assert len(rule.comment) <= 128, name
            for expression in rule.expressions:
                match expression:
                    case Verdict(kind, target) if kind in (VerdictKind.JUMP, VerdictKind.GOTO):
                        assert target in table.chains, (name, target)
                    case InSet(fields, set_name) | VerdictMap(fields, set_name):
                        assert set_name in table.sets, (name, set_name)
                        assert len(fields) == len(table.sets[set_name].key)
                    case NatMap(_, fields, set_name):
                        assert table.sets[set_name].data is not None
                        assert len(fields) == len(table.sets[set_name].key)
    for name, elements in table.elements.items():
        for element, value in elements.items():
            assert isinstance(element, Range) == table.sets[name].interval
            if table.sets[name].verdicts:
                assert isinstance(value, Verdict)
                assert value == ACCEPT or value.chain in table.chains, (name, value)
            elif data := table.sets[name].data:
                assert isinstance(value, bytes)
                assert len(value) == {KeyType.IPV4: 4, KeyType.IPV6: 16}[data]
            else:
                assert value is None


def unreachable_chains(table: TableState) -> set[str]:
    """Return the chains that no packet can come to."""
    pending = [name for name, chain in table.chains.items() if chain.hook]
    seen = set(pending)
    while pending:
        for rule in table.chains[pending.pop()].rules:
            for expression in rule.expressions:
                targets: list[str] = []
                if isinstance(expression, Verdict) and expression.chain:
                    targets = [expression.chain]
                if isinstance(expression, VerdictMap):
                    verdicts = table.elements[expression.map_name].values()
                    targets = [each.chain for each in verdicts if isinstance(each, Verdict)]
                pending += [target for target in targets if target not in seen]
                seen.update(targets)
    return table.chains.keys() - seen


def unused_sets(table: TableState) -> set[str]:
    """Return the sets that no rule looks into."""
    used = {
        expression.set_name if isinstance(expression, InSet) else expression.map_name
        for chain in table.chains.values()
        for rule in chain.rules
        for expression in rule.expressions
        if isinstance(expression, InSet | VerdictMap | NatMap)
    }
    return table.sets.keys() - used
