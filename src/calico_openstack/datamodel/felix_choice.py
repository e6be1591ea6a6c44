"""Which configuration of Felix that is for some hosts is for a given one. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from calico_openstack.datamodel.configuration import (
    GLOBAL_CONFIGURATION_NAME,
    NODE_CONFIGURATION_PREFIX,
    FelixConfiguration,
)
from calico_openstack.datamodel.nodes import Node
from calico_openstack.datamodel.selector import SelectorError, parse

NODE_SELECTOR: Final = "nodeSelector"
"""The member of the spec that says which hosts a configuration is for; no parameter."""


def selected_configuration(
    configurations: Iterable[FelixConfiguration], node: Node | None
) -> tuple[FelixConfiguration | None, tuple[str, ...]]:
    """Return the one configuration whose selector chooses this host, and warnings.

    Of several the oldest counts, by name if they are of one age. Without a node none does.
    """
    if node is None:
        return None, ()
    warnings: list[str] = []
    chosen: list[FelixConfiguration] = []
    for configuration in configurations:
        name = configuration.metadata.name
        if name == GLOBAL_CONFIGURATION_NAME or name.startswith(NODE_CONFIGURATION_PREFIX):
            continue
        selector = configuration.spec.get(NODE_SELECTOR)
        try:
            matches = isinstance(selector, str) and parse(selector).matches(node.metadata.labels)
        except SelectorError as error:
            warnings.append(f"FelixConfiguration {name} is ignored: nodeSelector: {error}")
            continue
        if not isinstance(selector, str):
            warnings.append(f"FelixConfiguration {name} is ignored: it has no nodeSelector")
        elif matches:
            chosen.append(configuration)
    chosen.sort(key=_age)
    warnings += [
        f"FelixConfiguration {other.metadata.name} is ignored: {chosen[0].metadata.name} is older"
        for other in chosen[1:]
    ]
    return (chosen[0] if chosen else None), tuple(warnings)


def _age(configuration: FelixConfiguration) -> tuple[str, str]:
    """Order by creation, then name. Times in UTC with whole seconds order as their text does."""
    metadata = configuration.metadata
    return metadata.creation_timestamp or "", metadata.name
