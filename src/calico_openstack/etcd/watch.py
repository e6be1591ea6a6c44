"""List, then watch, then for ever again: a process's up-to-date view of whole prefixes."""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import grpc
from msgspec import Struct, field
from msgspec.structs import replace

from calico_openstack.etcd import pulse
from calico_openstack.etcd.client import PAGE_SIZE, EtcdClient
from calico_openstack.etcd.connection import RANGE, WATCH, Metadata, Stream
from calico_openstack.etcd.errors import EtcdCompacted, EtcdError, EtcdUnavailable
from calico_openstack.etcd.failures import Failure, classify, code_and_details, to_error
from calico_openstack.etcd.proto import etcd_pb2 as pb
from calico_openstack.etcd.pulse import Pulse
from calico_openstack.etcd.records import range_end, to_bytes, to_text
from calico_openstack.etcd.replica import Ahead, Replica, Update

_log = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
# A member that has lost the cluster's leader ends the stream instead of keeping silent.
_REQUIRE_LEADER: Final = (("hasleader", "true"),)


class Batch(Struct, frozen=True):
    """Changes that belong together, in order, and the state after them.

    *in_sync*: every prefix was listed completely at least once. *connected*: the view is current;
    when False, the last known state stays valid as far as anybody knows. *prepared*: what an
    `Ahead` had prepared of keys that are not among the updates.
    """

    updates: list[Update] = field(default_factory=list)
    in_sync: bool = False
    connected: bool = True
    prepared: Sequence[Any] = ()


class _Cluster(Struct, frozen=True):
    """Which cluster answered, and how far it was.

    *surplus* is the number of log entries beyond those that made a revision. It never shrinks in a
    cluster's life, since no entry makes more than one revision; a restored backup begins a new log
    at an old revision. (Identity and term alone do not tell: they may come out the same.)
    """

    cluster_id: int
    raft_term: int
    revision: int
    surplus: int

    def continues(self, earlier: _Cluster) -> bool:
        """Whether revisions of *earlier* still mean the same: it was not replaced or restored."""
        return (
            self.cluster_id == earlier.cluster_id
            and self.raft_term >= earlier.raft_term
            and self.revision >= earlier.revision
            and self.surplus >= earlier.surplus
        )


class _StreamEnded(Exception):  # noqa: N818
    """The watch stream is over; the next try may resume it."""


class SnapshotWatch:
    """Keeps *deliver* informed about all keys that begin with one of *prefixes*.

    *deliver* is called from a thread of the watch, one call at a time. First come the pages of the
    initial listing (all prefixes as of one revision), then a batch with ``in_sync`` set, then
    changes as they happen. After a disturbance the watch resumes where it was; where that is
    impossible (compaction, another or a restored cluster), it lists again and delivers the
    differences, deletions included, in one batch. That etcd is unreachable never deletes anything.
    One prefix's part of the first listing may be made by somebody else, *ahead*.
    """

    def __init__(
        self,
        client: EtcdClient,
        prefixes: Sequence[str],
        deliver: Callable[[Batch], None],
        *,
        page_size: int = PAGE_SIZE,
        ahead: Ahead | None = None,
    ) -> None:
        self._client = client
        self._ahead = ahead
        self._session = client.session
        self._deliver = deliver
        self._page_size = page_size
        self._replicas = [Replica(prefix) for prefix in prefixes]
        self._resume = [0] * len(self._replicas)
        self._cluster: _Cluster | None = None
        self._must_list = True
        self._in_sync = False
        self._connected = False
        self._last_error = ""
        self._stopping = threading.Event()
        self._pulse = Pulse()
        self._threads = [
            threading.Thread(target=self._run, name="etcd-watch", daemon=True),
            threading.Thread(target=self._supervise, name="etcd-watch-probe", daemon=True),
        ]

    @property
    def sizes(self) -> dict[str, int]:
        """How many keys each prefix has, as far as they were read."""
        return {replica.prefix: len(replica) for replica in self._replicas}

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of one of the prefixes, as far as they were read; for any thread."""
        return next((each.listing() for each in self._replicas if each.prefix == prefix), [])

    def start(self) -> None:
        """Start the threads; call it in the process that wants the updates, not before a fork."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask the threads to end; a call of *deliver* that is under way still finishes."""
        self._stopping.set()
        self._pulse.cancel()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the threads to end."""
        for thread in self._threads:
            thread.join(timeout)

    # --- the watch thread ---------------------------------------------------------------------

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._check_cluster()
                if self._must_list:
                    self._list()
                self._follow()
            except EtcdCompacted as error:
                _log.info("Listing again, the watch's revision was compacted: %s", error)
                self._must_list = True
            except (EtcdError, _StreamEnded) as error:
                if self._stopping.is_set():
                    return
                self._disconnected(error)
            if time.monotonic() - began > pulse.SILENCE_LIMIT:
                pause = _FIRST_PAUSE
            self._stopping.wait(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _disconnected(self, error: Exception) -> None:
        repeated = str(error) == self._last_error and not self._connected
        level = logging.DEBUG if repeated else logging.WARNING
        _log.log(level, "No view of etcd, the last known state stays valid: %s", error)
        self._last_error = str(error)
        if self._connected:
            self._connected = False
            self._deliver(Batch([], self._in_sync, connected=False))

    def _reconnected(self) -> None:
        if self._last_error:
            _log.info("The view of etcd is back")
        self._last_error = ""
        self._connected = True

    def _check_cluster(self) -> None:
        """Ask who answers; when revisions have lost their meaning, order a new listing."""
        # Any key that we may read will do; users are granted the prefixes that they watch. The read
        # needs a quorum, so that what the member says of itself next is as new as can be.
        request = pb.RangeRequest(key=to_bytes(self._replicas[0].prefix) or b"\0")
        self._session.call(RANGE, request, repeatable=True)
        status = self._client.status()
        now = _Cluster(
            status.cluster_id,
            status.raft_term,
            status.revision,
            # Servers before 3.4 do not tell.
            status.raft_applied_index - status.revision if status.raft_applied_index else 0,
        )
        if self._cluster is not None and not now.continues(self._cluster):
            _log.warning("etcd was replaced or restored from a backup: listing again")
            self._must_list = True
            for replica in self._replicas:
                replica.distrust()
        self._cluster = now

    def _note_revision(self, revision: int) -> None:
        cluster = self._cluster
        if cluster is not None and revision > cluster.revision:
            self._cluster = replace(cluster, revision=revision)

    def _list(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            self._list_at(0, None)
        else:
            try:
                cluster = self._cluster.cluster_id if self._cluster else 0
                self._list_at(ahead.begin(cluster), ahead)
            finally:
                ahead.close()

    def _list_at(self, revision: int, ahead: Ahead | None) -> None:
        """List at *revision* (0: the newest), which is that of *ahead* if there is one."""
        differences: list[Update] = []
        for replica in self._replicas:
            replica.begin_listing()
            if revision and ahead is not None and ahead.prefix == replica.prefix:
                is_complete = self._take_ahead(replica, ahead)
                if is_complete:
                    continue
            for page in self._client.responses(
                replica.prefix, revision=revision, page_size=self._page_size
            ):
                revision = revision or page.header.revision
                updates = replica.listed(
                    [(to_text(kv.key), kv.value, kv.mod_revision) for kv in page.kvs]
                )
                if self._in_sync:
                    differences += updates
                elif updates:
                    self._deliver(Batch(updates, in_sync=False))
                self._stop_listing_if_asked()
            differences += replica.end_listing(revision)
        self._resume = [revision + 1] * len(self._replicas)
        self._note_revision(revision)
        self._must_list = False
        self._in_sync = True
        self._reconnected()
        self._deliver(Batch(differences, in_sync=True))

    def _take_ahead(self, replica: Replica, ahead: Ahead) -> bool:
        """Deliver what is listed already; return whether that is everything."""
        for page in ahead.pages():
            updates = replica.learnt(page)
            self._deliver(Batch(updates, in_sync=False, prepared=page.prepared))
            self._stop_listing_if_asked()
            if page.is_last:
                return True
        return False

    def _stop_listing_if_asked(self) -> None:
        if self._stopping.is_set():
            raise _StreamEnded("stopped")

    def _follow(self) -> None:
        """Watch until the stream ends; always raises."""
        deadline = time.monotonic() + self._client.config.timeout
        with self._session.connection(deadline) as connection:
            metadata: Metadata = ()
            requests: queue.SimpleQueue[pb.WatchRequest | None] = queue.SimpleQueue()
            try:
                metadata = self._session.metadata(connection, self._client.config.timeout)
                for number, replica in enumerate(self._replicas):
                    requests.put(_create_request(number + 1, replica, self._resume[number]))
                stream = connection.stream(
                    WATCH,
                    iter(requests.get, None),
                    pb.WatchResponse,
                    timeout=None,
                    metadata=metadata + _REQUIRE_LEADER,
                )
                self._pulse.open(stream, requests)
                if self._stopping.is_set():
                    stream.cancel()
                self._read(stream)
            except grpc.RpcError as error:
                code, details = code_and_details(error)
                if classify(code, details) is Failure.TOKEN:
                    self._session.forget_token(metadata)
                else:
                    self._session.retire(connection)
                reason = self._pulse.reason or details
                raise to_error(code, reason, connection.endpoint.target) from error
            except _PermissionDenied as error:
                # etcd tells an expired token and a missing permission alike.
                self._session.forget_token(metadata)
                raise _StreamEnded(f"{connection.endpoint.target}: {error}") from error
            finally:
                requests.put(None)
                self._pulse.close()
        raise EtcdUnavailable(f"{connection.endpoint.target}: the watch stream was closed")

    def _read(self, stream: Stream[pb.WatchResponse]) -> None:
        created = 0
        for response in stream:
            self._pulse.busy()
            if response.canceled:
                raise _cancellation(response)
            if response.created:
                created += 1
                if created == len(self._replicas) and not self._connected:
                    self._reconnected()
                    self._deliver(Batch([], self._in_sync, connected=True))
            elif 0 < response.watch_id <= len(self._replicas):
                self._events(response)
            self._pulse.waiting()

    def _events(self, response: pb.WatchResponse) -> None:
        number = response.watch_id - 1
        replica = self._replicas[number]
        updates = []
        for event in response.events:
            kv = event.kv
            value = None if event.type == pb.Event.DELETE else kv.value
            update = replica.changed(to_text(kv.key), value, kv.mod_revision)
            if update is not None:
                updates.append(update)
        # Without events it is etcd's periodic notice that nothing happened up to this revision;
        # a watch's events and notices are in order. (Answers to progress requests are not: they
        # carry no watch's number, and only prove that the peer is alive.)
        revision = (
            response.events[-1].kv.mod_revision if response.events else response.header.revision
        )
        self._resume[number] = max(self._resume[number], revision + 1)
        self._note_revision(revision)
        if updates:
            # Last, because whoever gets it waits for this thread to rest.
            self._deliver(Batch(updates, in_sync=True))

    # --- the probe thread ---------------------------------------------------------------------

    def _supervise(self) -> None:
        while not self._stopping.wait(pulse.PROBE_INTERVAL):
            self._pulse.check()


class _PermissionDenied(Exception):  # noqa: N818
    """etcd refused a watch."""


def _cancellation(response: pb.WatchResponse) -> Exception:
    reason = response.cancel_reason
    if response.compact_revision or "compacted" in reason:
        return EtcdCompacted(f"watch cancelled at compact revision {response.compact_revision}")
    if "permission denied" in reason or "auth token" in reason:
        return _PermissionDenied(reason)
    return _StreamEnded(f"watch cancelled: {reason or 'no reason given'}")


def _create_request(watch_id: int, replica: Replica, revision: int) -> pb.WatchRequest:
    key = to_bytes(replica.prefix) or b"\0"
    create = pb.WatchCreateRequest(
        key=key,
        range_end=range_end(replica.prefix),
        start_revision=revision,
        progress_notify=True,
        watch_id=watch_id,
    )
    return pb.WatchRequest(create_request=create)


__all__ = ["Batch", "SnapshotWatch", "Update"]
