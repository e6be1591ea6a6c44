"""``plan``: the command."""

from __future__ import annotations

import sys
from itertools import islice
from typing import Final

import click

from calico_openstack.agent.introspection.protocol import MOST_ROWS, Question
from calico_openstack.calicoctl.asking import ask_hosts
from calico_openstack.calicoctl.command_line import AS, CONFIG, open_client
from calico_openstack.calicoctl.documents import read_resources
from calico_openstack.calicoctl.endpoint_scan import decoded
from calico_openstack.calicoctl.plan.comparison import compared, lines
from calico_openstack.calicoctl.plan.flows import FlowJudge, questions
from calico_openstack.calicoctl.plan.proposals import (
    ProposalError,
    applied,
    removed,
    with_group_rule,
)
from calico_openstack.calicoctl.plan.world import World
from calico_openstack.datamodel.keys import RESOURCE_PREFIX
from calico_openstack.etcd import EtcdClient

_FELIX: Final = "calico-felix"
_AT_ONCE: Final = 50
# What a Felix tells of at most.
_MANY: Final = 3000


@click.command("plan", context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.option("-f", "--filename", default="", help="Resources that would be applied.")
@click.option("--delete", is_flag=True, help="The resources of -f would be deleted.")
@click.option(
    "--flows/--no-flows", default=True, help="Ask the hosts which established flows would end."
)
@click.option("--limit", default=100, show_default=True, help="Show at most so many flows.")
@click.option("--fail-if-lost", is_flag=True, help="Exit with 2 if anybody loses anything.")
@AS
@CONFIG
def command(
    *,
    words: tuple[str, ...],
    filename: str,
    delete: bool,
    flows: bool,
    limit: int,
    fail_if_lost: bool,
    config: str,
) -> None:
    """Tell what a change would do to existing workloads, and change nothing.

    The change is a file of resources (-f), or a rule of a security group in WORDS of openstack:
    calicoctl plan security group rule create --ingress --protocol tcp --dst-port 443 GROUP.

    If anybody loses anything, the hosts are asked which flows are established now and would end.
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
    old, new = World(before), World(after)
    found = list(compared(old, new))
    for line in lines(found):
        click.echo(line)
    if flows and any(each.lost for each in found):
        _tell_flows(client, old, new, limit)
    if fail_if_lost and any(each.lost for each in found):
        sys.exit(2)


def _tell_flows(client: EtcdClient, old: World, new: World, limit: int) -> None:
    """Show the established flows that would end, as hosts tell of them; raises `EtcdError`."""
    judge = FlowJudge(old, new)
    waiting = questions(old, new)
    count = 0
    while some := list(islice(waiting, _AT_ONCE)):
        asked = [(host, Question(_FELIX, "flows", match, MOST_ROWS)) for host, match in some]
        for (host, _), answer in zip(some, ask_hosts(client, asked), strict=True):
            if answer.error:
                click.echo(f"flows of {host} are not known: {answer.error}", err=True)
            elif len(answer.rows) < answer.total or answer.total >= _MANY:
                click.echo(f"{host} has more flows than it tells of", err=True)
            for flow in judge.cut(answer.rows):
                if not count:
                    click.echo("Established flows that would end:")
                count += 1
                if count <= limit:
                    click.echo(f"  ! {flow}")
    if count > limit:
        click.echo(f"  and {count - limit} more (--limit)")
    if not count:
        click.echo("No flow that is established now would end.")
