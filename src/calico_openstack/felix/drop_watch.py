"""Watches for dropped packets while somebody asks for them, and not a moment longer."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Final

from calico_openstack.agent.log import fields
from calico_openstack.felix.drops import Drop, DropLog
from calico_openstack.felix.kernel.packet_tracing import (
    PacketTracing,
    remove_tracing,
    sampling,
)

_log = logging.getLogger(__name__)

# Seconds after the last question.
_PATIENCE: Final = 15.0
_POLL: Final = 0.5


class DropWatch:
    """The drops of this host; the first question begins to watch for them."""

    def __init__(self, prefixes: Sequence[str]) -> None:
        self._prefixes = prefixes
        self._lock = threading.Lock()
        self._asked = 0.0
        self._running = False
        self._drops: tuple[Drop, ...] = ()

    def tidy(self) -> None:
        """Remove what a Felix that was killed has left of its watch."""
        try:
            remove_tracing()
        except OSError as error:
            _log.warning("Tracing cannot be removed", extra=fields(reason=str(error)))

    def drops(self) -> Iterable[Drop]:
        """Return what was dropped since the watch began, at this call if none runs."""
        with self._lock:
            self._asked = time.monotonic()
            if not self._running:
                self._running = True
                self._drops = ()
                threading.Thread(target=self._watch, name="drops", daemon=True).start()
            return self._drops

    def _watch(self) -> None:
        try:
            tracing = PacketTracing(sampling(self._prefixes))
        except OSError as error:
            _log.warning("Packets cannot be traced", extra=fields(reason=str(error)))
            with self._lock:
                self._running = False
            return
        _log.info("Watching for dropped packets")
        log = DropLog(tracing.comment)
        try:
            while self._is_wanted():
                names: dict[int, str] = {}
                for step in tracing.steps(_POLL):
                    names = names or dict(socket.if_nameindex())
                    log.take(step, names, time.time())
                with self._lock:
                    self._drops = tuple(log.drops())
        except OSError as error:
            _log.warning("Packets are not traced any more", extra=fields(reason=str(error)))
        finally:
            tracing.close()
            _log.info("No longer watching for dropped packets")

    def _is_wanted(self) -> bool:
        with self._lock:
            self._running = time.monotonic() < self._asked + _PATIENCE
            return self._running
