"""What the drivers of the kernel did and made, as metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from calico_openstack.agent.metrics import Registry, family
from calico_openstack.felix.kernel.dataplane import Dataplane
from calico_openstack.felix.kernel.flowtables import Coverage
from calico_openstack.felix.kernel.nft_driver import NftStatistics, TableSize
from calico_openstack.felix.render.nft import Family

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_VERSIONS: Final = {Family.IP: "4", Family.IP6: "6"}
_NOTHING: Final = TableSize(0, 0, 0, 0)


class KernelFigures(Struct):
    """The figures of a moment; *sizes* and *coverage* by IP version."""

    nft: NftStatistics = field(default_factory=NftStatistics)
    sizes: Mapping[str, TableSize] = field(
        default_factory=lambda: dict.fromkeys(_VERSIONS.values(), _NOTHING)
    )
    coverage: Mapping[str, Coverage] = field(default_factory=dict)
    routes: int = 0
    route_interfaces: int = 0


def kernel_figures(dataplane: Dataplane) -> KernelFigures:
    """Return the present figures; may be asked by any thread."""
    nft = dataplane.nft
    tables = {version: table for table in nft.tables if (version := _VERSIONS.get(table.family))}
    coverage = dict(dataplane.flowtables.coverage)
    return KernelFigures(
        nft.statistics,
        {version: nft.size(table) for version, table in tables.items()},
        {version: coverage.get(table, Coverage()) for version, table in tables.items()},
        *dataplane.routes_size,
    )


class KernelCollector:
    """Shows what ``read`` returns at the time of a scrape."""

    def __init__(self, registry: Registry) -> None:
        self.read: Callable[[], KernelFigures] = KernelFigures
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics for a scrape."""
        figures = self.read()
        done = figures.nft
        for name, text, value in (
            ("felix_nft_calls", "Transactions of nftables.", done.calls),
            ("felix_nft_errors", "Transactions that the kernel refused.", done.errors),
            ("felix_nft_list_calls", "Listings of a table.", done.list_calls),
            ("felix_nft_list_errors", "Listings that failed.", done.list_errors),
            ("felix_nft_set_calls", "Transactions with sets or elements.", done.set_calls),
            ("felix_nft_set_errors", "Those refused for a set or element.", done.set_errors),
        ):
            yield _metric(name, text, "unknown", {"": value}, "")
        for kind in ("chains", "rules", "maps", "sets"):
            values = {version: getattr(size, kind) for version, size in figures.sizes.items()}
            yield _metric(f"felix_nft_{kind}", f"The {kind} in our table.", "gauge", values)
        covered = {v: figures.coverage.get(v, Coverage()) for v in _VERSIONS.values()}
        yield _metric(
            "felix_nft_flowtable_devices",
            "Interfaces that our flowtable covers.",
            "gauge",
            {version: each.covered for version, each in covered.items()},
        )
        yield _metric(
            "felix_nft_flowtable_missing_devices",
            "Interfaces that our flowtable should cover, and that are not there.",
            "gauge",
            {version: each.missing for version, each in covered.items()},
        )
        for name, text, value in (
            ("felix_route_table_num_routes", "Our routes in the kernel.", figures.routes),
            (
                "felix_route_table_num_ifaces",
                "Interfaces over which routes are wanted.",
                figures.route_interfaces,
            ),
        ):
            yield _metric(name, text, "gauge", {"main": value}, "table")


def _metric(
    name: str, text: str, kind: str, values: Mapping[str, float], label: str = "ip_version"
) -> Metric:
    """Return a metric with a value for each value of *label*; without a label there is one."""
    metric = family(name, text, kind)
    for value, reading in values.items():
        metric.add_sample(name, {label: value} if label else {}, reading)
    return metric
