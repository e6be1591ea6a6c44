"""What is programmed in place of a chain that the kernel refused: it lets nothing pass. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from calico_openstack.felix.render.nft import (
    DROP,
    Chain,
    Compare,
    Counter,
    Field,
    Rule,
)

_NAMES = (Field.IIFNAME, Field.OIFNAME)
_COMMENT = "closed: the kernel refused this chain's rules"


def closed_chain(chain: Chain) -> tuple[Chain, tuple[str, ...]]:
    """Return the closed form of *chain* and hashes for it that no wanted chain ever has.

    An ordinary chain drops all that reaches it. A base chain sees the host's own traffic too: it
    drops what its rules would have looked at by a prefix of interface names (the workloads), what
    is forwarded in both directions, and leaves the rest alone. A chain that translates addresses
    just stays empty.
    """
    if chain.hook is None:
        rules = [Rule((Counter(), DROP), _COMMENT)]
    elif chain.hook.type == "filter":
        found = [guard for rule in chain.rules if (guard := _workloads(rule))]
        if chain.hook.hook == "forward":
            found = [replace(guard, field=name) for name in _NAMES for guard in found]
        guards = dict.fromkeys(found)
        rules = [Rule((guard, Counter(), DROP), _COMMENT) for guard in guards]
    else:
        rules = []
    # Sixteen characters like a hash, but with a sign that base64 has not.
    return Chain(tuple(rules), chain.hook), ("closed**********",) * len(rules)


def _workloads(rule: Rule) -> Compare | None:
    for expression in rule.expressions:
        if (
            isinstance(expression, Compare)
            and expression.field in _NAMES
            and expression.prefix
            and not expression.invert
        ):
            return expression
    return None
