"""The calico-felix command. Its exit code is explained in ``service``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Final

from calico_openstack import __version__
from calico_openstack.felix.listing_process import start as start_listing
from calico_openstack.felix.memory import growing, share_memory

CONFIG_FILE: Final = "/etc/calico/felix.cfg"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run Felix; return the exit code."""
    started_at = time.monotonic()
    options = _parser().parse_args(arguments)
    share_memory()
    with growing():
        listing = start_listing(options.config_file)
        # Hundreds of modules come and none of them goes.
        from calico_openstack.felix.service import serve  # noqa: PLC0415
    return serve(options.config_file, started_at, listing)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="calico-felix",
        description="Programs this host's kernel from the cluster's state in etcd.",
    )
    parser.add_argument(
        "-c", "--config-file", default=CONFIG_FILE, help="INI file (default: %(default)s)"
    )
    parser.add_argument("--version", action="version", version=__version__)
    return parser


if __name__ == "__main__":
    sys.exit(main())
