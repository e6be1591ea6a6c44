"""Rule expressions as the kernel takes them: netlink attributes of nf_tables expressions.

The instructions are in `nft_bytecode`, translations of addresses in `nft_nat`. The encodings are
the ones that nft(8) itself produces, so that it can list them.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from ipaddress import IPv4Network, ip_network
from typing import Any

from calico_openstack.felix.kernel import nft_constants as nft
from calico_openstack.felix.kernel.nft_bytecode import (
    EQUAL,
    HOST_U32,
    NOT_EQUAL,
    between,
    bitwise,
    compare_register,
    data_value,
    equality,
    expression,
    immediate,
    load,
    load_all,
)
from calico_openstack.felix.kernel.nft_fields import (
    HOST_ORDER,
    INTERFACE_NAME_BYTES,
    IPV4_FIELDS,
    META_MARK,
    META_NFTRACE,
    SOURCES,
)
from calico_openstack.felix.kernel.nft_nat import (
    encode_destination_nat,
    encode_nat_map,
    encode_rewrite_tcp,
    encode_source_nat,
)
from calico_openstack.felix.kernel.nft_qos import encode_more_connections, encode_set_dscp
from calico_openstack.felix.render.nft import (
    Compare,
    Counter,
    CtStateIs,
    DestinationIsLocal,
    DestinationNat,
    Expression,
    Family,
    Field,
    InNetwork,
    InRange,
    InSet,
    Limit,
    Log,
    MarkBits,
    MoreConnections,
    NatMap,
    OffloadFlow,
    Reject,
    RewriteTcp,
    SetDscp,
    SetMark,
    SourceNat,
    Trace,
    Untrack,
    Verdict,
    VerdictKind,
    VerdictMap,
)
from calico_openstack.netlink.protocol import (
    attribute,
    attribute_be32,
    attribute_string,
    nested,
)

_RANGE_NOT_EQUAL = 1
_LOOKUP_INVERT = 1
_CT_STATE = 0
_FIB_RESULT_ADDRESS_TYPE, _FIB_DESTINATION = 3, 2
_RTN_LOCAL = 2
_LIMIT_PACKETS, _LIMIT_OVER = 0, 1
_LOG_LEVEL_INFO = 6
_REJECT_ICMP, _REJECT_TCP_RESET = 0, 1
_PORT_UNREACHABLE = {Family.IP: 3, Family.IP6: 4}

# The protocols whose headers nft(8) knows. After an equality with any other one, version 1.0.6
# aborts when it lists a set lookup of ports.
_LISTABLE_PROTOCOLS = frozenset({1, 2, 6, 17, 33, 50, 51, 58, 108, 132, 136})

# Verdict codes: NF_DROP and NF_ACCEPT, and nf_tables' own negative ones.
VERDICT_CODES = {
    VerdictKind.DROP: 0,
    VerdictKind.ACCEPT: 1,
    VerdictKind.JUMP: -3 & 0xFFFFFFFF,
    VerdictKind.GOTO: -4 & 0xFFFFFFFF,
    VerdictKind.RETURN: -5 & 0xFFFFFFFF,
}


@functools.lru_cache(maxsize=8192)
def encode_expression(expression: Expression, family: Family) -> bytes:
    """Return the netlink expressions for one expression in a table of *family*.

    Raises ValueError when the expression cannot be stated in that family or its values do not fit
    its field.
    """
    return _ENCODERS[type(expression)](expression, family)


def encode_verdict(verdict: Verdict) -> bytes:
    """Return the data attribute's content for *verdict*, for rules and for map elements alike."""
    code = attribute_be32(nft.VERDICT_CODE, VERDICT_CODES[verdict.kind])
    if verdict.kind in (VerdictKind.JUMP, VerdictKind.GOTO):
        if not verdict.chain:
            raise ValueError(f"{verdict.kind.value} without a chain")
        code += attribute_string(nft.VERDICT_CHAIN, verdict.chain)
    return nested(nft.DATA_VERDICT, code)


def interface_name(name: bytes) -> bytes:
    """Return *name* as it stands in registers and set keys: 16 bytes, padded with zeros."""
    if not 0 < len(name) < INTERFACE_NAME_BYTES:
        raise ValueError(f"interface name {name!r} is empty or longer than 15 bytes")
    return name.ljust(INTERFACE_NAME_BYTES, b"\0")


# --- matches ------------------------------------------------------------------------------------


def _encode_compare(match: Compare, _: Family) -> bytes:
    length = SOURCES[match.field].length
    value = match.value
    if match.field in (Field.IIFNAME, Field.OIFNAME):
        padded = interface_name(value)
        if not match.prefix:
            value = padded
    elif match.prefix or len(value) != length:
        raise ValueError(f"{match.field.value} takes {length} bytes, not {value!r}")
    elif match.field in HOST_ORDER:
        value = value[::-1] if HOST_U32.pack(1)[0] else value
    elif match.field is Field.L4PROTO and not match.invert and value[0] not in _LISTABLE_PROTOCOLS:
        # As a range of one, see there.
        return load(match.field) + between(value, value)
    return load(match.field) + compare_register(equality(match.invert), value)


def _encode_in_network(match: InNetwork, _: Family) -> bytes:
    network, length = match.network, match.network.prefixlen
    wants_ipv4 = match.field in IPV4_FIELDS
    if wants_ipv4 != isinstance(network, IPv4Network):
        raise ValueError(f"{match.field.value} cannot lie in {network}")
    address = network.network_address.packed
    operation = equality(match.invert)
    if length == 0:
        if not match.invert:
            return b""
    elif length % 8 == 0:
        # Whole bytes are compared directly, as nft does; no masking needed.
        whole = length // 8
        return load(match.field, length=whole) + compare_register(operation, address[:whole])
    return (
        load(match.field)
        + bitwise(network.netmask.packed, bytes(len(address)))
        + compare_register(operation, address)
    )


def _encode_in_range(match: InRange, _: Family) -> bytes:
    if match.field in HOST_ORDER:
        raise ValueError(f"{match.field.value} is in host byte order and has no ranges")
    length = SOURCES[match.field].length
    try:
        low, high = match.low.to_bytes(length, "big"), match.high.to_bytes(length, "big")
    except OverflowError as error:
        raise ValueError(f"{match.low}-{match.high} does not fit {match.field.value}") from error
    if match.low > match.high:
        raise ValueError(f"range {match.low}-{match.high} is empty")
    if not match.invert:
        return load(match.field) + between(low, high)
    return load(match.field) + expression(
        "range",
        attribute_be32(1, nft.REGISTER_FIRST),
        attribute_be32(2, _RANGE_NOT_EQUAL),
        data_value(3, low),
        data_value(4, high),
    )


def _encode_in_set(match: InSet, _: Family) -> bytes:
    flags = attribute_be32(5, _LOOKUP_INVERT) if match.invert else b""
    mask = b""
    if match.prefix is not None:
        length = SOURCES[match.fields[0]].length
        mask = ip_network((bytes(length), match.prefix)).netmask.packed
    return load_all(match.fields, mask) + expression(
        "lookup",
        attribute_string(1, match.set_name),
        attribute_be32(2, nft.REGISTER_FIRST),
        flags,
    )


def _encode_mark_bits(match: MarkBits, _: Family) -> bytes:
    return (
        load(Field.MARK)
        + bitwise(HOST_U32.pack(match.mask), bytes(4))
        + compare_register(equality(match.invert), HOST_U32.pack(match.value))
    )


def _encode_ct_state(match: CtStateIs, _: Family) -> bytes:
    return (
        expression("ct", attribute_be32(1, nft.REGISTER_FIRST), attribute_be32(2, _CT_STATE))
        + bitwise(HOST_U32.pack(int(match.states)), bytes(4))
        + compare_register(EQUAL if match.invert else NOT_EQUAL, bytes(4))
    )


def _encode_destination_is_local(_match: DestinationIsLocal, _: Family) -> bytes:
    return expression(
        "fib",
        attribute_be32(1, nft.REGISTER_FIRST),
        attribute_be32(2, _FIB_RESULT_ADDRESS_TYPE),
        attribute_be32(3, _FIB_DESTINATION),
    ) + compare_register(EQUAL, HOST_U32.pack(_RTN_LOCAL))


def _encode_limit(match: Limit, _: Family) -> bytes:
    return expression(
        "limit",
        attribute(1, struct.pack(">Q", match.rate)),
        attribute(2, struct.pack(">Q", match.per_seconds)),
        attribute_be32(3, match.burst),
        attribute_be32(4, _LIMIT_PACKETS),
        attribute_be32(5, _LIMIT_OVER if match.over else 0),
    )


# --- statements ---------------------------------------------------------------------------------


def _encode_counter(_statement: Counter, _: Family) -> bytes:
    return expression("counter")


def _encode_verdict_statement(statement: Verdict, _: Family) -> bytes:
    return expression(
        "immediate",
        attribute_be32(1, nft.REGISTER_VERDICT),
        nested(2, encode_verdict(statement)),
    )


def _encode_verdict_map(statement: VerdictMap, _: Family) -> bytes:
    return load_all(statement.fields) + expression(
        "lookup",
        attribute_string(1, statement.map_name),
        attribute_be32(2, nft.REGISTER_FIRST),
        attribute_be32(3, nft.REGISTER_VERDICT),
    )


def _encode_set_mark(statement: SetMark, _: Family) -> bytes:
    keep = ~statement.mask & 0xFFFFFFFF
    return (
        load(Field.MARK)
        + bitwise(HOST_U32.pack(keep), HOST_U32.pack(statement.value & statement.mask))
        + expression("meta", attribute_be32(2, META_MARK), attribute_be32(3, nft.REGISTER_FIRST))
    )


def _encode_untrack(_statement: Untrack, _: Family) -> bytes:
    return expression("notrack")


def _encode_trace(_statement: Trace, _: Family) -> bytes:
    return immediate(nft.REGISTER_FIRST, b"\1") + expression(
        "meta", attribute_be32(2, META_NFTRACE), attribute_be32(3, nft.REGISTER_FIRST)
    )


def _encode_offload_flow(statement: OffloadFlow, _: Family) -> bytes:
    return expression("flow_offload", attribute_string(1, statement.flowtable))


def _encode_log(statement: Log, _: Family) -> bytes:
    prefix = attribute_string(2, statement.prefix) if statement.prefix else b""
    if statement.group is None:
        return expression("log", prefix, attribute_be32(5, _LOG_LEVEL_INFO))
    return expression("log", prefix, attribute(1, struct.pack(">H", statement.group)))


def _encode_reject(statement: Reject, family: Family) -> bytes:
    if family not in _PORT_UNREACHABLE:
        raise ValueError(f"reject does not exist in family {family.value}")
    if statement.tcp_reset:
        kind, code = _REJECT_TCP_RESET, 0
    else:
        kind, code = _REJECT_ICMP, _PORT_UNREACHABLE[family]
    return expression("reject", attribute_be32(1, kind), attribute(2, bytes([code])))


_ENCODERS: dict[type, Callable[[Any, Family], bytes]] = {
    Compare: _encode_compare,
    InNetwork: _encode_in_network,
    InRange: _encode_in_range,
    InSet: _encode_in_set,
    MarkBits: _encode_mark_bits,
    CtStateIs: _encode_ct_state,
    DestinationIsLocal: _encode_destination_is_local,
    Limit: _encode_limit,
    MoreConnections: encode_more_connections,
    Counter: _encode_counter,
    Verdict: _encode_verdict_statement,
    VerdictMap: _encode_verdict_map,
    SetMark: _encode_set_mark,
    Untrack: _encode_untrack,
    Trace: _encode_trace,
    SetDscp: encode_set_dscp,
    OffloadFlow: _encode_offload_flow,
    Log: _encode_log,
    Reject: _encode_reject,
    DestinationNat: encode_destination_nat,
    RewriteTcp: encode_rewrite_tcp,
    NatMap: encode_nat_map,
    SourceNat: encode_source_nat,
}
