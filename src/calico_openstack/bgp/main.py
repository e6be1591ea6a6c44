"""Command line of ``calico-bgp-agent``."""

from __future__ import annotations

from calico_openstack.agent.command import AgentCommand
from calico_openstack.bgp.agent import BgpAgent, bird_service
from calico_openstack.bgp.options import (
    DEFAULT_FILE,
    ENVIRONMENT_PREFIX,
    AgentOptions,
    read_options,
)
from calico_openstack.bgp.stanza import HostOptions


def _run(options: AgentOptions) -> int:
    return BgpAgent(options).run()


def _stop_bird(options: AgentOptions) -> None:
    bird_service(options, HostOptions()).stop()


main: AgentCommand[AgentOptions] = AgentCommand(
    program="calico-bgp-agent",
    description="Configures and runs BIRD.",
    default_file=DEFAULT_FILE,
    environment_prefix=ENVIRONMENT_PREFIX,
    undo="--stop-bird",
    undo_help="end the host's BIRD, which the agent leaves running otherwise, and exit",
    read=read_options,
    run=_run,
    undone=_stop_bird,
)
