"""Requests to nf_tables for whole objects: tables, chains and rules. Pure.

The body of a request is what follows the netlink header: nf_tables' own small header and the
attributes. Sets and their elements are in `nft_sets`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from calico_openstack.felix.kernel import nft_constants as nft
from calico_openstack.felix.kernel.nft_constants import (
    ChainAttribute,
    FlowtableAttribute,
    FlowtableHookAttribute,
    RuleAttribute,
)
from calico_openstack.felix.kernel.nft_expressions import encode_expression
from calico_openstack.felix.render.nft import Chain, Family, Hook, Rule, Table
from calico_openstack.netlink.protocol import (
    MESSAGE_HEADER,
    NLM_F_REQUEST,
    attribute,
    attribute_be32,
    attribute_string,
    nested,
)

_SUBSYSTEM = nft.NFNL_SUBSYS_NFTABLES << 8
_HASH_MARK = "cali:"
_HASH_LENGTH = 16
# User data of a rule: nft(8) shows the type 0 as the rule's comment, up to 128 bytes with its zero.
_USERDATA_COMMENT = 0
_MAXIMUM_COMMENT = 128 - 1
_POLICY_ACCEPT = 1
# Where flowtables take packets (enum nf_dev_hooks), and NFT_FLOWTABLE_COUNTER.
_INGRESS = 0
_FLOWTABLE_COUNTS = 2
_DEVICE_NAME = 1


def request(
    kind: nft.NftMessage, flags: int, sequence: int, family: Family | None, body: bytes
) -> bytes:
    """Return one nf_tables request; *family* None means every family."""
    number = nft.FAMILY_NUMBER[family] if family else 0
    header = MESSAGE_HEADER.pack(
        len(body) + 20, _SUBSYSTEM | kind, flags | NLM_F_REQUEST, sequence, 0
    )
    return header + nft.NFGENMSG.pack(number, 0, 0) + body


def batch_edge(kind: int) -> bytes:
    """Return the message that begins or ends a transaction."""
    header = MESSAGE_HEADER.pack(20, kind, NLM_F_REQUEST, 0, 0)
    return header + nft.NFGENMSG.pack(0, 0, nft.NFNL_SUBSYS_NFTABLES)


def encode_table(table: Table) -> bytes:
    """Return the attributes that name, or create, *table*."""
    return attribute_string(nft.TableAttribute.NAME, table.name)


def encode_chain(table: Table, name: str, hook: Hook | None) -> bytes:
    """Return the attributes that create a chain, a base chain when it has a *hook*."""
    body = chain_name(table, name)
    if hook is None:
        return body
    number = nft.hook_numbers(table.family).get(hook.hook)
    if number is None:
        raise ValueError(f"family {table.family.value} has no hook {hook.hook}")
    return (
        body
        + nested(
            ChainAttribute.HOOK,
            attribute_be32(nft.HookAttribute.HOOKNUM, number),
            attribute_be32(nft.HookAttribute.PRIORITY, hook.priority & 0xFFFFFFFF),
        )
        + attribute_be32(ChainAttribute.POLICY, _POLICY_ACCEPT)
        + attribute_string(ChainAttribute.TYPE, hook.type)
    )


def chain_name(table: Table, name: str) -> bytes:
    """Return the attributes that name a chain."""
    return attribute_string(ChainAttribute.TABLE, table.name) + attribute_string(
        ChainAttribute.NAME, name
    )


def rules_of_chain(table: Table, name: str) -> bytes:
    """Return the attributes that name all rules of a chain."""
    return attribute_string(RuleAttribute.TABLE, table.name) + attribute_string(
        RuleAttribute.CHAIN, name
    )


def encode_flowtable(table: Table, name: str, devices: Iterable[str] = ()) -> bytes:
    """Return the attributes of a flowtable, and of interfaces that it is to cover, or not to.

    Its flows are counted as connection tracking counts them.
    """
    hook = attribute_be32(FlowtableHookAttribute.HOOKNUM, _INGRESS) + attribute_be32(
        FlowtableHookAttribute.PRIORITY, 0
    )
    names = b"".join(attribute_string(_DEVICE_NAME, device) for device in devices)
    if names:
        hook += nested(FlowtableHookAttribute.DEVICES, names)
    return (
        attribute_string(FlowtableAttribute.TABLE, table.name)
        + attribute_string(FlowtableAttribute.NAME, name)
        + nested(FlowtableAttribute.HOOK, hook)
        + attribute_be32(FlowtableAttribute.FLAGS, _FLOWTABLE_COUNTS)
    )


def flowtable_name(table: Table, name: str) -> bytes:
    """Return the attributes that name a flowtable."""
    return attribute_string(FlowtableAttribute.TABLE, table.name) + attribute_string(
        FlowtableAttribute.NAME, name
    )


def encode_rules(
    table: Table, name: str, chain: Chain, hashes: tuple[str, ...], skip: int = 0
) -> list[bytes]:
    """Return the attributes of each rule of *chain* after the first *skip*, to be appended.

    Raises ValueError when a rule cannot be stated in the table's family.
    """
    where = rules_of_chain(table, name)
    return [
        where
        + nested(
            RuleAttribute.EXPRESSIONS,
            *[encode_expression(expression, table.family) for expression in rule.expressions],
        )
        + attribute(RuleAttribute.USERDATA, _encode_comment(rule, digest))
        for rule, digest in zip(chain.rules[skip:], hashes[skip:], strict=True)
    ]


def _encode_comment(rule: Rule, digest: str) -> bytes:
    """Return the user data that carries a rule's hash and, as far as it fits, its comment."""
    text = f"{_HASH_MARK}{digest};"
    if rule.comment:
        # nft prints a comment between quotes without escaping anything.
        comment = rule.comment.replace('"', "'")
        if not comment.isprintable():
            comment = "".join(c if c.isprintable() else " " for c in comment)
        text += f" {comment}"
    # Cut at a whole character.
    value = text.encode()[:_MAXIMUM_COMMENT].decode(errors="ignore").encode() + b"\0"
    return struct.pack("BB", _USERDATA_COMMENT, len(value)) + value


def parse_rule_hash(userdata: bytes) -> str:
    """Return the hash in a rule's user data, the empty string when it is not one of ours."""
    if len(userdata) < 2 or userdata[0] != _USERDATA_COMMENT:
        return ""
    text = userdata[2 : 2 + userdata[1]].rstrip(b"\0").decode(errors="replace")
    end = len(_HASH_MARK) + _HASH_LENGTH
    if not text.startswith(_HASH_MARK) or text[end : end + 1] != ";":
        return ""
    return text[len(_HASH_MARK) : end]
