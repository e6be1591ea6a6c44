"""Where the datastore is: the configuration file, else the environment.

The file (``/etc/calico/calicoctl.cfg``) is used exclusively when it exists; a variable with the
prefix ``CALICO_`` wins over the one without (specification of the command line, section 3.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from calico_openstack.calicoctl import failures
from calico_openstack.datamodel import API_VERSION
from calico_openstack.etcd import EtcdConfig

DEFAULT_FILE: Final = "/etc/calico/calicoctl.cfg"
_VARIABLES: Final = {
    "datastoreType": "DATASTORE_TYPE",
    "etcdEndpoints": "ETCD_ENDPOINTS",
    "etcdUsername": "ETCD_USERNAME",
    "etcdPassword": "ETCD_PASSWORD",
    "etcdKeyFile": "ETCD_KEY_FILE",
    "etcdCertFile": "ETCD_CERT_FILE",
    "etcdCACertFile": "ETCD_CA_CERT_FILE",
}
_REQUEST_TIMEOUT: Final = 5.0  # seconds; an operator waits


class ConnectionConfigError(ValueError):
    """The connection's configuration cannot be used; the text says which part and why."""


def connection_config(path: str, environment: Mapping[str, str]) -> EtcdConfig:
    """Return how to connect; raises `ConnectionConfigError`."""
    file = Path(path)
    if file.exists():
        spec = _from_file(file)
    elif path != DEFAULT_FILE:
        raise ConnectionConfigError(f"configuration file {path} does not exist: correct --config")
    else:
        spec = {
            name: environment.get(f"CALICO_{variable}") or environment.get(variable, "")
            for name, variable in _VARIABLES.items()
        }
    if spec.get("datastoreType") not in (None, "", "etcdv3"):
        raise ConnectionConfigError(
            f"datastoreType '{spec['datastoreType']}' is not supported: use etcdv3"
        )
    endpoints = [part.strip() for part in str(spec.get("etcdEndpoints") or "").split(",")]
    try:
        return EtcdConfig(
            endpoints=tuple(filter(None, endpoints)) or ("http://127.0.0.1:2379",),
            ca_file=spec.get("etcdCACertFile") or "",
            cert_file=spec.get("etcdCertFile") or "",
            key_file=spec.get("etcdKeyFile") or "",
            username=spec.get("etcdUsername") or "",
            password=spec.get("etcdPassword") or "",
            timeout=_REQUEST_TIMEOUT,
        )
    except ValueError as error:
        raise ConnectionConfigError(f"etcd connection: {error}") from None


def _from_file(file: Path) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 - not needed, and slow to load, where there is no file

    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise ConnectionConfigError(failures.of_file(file, error)) from None
    if not isinstance(content, dict) or content.get("apiVersion") != API_VERSION:
        raise ConnectionConfigError(f"{file}: apiVersion must be {API_VERSION}")
    if content.get("kind") != "CalicoAPIConfig":
        raise ConnectionConfigError(f"{file}: kind must be CalicoAPIConfig")
    spec = content.get("spec") or {}
    unknown = sorted(set(spec) - set(_VARIABLES))
    if unknown:
        raise ConnectionConfigError(f"{file}: spec.{unknown[0]} is not known")
    return spec
