"""``plan``: the command."""

from __future__ import annotations

import sys

import click

from calico_openstack.calicoctl.command_line import AS, CONFIG, open_client
from calico_openstack.calicoctl.documents import read_resources
from calico_openstack.calicoctl.endpoint_scan import decoded
from calico_openstack.calicoctl.plan.comparison import differences, lines
from calico_openstack.calicoctl.plan.proposals import (
    ProposalError,
    applied,
    removed,
    with_group_rule,
)
from calico_openstack.datamodel.keys import RESOURCE_PREFIX


@click.command("plan", context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.option("-f", "--filename", default="", help="Resources that would be applied.")
@click.option("--delete", is_flag=True, help="The resources of -f would be deleted.")
@click.option("--fail-if-lost", is_flag=True, help="Exit with 2 if anybody loses anything.")
@AS
@CONFIG
def command(
    *, words: tuple[str, ...], filename: str, delete: bool, fail_if_lost: bool, config: str
) -> None:
    """Tell what a change would do to existing workloads, and change nothing.

    The change is a file of resources (-f), or a rule of a security group in WORDS of openstack:
    calicoctl plan security group rule create --ingress --protocol tcp --dst-port 443 GROUP.
    """
    if bool(words) == bool(filename):
        raise ProposalError("name either a file (-f) or a rule of a security group, see --help")
    changes = read_resources(filename) if filename else []
    client = open_client(config)
    pages = client.iterate_prefix(RESOURCE_PREFIX)
    before = decoded(kv for page in pages for kv in page.kvs)
    if words:
        after = with_group_rule(before, words)
    else:
        after = removed(before, changes) if delete else applied(before, changes)
    found = list(differences(before, after))
    for line in lines(found):
        click.echo(line)
    if fail_if_lost and any(each.lost for each in found):
        sys.exit(2)
