"""A Debian kernel and some of its modules.

Its package is downloaded and unpacked into a cache, not installed.
"""

import hashlib
import lzma
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from calico_openstack.lab.commands import CommandError, run

_PACKAGES = ("linux-image-cloud-amd64", "linux-image-amd64")
_REAL_PACKAGE = re.compile(r"linux-image-[0-9][a-z0-9.+-]*")
DOWNLOAD_TIMEOUT = 300.0


@dataclass(frozen=True)
class Kernel:
    """A bootable kernel, the folder with its modules, and a folder for what is made of both."""

    image: Path
    modules: Path
    folder: Path


def fetch(cache: Path, modules: Sequence[str]) -> Kernel:
    """Return Debian's kernel with those of *modules* that it has as such, at the first time made.

    Raises CommandError when it cannot be had.
    """
    package = _name()
    chosen = hashlib.sha256(" ".join(modules).encode()).hexdigest()[:8]
    folder = cache / f"{package}-{chosen}"
    if not (folder / "vmlinuz").exists():
        _unpack(package, folder, modules)
    return Kernel(folder / "vmlinuz", folder / "modules", folder)


def _name() -> str:
    architecture = run(["dpkg", "--print-architecture"]).strip()
    if architecture != "amd64":
        raise CommandError(f"virtual machines are made for amd64 only, not for {architecture}")
    for package in _PACKAGES:
        try:
            depends = run(["apt-cache", "depends", "--important", package])
        except CommandError:
            continue
        if match := _REAL_PACKAGE.search(depends, depends.find("Depends:")):
            return match[0]
    raise CommandError("apt knows no kernel package; run: apt-get update")


def _unpack(package: str, target: Path, modules: Sequence[str]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        work = Path(temporary)
        # apt's download user may write here, or apt warns.
        work.chmod(0o777)
        command = f"cd {work} && apt-get -qq download {package} && dpkg-deb -x *.deb tree"
        run(["sh", "-c", command], timeout=DOWNLOAD_TIMEOUT)
        (image,) = (work / "tree/boot").glob("vmlinuz-*")
        made = work / "made"
        (made / "modules").mkdir(parents=True)
        for name in modules:
            for found in (work / "tree").rglob(f"{name}.ko*"):
                data = found.read_bytes()
                plain = lzma.decompress(data) if found.suffix == ".xz" else data
                (made / "modules" / f"{name}.ko").write_bytes(plain)
        shutil.move(image, made / "vmlinuz")
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)
