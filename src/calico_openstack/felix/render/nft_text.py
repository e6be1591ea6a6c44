"""Our nftables rules as people read them, close to the notation of nft(8). Pure."""

from __future__ import annotations

from ipaddress import ip_address

from calico_openstack.felix.render.nft import (
    Compare,
    Counter,
    CtStateIs,
    DestinationIsLocal,
    DestinationNat,
    Expression,
    Field,
    InNetwork,
    InRange,
    InSet,
    Limit,
    Log,
    MarkBits,
    MoreConnections,
    NatKind,
    NatMap,
    OffloadFlow,
    Reject,
    RewriteTcp,
    Rule,
    SetDscp,
    SetMark,
    SourceNat,
    Trace,
    Untrack,
    Verdict,
    VerdictMap,
)

_INTERFACES = (Field.IIFNAME, Field.OIFNAME)
_ADDRESSES = (
    Field.IP_SADDR,
    Field.IP_DADDR,
    Field.IP6_SADDR,
    Field.IP6_DADDR,
    Field.ARP_SADDR_IP,
)
_WORDS = {
    DestinationIsLocal: "fib daddr type local",
    Untrack: "notrack",
    Trace: "meta nftrace set 1",
    Counter: "counter",
}


def rule_text(rule: Rule) -> str:
    """Return a rule without its comment."""
    return " ".join(map(expression_text, rule.expressions))


def expression_text(expression: Expression) -> str:
    """Return one match or statement."""
    match expression:
        case Compare(field, value, invert, prefix):
            text = f"{field.value} {'!= ' if invert else ''}{_value(field, value, prefix=prefix)}"
        case InNetwork(field, network, invert):
            text = f"{field.value} {'!= ' if invert else ''}{network}"
        case InRange(field, low, high, invert):
            text = f"{field.value} {'!= ' if invert else ''}{low}-{high}"
        case InSet(fields, name, invert, prefix):
            key = " . ".join(field.value for field in fields)
            cut = f" & /{prefix}" if prefix is not None else ""
            text = f"{key}{cut} {'!= ' if invert else ''}@{name}"
        case MarkBits(mask, value, invert):
            text = f"meta mark & {mask:#x} {'!=' if invert else '=='} {value:#x}"
        case CtStateIs(states, invert):
            names = ",".join(state.name.lower() for state in states if state.name)
            text = f"ct state {'!= ' if invert else ''}{names}"
        case VerdictMap(fields, name):
            text = f"{' . '.join(field.value for field in fields)} vmap @{name}"
        case Verdict(kind, chain):
            text = f"{kind.value} {chain}".rstrip()
        case _:
            text = _statement(expression)
    return text


def _statement(expression: Expression) -> str:
    match expression:
        case Limit(rate, seconds, burst, over):
            text = f"limit rate {'over ' if over else ''}{rate}/{seconds}s burst {burst} packets"
        case MoreConnections(count):
            text = f"ct count over {count}"
        case SetMark(mask, value):
            text = f"meta mark set meta mark & ~{mask:#x} | {value:#x}"
        case SetDscp(value):
            text = f"dscp set {value}"
        case Log(prefix, group):
            text = f'log prefix "{prefix}"' + (f" group {group}" if group is not None else "")
        case Reject(tcp_reset):
            text = "reject with tcp reset" if tcp_reset else "reject"
        case DestinationNat(address, port):
            text = f"dnat to {ip_address(address)}" + (f":{port}" if port else "")
        case RewriteTcp(kind, address, port):
            end = "s" if kind is NatKind.SOURCE else "d"
            text = f"ip {end}addr set {ip_address(address)} tcp {end}port set {port}"
        case NatMap(kind, fields, name):
            text = f"{kind.value} to {' . '.join(field.value for field in fields)} map @{name}"
        case OffloadFlow(flowtable):
            text = f"flow add @{flowtable}"
        case SourceNat(address, _):
            text = f"snat to {ip_address(address)}" if address else "masquerade"
        case _:
            text = _WORDS[type(expression)]
    return text


def _value(field: Field, value: bytes, *, prefix: bool) -> str:
    if field in _INTERFACES:
        return f'"{value.decode(errors="replace")}{"*" if prefix else ""}"'
    if field in _ADDRESSES and len(value) in (4, 16):
        return str(ip_address(value))
    return str(int.from_bytes(value, "big"))


def element_text(element: bytes) -> str:
    """Return a key of a set as far as its layout tells: an interface, an address, ports."""
    if len(element) >= 16 and element[:1].isalpha():
        name = element[:16].rstrip(b"\0").decode(errors="replace")
        return " . ".join(filter(None, (name, element_text(element[16:]))))
    if len(element) in (4, 16):
        return str(ip_address(element))
    for size in (4, 16):
        if len(element) == size + 8:
            protocol, port = element[size], int.from_bytes(element[size + 4 : size + 6], "big")
            return f"{ip_address(element[:size])} . {protocol} . {port}"
    return element.hex()
