"""Taking a lab down, in whatever state it is.

Nothing has to cooperate: every process of a lab is in one of its namespaces, where the kernel
finds it, and is killed; the links go with the namespaces.
"""

import contextlib
import shutil

import msgspec

from calico_openstack.lab import namespaces
from calico_openstack.lab.cloud import CloudError
from calico_openstack.lab.processes import Record, kill_group
from calico_openstack.lab.settings import Lab


def down(lab: Lab) -> int:
    """Remove everything that belongs to the lab but the cache; return how many processes ended.

    Raises CloudError or NamespaceError when something resists.
    """
    names = own_namespaces(lab)
    killed = namespaces.kill_processes(names)
    _kill_recorded(lab)
    for name in names:
        namespaces.delete(name)
    shutil.rmtree(lab.state, ignore_errors=True)
    with contextlib.suppress(OSError):
        lab.state.parent.rmdir()  # it stays when other labs are in it
    left = leftovers(lab)
    if left:
        raise CloudError(f"could not be removed: {', '.join(left)}")
    return killed


def own_namespaces(lab: Lab) -> list[str]:
    """The names of the lab's namespaces, its workloads' among them."""
    return sorted(name for name in namespaces.existing() if lab.owns_namespace(name))


def leftovers(lab: Lab) -> list[str]:
    """What there is of the lab: namespaces and its folder."""
    return own_namespaces(lab) + ([str(lab.state)] if lab.state.exists() else [])


def _kill_recorded(lab: Lab) -> None:
    """Kill recorded processes that no name leads to, as when somebody removed a namespace's."""
    try:
        data = (lab.run / "processes.json").read_bytes()
        records = msgspec.json.decode(data, type=list[Record])
    except (OSError, msgspec.DecodeError):
        return
    for record in records:
        if record.identity is not None:
            kill_group(record.identity)
