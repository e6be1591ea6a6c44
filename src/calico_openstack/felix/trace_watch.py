"""Has packets traced while somebody asks for them, and not a moment longer."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Generic, Protocol, TypeVar

from calico_openstack.agent.log import fields
from calico_openstack.felix.kernel.injection import remove_devices
from calico_openstack.felix.kernel.packet_tracing import (
    PacketTracing,
    TracedStep,
    remove_tracing,
)
from calico_openstack.felix.render.nft import Table, TableState

_log = logging.getLogger(__name__)

# Seconds after the last question.
_PATIENCE: Final = 15.0
_POLL: Final = 0.5
_END_PATIENCE: Final = 3.0

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class StepLog(Protocol[T_co]):
    """What makes something of the steps of packets."""

    def take(self, step: TracedStep, interfaces: Mapping[int, str], now: float) -> None:
        """Take up a step; *interfaces* are names by index, *now* seconds since 1970."""

    def entries(self) -> Iterable[T_co]:
        """Return what there is to tell."""

    def close(self) -> None:
        """Take up no more."""


class TraceWatch(Generic[T]):
    """What *make_log* makes of the packets that the tables *states* have traced.

    The first question begins to watch; at most one watch runs. One that has the same tables begins
    *after* the earlier one has ended.
    """

    def __init__(
        self,
        states: Mapping[Table, TableState],
        make_log: Callable[[PacketTracing], StepLog[T]],
        after: TraceWatch[T] | None = None,
    ) -> None:
        self._after = after
        self._states = states
        self._make_log = make_log
        self._lock = threading.Lock()
        self._asked = 0.0
        self._running = False
        self._ended = threading.Event()
        self._entries: tuple[T, ...] = ()

    def entries(self) -> Iterable[T]:
        """Return what was seen since the watch began, at this call if none runs."""
        with self._lock:
            self._asked = time.monotonic()
            if not self._running:
                self._running = True
                self._entries = ()
                self._ended.clear()
                threading.Thread(target=self._watch, name="packets", daemon=True).start()
            return self._entries

    def _end(self) -> None:
        """End the watch, if one runs; return when it is over."""
        with self._lock:
            self._asked = float("-inf")
            if not self._running:
                return
        self._ended.wait(_END_PATIENCE)

    def _watch(self) -> None:
        if self._after is not None:
            self._after._end()
            self._after = None
        try:
            tracing = PacketTracing(self._states)
        except OSError as error:
            _log.warning("Packets cannot be traced", extra=fields(reason=str(error)))
            with self._lock:
                self._running = False
            return
        log = self._make_log(tracing)
        try:
            while self._is_wanted():
                names: dict[int, str] = {}
                for step in tracing.steps(_POLL):
                    names = names or dict(socket.if_nameindex())
                    log.take(step, names, time.time())
                with self._lock:
                    self._entries = tuple(log.entries())
        except OSError as error:
            _log.warning("Packets are not traced any more", extra=fields(reason=str(error)))
            with self._lock:
                self._running = False
        finally:
            log.close()
            tracing.close()
            self._ended.set()

    def _is_wanted(self) -> bool:
        with self._lock:
            self._running = time.monotonic() < self._asked + _PATIENCE
            return self._running


def tidy() -> None:
    """Remove what a Felix that was killed has left of its watches and probes."""
    try:
        remove_tracing()
    except OSError as error:
        _log.warning("Tracing cannot be removed", extra=fields(reason=str(error)))
    remove_devices()
