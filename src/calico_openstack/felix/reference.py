"""The operator's reference of Felix, made from the code.

``python -m calico_openstack.felix.reference`` prints the page. A test compares it with
``docs/felix-reference.md``, so that what operators read cannot drift.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from calico_openstack.felix.config import PARAMETERS, FailsafePort
from calico_openstack.felix.config.parameters import Parameter
from calico_openstack.felix.metrics import FelixMetrics

_PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp"}
_HEAD = """\
# Felix: parameters and metrics

This page is made from the code by `python -m calico_openstack.felix.reference`.

## Parameters

A parameter is set by its name in `/etc/calico/felix.cfg`, as `FELIX_<NAME>` in the environment
(names in any case), or by its field in a FelixConfiguration (`default`, one chosen by its
`nodeSelector`, `node.<host>`). Of these, the environment wins over the file, the file over
`node.<host>`, and so on down to the default. Durations are seconds in file and environment, and
texts such as `1m30s` in the datastore. `none` stands for the zero value.

Notes: **local** is not taken from the datastore; with **fatal**, a bad value stops Felix, where
others fall back to the default; a change of all but **live** ones restarts Felix (status 129),
which does not touch the kernel's state. Those with **no effect** are upstream's for what there is
no need of here (encapsulation, routes between hosts by Felix) or what is always so; that one is set
is told in the log.

| Name | Field | Value | Default | Notes |
|---|---|---|---|---|
"""
_METRICS = """
## Metrics

Served on `PrometheusMetricsPort` when `PrometheusMetricsEnabled`; besides these, those of the
process and of Python.

| Name | Labels | Meaning |
|---|---|---|
"""


def reference() -> str:
    """Return the page, in Markdown."""
    parameters = sorted(PARAMETERS.values(), key=lambda each: each.name.lower())
    return _HEAD + _lines(map(_parameter_row, parameters)) + _METRICS + _lines(_metric_rows())


def _lines(rows: Iterable[tuple[str, ...]]) -> str:
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return "".join(f"| {' | '.join(row)} |\n" for row in escaped)


def _parameter_row(declared: Parameter) -> tuple[str, ...]:
    notes = {
        "local": declared.local,
        "fatal": declared.fatal,
        "live": declared.absorbed,
        "no effect": declared.inert,
    }
    default = _text(declared.default)
    return (
        f"`{declared.name}`",
        f"`{declared.spec_field}`" if declared.spec_field else "",
        declared.kind.description,
        f"`{default}`" if default else "",
        ", ".join(name for name, applies in notes.items() if applies),
    )


def _text(value: Any) -> str:
    """Return a default as an operator would write it; empty for one that is not set."""
    if value is None or value in ("", ()):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, FailsafePort):
        net = f"{value.network}:" if value.network else ""
        return f"{_PROTOCOLS.get(value.protocol, value.protocol)}:{net}{value.port}"
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _metric_rows() -> Iterator[tuple[str, ...]]:
    metrics = FelixMetrics("host", process=False).registry().collect()
    for metric in sorted(metrics, key=lambda each: each.name):
        labels = {name for sample in metric.samples for name in sample.labels}
        shown = ", ".join(f"`{name}`" for name in sorted(labels - {"quantile"}))
        yield f"`{metric.name}`", shown, metric.documentation


if __name__ == "__main__":
    print(reference(), end="")
