"""Prometheus metrics: the server, gauges, counters, and summaries with quantiles.

The client library is imported when somebody asks for the figures. With the HTTP server that it
brings along it takes a fifth of a small agent's start, and by default nobody asks.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector

QUANTILES: Final = (0.5, 0.9, 0.99)
WINDOW: Final = 600.0
_MAX_SAMPLES: Final = 4096


class Registry(Protocol):
    """Where collectors are entered; the client library's registry is one."""

    def register(self, collector: Collector) -> None:
        """Enter a collector."""


class DeferredRegistry:
    """A registry that becomes the client library's when it is asked for."""

    def __init__(self) -> None:
        self._collectors: list[Collector] = []
        self._made: CollectorRegistry | None = None

    def register(self, collector: Collector) -> None:
        """Enter a collector."""
        self._collectors.append(collector)
        if self._made is not None:
            self._made.register(collector)

    def made(self) -> CollectorRegistry:
        """Return the registry of the client library, with all collectors."""
        if self._made is None:
            from prometheus_client import CollectorRegistry  # noqa: PLC0415

            self._made = CollectorRegistry()
            for collector in self._collectors:
                self._made.register(collector)
        return self._made


def family(name: str, documentation: str, kind: str) -> Metric:
    """Return a metric of the client library, without samples."""
    from prometheus_client.metrics_core import Metric  # noqa: PLC0415

    return Metric(name, documentation, kind)


class PlainGauge:
    """A value that goes up and down, always with the same *labels*."""

    def __init__(
        self,
        name: str,
        documentation: str,
        registry: Registry,
        labels: dict[str, str] | None = None,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels or {}
        self._value: Callable[[], float] = lambda: 0.0
        registry.register(self)

    @property
    def value(self) -> float:
        """The value now."""
        return self._value()

    def set(self, value: float) -> None:
        """Show *value* from now on."""
        self._value = lambda: value

    def set_function(self, value: Callable[[], float]) -> None:
        """Show what *value* returns at the time."""
        self._value = value

    def collect(self) -> Iterator[Metric]:
        """Yield the metric for a scrape."""
        metric = family(self._name, self._documentation, "gauge")
        metric.add_sample(self._name, self._labels, self._value())
        yield metric


class PlainCounter:
    """A counter whose name is exactly *name*; the client library's own appends ``_total``.

    To keep both text formats valid its type is not stated. With *labels* it counts apart for each
    combination of their values.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        registry: Registry,
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

    @property
    def total(self) -> float:
        """The count for all values of the labels together."""
        with self._lock:
            return sum(self._values.values())

    def collect(self) -> Iterator[Metric]:
        """Yield the metric for a scrape."""
        metric = family(self._name, self._documentation, "unknown")
        with self._lock:
            counted = dict(self._values)
        for values, count in counted.items():
            metric.add_sample(self._name, dict(zip(self._labels, values, strict=True)), count)
        yield metric


class Readings:
    """Values by one label, read when somebody asks; before there is a reader each is zero.

    Of *kind* "gauge", or "unknown" for counts (see `PlainCounter`).
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        registry: Registry,
        label: str,
        values: Iterable[str],
        *,
        kind: str = "gauge",
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._label = label
        self._kind = kind
        self._none = dict.fromkeys(values, 0.0)
        self._read: Callable[[], Mapping[str, float]] = dict
        registry.register(self)

    def set_function(self, read: Callable[[], Mapping[str, float]]) -> None:
        """Show what *read* returns at the time, zero for what it leaves out."""
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Yield the metric for a scrape."""
        metric = family(self._name, self._documentation, self._kind)
        for value, reading in {**self._none, **self._read()}.items():
            metric.add_sample(self._name, {self._label: value}, reading)
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
        registry: Registry,
        labels: dict[str, str] | None = None,
        *,
        window: float = WINDOW,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels or {}
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

    @property
    def totals(self) -> tuple[float, int]:
        """The sum and the number of all observations."""
        with self._lock:
            return self._sum, self._count

    def collect(self) -> Iterator[Metric]:
        """Yield the metric for a scrape."""
        with self._lock:
            oldest = self._clock() - self._window
            values = sorted(value for at, value in self._samples if at >= oldest)
            total, count = self._sum, self._count
        metric = family(self._name, self._documentation, "summary")
        for quantile in QUANTILES:
            value = values[int(quantile * (len(values) - 1))] if values else float("nan")
            metric.add_sample(self._name, {**self._labels, "quantile": str(quantile)}, value)
        metric.add_sample(self._name + "_sum", self._labels, total)
        metric.add_sample(self._name + "_count", self._labels, count)
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
    from prometheus_client import start_http_server  # noqa: PLC0415

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
