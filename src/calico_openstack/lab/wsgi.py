"""Web services of the lab under uWSGI: the text of their configuration. Pure.

Choices that are not obvious:

* ``need-app``: without it a server with a mistake in its configuration lives and answers 500.
* ``Connection: close``: uWSGI otherwise resets connections that clients keep.
* ``lazy-apps``: each process loads the application itself, after the fork.
"""

from collections.abc import Sequence
from pathlib import Path

from calico_openstack.lab.ini import section


def tcp_address(host: str, port: int) -> str:
    """How uWSGI writes where to listen: an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def uwsgi_conf(
    *,
    name: str,
    module: str,
    listen: Sequence[str],
    prefix: Path,
    processes: int,
    threads: int,
) -> str:
    """The configuration of a server of one WSGI application, named `module:object`.

    `listen` are addresses (see `tcp_address`) and paths of Unix sockets; `prefix` is the Python
    environment.
    """
    text = section(
        "uwsgi",
        {
            "module": module,
            "virtualenv": prefix,
            "need-app": True,
            "master": True,
            "no-orphans": True,
            "processes": processes,
            "threads": threads,
            "enable-threads": True,
            "lazy-apps": True,
            "die-on-term": True,
            "worker-reload-mercy": 5,
            "add-header": "Connection: close",
            "buffer-size": 65535,
            "procname-prefix-spaced": name,
        },
    )
    return text + "".join(f"http-socket = {address}\n" for address in listen)
