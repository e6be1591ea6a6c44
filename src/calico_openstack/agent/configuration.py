"""What an agent is told on its own host: configuration file, environment, and from them etcd.

Names are case-insensitive everywhere and kept in lower case. An empty value counts as not set.
The environment wins over the file.
"""

from __future__ import annotations

import configparser
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from calico_openstack.etcd import EtcdConfig

TRUE: Final = frozenset({"true", "1", "yes", "y", "t"})
FALSE: Final = frozenset({"false", "0", "no", "n", "f"})

# The names that other clients of the same cluster honour, and the setting that each means.
_ETCD_VARIABLES: Final = {
    "ETCD_ENDPOINTS": "etcdendpoints",
    "ETCD_CA_CERT_FILE": "etcdcafile",
    "ETCD_CERT_FILE": "etcdcertfile",
    "ETCD_KEY_FILE": "etcdkeyfile",
    "ETCD_USERNAME": "etcdusername",
    "ETCD_PASSWORD": "etcdpassword",
}


class ConfigurationError(Exception):
    """A setting that cannot be used; the text names it."""


def read_file(path: Path) -> dict[str, str]:
    """Return the settings of an INI file; sections are irrelevant, and may be left out.

    A missing file has no settings. Raises ConfigurationError for one that cannot be understood.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    parser = configparser.ConfigParser(interpolation=None, strict=False, default_section="")
    try:
        parser.read_string("[global]\n" + text, source=str(path))
    except configparser.Error as error:
        raise ConfigurationError(f"{path}: {error}") from error
    settings: dict[str, str] = {}
    for section in parser.sections():
        settings.update(parser.items(section))
    return {name: value.strip() for name, value in settings.items() if value.strip()}


def read_environment(environment: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Return the settings among the variables: ``<prefix>NAME`` (any case), and etcd's own names.

    etcd's parameters may be given as ``ETCD_ENDPOINTS``, ``CALICO_ETCD_ENDPOINTS`` or
    ``<prefix>ETCDENDPOINTS``, with later ones in this list winning.
    """
    settings: dict[str, str] = {}
    for variable_prefix in ("", "CALICO_"):
        for variable, name in _ETCD_VARIABLES.items():
            if value := environment.get(variable_prefix + variable, "").strip():
                settings[name] = value
    folded = prefix.casefold()
    for variable, value in environment.items():
        if variable.casefold().startswith(folded) and value.strip():
            settings[variable[len(prefix) :].lower()] = value.strip()
    return settings


class LocalSettings(Struct, frozen=True):
    """The settings of one host, by lower-cased name."""

    file: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(
        cls, path: Path, prefix: str, environment: Mapping[str, str] | None = None
    ) -> LocalSettings:
        """Read the file and the environment (the process's own by default)."""
        variables = os.environ if environment is None else environment
        return cls(read_file(path), read_environment(variables, prefix))

    def text(self, name: str, default: str = "") -> str:
        """Return a setting; *name* in any case."""
        key = name.lower()
        return self.environment.get(key) or self.file.get(key) or default

    def boolean(self, name: str, default: bool) -> bool:
        """Return a setting that is true or false; raises ConfigurationError."""
        value = self.text(name).lower()
        if not value:
            return default
        if value in TRUE:
            return True
        if value in FALSE:
            return False
        raise ConfigurationError(f"{name}: {value!r} is neither true nor false")

    def integer(self, name: str, default: int, *, low: int = 0, high: int = 2**31 - 1) -> int:
        """Return a whole number between *low* and *high*; raises ConfigurationError."""
        return int(self._number(name, default, low, high, int))

    def seconds(self, name: str, default: float) -> float:
        """Return a length of time, not negative, in seconds; raises ConfigurationError."""
        return self._number(name, default, 0, 1e9, float)

    def path(self, name: str, default: str) -> Path:
        """Return a path."""
        return Path(self.text(name, default))

    def _number(
        self, name: str, default: float, low: float, high: float, kind: type[int] | type[float]
    ) -> float:
        value = self.text(name)
        if not value:
            return default
        try:
            number = kind(value)
        except ValueError as error:
            raise ConfigurationError(f"{name}: {value!r} is not a number") from error
        if not low <= number <= high:
            raise ConfigurationError(f"{name}: {value} is not between {low} and {high}")
        return number


def host_name(settings: LocalSettings, *names: str) -> str:
    """Return this host's name in keys: the first of the settings *names* that is set, as it is.

    Without any, the operating system's host name in lower case. Nova's ``host`` must be the same.
    """
    for name in names:
        if value := settings.text(name):
            return value
    return socket.gethostname().strip().lower()


def etcd_config(settings: LocalSettings) -> EtcdConfig:
    """Return how to reach etcd; raises ConfigurationError.

    ``EtcdEndpoints`` is a comma-separated list of URLs; without it, ``EtcdScheme`` (http) and
    ``EtcdAddr`` (127.0.0.1:2379) are combined.
    """
    endpoints = tuple(
        part.strip() for part in settings.text("EtcdEndpoints").split(",") if part.strip()
    )
    if not endpoints:
        scheme = settings.text("EtcdScheme", "http").lower()
        endpoints = (f"{scheme}://{settings.text('EtcdAddr', '127.0.0.1:2379')}",)
    for name in ("EtcdCaFile", "EtcdCertFile", "EtcdKeyFile"):
        path = settings.text(name)
        if path and not Path(path).is_file():
            raise ConfigurationError(f"{name}: there is no file {path}")
    try:
        return EtcdConfig(
            endpoints=endpoints,
            ca_file=settings.text("EtcdCaFile"),
            cert_file=settings.text("EtcdCertFile"),
            key_file=settings.text("EtcdKeyFile"),
            username=settings.text("EtcdUsername"),
            password=settings.text("EtcdPassword"),
        )
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
