"""The addresses at which workloads find their host as BGP neighbour (``localWorkloadPeeringIPV4``
and ``V6``): the same on every host, on an interface of their own that leads nowhere, a bridge
without ports."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Collection, Iterator
from typing import Final

from calico_openstack.datamodel.addresses import Address, parse_address

INTERFACE: Final = "bgp-peering"

_TIMEOUT: Final = 10.0


def hold(wanted: Collection[Address]) -> None:
    """Have the host own the *wanted* addresses, and those only. Raises OSError."""
    for arguments in changes(_present(), wanted):
        _ip(*arguments)


def changes(
    present: Collection[Address] | None, wanted: Collection[Address]
) -> Iterator[tuple[str, ...]]:
    """Yield the arguments of ``ip`` that lead from the *present* addresses, None without the
    interface, to the *wanted* ones. Pure."""
    if not wanted:
        if present is not None:
            yield ("link", "delete", INTERFACE)
        return
    if present is None:
        yield ("link", "add", INTERFACE, "type", "bridge")
        yield ("link", "set", INTERFACE, "up")
    there = set(present or ())
    for address in sorted(there - set(wanted), key=str):
        yield ("address", "delete", _host(address), "dev", INTERFACE)
    for address in sorted(set(wanted) - there, key=str):
        yield ("address", "add", _host(address), "dev", INTERFACE)


def _host(address: Address) -> str:
    return f"{address}/{address.max_prefixlen}"


def _present() -> list[Address] | None:
    result = subprocess.run(
        ["ip", "-json", "address", "show", "dev", INTERFACE],
        capture_output=True,
        timeout=_TIMEOUT,
        check=False,
    )
    if result.returncode != 0:
        return None
    try:
        entries = [entry for link in json.loads(result.stdout) for entry in link["addr_info"]]
    except (ValueError, KeyError) as error:
        raise OSError(f"cannot read the addresses of {INTERFACE}: {error}") from error
    found = (parse_address(entry["local"]) for entry in entries if entry.get("scope") == "global")
    return [address for address in found if address is not None]


def _ip(*arguments: str) -> None:
    try:
        subprocess.run(["ip", *arguments], capture_output=True, timeout=_TIMEOUT, check=True)
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()
        raise OSError(f"ip {' '.join(arguments)}: {said}") from error
    except subprocess.TimeoutExpired as error:
        raise OSError(str(error)) from error
