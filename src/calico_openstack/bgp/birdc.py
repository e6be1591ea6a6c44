"""Client of BIRD's control socket; ``replies`` explains the protocol."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from calico_openstack.bgp.replies import (
    FIRST_ERROR_CODE,
    ConfigureResult,
    Line,
    configure_result,
    is_complete,
    parse_lines,
)
from calico_openstack.bgp.version import BirdVersion, parse_version

# BIRD parses thousands of sessions and filters before it answers.
_CONFIGURE_TIMEOUT = 5.0
_MAX_REPLY = 64 * 1024 * 1024
# The final line of a reply is shorter than this, so only so much is looked at for it.
_TAIL = 4096


class BirdUnavailableError(Exception):
    """BIRD does not answer on its control socket: not running, or hung."""


class BirdSilentError(BirdUnavailableError):
    """BIRD is there and leaves a question unanswered."""


class BirdCommandError(Exception):
    """BIRD refused a command; ``code`` is its four-digit code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code:04d} {text}")
        self.code = code
        self.text = text


class BirdControl:
    """One connection to BIRD's control socket, made with the first command.

    Every command has *timeout* seconds in total, so that a hung BIRD costs no more; only the
    reading of a configuration has more.
    """

    def __init__(self, path: Path, timeout: float = 2.0) -> None:
        self._path = path
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self.version: BirdVersion | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def connection(self) -> socket.socket | None:
        """The open connection, to be waited for: readable between commands means that BIRD ends."""
        return self._socket

    def close(self) -> None:
        """Close the connection; the next command opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def command(self, text: str) -> tuple[Line, ...]:
        """Send one command and return the lines of its reply.

        Raises BirdUnavailableError without an answer, BirdCommandError where BIRD answers with
        an error code.
        """
        lines = self.query(text)
        for line in lines:
            if line.code >= FIRST_ERROR_CODE:
                raise BirdCommandError(line.code, line.text)
        return lines

    def query(self, text: str, timeout: float | None = None) -> tuple[Line, ...]:
        """Like ``command``, but an error reply is returned and not raised.

        *timeout* takes the place of the usual one.
        """
        if "\n" in text:
            raise ValueError("a command is one line")
        deadline = time.monotonic() + (timeout or self._timeout)
        try:
            connection = self._socket or self._connect(deadline)
            connection.sendall(text.encode() + b"\n")
            return parse_lines(self._receive(connection, deadline))
        except OSError as error:
            self.close()
            silent = isinstance(error, TimeoutError)
            kind = BirdSilentError if silent else BirdUnavailableError
            raise kind(f"{self._path}: {error}") from error

    def configure(self) -> ConfigureResult:
        """Have BIRD read its configuration file again."""
        return configure_result(self.query("configure", max(self._timeout, _CONFIGURE_TIMEOUT)))

    def _connect(self, deadline: float) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket = connection
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        connection.connect(str(self._path))
        self.version = parse_version(self._receive(connection, deadline))
        return connection

    def _receive(self, connection: socket.socket, deadline: float) -> str:
        received = bytearray()
        while True:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError("no complete answer in time")
            connection.settimeout(remaining)
            chunk = connection.recv(65536)
            if not chunk:
                raise ConnectionError("connection closed by BIRD")
            received += chunk
            if len(received) > _MAX_REPLY:
                raise OSError("the answer does not end")
            if is_complete(received[-_TAIL:].decode(errors="replace")):
                return received.decode(errors="replace")
