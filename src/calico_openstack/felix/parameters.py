"""The parameters that come from the datastore, and whether a change of them needs a restart.

Pure bookkeeping: values come in as resources, the meaning of the layers is in `felix.config`.

A resource whose envelope is wrong is used as far as it was read. A FelixConfiguration that cannot
be read is no reason to fall back to defaults: those of ``InterfacePrefix`` and of the ports that
are always open would open what it closes. Felix goes on with what it runs with, and does not start.
"""

from __future__ import annotations

from calico_openstack.agent.configuration import LocalSettings
from calico_openstack.datamodel.configuration import (
    GLOBAL_CONFIGURATION_NAME,
    NODE_CONFIGURATION_PREFIX,
    ClusterInformation,
    FelixConfiguration,
)
from calico_openstack.datamodel.invalid import Invalid, as_far_as_read
from calico_openstack.datamodel.keys import ResourceKey, prefix_of
from calico_openstack.datamodel.nodes import Node
from calico_openstack.datamodel.resource import Resource
from calico_openstack.felix.config import (
    FelixSettings,
    Resolution,
    Sources,
    resolve,
    restart_needed,
)


class ParameterSources:
    """All that settings are made from, as known now.

    *host* is this host's name.
    """

    def __init__(self, local: LocalSettings, host: str) -> None:
        self.host = host
        self._local = local
        self._cluster_information: ClusterInformation | None = None
        self._configurations: dict[str, FelixConfiguration] = {}
        self._unreadable: dict[str, str] = {}
        self._node: Node | None = None

    def prefixes(self) -> tuple[str, ...]:
        """Return the prefixes of the keys that are needed; that of the node may catch others."""
        return (
            prefix_of(ClusterInformation.KIND) + GLOBAL_CONFIGURATION_NAME,
            prefix_of(FelixConfiguration.KIND),
            prefix_of(Node.KIND) + self.host,
        )

    def update(self, key: ResourceKey, value: Resource | Invalid | None) -> bool:
        """Take up the present value of a key; return whether it is one that matters here."""
        match key.kind:
            case ClusterInformation.KIND:
                if key.name == GLOBAL_CONFIGURATION_NAME:
                    usable = isinstance(value, ClusterInformation)
                    self._cluster_information = value if usable else None  # type: ignore[assignment]
            case FelixConfiguration.KIND:
                self._update_configuration(key.name, value)
            case Node.KIND:
                if key.name == self.host:
                    found = as_far_as_read(value)
                    self._node = found if isinstance(found, Node) else None
            case _:
                return False
        return True

    def _update_configuration(self, name: str, value: Resource | Invalid | None) -> None:
        self._configurations.pop(name, None)
        self._unreadable.pop(name, None)
        found = as_far_as_read(value)
        if isinstance(found, FelixConfiguration):
            self._configurations[name] = found
        elif isinstance(value, Invalid):
            self._unreadable[name] = "; ".join(map(str, value.reasons))

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Which configurations for this host cannot be read, and why.

        Whom one with another name selects cannot be told: it is for nobody.
        """
        names = (GLOBAL_CONFIGURATION_NAME, NODE_CONFIGURATION_PREFIX + self.host)
        return tuple(
            f"{FelixConfiguration.KIND} {name} cannot be read: {self._unreadable[name]}"
            for name in names
            if name in self._unreadable
        )

    @property
    def datastore_ready(self) -> bool:
        """Whether the cluster's owner says that the datastore is to be used."""
        information = self._cluster_information
        return information is not None and information.spec.datastore_ready is True

    def resolution(self) -> Resolution:
        """Return the settings that follow."""
        return resolve(
            Sources(
                host=self.host,
                file=self._local.file,
                environment=self._local.environment,
                configurations=tuple(self._configurations.values()),
                cluster_information=self._cluster_information,
                node=self._node,
                unreadable=self.unreadable,
            )
        )


class ParameterWatch:
    """Compares the settings that would apply now with those that this process runs with."""

    def __init__(self, sources: ParameterSources, running: FelixSettings) -> None:
        self._sources = sources
        self._running = running
        self._changed = False

    @property
    def settings(self) -> FelixSettings:
        """What runs now, with those parameters updated that take effect at once."""
        return self._running

    def update(self, key: ResourceKey, value: Resource | Invalid | None) -> bool:
        """Take up the present value of a key; return whether it is about parameters."""
        concerned = self._sources.update(key, value)
        self._changed = self._changed or concerned
        return concerned

    def reason_to_restart(self) -> str:
        """Return why this process has to start anew, "" if it may go on.

        It may while a configuration cannot be read, of which the log tells.
        """
        if not self._changed or (self._sources.datastore_ready and self._sources.unreadable):
            return ""
        self._changed = False
        if not self._sources.datastore_ready:
            return "the datastore is no longer declared ready"
        resolution = self._sources.resolution()
        if resolution.errors:
            return f"the configuration became unusable: {resolution.errors[0]}"
        names = restart_needed(self._running, resolution.settings)
        if names:
            return f"changed parameters: {', '.join(names)}"
        if self._running.openstack != resolution.settings.openstack:
            return "the type of the cluster changed"
        self._running = resolution.settings
        return ""
