"""Selectors made from selectors."""

from __future__ import annotations

from typing import Final

import msgspec

from calico_openstack.datamodel.selector.nodes import And, Node, Not, Or

NAMESPACE_PREFIX: Final = "pcns."
SERVICE_ACCOUNT_PREFIX: Final = "pcsa."


def with_label_prefix(node: Node, prefix: str) -> Node:
    """Return the tree with ``prefix`` in front of every label name.

    Labels inherited from namespaces and service accounts are kept apart from an endpoint's own by
    `NAMESPACE_PREFIX` and `SERVICE_ACCOUNT_PREFIX`.
    """
    if isinstance(node, Not):
        return Not(with_label_prefix(node.operand, prefix))
    if isinstance(node, And | Or):
        operands = tuple(with_label_prefix(operand, prefix) for operand in node.operands)
        return type(node)(operands)
    label = getattr(node, "label", None)
    return node if label is None else msgspec.structs.replace(node, label=prefix + label)
