"""From the layers of sources to the settings.

Each layer shadows the ones below it, parameter by parameter. Every layer is read, also where it
is shadowed. A bad value at the top gives the default, not the next layer's value; a bad value of
a fatal parameter in any layer makes the configuration unusable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct, field

from calico_openstack.datamodel.configuration import (
    GLOBAL_CONFIGURATION_NAME,
    ClusterInformation,
    FelixConfiguration,
)
from calico_openstack.datamodel.felix_choice import selected_configuration
from calico_openstack.datamodel.invalid import quoted
from calico_openstack.datamodel.nodes import Node
from calico_openstack.felix.config.kinds import BOOLEAN
from calico_openstack.felix.config.parameters import WITHOUT_EFFECT, Parameter
from calico_openstack.felix.config.resources import (
    Unreadable,
    host_configuration_name,
    parameters_of,
    parameters_of_cluster,
    parameters_of_node,
)
from calico_openstack.felix.config.settings import ATTRIBUTES, PARAMETERS, FelixSettings

Layer = Mapping[str, str | Unreadable]

_BPF_ENABLED: Final = "bpfenabled"


class Sources(Struct, frozen=True, kw_only=True):
    """Everything that settings come from.

    ``host`` is this host's name, unless FelixHostname gives another. ``file``, ``environment`` and
    ``override`` hold text by parameter name in any case, ``configurations`` every
    FelixConfiguration of the cluster. ``unreadable`` says which of those that would count cannot
    be read: what they hold must not be guessed.
    """

    host: str
    file: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    override: Mapping[str, str] = field(default_factory=dict)
    configurations: Iterable[FelixConfiguration] = ()
    cluster_information: ClusterInformation | None = None
    node: Node | None = None
    unreadable: tuple[str, ...] = ()


class Finding(Struct, frozen=True):
    """Something about the configuration that an operator should know.

    ``source`` is the layer, ``name`` the parameter, or both are empty.
    """

    source: str
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.source}: {self.name}: {self.text}" if self.name else self.text


class Resolution(Struct, frozen=True, kw_only=True):
    """The settings, where each came from, and what is to be said about them.

    ``origins`` has the layer of every parameter that is not at its default, by attribute.
    With any ``errors`` the settings must not be used.
    """

    settings: FelixSettings
    origins: Mapping[str, str]
    errors: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    notices: tuple[Finding, ...]


def resolve(sources: Sources) -> Resolution:
    """Return the settings that the sources give."""
    resolving = _Resolving()
    resolving.errors += [Finding("", "", text) for text in sources.unreadable]
    for name, layer, local in _layers(sources, resolving):
        resolving.read(name, layer, local=local)
    return resolving.resolution(sources.host)


def restart_needed(before: FelixSettings, after: FelixSettings) -> tuple[str, ...]:
    """Return the names of changed parameters that take effect only after a restart."""
    return tuple(PARAMETERS[a].name for a in _changed(before, after) if not PARAMETERS[a].absorbed)


def absorbed(before: FelixSettings, after: FelixSettings) -> tuple[str, ...]:
    """Return the names of changed parameters that take effect at once."""
    return tuple(PARAMETERS[a].name for a in _changed(before, after) if PARAMETERS[a].absorbed)


def _changed(before: FelixSettings, after: FelixSettings) -> list[str]:
    return [name for name in PARAMETERS if getattr(before, name) != getattr(after, name)]


def _layers(sources: Sources, resolving: _Resolving) -> Iterable[tuple[str, Layer, bool]]:
    """Return name, parameters and whether it is local of every layer, the lowest first."""
    named = {c.metadata.name: c for c in sources.configurations}
    selected, warnings = selected_configuration(named.values(), sources.node)
    resolving.warnings += [Finding("", "", text) for text in warnings]
    layers: list[tuple[str, Layer, bool]] = []
    if sources.cluster_information is not None:
        information = parameters_of_cluster(sources.cluster_information)
        layers.append(("ClusterInformation", information, True))
    host = _host_of(sources)
    host_name = host_configuration_name(host)
    for configuration in (named.get(GLOBAL_CONFIGURATION_NAME), selected, named.get(host_name)):
        if configuration is not None:
            where = f"FelixConfiguration {configuration.metadata.name}"
            layers.append((where, parameters_of(configuration), False))
    if sources.node is not None:
        layers.append((f"Node {host}", parameters_of_node(sources.node), True))
    for where, given in (
        ("configuration file", sources.file),
        ("environment", sources.environment),
        ("override", sources.override),
    ):
        layers.append((where, {name.lower(): text for name, text in given.items()}, True))
    return layers


def _host_of(sources: Sources) -> str:
    """Return the name of this host: that of FelixHostname in the highest local source."""
    for given in (sources.override, sources.environment, sources.file):
        for name, text in given.items():
            if name.lower() == "felixhostname" and text:
                return text
    return sources.host


class _Resolving:
    """Values gathered while the layers are read from the lowest to the highest."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self.errors: list[Finding] = []
        self.warnings: list[Finding] = []
        self.notices: list[Finding] = []

    def read(self, source: str, layer: Layer, *, local: bool) -> None:
        """Take a layer; what it sets shadows the layers before it."""
        for name, text in layer.items():
            if isinstance(text, str) and not text.strip():
                continue
            attribute = ATTRIBUTES.get(name)
            if attribute is None:
                self._read_other(source, name, text)
                continue
            declared = PARAMETERS[attribute]
            if declared.local and not local:
                finding = Finding(source, declared.name, "is taken from file and environment only")
                self.warnings.append(finding)
                continue
            self._read(source, attribute, declared, text)

    def _read(
        self, source: str, attribute: str, declared: Parameter, text: str | Unreadable
    ) -> None:
        try:
            value = _parsed(declared, text)
        except (ValueError, OverflowError):
            shown = text.value if isinstance(text, Unreadable) else quoted(text)
            problem = f"{shown} is not {declared.kind.description}"
            if declared.fatal:
                self.errors.append(Finding(source, declared.name, problem))
            else:
                problem += f"; the default, {quoted(declared.default)}, is used"
                self.warnings.append(Finding(source, declared.name, problem))
            # The default, and not the value of a lower layer.
            self.values.pop(attribute, None)
            self.origins.pop(attribute, None)
            return
        self.values[attribute] = value
        self.origins[attribute] = source

    def _read_other(self, source: str, name: str, text: str | Unreadable) -> None:
        """Note names that are no parameters here; upstream's others are accepted silently."""
        if name == _BPF_ENABLED and isinstance(text, str) and _is_true(text):
            self.errors.append(Finding(source, "BPFEnabled", "is not supported"))
        elif name in WITHOUT_EFFECT:
            self.notices.append(Finding(source, name, "has no effect here"))
        else:
            self.notices.append(Finding(source, name, "is not known"))

    def resolution(self, host: str) -> Resolution:
        """Return the result, after the checks that take more than one parameter."""
        settings = FelixSettings(**{"felix_hostname": host} | self.values)
        if not settings.use_internal_dataplane_driver:
            finding = Finding("", "UseInternalDataplaneDriver", "must be true")
            self.errors.append(finding)
        if settings.nftables_mode == "Disabled":
            finding = Finding("", "NFTablesMode", "nftables are used although it says Disabled")
            self.warnings.append(finding)
        self.warnings += [
            Finding(source, PARAMETERS[attribute].name, "has no effect here")
            for attribute, source in self.origins.items()
            if PARAMETERS[attribute].inert
            and getattr(settings, attribute) != PARAMETERS[attribute].default
        ]
        return Resolution(
            settings=settings,
            origins=self.origins,
            errors=tuple(self.errors),
            warnings=tuple(self.warnings),
            notices=tuple(self.notices),
        )


def _parsed(declared: Parameter, text: str | Unreadable) -> Any:
    """Return the value of a parameter's text. Raises ValueError."""
    if isinstance(text, Unreadable):
        raise ValueError
    stripped = text.strip()
    if stripped.lower() != "none":
        return declared.kind.parse(stripped)
    if declared.nonzero:
        raise ValueError
    return declared.kind.zero


def _is_true(text: str) -> bool:
    try:
        return BOOLEAN.parse(text.strip())
    except ValueError:
        return False
