"""What the kernel can do, as a table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from calico_openstack.agent.introspection.protocol import Row
from calico_openstack.felix.kernel.features import FEATURES, Feature, conntrack_refusal, refusals
from calico_openstack.felix.render.dataplane import DesiredDataplane
from calico_openstack.felix.render.nft import NatMap


def features(desired: DesiredDataplane) -> Callable[[str], Iterable[Row]]:
    """Return the table of what the kernel can do; what it could once is not asked again."""
    refused: dict[str, str] = {}

    def rows(_match: str) -> Iterator[Row]:
        if not refused or any(refused.values()):
            refused.update({feature.name: reason for feature, reason in refusals()})
        used = set(_used(desired))
        for feature in FEATURES:
            yield {
                "feature": feature.name,
                "kernel": refused[feature.name] or "ok",
                "used": _use(feature, used),
                "for": feature.what,
                "modules": ",".join(name for name, _ in feature.modules),
            }
        yield {
            "feature": "table of connections",
            "kernel": conntrack_refusal() or "ok",
            "used": "yes",
            "for": "ending flows that lose their permission",
            "modules": "nf_conntrack_netlink",
        }

    return rows


def _use(feature: Feature, used: Collection[str]) -> str:
    if feature.always or feature.name in used:
        return "yes"
    return "optional" if feature.optional else "no"


def _used(desired: DesiredDataplane) -> Iterator[str]:
    """Yield the features that this host's rules make use of."""
    kinds = {
        type(expression)
        for state in desired.ruleset.values()
        for chain in state.chains.values()
        for rule in chain.rules
        for expression in rule.expressions
    }
    for feature in FEATURES:
        if any(type(each) in kinds for each in feature.expressions):
            yield feature.name
    if NatMap in kinds:
        yield "destination translation"
    if desired.shaping:
        yield "queueing"
