"""A child process that outlives its agent: started detached, found again, restarted, stopped.

BIRD and dnsmasq keep forwarding and serving while their agent is down or being upgraded. Who runs
is known from a file that holds the child's line of ``/proc/<pid>/stat`` (see proc(5)), written by
the child itself before it becomes the program: process id and start time together name a process
for as long as the machine runs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from calico_openstack.agent.backoff import Backoff
from calico_openstack.agent.log import fields

_log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
# Running for this long counts as success: the next failure starts with a short pause again.
STABLE: Final = 60.0
_POLL: Final = 0.02

# $0 is the pid file, the arguments are the command. exec keeps the process id and start time.
_LAUNCHER: Final = (
    'read -r stat < /proc/$$/stat && printf "%s\\n" "$stat" > "$0.new" && mv "$0.new" "$0"'
    ' && exec "$@"'
)


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process of this boot: its id, and its start in clock ticks since boot."""

    pid: int
    start_time: int


def parse_stat(line: str) -> tuple[ProcessIdentity, str]:
    """Return identity and state letter from a line of ``/proc/<pid>/stat``; raises ValueError.

    The second field, the program's name in parentheses, may itself contain anything.
    """
    head, _, tail = line.rpartition(")")
    rest = tail.split()
    if len(rest) < 20:
        raise ValueError(f"not a line of /proc/<pid>/stat: {line!r}")
    return ProcessIdentity(int(head.split(" ", 1)[0]), int(rest[19])), rest[0]


def is_running(identity: ProcessIdentity) -> bool:
    """Return whether that very process runs; a zombie does not.

    One that cannot be looked at now, for too many open files, counts as running: what is taken for
    dead is started a second time.
    """
    try:
        found, state = parse_stat(Path(f"/proc/{identity.pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return False
    except OSError:
        return True
    return found == identity and state not in "ZX"


def command_line(pid: int) -> list[str]:
    """Return a process's arguments, none if it is gone."""
    try:
        data = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [os.fsdecode(part) for part in data.split(b"\0")[:-1]]


def send_signal(identity: ProcessIdentity, number: signal.Signals) -> bool:
    """Send a signal to that very process; return whether it ran."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except OSError:
        return False
    try:
        # The descriptor names one process for good; only now is it safe to look whose it is.
        if not is_running(identity):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


class SupervisedProcess:
    """Keeps one command running; `check` is to be called every second or so.

    *log* gets the program's output (appended). The command must stay in the foreground.
    *replace_signal* ends a process that is replaced by a new one: SIGKILL for a program whose
    orderly end has effects that its successor would have to undo.
    """

    def __init__(
        self,
        command: Sequence[str],
        pid_file: Path,
        *,
        log: Path | None = None,
        replace_signal: signal.Signals = signal.SIGTERM,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.command = list(command)
        self.pid_file = pid_file
        self._log_file = log
        self._replace_signal = replace_signal
        self._clock = clock
        self._child: subprocess.Popen[bytes] | None = None
        self._identity: ProcessIdentity | None = None
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self._started_at = 0.0
        self._next_start = 0.0
        self.starts = 0

    @property
    def pid(self) -> int | None:
        """The process id, None when it does not run."""
        identity = self._identity
        return identity.pid if identity is not None and is_running(identity) else None

    @property
    def running(self) -> bool:
        """Whether the process runs now."""
        return self.pid is not None

    @property
    def pausing(self) -> bool:
        """Whether it has ended, as `check` has seen, and is not yet started again."""
        return self._identity is None and self._clock() < self._next_start

    def adopt(self) -> bool:
        """Take over the process that an earlier agent started; return whether there is one.

        The pid file must name a process that runs, with the same start time and the same program
        and arguments; one with other arguments is stopped, since it does not do what is wanted.
        """
        identity = self._read_pid_file()
        if identity is None or not is_running(identity):
            return False
        found = command_line(identity.pid)
        if found == self.command:
            self._identity = identity
            self._started_at = self._clock()
            _log.info("Adopted a running process", extra=self._fields(pid=identity.pid))
            return True
        if found[:1] == self.command[:1]:
            _log.info("Replacing a process with other arguments", extra=self._fields(found=found))
            self._identity = identity
            self._end(self._replace_signal)
        return False

    def check(self) -> bool:
        """Start or restart the process if it does not run and a pause has passed.

        Returns whether it was started by this call: whoever feeds it must then feed it anew.
        """
        self._reap()
        if self.running:
            if self._clock() - self._started_at > STABLE:
                self._backoff.reset()
            return False
        now = self._clock()
        if self._identity is not None:
            pause = self._backoff.next_pause()
            self._next_start = now + pause
            self._identity = None
            _log.error("A process ended", extra=self._fields(restart_in=f"{pause:.1f} s"))
        if now < self._next_start:
            return False
        self._start()
        return True

    def stop(self, timeout: float = 5.0) -> None:
        """End the process by SIGTERM, after *timeout* seconds by SIGKILL, and forget it."""
        self._end(signal.SIGTERM, timeout)

    def _end(self, first: signal.Signals, timeout: float = 5.0) -> None:
        identity = self._identity or self._read_pid_file()
        if identity is not None:
            for number, limit in ((first, timeout), (signal.SIGKILL, 5.0)):
                if not send_signal(identity, number) or self._wait_for_end(identity, limit):
                    break
        self._reap()
        self._identity = None
        self._next_start = 0.0
        self.pid_file.unlink(missing_ok=True)

    def restart(self, reason: str) -> None:
        """Stop the process and start it at once, for example because it hangs."""
        _log.warning("Restarting a process", extra=self._fields(reason=reason))
        self._end(self._replace_signal)
        self._start()

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal to the process; return whether it ran."""
        return self._identity is not None and send_signal(self._identity, number)

    def _start(self) -> None:
        self.pid_file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            output: int = subprocess.DEVNULL
            if self._log_file is not None:
                self._log_file.parent.mkdir(parents=True, exist_ok=True)
                output = stack.enter_context(self._log_file.open("ab")).fileno()
            self._child = subprocess.Popen(
                ["/bin/sh", "-c", _LAUNCHER, str(self.pid_file), *self.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._started_at = self._clock()
        self.starts += 1
        stat = Path(f"/proc/{self._child.pid}/stat").read_text()
        self._identity = parse_stat(stat)[0]
        _log.info("Started a process", extra=self._fields(pid=self._child.pid))

    def _reap(self) -> None:
        """Collect the exit code of a child of our own, so that it does not stay a zombie."""
        if self._child is not None and self._child.poll() is not None:
            _log.info("Exit code", extra=self._fields(code=self._child.returncode))
            self._child = None

    def _read_pid_file(self) -> ProcessIdentity | None:
        try:
            return parse_stat(self.pid_file.read_text())[0]
        except (OSError, ValueError):
            return None

    def _wait_for_end(self, identity: ProcessIdentity, timeout: float) -> bool:
        try:
            descriptor = os.pidfd_open(identity.pid)
        except OSError:
            return True
        try:
            ready, _, _ = select.select([descriptor], [], [], timeout)
        finally:
            os.close(descriptor)
        return bool(ready) or not is_running(identity)

    def _fields(self, **more: object) -> dict[str, object]:
        return dict(fields(command=" ".join(self.command), **more))
