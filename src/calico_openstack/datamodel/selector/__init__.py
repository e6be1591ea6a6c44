"""The selector language: which label maps an expression chooses. Pure.

``parse`` gives a ``Selector``, which judges label maps, knows its canonical text and identifier,
and tells an index what a label map needs to have a chance.
"""

from __future__ import annotations

from functools import lru_cache

from calico_openstack.datamodel.selector.canonical import (
    canonical_text,
    identifier,
    named_port_uid,
)
from calico_openstack.datamodel.selector.matching import Labels, Matcher, matcher
from calico_openstack.datamodel.selector.nodes import Node
from calico_openstack.datamodel.selector.parser import SelectorError, parse_tree
from calico_openstack.datamodel.selector.restrictions import Restrictions, restrictions
from calico_openstack.datamodel.selector.rewriting import (
    NAMESPACE_PREFIX,
    SERVICE_ACCOUNT_PREFIX,
    with_label_prefix,
)

__all__ = [
    "NAMESPACE_PREFIX",
    "SERVICE_ACCOUNT_PREFIX",
    "Labels",
    "Matcher",
    "Node",
    "Restrictions",
    "Selector",
    "SelectorError",
    "identifier",
    "named_port_uid",
    "parse",
]

# Longer texts than a policy may have are parsed each time, so that they do not fill the cache.
_CACHED_LENGTH = 1024
_CACHE_SIZE = 16384


class Selector:
    """A parsed selector. Two are equal if their syntax trees are.

    ``matches(labels)`` tells whether a label map satisfies it. The canonical text, the identifier
    and the restrictions are worked out when they are first asked for.
    """

    __slots__ = ("_canonical", "_required", "_uid", "matches", "root")

    def __init__(self, root: Node) -> None:
        self.root = root
        self.matches: Matcher = matcher(root)
        self._canonical: str | None = None
        self._uid: str | None = None
        self._required: Restrictions | None = None

    @property
    def canonical(self) -> str:
        """The canonical text: the same for all texts with the same syntax tree."""
        if self._canonical is None:
            self._canonical = canonical_text(self.root)
        return self._canonical

    @property
    def uid(self) -> str:
        """The identifier, ``s:`` and 38 characters, that names the set of chosen addresses."""
        if self._uid is None:
            self._uid = identifier("s", self.canonical)
        return self._uid

    @property
    def required(self) -> Restrictions:
        """Labels that a map must have to match, with the values allowed (None: any)."""
        if self._required is None:
            self._required = restrictions(self.root)
        return self._required

    def with_label_prefix(self, prefix: str) -> Selector:
        """Return the selector with ``prefix`` in front of every label name."""
        return Selector(with_label_prefix(self.root, prefix))

    def __eq__(self, other: object) -> bool:
        return self.root == other.root if isinstance(other, Selector) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.canonical)

    def __repr__(self) -> str:
        return f"<Selector {self.canonical}>"


def parse(text: str) -> Selector:
    """Return the selector that ``text`` means; blank text means ``all()``.

    Raises SelectorError, whose message says what is wrong and where.
    """
    if len(text) > _CACHED_LENGTH:
        return Selector(parse_tree(text))
    return _parse_cached(text)


@lru_cache(_CACHE_SIZE)
def _parse_cached(text: str) -> Selector:
    return Selector(parse_tree(text))
