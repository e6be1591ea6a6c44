"""``doctor``: the command."""

from __future__ import annotations

import sys

import click
import msgspec

from calico_openstack.calicoctl import output
from calico_openstack.calicoctl.command_line import AS, CONFIG, open_client
from calico_openstack.calicoctl.doctor.examination import examine
from calico_openstack.calicoctl.doctor.findings import Finding, Severity, critical, lines, worst
from calico_openstack.calicoctl.doctor.neutron_audit import audit, can_audit
from calico_openstack.etcd import EtcdError


@click.command("doctor")
@click.option("--node", "nodes", multiple=True, help="Ask this host only (may be repeated).")
@click.option("-o", "--output", "form", default="ps", type=click.Choice(["ps", "json", "yaml"]))
@click.option(
    "--neutron/--no-neutron",
    default=None,
    help="Compare etcd with Neutron's database (default: where Neutron's configuration is).",
)
@click.option(
    "--neutron-config",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="A file of Neutron's configuration, if it is elsewhere (may be repeated).",
)
@AS
@CONFIG
def command(
    *, nodes: tuple[str, ...], form: str, neutron: bool | None, files: tuple[str, ...], config: str
) -> None:
    """Look for faults in etcd, in what is stored there, and on all hosts; name the remedies.

    On a server of Neutron etcd is compared with Neutron's database too; elsewhere counts what the
    last comparison of Neutron's driver has found. The exit status is that of a monitoring plugin: 0
    without faults, 1 with warnings, 2 if something is critical.
    """
    wanted = neutron if neutron is not None else bool(files) or can_audit()
    found: list[Finding] = []
    try:
        compare = (lambda: audit(files)) if wanted else tuple
        for finding in examine(open_client(config), nodes, compare):
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
