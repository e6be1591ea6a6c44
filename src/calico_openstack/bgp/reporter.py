"""The thread that fills in this host's CalicoNodeStatus objects; ``nodestatus`` knows their shape.

The objects of other hosts are of no interest, and each of them changes all the time. So there is no
watch on them: the thread lists the keys now and then, reads an object that is new to it, and of
those that it knows as somebody else's only a few, in turn, since they may have been given to it.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from calico_openstack.bgp.birdc import BirdCommandError, BirdControl, BirdUnavailableError
from calico_openstack.bgp.birdroutes import parse_routes
from calico_openstack.bgp.birdstatus import parse_protocols, parse_status
from calico_openstack.bgp.nodestatus import (
    KIND,
    ROUTES,
    Answers,
    Request,
    new_object,
    request_of,
    with_status,
)
from calico_openstack.datamodel.keys import ResourceKey, prefix_of
from calico_openstack.etcd import EtcdClient, EtcdConfig, EtcdError, KeyValue

_log = logging.getLogger(__name__)

LOOK_INTERVAL: Final = 15.0
_FOREIGN_READS: Final = 20
_BIRD_TIMEOUT: Final = 30.0


@dataclass(slots=True)
class _Known:
    """An object as it was read last; ``request`` None: it is not for this host."""

    revision: int
    request: Request | None
    due: float = 0.0


class NodeStatusReporter:
    """Reports this host's BGP into the datastore, from its own thread.

    With a *period* (seconds) it reports unasked, in an object of the host's name; with 0 only
    where an operator has asked for it.
    """

    def __init__(self, etcd: EtcdConfig, host: str, control: Path, period: int) -> None:
        self._etcd = etcd
        self._host = host
        self._period = period
        self._bird = BirdControl(control, timeout=_BIRD_TIMEOUT)
        self._known: dict[str, _Known] = {}
        self._next_look = 0.0
        self._reasons: tuple[str, ...] = ()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="node status", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; it is not waited for, since etcd may keep it."""
        self._stopping.set()

    def tell(self, reasons: tuple[str, ...]) -> None:
        """Say what is not as it should be, for the next reports."""
        self._reasons = reasons

    def _run(self) -> None:
        with EtcdClient(self._etcd) as client, self._bird:
            while not self._stopping.is_set():
                try:
                    self._step(client, time.monotonic())
                    pause = self._pause(time.monotonic())
                except EtcdError as error:
                    _log.debug("No status can be reported: %s", error)
                    pause = LOOK_INTERVAL
                self._stopping.wait(max(0.1, pause))

    def _pause(self, now: float) -> float:
        due = [known.due for known in self._known.values() if _wants(known.request)]
        return min([self._next_look, *due]) - now

    def _step(self, client: EtcdClient, now: float) -> None:
        if now >= self._next_look:
            self._look(client)
            self._next_look = now + LOOK_INTERVAL
        for key, known in list(self._known.items()):
            if _wants(known.request) and known.due <= now:
                self._report(client, key, now)

    def _look(self, client: EtcdClient) -> None:
        """Learn which objects there are, and which of them are this host's."""
        listed = {kv.key: kv for kv in client.get_prefix(prefix_of(KIND), keys_only=True).kvs}
        own = ResourceKey(KIND, self._host).path
        if self._period and own not in listed:
            created = new_object(self._host, self._period, str(uuid.uuid4()), _now())
            client.put_if_unchanged(own, _encoded(created), 0)
            self._known.pop(own, None)
            listed[own] = KeyValue(key=own, value=b"", mod_revision=0)
        self._known = {key: known for key, known in self._known.items() if key in listed}
        foreign_reads = 0
        for key, known in sorted(self._known.items(), key=lambda item: item[1].revision):
            if known.revision == listed[key].mod_revision:
                continue
            if known.request is None:
                foreign_reads += 1
                if foreign_reads > _FOREIGN_READS:
                    continue
            self._read(client, key)
        for key in listed.keys() - self._known.keys():
            self._read(client, key)

    def _read(self, client: EtcdClient, key: str) -> dict[str, Any] | None:
        """Read an object and note what it asks for; return it if it is for this host."""
        stored = client.get(key)
        value = None if stored is None else _decoded(stored.value)
        if stored is None:
            self._known.pop(key, None)
            return None
        request = request_of(value)
        if request is not None and request.node != self._host:
            request = None
        before = self._known.get(key)
        due = before.due if before is not None and before.request == request else 0.0
        self._known[key] = _Known(stored.mod_revision, request, due)
        return value if request is not None else None

    def _report(self, client: EtcdClient, key: str, now: float) -> None:
        stored = self._read(client, key)
        known = self._known.get(key)
        if stored is None or known is None or known.request is None:
            return
        known.due = now + known.request.period
        answers = self._ask(routes=ROUTES in known.request.classes)
        filled = with_status(stored, known.request, answers, _now())
        if filled is not None:
            revision = client.put_if_unchanged(key, _encoded(filled), known.revision)
            known.revision = revision or known.revision

    def _ask(self, *, routes: bool) -> Answers:
        try:
            return Answers(
                daemon=parse_status(self._bird.command("show status")),
                protocols=parse_protocols(self._bird.command("show protocols all")),
                routes=tuple(parse_routes(self._bird.command("show route"))) if routes else (),
                reasons=self._reasons,
            )
        except (BirdUnavailableError, BirdCommandError) as error:
            return Answers(daemon=None, reasons=(*self._reasons, f"BIRD does not answer: {error}"))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _wants(request: Request | None) -> bool:
    return request is not None and request.period > 0 and bool(request.classes)


def _decoded(value: bytes) -> dict[str, Any] | None:
    try:
        decoded = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return decoded if isinstance(decoded, dict) else None


def _encoded(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
