"""The BGP agent's metrics for Prometheus. All names begin with ``calico_bgp_``."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, PlatformCollector, ProcessCollector
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from calico_openstack.agent.metrics import QuantileSummary

_PREFIX: Final = "calico_bgp_"
_ROUTE_COUNTS: Final = ("imported", "filtered", "exported", "preferred")


class BgpMetrics:
    """All metrics, in a registry of their own. What is a state is read off the status document."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.render_time = QuantileSummary(
            f"{_PREFIX}render_seconds", "Making and checking a configuration.", registry
        )
        self.flaps = Counter(
            f"{_PREFIX}session_flaps", "Times that a session went down.", ["session"],
            registry=registry,
        )  # fmt: skip
        self._document: Mapping[str, Any] | None = None
        registry.register(self)

    def take(self, document: Mapping[str, Any]) -> None:
        """Show this status from now on."""
        self._document = document

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the newest status for a scrape."""
        if self._document is not None:
            yield from metrics_of(self._document)


def metrics_of(document: Mapping[str, Any]) -> Iterator[Metric]:
    """Yield what a status document says as metrics."""
    bird, sessions = document["bird"], document["sessions"]
    for name, text, value in (
        ("bird_up", "Whether BIRD answers.", bird is not None),
        ("in_sync", "Whether the datastore's state is known.", document["inSync"]),
        ("etcd_connected", "Whether etcd answers.", document["etcdConnected"]),
        ("config_refused", "Whether BIRD runs with an old configuration.", document["alarm"]),
        ("draining", "Whether the host is being drained.", document["draining"]),
    ):
        yield _gauge(name, text, float(bool(value)))
    yield _gauge("problems", "Unusable objects in the datastore.", len(document["problems"]))
    yield _gauge("last_reload_timestamp_seconds", "When BIRD last took over a configuration, in "
                 "seconds since 1970; 0 for never.", document["lastReload"])  # fmt: skip
    yield _gauge("reloads", "Configurations that BIRD took over.", document["reloads"])
    yield _gauge("bird_starts", "Starts of BIRD by this agent.", document["birdStarts"])
    tally = Tally((str(s["family"]), s["state"] or "Unknown") for s in sessions)
    by_state = GaugeMetricFamily(
        f"{_PREFIX}sessions", "Sessions by state.", labels=["family", "state"]
    )
    for labels, count in sorted(tally.items()):
        by_state.add_metric(labels, count)
    yield by_state
    yield from _by_session(sessions)
    tables = GaugeMetricFamily(f"{_PREFIX}routes", "Routes in BIRD's tables.", labels=["table"])
    for table, count in (bird["routes"] if bird else {}).items():
        tables.add_metric([table], count)
    yield tables


def _by_session(sessions: list[Mapping[str, Any]]) -> Iterator[Metric]:
    names = ["session", "peer", "node", "family"]
    up = GaugeMetricFamily(
        f"{_PREFIX}session_up", "Whether a session exchanges routes.", labels=names
    )
    routes = GaugeMetricFamily(
        f"{_PREFIX}session_routes", "Routes of a session.", labels=["session", "kind"]
    )
    for session in sessions:
        labels = [session["name"], session["peer"], session["node"], str(session["family"])]
        up.add_metric(labels, float(session["state"] == "Established"))
        for kind in _ROUTE_COUNTS:
            routes.add_metric([session["name"], kind], session.get(kind, 0))
    yield up
    yield routes


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(_PREFIX + name, text, value=value)
