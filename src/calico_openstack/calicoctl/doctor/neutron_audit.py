"""Comparing etcd with Neutron's database from here, where this host is a server of Neutron."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from calico_openstack.calicoctl.doctor.findings import Finding, warning
from calico_openstack.calicoctl.doctor.neutron import judge_audit

_PROGRAM: Final = "calico-resync"
_CONFIGURATION: Final = Path("/etc/neutron/neutron.conf")
_PATIENCE: Final = 300.0


def can_audit() -> bool:
    """Tell whether this host has the program and Neutron's configuration, and may read it."""
    try:
        with _CONFIGURATION.open("rb"):
            return _program() is not None
    except OSError:
        return False


def audit(files: Collection[str]) -> Iterator[Finding]:
    """Compare, with Neutron's configuration in *files* (none: where it usually is)."""
    program = _program()
    if program is None:
        text = f"{_PROGRAM} is not installed here"
        yield warning("neutron", text, "run calicoctl doctor on a server of Neutron")
        return
    command = [program, "--audit", *(f"--config-file={file}" for file in files)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        yield _failed(f"comparing etcd with its database takes more than {_PATIENCE:g} s")
        return
    except OSError as error:
        yield _failed(f"{program} cannot be started: {error.strerror}")
        return
    try:
        report = json.loads(done.stdout)
    except ValueError:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it says nothing"]
        yield _failed(f"etcd cannot be compared with its database: {last[0]}")
    else:
        yield from judge_audit(report)


def _failed(text: str) -> Finding:
    return warning("neutron", text, f"run it by itself: {_PROGRAM} --audit")


def _program() -> str | None:
    beside = Path(sys.argv[0]).resolve().with_name(_PROGRAM)
    return str(beside) if beside.exists() else shutil.which(_PROGRAM)
