"""Tells systemd that the agent is ready, and that it still makes progress: sd_notify(3)."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, MutableMapping
from typing import Final

_SOCKET: Final = "NOTIFY_SOCKET"
_WATCHDOG: Final = "WATCHDOG_USEC"
_WATCHDOG_PID: Final = "WATCHDOG_PID"


class ServiceManager:
    """The service manager that started this process, or nobody; then every call does nothing.

    Messages are lost rather than waited for. The variables are taken out of *environment*, so that
    children that outlive the agent do not speak in its name.
    """

    def __init__(
        self,
        environment: MutableMapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        address = environment.pop(_SOCKET, "")
        watchdog = environment.pop(_WATCHDOG, "")
        meant = environment.pop(_WATCHDOG_PID, str(os.getpid())) == str(os.getpid())
        # An abstract address is written with an @ in place of its leading zero.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        # Half of the timeout, as the manual recommends; in seconds, 0 without a watchdog.
        self._interval = int(watchdog) / 2e6 if meant and watchdog.isdigit() else 0.0
        self._clock = clock
        self._ready = False
        self._last = -self._interval

    def ready(self) -> None:
        """Say, once, that the agent does what it is for."""
        if not self._ready:
            self._ready = True
            self._send("READY=1")

    def progress(self) -> None:
        """Say that the agent's loop has completed a pass, if that is due."""
        now = self._clock()
        if self._interval and now - self._last >= self._interval / 2:
            self._last = now
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the agent ends."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Say in one line what the agent is doing."""
        self._send("STATUS=" + text.replace("\n", " "))

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
        ):
            sender.setblocking(False)
            sender.sendto(message.encode(), self._address)
