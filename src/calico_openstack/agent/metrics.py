"""Prometheus metrics: the server, and summaries with quantiles."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import Metric

QUANTILES: Final = (0.5, 0.9, 0.99)
WINDOW: Final = 600.0
_MAX_SAMPLES: Final = 4096


class PlainCounter:
    """A counter whose name is exactly *name*; the client library's own appends ``_total``.

    To keep both text formats valid its type is not stated. With *labels* it counts apart for each
    combination of their values.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        registry: CollectorRegistry,
        labels: tuple[str, ...] = (),
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._lock = threading.Lock()
        self._values: dict[tuple[str, ...], float] = {} if labels else {(): 0.0}
        registry.register(self)

    def inc(self, amount: float = 1, *values: str) -> None:
        """Add *amount* to the count for the labels' *values*."""
        if len(values) != len(self._labels):
            raise ValueError(f"{self._name} has the labels {self._labels}")
        with self._lock:
            self._values[values] = self._values.get(values, 0.0) + amount

    def collect(self) -> Iterator[Metric]:
        """Yield the metric for a scrape."""
        metric = Metric(self._name, self._documentation, "unknown")
        with self._lock:
            counted = dict(self._values)
        for values, count in counted.items():
            metric.add_sample(self._name, dict(zip(self._labels, values, strict=True)), count)
        yield metric


class QuantileSummary:
    """A summary with the quantiles of its latest observations, beside their sum and count.

    (The client library's own summary has no quantiles.) Of the last *window* seconds, at most a
    few thousand observations are kept.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        registry: CollectorRegistry,
        *,
        window: float = WINDOW,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._window = window
        self._clock = clock
        self._lock = threading.Lock()
        self._samples: deque[tuple[float, float]] = deque(maxlen=_MAX_SAMPLES)
        self._sum = 0.0
        self._count = 0
        registry.register(self)

    def observe(self, value: float) -> None:
        """Take an observation."""
        with self._lock:
            self._samples.append((self._clock(), value))
            self._sum += value
            self._count += 1

    def collect(self) -> Iterator[Metric]:
        """Yield the metric for a scrape."""
        with self._lock:
            oldest = self._clock() - self._window
            values = sorted(value for at, value in self._samples if at >= oldest)
            total, count = self._sum, self._count
        metric = Metric(self._name, self._documentation, "summary")
        for quantile in QUANTILES:
            value = values[int(quantile * (len(values) - 1))] if values else float("nan")
            metric.add_sample(self._name, {"quantile": str(quantile)}, value)
        metric.add_sample(self._name + "_sum", {}, total)
        metric.add_sample(self._name + "_count", {}, count)
        yield metric


def serve(
    registry: CollectorRegistry,
    host: str,
    port: int,
    *,
    cert_file: str = "",
    key_file: str = "",
    client_ca_file: str = "",
) -> None:
    """Serve ``/metrics`` from a thread until the process ends; *host* "" means all addresses.

    Uses TLS when a certificate and key are given, and asks clients for certificates when
    *client_ca_file* is. Raises OSError when the address cannot be bound or a file not be read.
    """
    if cert_file and key_file:
        start_http_server(
            port,
            host or "0.0.0.0",
            registry,
            certfile=cert_file,
            keyfile=key_file,
            client_cafile=client_ca_file or None,
            client_auth_required=bool(client_ca_file),
        )
    else:
        start_http_server(port, host or "0.0.0.0", registry)
