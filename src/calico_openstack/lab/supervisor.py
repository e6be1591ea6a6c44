"""The lab's init: starts the processes, starts them again, and ends them when told.

It runs in the controller's network namespace, so that whoever removes the namespaces finds it
like every other process of the lab. Its children write straight to their log files and have
sessions of their own: when the supervisor is killed they go on, and the next supervisor finds
them by their recorded identities and takes them over.
"""

import ctypes
import os
import selectors
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from calico_openstack.agent.supervision import ProcessIdentity, is_running, send_signal
from calico_openstack.lab.control import Reply, Request, read_line
from calico_openstack.lab.lifecycle import Action, Lifecycle, State
from calico_openstack.lab.processes import (
    ProcessSpec,
    Record,
    Snapshot,
    age,
    identify,
    process_group,
    spawn,
)
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.teardown import down

LOG_LIMIT = 16 << 20
LOG_KEPT = 4 << 20
HOUSEKEEPING = 5.0
_PR_SET_CHILD_SUBREAPER = 36
# The agents and clients take settings from the environment. Those of whoever called the lab's
# command are not meant for them.
_FOREIGN_SETTINGS = ("CALICO_", "ETCD", "FELIX_", "OS_")


_OWNER = object()


@dataclass
class Child:
    """A supervised process. `descriptor` is a pidfd, readable when the process has ended."""

    spec: ProcessSpec
    life: Lifecycle
    identity: ProcessIdentity | None = None
    descriptor: int = -1


class SupervisorLoop:
    """One thread: waits for ends, for requests and for time to pass."""

    def __init__(self, run: Path) -> None:
        self._records = run / "processes.json"
        self._children: dict[str, Child] = {}
        self._selector = selectors.DefaultSelector()
        self._listener = _listen(run / "supervisor.sock")
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._next_housekeeping = 0.0

    def run(self, owner: int | None = None) -> None:
        """Supervise for ever, or until the process with the id `owner` ends."""
        self._adopt()
        if owner is not None:
            self._selector.register(os.pidfd_open(owner), selectors.EVENT_READ, _OWNER)
        while True:
            for key, _ in self._selector.select(self._patience()):
                if key.data is _OWNER:
                    return
                if key.data is None:
                    self._serve()
                else:
                    self._ended(key.data)
            now = time.monotonic()
            for child in self._children.values():
                self._carry_out(child, child.life.tick(now))
            if now >= self._next_housekeeping:
                self._next_housekeeping = now + HOUSEKEEPING
                self._keep_house()

    def _patience(self) -> float:
        due = [child.life.due for child in self._children.values() if child.life.due is not None]
        return max(0.0, min([*due, self._next_housekeeping]) - time.monotonic())

    # Requests

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(2.0)
            try:
                request = msgspec.json.decode(read_line(connection), type=Request)
                reply = self._answer(request)
                connection.sendall(msgspec.json.encode(reply) + b"\n")
            except (OSError, msgspec.DecodeError) as error:
                _say(f"a request was not understood or its asker has gone: {error}")

    def _answer(self, request: Request) -> Reply:
        if request.operation == "list":
            return Reply(processes=tuple(self._snapshot(c) for c in self._children.values()))
        if request.operation == "add" and request.spec is not None:
            self._add(request.spec)
            return Reply()
        child = self._children.get(request.name)
        if child is None:
            names = ", ".join(self._children)
            return Reply(error=f"there is no process {request.name!r}; there are: {names}")
        return self._change(child, request.operation)

    def _change(self, child: Child, operation: str) -> Reply:
        now = time.monotonic()
        if operation == "start":
            self._carry_out(child, child.life.start(now))
        elif operation == "stop":
            self._carry_out(child, child.life.stop(now))
        elif operation == "restart":
            self._carry_out(child, child.life.stop(now, again=True))
        elif operation == "kill":
            if child.identity is None or not send_signal(child.identity, signal.SIGKILL):
                return Reply(error=f"{child.spec.name} is not running")
        elif operation == "remove":
            if child.life.state is not State.STOPPED:
                return Reply(error=f"{child.spec.name} is {child.life.state}; stop it first")
            del self._children[child.spec.name]
        else:
            return Reply(error=f"unknown operation {operation!r}")
        self._save()
        return Reply()

    def _add(self, spec: ProcessSpec) -> None:
        child = self._children.get(spec.name)
        if child is None:
            child = Child(spec, Lifecycle(spec.stop_timeout, spec.restart))
            self._children[spec.name] = child
        child.spec = spec
        child.life.stop_timeout, child.life.restart = spec.stop_timeout, spec.restart
        self._carry_out(child, child.life.start(time.monotonic()))
        self._save()

    def _snapshot(self, child: Child) -> Snapshot:
        identity = child.identity
        return Snapshot(
            name=child.spec.name,
            host=child.spec.host,
            state=child.life.state,
            pid=identity.pid if identity else 0,
            uptime=age(identity) if identity else 0.0,
            starts=child.life.starts,
            last_exit=child.life.last_exit,
        )

    # Processes

    def _carry_out(self, child: Child, actions: tuple[Action, ...]) -> None:
        for action in actions:
            if action is Action.SPAWN:
                self._spawn(child)
            elif child.identity is not None:
                number = signal.SIGKILL
                if action is Action.TERMINATE:
                    number = signal.Signals(child.spec.stop_signal)
                send_signal(child.identity, number)

    def _spawn(self, child: Child) -> None:
        try:
            pid = spawn(child.spec.argv, log=Path(child.spec.log), env=child.spec.env)
        except OSError as error:
            _say(f"{child.spec.name} cannot be started: {error}")
            self._carry_out(child, child.life.exited(time.monotonic(), None))
            return
        self._watch(child, identify(pid) or ProcessIdentity(pid, 0))
        _say(f"{child.spec.name} started as {pid}")
        self._save()

    def _watch(self, child: Child, identity: ProcessIdentity) -> None:
        child.identity = identity
        child.descriptor = os.pidfd_open(identity.pid)
        self._selector.register(child.descriptor, selectors.EVENT_READ, child)

    def _ended(self, child: Child) -> None:
        self._selector.unregister(child.descriptor)
        os.close(child.descriptor)
        pid = child.identity.pid if child.identity else 0
        child.identity, child.descriptor = None, -1
        code = _exit_code(pid)
        if child.spec.own_children:
            for member in process_group(pid):
                _kill(member)
        _say(f"{child.spec.name} ({pid}) ended with {code}")
        self._carry_out(child, child.life.exited(time.monotonic(), code))
        self._save()

    def _adopt(self) -> None:
        try:
            records = msgspec.json.decode(self._records.read_bytes(), type=list[Record])
        except (OSError, msgspec.DecodeError):
            return
        now = time.monotonic()
        for record in records:
            spec = record.spec
            child = Child(spec, Lifecycle(spec.stop_timeout, spec.restart))
            self._children[spec.name] = child
            if record.identity is not None and is_running(record.identity):
                child.life.adopted(now)
                self._watch(child, record.identity)
                _say(f"{spec.name} taken over as {record.identity.pid}")
            elif record.wanted:
                self._carry_out(child, child.life.start(now))
        self._save()

    def _save(self) -> None:
        records = [
            Record(
                spec=child.spec,
                wanted=child.life.state is not State.STOPPED,
                identity=child.identity,
            )
            for child in self._children.values()
        ]
        temporary = self._records.with_suffix(".new")
        temporary.write_bytes(msgspec.json.encode(records))
        temporary.rename(self._records)

    def _keep_house(self) -> None:
        """Reap orphans that came to us, and cap the logs."""
        own = {child.identity.pid for child in self._children.values() if child.identity}
        for pid in _zombie_children() - own:
            _exit_code(pid)
        for child in self._children.values():
            cap_log(Path(child.spec.log), LOG_LIMIT, LOG_KEPT)


def cap_log(path: Path, limit: int, kept: int) -> None:
    """Move all but nothing of a log that is over its limit aside: its last bytes to PATH.1.

    The writers append to the same file for ever, so it is emptied in place; what they write
    between the copy and the cut is lost, which a lab can afford.
    """
    try:
        size = path.stat().st_size
        if size <= limit:
            return
        with path.open("r+b") as log:
            log.seek(size - kept)
            path.with_name(path.name + ".1").write_bytes(log.read())
            log.truncate(0)
    except OSError as error:
        _say(f"{path} could not be cut: {error}")


def _exit_code(pid: int) -> int | None:
    """The exit code of an ended child as subprocess has it; None when it was not our child."""
    try:
        reaped, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if reaped else None


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _zombie_children() -> set[int]:
    try:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    except OSError:
        return set()
    return {int(pid) for pid in children if identify(int(pid)) is None}


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(16)
    return listener


def _say(text: str) -> None:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    print(f"{stamp} {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Entry point: `python -m calico_openstack.lab.supervisor LAB_NAME STATE_FOLDER [OWNER]`.

    When the process with the id OWNER ends, the lab is removed: a lab that a test made does not
    outlive it.
    """
    for name in [name for name in os.environ if name.startswith(_FOREIGN_SETTINGS)]:
        del os.environ[name]
    # Daemons that the agents leave behind become our children, not those of process 1, which
    # in a container may be one that never reaps.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    lab = Lab(sys.argv[1], Path(sys.argv[2]))
    owner = int(sys.argv[3]) if len(sys.argv) > 3 else None
    SupervisorLoop(lab.run).run(owner)
    down(lab)


if __name__ == "__main__":
    main()
