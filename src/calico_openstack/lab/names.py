"""What commands call things: processes, and themselves."""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from calico_openstack.agent.supervision import ProcessIdentity
from calico_openstack.lab import compute
from calico_openstack.lab.cloud import CloudError, topology_of
from calico_openstack.lab.processes import recorded_process
from calico_openstack.lab.settings import DEFAULT_NAME, Lab


def own_command(lab: Lab) -> str:
    """How the user can call `calico-lab` for this lab: by name if that is found, else by path."""
    found = shutil.which("calico-lab") is not None
    name = "calico-lab" if found else os.path.relpath(Path(sys.prefix) / "bin" / "calico-lab")
    return name if lab.name == DEFAULT_NAME else f"{name} --lab {lab.name}"


@dataclass(frozen=True)
class Daemon:
    """A process that an agent starts to outlive it, such as bird@compute-1.

    `processes` are the ones that run now; `agent` is the process that keeps them running.
    """

    name: str
    agent: str
    processes: tuple[ProcessIdentity, ...]


def daemon(lab: Lab, name: str) -> Daemon | None:
    """The daemon of this name; None when the supervisor itself runs the process.

    Raises CloudError when there is no such host.
    """
    kind, _, host_name = name.partition("@")
    owner = compute.DAEMONS.get(kind)
    if owner is None or not host_name.startswith("compute-"):
        return None
    topology = topology_of(lab, complete=False)
    for host in topology.compute:
        if host.name == host_name:
            files = compute.run_folder(lab, host.name).glob(compute.PROCESS_FILES[kind])
            found = (recorded_process(path) for path in sorted(files))
            running = tuple(identity for identity in found if identity is not None)
            return Daemon(name, compute.process_name(owner, host), running)
    raise CloudError(f"there is no compute host {host_name!r}")
