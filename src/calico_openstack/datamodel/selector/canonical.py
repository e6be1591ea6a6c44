"""The one text that all selectors of the same syntax tree share, and identifiers made from it."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable

from calico_openstack.datamodel.selector.nodes import (
    All,
    And,
    Contains,
    EndsWith,
    Equal,
    Has,
    In,
    Node,
    Not,
    NotEqual,
    NotIn,
    Or,
    StartsWith,
)


def canonical_text(node: Node) -> str:  # noqa: PLR0911 - one for each kind of node
    """Return the canonical text of a tree; parsing it gives the same tree.

    Raises ValueError for a value with both kinds of quotes: no selector can be written for it.
    """
    match node:
        case Has(label):
            return f"has({label})"
        case Equal(label, value):
            return f"{label} == {_quoted(value)}"
        case NotEqual(label, value):
            return f"{label} != {_quoted(value)}"
        case In(label, values):
            return f"{label} in {_set(values)}"
        case NotIn(label, values):
            return f"{label} not in {_set(values)}"
        case Contains(label, text):
            return f"{label} contains {_quoted(text)}"
        case StartsWith(label, text):
            return f"{label} starts with {_quoted(text)}"
        case EndsWith(label, text):
            return f"{label} ends with {_quoted(text)}"
        case Not(operand):
            return "!" + canonical_text(operand)
        case And(operands):
            return f"({' && '.join(map(canonical_text, operands))})"
        case Or(operands):
            return f"({' || '.join(map(canonical_text, operands))})"
        case All():
            return "all()"
    return "global()"


def identifier(prefix: str, text: str) -> str:
    """Return ``<prefix>:`` and 38 characters that stand for ``text``: its SHA-224 in base 64."""
    # Lone surrogates cannot come from the datastore; they must not make hashing fail either.
    digest = hashlib.sha224(f"{prefix}:{text}".encode(errors="surrogatepass")).digest()
    return f"{prefix}:{urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def named_port_uid(selector_uid: str, protocol: str, port_name: str) -> str:
    """Return the identifier of the addresses with a named port.

    ``protocol`` is ``tcp``, ``udp``, ``sctp``, or ``any`` for a rule that names none.
    """
    return identifier("n", f"{selector_uid},{protocol},{port_name}")


def _quoted(value: str) -> str:
    if '"' not in value:
        return f'"{value}"'
    if "'" in value:
        raise ValueError("a value with both kinds of quotes cannot be written")
    return f"'{value}'"


def _set(values: Iterable[str]) -> str:
    return "{" + ", ".join(map(_quoted, values)) + "}"
