"""Numbers of the nf_tables netlink protocol (linux/netfilter/nf_tables.h and nfnetlink.h)."""

from __future__ import annotations

import struct
from enum import IntEnum

from calico_openstack.felix.render.nft import Family

NFNL_SUBSYS_NFTABLES = 10
NFNL_MSG_BATCH_BEGIN = 16
NFNL_MSG_BATCH_END = 17
NFNLGRP_NFTABLES = 7
NFNLGRP_NFTRACE = 9

# struct nfgenmsg: family, version, resource id.
NFGENMSG = struct.Struct(">BBH")

FAMILY_NUMBER = {Family.IP: 2, Family.ARP: 3, Family.IP6: 10}
FAMILY_BY_NUMBER = {number: family for family, number in FAMILY_NUMBER.items()}


class NftMessage(IntEnum):
    """enum nf_tables_msg_types."""

    NEWTABLE = 0
    GETTABLE = 1
    DELTABLE = 2
    NEWCHAIN = 3
    GETCHAIN = 4
    DELCHAIN = 5
    NEWRULE = 6
    GETRULE = 7
    DELRULE = 8
    NEWSET = 9
    GETSET = 10
    DELSET = 11
    NEWSETELEM = 12
    GETSETELEM = 13
    DELSETELEM = 14
    NEWGEN = 15
    GETGEN = 16
    TRACE = 17
    NEWFLOWTABLE = 22
    GETFLOWTABLE = 23
    DELFLOWTABLE = 24


class TableAttribute(IntEnum):
    """enum nft_table_attributes."""

    NAME = 1
    FLAGS = 2
    USE = 3


class ChainAttribute(IntEnum):
    """enum nft_chain_attributes."""

    TABLE = 1
    HANDLE = 2
    NAME = 3
    HOOK = 4
    POLICY = 5
    USE = 6
    TYPE = 7


class HookAttribute(IntEnum):
    """enum nft_hook_attributes."""

    HOOKNUM = 1
    PRIORITY = 2


class FlowtableAttribute(IntEnum):
    """enum nft_flowtable_attributes."""

    TABLE = 1
    NAME = 2
    HOOK = 3
    FLAGS = 7


class FlowtableHookAttribute(IntEnum):
    """enum nft_flowtable_hook_attributes."""

    HOOKNUM = 1
    PRIORITY = 2
    DEVICES = 3


class RuleAttribute(IntEnum):
    """enum nft_rule_attributes."""

    TABLE = 1
    CHAIN = 2
    HANDLE = 3
    EXPRESSIONS = 4
    USERDATA = 7


class SetAttribute(IntEnum):
    """enum nft_set_attributes."""

    TABLE = 1
    NAME = 2
    FLAGS = 3
    KEY_TYPE = 4
    KEY_LENGTH = 5
    DATA_TYPE = 6
    DATA_LENGTH = 7
    DESCRIPTION = 9
    ID = 10
    USERDATA = 13


class SetFlag(IntEnum):
    """enum nft_set_flags."""

    ANONYMOUS = 0x1
    CONSTANT = 0x2
    INTERVAL = 0x4
    MAP = 0x8
    TIMEOUT = 0x10
    EVAL = 0x20
    OBJECT = 0x40
    CONCAT = 0x80
    EXPR = 0x100


class ElementListAttribute(IntEnum):
    """enum nft_set_elem_list_attributes."""

    TABLE = 1
    SET = 2
    ELEMENTS = 3


class ElementAttribute(IntEnum):
    """enum nft_set_elem_attributes."""

    KEY = 1
    DATA = 2
    FLAGS = 3
    USERDATA = 6
    KEY_END = 10


# Attribute kinds that stand inside several structures.
LIST_ELEMENT = 1
EXPRESSION_NAME, EXPRESSION_DATA = 1, 2
DATA_VALUE, DATA_VERDICT = 1, 2
VERDICT_CODE, VERDICT_CHAIN = 1, 2
SET_DESCRIPTION_SIZE, SET_DESCRIPTION_CONCAT = 1, 2
FIELD_LENGTH = 1

ELEMENT_INTERVAL_END = 0x1
# The data type of verdict maps.
DATA_TYPE_VERDICT = 0xFFFFFF00

# Registers: 0 takes verdicts; the sixteen 4-byte registers begin here (NFT_REG32_00).
REGISTER_VERDICT = 0
REGISTER_FIRST = 8
REGISTER_BYTES = 4

# Hook numbers (enum nf_inet_hooks, enum nf_arp_hooks).
INET_HOOKS = {"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}
ARP_HOOKS = {"input": 0, "output": 1}


def hook_numbers(family: Family) -> dict[str, int]:
    """Return the hooks of *family* with their numbers."""
    return ARP_HOOKS if family is Family.ARP else INET_HOOKS
