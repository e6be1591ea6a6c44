"""What is in our nftables tables now, as the kernel lists it.

Rules are not read back in full: each of ours carries in its comment a hash of everything up to and
including itself, and the sequence of hashes of a chain says whether it is as it should be.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

from msgspec import Struct, field

from calico_openstack.felix.kernel import nft_constants as nft
from calico_openstack.felix.kernel.nft_constants import (
    ChainAttribute,
    ElementListAttribute,
    FlowtableAttribute,
    FlowtableHookAttribute,
    HookAttribute,
    NftMessage,
    RuleAttribute,
    SetAttribute,
    TableAttribute,
)
from calico_openstack.felix.kernel.nft_messages import parse_rule_hash
from calico_openstack.felix.kernel.nft_sets import (
    UnpairedIntervalsError,
    parse_elements,
    parse_set,
)
from calico_openstack.felix.render.nft import Element, ElementValue, Hook, Set, Table
from calico_openstack.netlink.protocol import (
    Message,
    NetlinkSocket,
    attribute_string,
    attributes,
    be32,
    iterate_attributes,
    string,
)

_GENERATION_ID = 1
_SUBSYSTEM = nft.NFNL_SUBSYS_NFTABLES << 8


class ChainImage(Struct):
    """A chain in the kernel: its hook, and the hashes of its rules in order.

    A rule that is not ours has the hash "".
    """

    hook: Hook | None
    hashes: tuple[str, ...] = ()


class SetImage(Struct):
    """A set in the kernel; ``set`` is None when the model cannot state it.

    ``elements`` is None when they are not known, so that they must be replaced as a whole.
    """

    set: Set | None
    elements: dict[Element, ElementValue] | None = field(default_factory=dict)


class TableImage(Struct):
    """A table in the kernel.

    With ``foreign`` it holds kinds of objects that we never make (counters, anonymous sets); only
    replacing the whole table gets rid of them.
    """

    sets: dict[str, SetImage] = field(default_factory=dict)
    chains: dict[str, ChainImage] = field(default_factory=dict)
    flowtables: set[str] = field(default_factory=set)
    foreign: bool = False


def read_table(socket: NetlinkSocket, table: Table) -> TableImage | None:
    """Return what is in *table*, None when it does not exist.

    Raises OSError when the kernel refuses or the objects change without end while being read.
    """
    uses = _table_uses(socket, table)
    if uses is None:
        return None
    image = TableImage()
    for body in _list(socket, NftMessage.GETCHAIN, table, ChainAttribute.TABLE):
        found = attributes(body, nft.NFGENMSG.size)
        name = string(found[ChainAttribute.NAME])
        image.chains[name] = ChainImage(_parse_hook(table, found))
    anonymous = False
    for body in _list(socket, NftMessage.GETSET, table, SetAttribute.TABLE):
        found = attributes(body, nft.NFGENMSG.size)
        if be32(found.get(SetAttribute.FLAGS, b"")) & nft.SetFlag.ANONYMOUS:
            # Belongs to a foreign rule and goes away with it.
            anonymous = True
            continue
        image.sets[string(found[SetAttribute.NAME])] = SetImage(parse_set(found))
    if uses != len(image.chains) + len(image.sets):
        image.flowtables = set(read_flowtables(socket, table))
    known = len(image.chains) + len(image.sets) + len(image.flowtables)
    image.foreign = not anonymous and uses != known
    _read_rules(socket, table, image)
    for name, set_image in image.sets.items():
        if set_image.set is not None:
            set_image.elements = read_elements(socket, table, name, set_image.set)
    return image


def read_generation(socket: NetlinkSocket) -> int:
    """Return the number of transactions that nf_tables carried out in this namespace."""
    body = nft.NFGENMSG.pack(0, 0, 0)
    for answer in socket.request(_SUBSYSTEM | NftMessage.GETGEN, body):
        return be32(attributes(answer.body, nft.NFGENMSG.size)[_GENERATION_ID])
    raise OSError(errno.ENOMSG, "nf_tables did not tell its generation")


def read_elements(
    socket: NetlinkSocket, table: Table, name: str, set_: Set
) -> dict[Element, ElementValue] | None:
    """Return the elements of a set, None when they cannot be stated in the model."""
    body = attribute_string(ElementListAttribute.TABLE, table.name) + attribute_string(
        ElementListAttribute.SET, name
    )
    lists = (
        attributes(answer.body, nft.NFGENMSG.size).get(ElementListAttribute.ELEMENTS, b"")
        for answer in _dump(socket, NftMessage.GETSETELEM, table, body)
    )
    try:
        return parse_elements(set_, lists)
    except UnpairedIntervalsError:
        return None


def read_flowtables(socket: NetlinkSocket, table: Table) -> dict[str, set[str]]:
    """Return the flowtables in *table* by name, each with the interfaces that it covers."""
    found = {}
    for body in _list(socket, NftMessage.GETFLOWTABLE, table, FlowtableAttribute.TABLE):
        parts = attributes(body, nft.NFGENMSG.size)
        hook = attributes(parts.get(FlowtableAttribute.HOOK, b""))
        devices = hook.get(FlowtableHookAttribute.DEVICES, b"")
        found[string(parts[FlowtableAttribute.NAME])] = {
            string(name) for _, name in iterate_attributes(devices)
        }
    return found


def _table_uses(socket: NetlinkSocket, table: Table) -> int | None:
    """Return how many objects the kernel counts in *table*, None when there is no such table."""
    for answer in _dump(socket, NftMessage.GETTABLE, table, b""):
        found = attributes(answer.body, nft.NFGENMSG.size)
        if string(found[TableAttribute.NAME]) == table.name:
            return be32(found[TableAttribute.USE])
    return None


def _read_rules(socket: NetlinkSocket, table: Table, image: TableImage) -> None:
    hashes: dict[str, list[str]] = {name: [] for name in image.chains}
    for body in _list(socket, NftMessage.GETRULE, table, RuleAttribute.TABLE):
        found = attributes(body, nft.NFGENMSG.size)
        rules = hashes.setdefault(string(found[RuleAttribute.CHAIN]), [])
        rules.append(parse_rule_hash(found.get(RuleAttribute.USERDATA, b"")))
    for name, rules in hashes.items():
        if name in image.chains:
            image.chains[name].hashes = tuple(rules)


def _list(
    socket: NetlinkSocket, kind: NftMessage, table: Table, table_attribute: int
) -> Iterable[bytes]:
    """Yield the bodies of the objects of *kind* in *table*.

    The kernel filters some kinds by table and ignores the filter for others.
    """
    name = table.name.encode() + b"\0"
    body = attribute_string(table_attribute, table.name)
    for answer in _dump(socket, kind, table, body):
        if attributes(answer.body, nft.NFGENMSG.size).get(table_attribute) == name:
            yield answer.body


def _dump(socket: NetlinkSocket, kind: NftMessage, table: Table, body: bytes) -> list[Message]:
    header = nft.NFGENMSG.pack(nft.FAMILY_NUMBER[table.family], 0, 0)
    return socket.dump(_SUBSYSTEM | kind, header + body)


def _parse_hook(table: Table, found: dict[int, bytes]) -> Hook | None:
    if ChainAttribute.HOOK not in found:
        return None
    hook = attributes(found[ChainAttribute.HOOK])
    number = be32(hook.get(HookAttribute.HOOKNUM, b""))
    priority = int.from_bytes(hook.get(HookAttribute.PRIORITY, b"\0"), "big", signed=True)
    names = {value: name for name, value in nft.hook_numbers(table.family).items()}
    return Hook(
        type=string(found.get(ChainAttribute.TYPE, b"")),
        hook=names.get(number, str(number)),
        priority=priority,
    )
