"""Workloads: what is remembered of each, and where."""

import re
import shutil
from pathlib import Path

import msgspec

from calico_openstack.agent.supervision import ProcessIdentity
from calico_openstack.lab.cloud import CloudError
from calico_openstack.lab.settings import Lab

# "vm-" and the lab's name come before it in the namespace; it is a host name in the guest.
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")
# Nova's name of a tap: "tap" and as much of the port's id as a link's name has room for.
TAP_ID_LENGTH = 11


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """A workload of the lab. `machine` is its QEMU process; None in a namespace of its own."""

    name: str
    host: str
    network: str
    port_id: str
    device_id: str
    mac: str
    addresses: tuple[str, ...]
    machine: ProcessIdentity | None = None

    @property
    def interface(self) -> str:
        """The link on the host, as Nova names it."""
        return tap_name(self.port_id)


def tap_name(port_id: str) -> str:
    """The name of the link on the host for a port."""
    return f"tap{port_id[:TAP_ID_LENGTH]}"


def check_name(name: str) -> None:
    """Raise CloudError when a workload cannot have this name."""
    reserved = {"tor", "client", "controller"}
    if not _NAME.fullmatch(name) or name in reserved or name.startswith("compute-"):
        raise CloudError(
            f"{name!r} cannot be a workload's name: use up to 32 lower-case letters, digits and "
            "dashes, beginning with a letter, and none of the names of the lab's hosts"
        )


class WorkloadStore:
    """What the lab remembers of its workloads: one folder for each."""

    def __init__(self, lab: Lab) -> None:
        self._folder = lab.workloads

    def folder(self, name: str) -> Path:
        """Where a workload's own files are."""
        return self._folder / name

    def names(self) -> list[str]:
        """All workloads, also those whose start was interrupted."""
        if not self._folder.is_dir():
            return []
        return sorted(entry.name for entry in self._folder.iterdir() if entry.is_dir())

    def all(self) -> list[Workload]:
        """All workloads in the order of their names."""
        return [known for name in self.names() if (known := self.find(name)) is not None]

    def find(self, name: str) -> Workload | None:
        """The workload of this name."""
        try:
            data = (self.folder(name) / "workload.json").read_bytes()
            return msgspec.json.decode(data, type=Workload)
        except (OSError, msgspec.DecodeError):
            return None

    def get(self, name: str) -> Workload:
        """The workload of this name. Raises CloudError."""
        workload = self.find(name)
        if workload is None:
            known = ", ".join(self.names()) or "none"
            raise CloudError(f"there is no workload {name!r} (there are: {known})")
        return workload

    def reserve(self, name: str) -> Path:
        """Make the folder of a new workload. Raises CloudError when the name is taken."""
        try:
            self.folder(name).mkdir(parents=True)
        except FileExistsError as error:
            raise CloudError(f"there is a workload {name!r} already") from error
        return self.folder(name)

    def save(self, workload: Workload) -> None:
        """Remember a workload."""
        path = self.folder(workload.name) / "workload.json"
        temporary = path.with_suffix(".new")
        temporary.write_bytes(msgspec.json.encode(workload))
        temporary.rename(path)

    def forget(self, name: str) -> None:
        """Remove a workload's folder."""
        shutil.rmtree(self.folder(name), ignore_errors=True)
