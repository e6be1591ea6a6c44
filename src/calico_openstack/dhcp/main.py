"""Command line of ``calico-dhcp-agent``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from calico_openstack import __version__
from calico_openstack.agent import log
from calico_openstack.agent.configuration import ConfigurationError, LocalSettings
from calico_openstack.dhcp.agent import DhcpAgent
from calico_openstack.dhcp.options import DEFAULT_FILE, ENVIRONMENT_PREFIX, read_options

_PROGRAM = "calico-dhcp-agent"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the agent; return the exit code, 1 for settings that cannot be used."""
    parser = argparse.ArgumentParser(prog=_PROGRAM, description="Configures and runs dnsmasq.")
    parser.add_argument(
        "-c",
        "--config-file",
        type=Path,
        default=DEFAULT_FILE,
        metavar="FILE",
        help="configuration file (default: %(default)s)",
    )
    parser.add_argument(
        "--clean-up",
        action="store_true",
        help="end the host's dnsmasq processes, which the agent leaves running otherwise, "
        "remove what belongs to them, and exit",
    )
    parser.add_argument("--version", action="version", version=f"{_PROGRAM} {__version__}")
    chosen = parser.parse_args(arguments)
    try:
        options = read_options(LocalSettings.load(chosen.config_file, ENVIRONMENT_PREFIX))
        log.configure(
            _PROGRAM,
            log.LogSettings(
                screen=options.log_severity,
                file=options.log_severity,
                file_path=options.log_file,
            ),
        )
        agent = DhcpAgent(options)
    except (ConfigurationError, ValueError, OSError) as error:
        print(f"{_PROGRAM}: {error}", file=sys.stderr)
        return 1
    if chosen.clean_up:
        agent.clean_up()
        return 0
    return agent.run()
