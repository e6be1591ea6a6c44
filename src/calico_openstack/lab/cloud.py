"""A lab as the commands find it: what is remembered of it, and the ways to talk to it."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from calico_openstack.lab.bgp_layout import BgpLayout
from calico_openstack.lab.control import Supervisor
from calico_openstack.lab.keystone_api import Keystone
from calico_openstack.lab.neutron_api import NeutronApi
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.topology import Topology, plan

# Namespaces are the machine's, so a lab is locked by its name, wherever its folder is.
LOCKS = Path("/run/lock")


class CloudError(Exception):
    """The lab is not in the state that the command needs."""


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered about a lab that was begun."""

    hosts: int
    complete: bool = False
    bgp: BgpLayout = BgpLayout.MESH
    nova: bool = False


@contextmanager
def exclusive(lab: Lab) -> Iterator[None]:
    """Hold the lab's lock, so that two commands do not build and remove it at once."""
    LOCKS.mkdir(parents=True, exist_ok=True)
    with (LOCKS / f"calico-lab-{lab.name}").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CloudError(f"another command is changing the lab {lab.name}") from error
        yield


def describe(lab: Lab) -> Description | None:
    """What is remembered about the lab; None when there is none."""
    try:
        return msgspec.json.decode((lab.state / "lab.json").read_bytes(), type=Description)
    except (OSError, msgspec.DecodeError):
        return None


def remember(lab: Lab, description: Description) -> None:
    """Replace what is remembered about the lab."""
    path = lab.state / "lab.json"
    temporary = path.with_suffix(".new")
    temporary.write_bytes(msgspec.json.encode(description))
    temporary.rename(path)


def topology_of(lab: Lab, *, complete: bool = True) -> Topology:
    """The topology of a lab that is up; with `complete` false also of one only begun.

    Raises CloudError.
    """
    description = describe(lab)
    if description is None or (complete and not description.complete):
        raise CloudError(f"the lab {lab.name} is not up; start it with: calico-lab up")
    return plan(description.hosts)


def supervisor(lab: Lab) -> Supervisor:
    """The lab's supervisor."""
    return Supervisor(lab.control_socket)


def api(lab: Lab) -> NeutronApi:
    """The lab's Neutron, as its administrator.

    Raises RestError when a Keystone has to be asked and does not answer.
    """
    description = describe(lab)
    token = Keystone(lab).token() if description is not None and description.nova else None
    return NeutronApi(lab.api_socket, token=token)
