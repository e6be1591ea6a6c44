"""Command line of ``calico-bgp-agent``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from calico_openstack import __version__
from calico_openstack.agent import log
from calico_openstack.agent.configuration import ConfigurationError, LocalSettings
from calico_openstack.bgp.agent import BgpAgent, bird_service
from calico_openstack.bgp.options import DEFAULT_FILE, ENVIRONMENT_PREFIX, read_options
from calico_openstack.bgp.stanza import HostOptions

_PROGRAM = "calico-bgp-agent"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the agent; return the exit code, 1 for settings that cannot be used."""
    parser = argparse.ArgumentParser(prog=_PROGRAM, description="Configures and runs BIRD.")
    parser.add_argument(
        "-c",
        "--config-file",
        type=Path,
        default=DEFAULT_FILE,
        metavar="FILE",
        help="configuration file (default: %(default)s)",
    )
    parser.add_argument(
        "--stop-bird",
        action="store_true",
        help="end the host's BIRD, which the agent leaves running otherwise, and exit",
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
    except (ConfigurationError, ValueError, OSError) as error:
        print(f"{_PROGRAM}: {error}", file=sys.stderr)
        return 1
    if chosen.stop_bird:
        bird_service(options, HostOptions()).stop()
        return 0
    return BgpAgent(options).run()
