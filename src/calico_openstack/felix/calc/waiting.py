"""Policies that wait to be read until a local endpoint has the label that they are about."""

from __future__ import annotations

from collections.abc import Iterable

from calico_openstack.datamodel.deferred import DeferredPolicy
from calico_openstack.datamodel.keys import ResourceKey


class WaitingPolicies:
    """Deferred policies by key and by label."""

    def __init__(self) -> None:
        self._labels: dict[ResourceKey, str] = {}
        self._by_label: dict[str, dict[ResourceKey, DeferredPolicy]] = {}

    def add(self, key: ResourceKey, policy: DeferredPolicy) -> None:
        """Let a policy that does not wait begin to."""
        self._labels[key] = policy.label
        self._by_label.setdefault(policy.label, {})[key] = policy

    def discard(self, key: ResourceKey) -> None:
        """Forget a policy if it waits."""
        label = self._labels.pop(key, None)
        if label is not None:
            waiting = self._by_label[label]
            del waiting[key]
            if not waiting:
                del self._by_label[label]

    def take(self, labels: Iterable[str]) -> list[tuple[ResourceKey, DeferredPolicy]]:
        """Return the policies that are about one of *labels*; they wait no longer."""
        taken: list[tuple[ResourceKey, DeferredPolicy]] = []
        for label in labels:
            taken += self._by_label.pop(label, {}).items()
        for key, _ in taken:
            del self._labels[key]
        return taken
