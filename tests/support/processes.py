"""Child processes for tests: they die with the test run and are only ever stopped by their id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

START_TIMEOUT = 30.0


class ProcessFailedError(AssertionError):
    """A child process ended, or never did what it was waited for."""


class Process:
    """A running child, with its output in a file.

    The kernel kills it when the test process dies, however that happens (PR_SET_PDEATHSIG).
    *prefix* is put before the command, for example ``("ip", "netns", "exec", NAME)``.
    """

    def __init__(
        self,
        arguments: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self.log = log
        self.arguments = [str(argument) for argument in arguments]
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *prefix, *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env={**os.environ, **environment} if environment is not None else None,
            )

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the child has not ended yet."""
        return self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal, None while it runs."""
        return self._child.poll()

    def output(self) -> str:
        """Return everything that the child has written so far."""
        return self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._child.send_signal(number)

    def wait(self, timeout: float = 20.0) -> int:
        """Wait for the end; return the exit code."""
        return self._child.wait(timeout)

    def stop(self, timeout: float = 20.0) -> int:
        """End the child by SIGTERM, by SIGKILL if it does not obey; return the exit code."""
        if self.running:
            self._child.terminate()
            try:
                self._child.wait(timeout)
            except subprocess.TimeoutExpired:
                self._child.kill()
        return self._child.wait(timeout)

    def kill(self) -> None:
        """End the child by SIGKILL."""
        self._child.kill()
        self._child.wait(20)

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until *condition* holds; otherwise raise ProcessFailedError with the last output."""
        deadline = time.monotonic() + START_TIMEOUT
        while not condition():
            if not self.running:
                raise ProcessFailedError(f"{self.arguments[0]} ended: {self.output()[-3000:]}")
            if time.monotonic() > deadline:
                raise ProcessFailedError(f"{self.arguments[0]}: no {what}: {self.output()[-3000:]}")
            time.sleep(0.02)

    def wait_for_port(self, port: int, host: str = "127.0.0.1") -> None:
        """Wait until the port accepts connections."""
        self.wait_until(lambda: port_open(port, host), f"listener on {host}:{port}")


def port_open(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether somebody accepts connections on the port."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


# How much slower than a quiet machine the one that runs the tests may be.
PATIENCE = 4


def eventually(
    condition: Callable[[], bool], timeout: float = 10.0, what: str | Callable[[], str] = ""
) -> None:
    """Wait until *condition* holds, which takes less than *timeout* seconds on a quiet machine.

    Raises AssertionError when it does not hold after `PATIENCE` times as long: no speed is
    asserted here. *what* that is called is so only then, and may tell how things are by then.
    """
    limit = timeout * PATIENCE
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            told = what() if callable(what) else what
            raise AssertionError(f"not within {limit} s: {told or condition}")
        time.sleep(0.02)
