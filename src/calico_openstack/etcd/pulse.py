"""Signs of life of the peer of an open stream."""

from __future__ import annotations

import queue
import threading
import time

from calico_openstack.etcd.connection import Stream
from calico_openstack.etcd.proto import etcd_pb2 as pb

# A peer is asked for a sign of life every PROBE_INTERVAL seconds of silence and given up after
# SILENCE_LIMIT, so a dead one is noticed within the sum of both.
PROBE_INTERVAL = 2.0
SILENCE_LIMIT = 6.0


class Pulse:
    """Whether the peer of the open stream shows signs of life; time spent by us does not count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stream: Stream[pb.WatchResponse] | None = None
        self._requests: queue.SimpleQueue[pb.WatchRequest | None] | None = None
        self._waiting_since: float | None = None
        self.reason = ""

    def open(
        self,
        stream: Stream[pb.WatchResponse],
        requests: queue.SimpleQueue[pb.WatchRequest | None],
    ) -> None:
        """Begin with a stream, and where requests to its peer are put."""
        with self._lock:
            self._stream, self._requests = stream, requests
            self._waiting_since = time.monotonic()
            self.reason = ""

    def close(self) -> None:
        """End the stream."""
        self.cancel()
        with self._lock:
            self._stream = self._requests = self._waiting_since = None

    def busy(self) -> None:
        """Note that something came, which we work on."""
        self._waiting_since = None

    def waiting(self) -> None:
        """Note that we wait for the peer."""
        self._waiting_since = time.monotonic()

    def cancel(self) -> None:
        """Cancel the stream, if there is one."""
        with self._lock:
            if self._stream is not None:
                self._stream.cancel()

    def check(self) -> None:
        """Cancel a stream that has been silent for too long, else ask for a sign of life."""
        with self._lock:
            stream, requests, since = self._stream, self._requests, self._waiting_since
            if stream is None or requests is None or since is None:
                return
            silence = time.monotonic() - since
            if silence > SILENCE_LIMIT:
                self.reason = f"no sign of life for {silence:.1f} s"
                stream.cancel()
            else:
                requests.put(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))
