"""What virtual machines start from: a Debian kernel and busybox, taken from Debian's packages.

The kernel's package is downloaded and unpacked into the lab's cache, not installed.
"""

import lzma
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from calico_openstack.lab import initramfs
from calico_openstack.lab.commands import CommandError, run
from calico_openstack.lab.guest import DHCLIENT_SCRIPT, UDHCPC_SCRIPT

_PACKAGES = ("linux-image-cloud-amd64", "linux-image-amd64")
_REAL_PACKAGE = re.compile(r"linux-image-[0-9][a-z0-9.+-]*")
DOWNLOAD_TIMEOUT = 300.0


@dataclass(frozen=True)
class GuestImage:
    """The kernel, the archive that all machines share, and the one with the DHCPv6 client."""

    kernel: Path
    base: Path
    dhcp6: Path


def prepare(cache: Path) -> GuestImage:
    """The image, made at the first time. Raises CommandError when something cannot be had."""
    package = _kernel_package()
    folder = cache / package
    kernel, modules = folder / "vmlinuz", folder / "modules"
    if not kernel.exists():
        _fetch_kernel(package, folder)
    image = GuestImage(kernel, folder / "base.cpio", folder / "dhcp6.cpio")
    # The archives are cheap to make, and so follow their sources without a version of their own.
    image.base.write_bytes(_base_archive(modules))
    image.dhcp6.write_bytes(_dhcp6_archive())
    return image


def _kernel_package() -> str:
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


def _fetch_kernel(package: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        work = Path(temporary)
        # apt's download user may write here, or apt warns.
        work.chmod(0o777)
        command = f"cd {work} && apt-get -qq download {package} && dpkg-deb -x *.deb tree"
        run(["sh", "-c", command], timeout=DOWNLOAD_TIMEOUT)
        (kernel,) = (work / "tree/boot").glob("vmlinuz-*")
        made = work / "made"
        (made / "modules").mkdir(parents=True)
        for name in initramfs.MODULES:
            for found in (work / "tree").rglob(f"{name}.ko*"):
                data = found.read_bytes()
                plain = lzma.decompress(data) if found.suffix == ".xz" else data
                (made / "modules" / f"{name}.ko").write_bytes(plain)
        shutil.move(kernel, made / "vmlinuz")
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)


def _base_archive(modules: Path) -> bytes:
    busybox = shutil.which("busybox")
    if busybox is None:
        raise CommandError("busybox is not installed (Debian's package busybox-static)")
    files = [
        initramfs.console(),
        initramfs.File("init", initramfs.INIT.encode()),
        initramfs.File("bin/busybox", Path(busybox).read_bytes()),
        initramfs.File("etc/udhcpc.sh", UDHCPC_SCRIPT.encode()),
        initramfs.File("etc/dhclient.sh", DHCLIENT_SCRIPT.encode()),
        initramfs.File("etc/dhclient.conf", b"timeout 5;\nretry 1;\ninitial-interval 1;\n"),
        *(
            initramfs.File(f"modules/{module.name}", module.read_bytes())
            for module in sorted(modules.glob("*.ko"))
        ),
    ]
    return initramfs.archive(initramfs.with_folders(files))


def _dhcp6_archive() -> bytes:
    """ISC's client with its libraries: busybox in Debian has none for DHCPv6."""
    files = program_files("dhclient", "isc-dhcp-client")
    return initramfs.archive(initramfs.with_folders(files))


def program_files(name: str, package: str) -> list[initramfs.File]:
    """A program of this machine, to be /sbin/NAME in the guest, with its libraries.

    Raises CommandError with the Debian package to install when it is not there.
    """
    program = shutil.which(name)
    if program is None:
        raise CommandError(f"{name} is not installed (Debian's package {package})")
    libraries = re.findall(r"(/\S+)", run(["ldd", program]))
    return [
        initramfs.File(f"sbin/{name}", Path(program).read_bytes()),
        *(initramfs.File(path.lstrip("/"), Path(path).read_bytes()) for path in libraries),
    ]
