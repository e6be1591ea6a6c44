"""``doctor``: the command."""

from __future__ import annotations

import sys

import click
import msgspec

from calico_openstack.calicoctl import output
from calico_openstack.calicoctl.command_line import AS, CONFIG, open_client
from calico_openstack.calicoctl.doctor.examination import examine
from calico_openstack.calicoctl.doctor.findings import Finding, Severity, critical, lines, worst
from calico_openstack.etcd import EtcdError


@click.command("doctor")
@click.option("--node", "nodes", multiple=True, help="Ask this host only (may be repeated).")
@click.option("-o", "--output", "form", default="ps", type=click.Choice(["ps", "json", "yaml"]))
@AS
@CONFIG
def command(*, nodes: tuple[str, ...], form: str, config: str) -> None:
    """Look for faults in etcd, in what is stored there, and on all hosts; name the remedies.

    The exit status is that of a monitoring plugin: 0 without faults, 1 with warnings, 2 if
    something is critical.
    """
    found: list[Finding] = []
    try:
        for finding in examine(open_client(config), nodes):
            found.append(finding)
    except EtcdError as error:
        remedy = "see the log of etcd, and once more: calicoctl doctor"
        found.append(critical("etcd", f"failed during the examination: {error}", remedy))
    if form == "ps":
        for line in lines(found):
            click.echo(line)
        click.echo(_summary([finding.severity for finding in found]))
    else:
        told = [{**msgspec.to_builtins(each), "severity": each.severity.name} for each in found]
        click.echo(output.as_json(told) if form == "json" else output.as_yaml(told))
    sys.exit(worst(found))


def _summary(severities: list[Severity]) -> str:
    if not severities:
        return "No faults found."
    parts = [
        f"{severities.count(severity)} {name}"
        for severity, name in ((Severity.CRITICAL, "critical"), (Severity.WARNING, "warnings"))
    ]
    return f"Found: {', '.join(parts)}."
