"""Where a lab lives: its name, its folders and the names of its namespaces."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

DEFAULT_NAME = "calico"
DEFAULT_STATE_ROOT = Path("/var/lib/calico-lab")
DEFAULT_CACHE = Path("/var/cache/calico-lab")

_NAME = re.compile(r"[a-z][a-z0-9]{0,11}")
_MEMBER = re.compile(r"tor|client|controller|compute-[0-9]+|vm-[a-z0-9-]+")


class SettingsError(ValueError):
    """A lab name or a folder that cannot be used."""


@dataclass(frozen=True)
class Lab:
    """One lab on this machine.

    Several labs can run side by side: everything that a lab owns is found from its name
    (namespaces) or lies below `state`. A name has no dash, so that the names of one lab's
    namespaces can never begin like those of another.
    """

    name: str = DEFAULT_NAME
    state: Path = DEFAULT_STATE_ROOT / DEFAULT_NAME
    cache: Path = DEFAULT_CACHE

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SettingsError(
                f"{self.name!r} cannot be a lab's name: "
                "use 1 to 12 lower-case letters and digits, beginning with a letter"
            )

    @classmethod
    def named(cls, name: str, root: Path | None = None, cache: Path | None = None) -> "Lab":
        """The lab of this name below `root` (default /var/lib/calico-lab)."""
        return cls(name, (root or DEFAULT_STATE_ROOT) / name, cache or DEFAULT_CACHE)

    @classmethod
    def from_environment(cls) -> "Lab":
        """The lab that CALICO_LAB, CALICO_LAB_STATE and CALICO_LAB_CACHE name."""
        return cls.named(
            os.environ.get("CALICO_LAB", DEFAULT_NAME),
            Path(os.environ.get("CALICO_LAB_STATE", DEFAULT_STATE_ROOT)),
            Path(os.environ.get("CALICO_LAB_CACHE", DEFAULT_CACHE)),
        )

    def namespace(self, host: str) -> str:
        """The network namespace of a host of the lab ("compute-1", "tor", ...)."""
        return f"{self.name}-{host}"

    def workload_namespace(self, workload: str) -> str:
        """The network namespace of a workload."""
        return f"{self.name}-vm-{workload}"

    def owns_namespace(self, namespace: str) -> bool:
        """Whether a namespace of this name belongs to this lab, and to no other."""
        owner, dash, member = namespace.partition("-")
        return owner == self.name and bool(dash) and bool(_MEMBER.fullmatch(member))

    @property
    def run(self) -> Path:
        """Sockets and process ids."""
        return self.state / "run"

    @property
    def logs(self) -> Path:
        """One log file per process."""
        return self.state / "log"

    @property
    def workloads(self) -> Path:
        """One folder per workload."""
        return self.state / "workloads"

    @property
    def control_socket(self) -> Path:
        """Where the supervisor listens."""
        return self.run / "supervisor.sock"

    @property
    def api_socket(self) -> Path:
        """Where Neutron's API listens for the lab's own commands."""
        return self.run / "neutron.sock"

    @property
    def keystone_socket(self) -> Path:
        """Where Keystone's API listens for them, in a lab with Nova."""
        return self.run / "keystone.sock"

    def host_folder(self, host: str) -> Path:
        """Configuration and state of one host."""
        return self.state / "hosts" / host

    def log_file(self, process: str) -> Path:
        """The log of one process."""
        return self.logs / f"{process}.log"
