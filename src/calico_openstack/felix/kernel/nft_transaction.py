"""A transaction of nf_tables: requests in their order, and who is meant by a refusal. Pure.

All requests of a transaction are carried out or none is. The kernel answers a refused request with
its sequence number, which here is its place in the transaction. The order of phases makes every
object exist before something uses it and go only after its last user went, across all tables.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, IntEnum

from msgspec import Struct, field

from calico_openstack.felix.kernel import nft_constants as nft
from calico_openstack.felix.kernel.nft_constants import NftMessage
from calico_openstack.felix.kernel.nft_dump import ChainImage, SetImage, TableImage
from calico_openstack.felix.kernel.nft_messages import batch_edge, request
from calico_openstack.felix.render.nft import Element, ElementValue, Set, Table
from calico_openstack.netlink.protocol import (
    MESSAGE_HEADER,
    Refusal,
    attribute_be32,
    attributes,
    iterate_attributes,
)


class Phase(IntEnum):
    """When in a transaction a request comes."""

    TABLES = 0
    SETS = 1
    CHAINS = 2
    FLUSH_RULES = 3
    REMOVE_ELEMENTS = 4
    ADD_ELEMENTS = 5
    RULES = 6
    DELETE_SETS = 7
    DELETE_CHAINS = 8
    DELETE_FLOWTABLES = 9


class ObjectKind(Enum):
    """What an object is; the value is nft(8)'s word."""

    TABLE = "table"
    CHAIN = "chain"
    SET = "set"
    ELEMENT = "element"
    FLOWTABLE = "flowtable"


class ObjectName(Struct, frozen=True):
    """Names an object in our tables; *element* only for one element of the set *name*."""

    table: Table
    kind: ObjectKind
    name: str = ""
    element: Element | None = None

    def __str__(self) -> str:
        text = f"{self.kind.value} {self.table.family.value} {self.table.name}"
        text = f"{text} {self.name}" if self.name else text
        return f"{text} {self.element!r}" if self.element is not None else text


class Request(Struct):
    """One request; *elements* are the elements that it adds or removes, in its order."""

    subject: ObjectName
    kind: NftMessage
    body: bytes
    flags: int = 0
    elements: list[Element] = field(default_factory=list)


class ElementChange(Struct):
    """What happens to a set's elements; with *flushed* all that were there go first."""

    removed: list[Element] = field(default_factory=list)
    added: dict[Element, ElementValue] = field(default_factory=dict)
    flushed: bool = False


class TablePlan(Struct):
    """The requests for one table by phase, and what its image is to become by them."""

    table: Table
    requests: dict[Phase, list[Request]] = field(default_factory=dict)
    created: bool = False
    removed: bool = False
    sets: dict[str, Set | None] = field(default_factory=dict)
    chains: dict[str, ChainImage | None] = field(default_factory=dict)
    elements: dict[str, ElementChange] = field(default_factory=dict)
    # Flowtables, with whether they will be there.
    flowtables: dict[str, bool] = field(default_factory=dict)
    # Objects that cannot be stated, with the reason.
    refused: dict[ObjectName, str] = field(default_factory=dict)

    def add(self, phase: Phase, request: Request) -> None:
        """Put one request into *phase*."""
        self.requests.setdefault(phase, []).append(request)

    def record(self, image: TableImage | None) -> TableImage | None:
        """Return the table's image after the requests were carried out; *image* is changed."""
        if self.created:
            image = TableImage()
        elif self.removed or image is None:
            return None
        for name, set_ in self.sets.items():
            if set_ is None:
                image.sets.pop(name, None)
            else:
                image.sets[name] = SetImage(set_)
        for name, chain in self.chains.items():
            if chain is None:
                image.chains.pop(name, None)
            else:
                image.chains[name] = chain
        for name, exists in self.flowtables.items():
            (image.flowtables.add if exists else image.flowtables.discard)(name)
        for name, change in self.elements.items():
            self._record_elements(image.sets[name], change)
        return image

    @staticmethod
    def _record_elements(image: SetImage, change: ElementChange) -> None:
        if image.elements is None or change.flushed:
            image.elements = {}
        for element in change.removed:
            image.elements.pop(element, None)
        image.elements.update(change.added)


def assemble(plans: Iterable[TablePlan]) -> tuple[bytes, list[Request]]:
    """Return the transaction of all *plans* and its requests; a request's number is its place.

    Numbers begin with 1; the messages around the requests have the number 0. Without requests the
    transaction is empty bytes.
    """
    plans = list(plans)
    parts = [_BEGIN]
    requests: list[Request] = []
    for phase in _PHASES:
        for plan in plans:
            for one in plan.requests.get(phase, ()):
                requests.append(one)
                parts.append(
                    request(one.kind, one.flags, len(requests), plan.table.family, one.body)
                )
    if not requests:
        return b"", requests
    parts.append(_END)
    return b"".join(parts), requests


_PHASES = tuple(Phase)
_BEGIN = batch_edge(nft.NFNL_MSG_BATCH_BEGIN)
_END = batch_edge(nft.NFNL_MSG_BATCH_END)


def blame(refused: Request, refusal: Refusal) -> ObjectName:
    """Return the object that the kernel refused: one element when it says which, else all."""
    subject = refused.subject
    if not refused.elements or refusal.offset is None:
        return subject
    element = _element_at(refused, refusal.offset)
    if element is None:
        return subject
    return ObjectName(subject.table, ObjectKind.ELEMENT, subject.name, element)


def _element_at(refused: Request, offset: int) -> Element | None:
    """Return the element whose attribute spans *offset*, counted from the netlink header."""
    data = attributes(refused.body).get(nft.ElementListAttribute.ELEMENTS, b"")
    position = MESSAGE_HEADER.size + nft.NFGENMSG.size + len(refused.body) - len(data)
    index = -1
    for _, item in iterate_attributes(data):
        # The end of an interval belongs to the start before it.
        if _INTERVAL_END not in item:
            index += 1
        position += 4 + len(item)
        if offset < position:
            return refused.elements[index] if index >= 0 else None
    return None


_INTERVAL_END = attribute_be32(nft.ElementAttribute.FLAGS, nft.ELEMENT_INTERVAL_END)
