"""Command line of ``calico-dhcp-agent``."""

from __future__ import annotations

from calico_openstack.agent.command import AgentCommand
from calico_openstack.dhcp.agent import DhcpAgent
from calico_openstack.dhcp.options import (
    DEFAULT_FILE,
    ENVIRONMENT_PREFIX,
    AgentOptions,
    read_options,
)


def _run(options: AgentOptions) -> int:
    return DhcpAgent(options).run()


def _clean_up(options: AgentOptions) -> None:
    DhcpAgent(options).clean_up()


main: AgentCommand[AgentOptions] = AgentCommand(
    program="calico-dhcp-agent",
    description="Configures and runs dnsmasq.",
    default_file=DEFAULT_FILE,
    environment_prefix=ENVIRONMENT_PREFIX,
    undo="--clean-up",
    undo_help="end the host's dnsmasq processes, which the agent leaves running otherwise, remove "
    "what belongs to them, and exit",
    read=read_options,
    run=_run,
    undone=_clean_up,
)
