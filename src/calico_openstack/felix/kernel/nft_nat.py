"""Translations of addresses as the kernel takes them: ``nat``, ``masq`` and ``payload``."""

from __future__ import annotations

from calico_openstack.felix.kernel import nft_constants as nft
from calico_openstack.felix.kernel.nft_bytecode import U16, expression, immediate, load_all
from calico_openstack.felix.render.nft import (
    DestinationNat,
    Family,
    NatKind,
    NatMap,
    RewriteTcp,
    SourceNat,
)
from calico_openstack.netlink.protocol import attribute_be32, attribute_string

_KINDS = {NatKind.SOURCE: 0, NatKind.DESTINATION: 1}
_ADDRESS_SIZES = {Family.IP: 4, Family.IP6: 16}
# NF_NAT_RANGE_*: translate addresses, ports; choose ports at random.
_MAP_IPS, _MAP_PORTS, _RANDOM_PORTS = 1, 2, 16
# enum nft_nat_attributes and nft_masq_attributes.
_TYPE, _FAMILY, _ADDRESS, _LAST_ADDRESS, _PORT, _LAST_PORT, _FLAGS = range(1, 8)
_MASQUERADE_FLAGS, _MASQUERADE_PORT, _MASQUERADE_LAST_PORT = range(1, 4)
# enum nft_payload_attributes; where addresses and ports are in their headers, and checksums.
_BASE, _OFFSET, _LENGTH, _SOURCE_REGISTER, _CHECKSUM_KIND, _CHECKSUM_OFFSET, _CHECKSUM_FLAGS = (
    range(2, 9)
)
_NETWORK, _TRANSPORT = 1, 2
_OFFSETS = {NatKind.SOURCE: (12, 0), NatKind.DESTINATION: (16, 2)}
_IP_CHECKSUM, _TCP_CHECKSUM = 10, 16


def encode_destination_nat(statement: DestinationNat, family: Family) -> bytes:
    """Encode a translation to one fixed destination."""
    _check_address(statement.address, family)
    first = nft.REGISTER_FIRST
    flags = _MAP_IPS
    parts = immediate(first, statement.address)
    registers = attribute_be32(_ADDRESS, first) + attribute_be32(_LAST_ADDRESS, first)
    if statement.port is not None:
        second = first + len(statement.address) // nft.REGISTER_BYTES
        parts += immediate(second, U16.pack(statement.port))
        registers += attribute_be32(_PORT, second) + attribute_be32(_LAST_PORT, second)
        flags |= _MAP_PORTS
    return parts + expression(
        "nat",
        attribute_be32(_TYPE, _KINDS[NatKind.DESTINATION]),
        attribute_be32(_FAMILY, nft.FAMILY_NUMBER[family]),
        registers,
        attribute_be32(_FLAGS, flags),
    )


def encode_nat_map(statement: NatMap, family: Family) -> bytes:
    """Encode a translation to what a map says; without an element the rule ends."""
    first = nft.REGISTER_FIRST
    lookup = expression(
        "lookup",
        attribute_string(1, statement.map_name),
        attribute_be32(2, first),
        attribute_be32(3, first),
    )
    translation = expression(
        "nat",
        attribute_be32(_TYPE, _KINDS[statement.kind]),
        attribute_be32(_FAMILY, nft.FAMILY_NUMBER[family]),
        attribute_be32(_ADDRESS, first),
    )
    return load_all(statement.fields) + lookup + translation


def encode_source_nat(statement: SourceNat, family: Family) -> bytes:
    """Encode a translation to one fixed source, or to the outgoing interface's address."""
    address = statement.address
    parts, place = b"", nft.REGISTER_FIRST
    if address is not None:
        _check_address(address, family)
        parts = immediate(place, address)
        place += len(address) // nft.REGISTER_BYTES
    flags = _RANDOM_PORTS
    ports: tuple[int, ...] = ()
    if statement.ports:
        flags |= _MAP_PORTS
        ports = (place, place + 1)
        for register, port in zip(ports, statement.ports, strict=True):
            parts += immediate(register, U16.pack(port))
    if address is None:
        kinds = (_MASQUERADE_PORT, _MASQUERADE_LAST_PORT)
        return parts + expression(
            "masq", *_registers(kinds, ports), attribute_be32(_MASQUERADE_FLAGS, flags)
        )
    return parts + expression(
        "nat",
        attribute_be32(_TYPE, _KINDS[NatKind.SOURCE]),
        attribute_be32(_FAMILY, nft.FAMILY_NUMBER[family]),
        attribute_be32(_ADDRESS, nft.REGISTER_FIRST),
        *_registers((_PORT, _LAST_PORT), ports),
        attribute_be32(_FLAGS, flags),
    )


def encode_rewrite_tcp(statement: RewriteTcp, family: Family) -> bytes:
    """Encode what writes an address and a port into a packet; checksums follow."""
    if family is not Family.IP:
        raise ValueError(f"family {family.value} has no such rewriting")
    _check_address(statement.address, family)
    address, port = _OFFSETS[statement.kind]
    return _write(
        statement.address,
        *(attribute_be32(_BASE, _NETWORK), attribute_be32(_OFFSET, address)),
        *(attribute_be32(_CHECKSUM_OFFSET, _IP_CHECKSUM), attribute_be32(_CHECKSUM_FLAGS, 1)),
    ) + _write(
        U16.pack(statement.port),
        *(attribute_be32(_BASE, _TRANSPORT), attribute_be32(_OFFSET, port)),
        attribute_be32(_CHECKSUM_OFFSET, _TCP_CHECKSUM),
    )


def _write(value: bytes, *parts: bytes) -> bytes:
    register = nft.REGISTER_FIRST
    return immediate(register, value) + expression(
        "payload",
        attribute_be32(_SOURCE_REGISTER, register),
        attribute_be32(_LENGTH, len(value)),
        attribute_be32(_CHECKSUM_KIND, 1),
        *parts,
    )


def _registers(kinds: tuple[int, ...], places: tuple[int, ...]) -> list[bytes]:
    return [attribute_be32(kind, place) for kind, place in zip(kinds, places, strict=False)]


def _check_address(address: bytes, family: Family) -> None:
    if len(address) != _ADDRESS_SIZES.get(family):
        raise ValueError(f"address {address!r} does not fit family {family.value}")
