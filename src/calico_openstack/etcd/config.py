"""How to reach an etcd cluster."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct


class EtcdConfig(Struct, frozen=True):
    """Connection parameters.

    *endpoints* are URLs (``http://host:port`` or ``https://host:port``; without a scheme, TLS is
    used when any of the files is given). The files are paths of PEM files, "" where unused; they
    are read again for every new connection, so renewed certificates are picked up. *timeout*
    limits each request, in seconds.
    """

    endpoints: tuple[str, ...] = ("http://127.0.0.1:2379",)
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    username: str = ""
    password: str = ""
    timeout: float = 10.0

    def __post_init__(self) -> None:
        """Raise ValueError for parameters that can never work."""
        if not self.endpoints:
            raise ValueError("no etcd endpoint given")
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("an etcd client certificate needs both its file and its key's file")
        for endpoint in self.endpoints:
            Endpoint.parse(endpoint, default_tls=False)

    def targets(self) -> tuple[Endpoint, ...]:
        """Return the endpoints in the order in which they are tried."""
        has_files = bool(self.ca_file or self.cert_file)
        return tuple(Endpoint.parse(url, default_tls=has_files) for url in self.endpoints)


class Endpoint(Struct, frozen=True):
    """One member's client address: *target* is ``host:port``, IPv6 in brackets."""

    target: str
    tls: bool

    @classmethod
    def parse(cls, url: str, *, default_tls: bool) -> Endpoint:
        """Parse a URL; raise ValueError when it is not usable."""
        scheme, separator, rest = url.strip().rpartition("://")
        if not separator:
            tls = default_tls
        elif scheme.lower() in ("http", "https"):
            tls = scheme.lower() == "https"
        else:
            raise ValueError(f"etcd endpoint {url!r}: the scheme must be http or https")
        target = rest.rstrip("/")
        host, _, port = target.rpartition(":")
        if not target or "/" in target or (":" in target and not target.endswith("]") and not host):
            raise ValueError(f"etcd endpoint {url!r}: expected host:port")
        if not host or target.endswith("]"):
            target = f"{target}:2379"
        elif not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"etcd endpoint {url!r}: port {port!r} is not a number below 65536")
        return cls(target, tls)


def read_pem(path: str) -> bytes | None:
    """Return the file's content, None for an empty path; raises OSError."""
    return Path(path).read_bytes() if path else None
