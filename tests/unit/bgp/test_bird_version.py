"""Which BIRD configurations are written for, as programs and processes come and go."""

from __future__ import annotations

import os
from pathlib import Path

from calico_openstack.bgp.service import BirdPaths, BirdService, Program
from calico_openstack.bgp.version import BirdVersion


def install(path: Path, version: str) -> None:
    """Put a program in place that says it is BIRD, as a package manager does: by renaming."""
    new = path.with_suffix(".new")
    new.write_text(f"#!/bin/sh\necho 'BIRD version {version}' >&2\n")
    new.chmod(0o755)
    new.rename(path)


def service(directory: Path, bird: Path) -> BirdService:
    paths = BirdPaths(directory / "c", directory / "s", directory / "p", directory / "r", log=None)
    return BirdService(paths, str(bird), "bird", "")


def test_another_program_is_asked_again(tmp_path: Path) -> None:
    bird = tmp_path / "bird"
    program = Program(str(bird))
    assert program.version() is None
    install(bird, "2.0.12")
    assert program.version() == BirdVersion(2, 0, 12)
    install(bird, "3.1.2")
    assert program.version() == BirdVersion(3, 1, 2)
    bird.unlink()
    assert program.version() is None


def test_the_same_program_is_not_asked_again(tmp_path: Path) -> None:
    bird = tmp_path / "bird"
    install(bird, "2.17.1")
    program = Program(str(bird))
    assert program.version() == BirdVersion(2, 17, 1)
    before = bird.stat()
    bird.write_text("#!/bin/sh\nexit 1\n")
    os.utime(bird, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert program.version() == BirdVersion(2, 17, 1)


def test_the_service_writes_for_what_is_installed_until_something_runs(tmp_path: Path) -> None:
    bird = tmp_path / "bird"
    made = service(tmp_path, bird)
    assert made.version is None
    install(bird, "2.17.1")
    assert made.version == BirdVersion(2, 17, 1)
