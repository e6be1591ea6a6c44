"""Talking to the lab's supervisor: one JSON line asked, one JSON line answered."""

import socket
import time
from pathlib import Path

import msgspec

from calico_openstack.lab.lifecycle import State
from calico_openstack.lab.processes import ProcessSpec, Snapshot

LINE_LIMIT = 4 << 20


class ControlError(Exception):
    """The supervisor does not run, or refused."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """`operation` is one of list, add, remove, start, stop, restart, kill."""

    operation: str
    name: str = ""
    spec: ProcessSpec | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """`error` is empty when it was done. `processes` answers "list"."""

    error: str = ""
    processes: tuple[Snapshot, ...] = ()


def read_line(connection: socket.socket) -> bytes:
    """Read up to a newline or the end. Raises OSError, also when it takes too long."""
    data = b""
    while not data.endswith(b"\n") and len(data) < LINE_LIMIT:
        more = connection.recv(65536)
        if not more:
            break
        data += more
    return data


class Supervisor:
    """The supervisor of one lab, seen from a command."""

    def __init__(self, control_socket: Path) -> None:
        self._path = control_socket

    def is_running(self) -> bool:
        """Whether somebody answers."""
        try:
            self.processes()
        except ControlError:
            return False
        return True

    def processes(self) -> tuple[Snapshot, ...]:
        """All processes in the order in which they were added. Raises ControlError."""
        return self._ask(Request(operation="list")).processes

    def process(self, name: str) -> Snapshot:
        """One process. Raises ControlError when there is none of this name."""
        for process in self.processes():
            if process.name == name:
                return process
        raise ControlError(f"there is no process {name!r}")

    def add(self, spec: ProcessSpec) -> None:
        """Have a process started and kept running; a known one takes the new description."""
        self._ask(Request(operation="add", name=spec.name, spec=spec))

    def remove(self, name: str) -> None:
        """Forget a stopped process."""
        self._ask(Request(operation="remove", name=name))

    def start(self, name: str) -> None:
        """Start a stopped process."""
        self._ask(Request(operation="start", name=name))

    def kill(self, name: str) -> None:
        """Kill a process with SIGKILL; the supervisor starts it again as after any failure."""
        self._ask(Request(operation="kill", name=name))

    def stop(self, name: str, *, timeout: float = 30.0) -> None:
        """Stop a process and wait until it has ended. Raises ControlError."""
        self._ask(Request(operation="stop", name=name))
        deadline = time.monotonic() + timeout
        while self.process(name).state != State.STOPPED:
            if time.monotonic() > deadline:
                raise ControlError(f"{name} has not ended after {timeout:g} s")
            time.sleep(0.05)

    def restart(self, name: str, *, timeout: float = 30.0) -> None:
        """Stop a process, wait for its end, start it. Raises ControlError."""
        self.stop(name, timeout=timeout)
        self.start(name)

    def _ask(self, request: Request) -> Reply:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(10.0)
                connection.connect(str(self._path))
                connection.sendall(msgspec.json.encode(request) + b"\n")
                reply = msgspec.json.decode(read_line(connection), type=Reply)
        except (OSError, msgspec.DecodeError) as error:
            raise ControlError(
                f"the lab's supervisor does not answer at {self._path} ({error})"
            ) from error
        if reply.error:
            raise ControlError(reply.error)
        return reply
