"""What virtual machines start from: a Debian kernel and busybox, taken from Debian's packages."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from calico_openstack.lab import initramfs, kernel_package
from calico_openstack.lab.commands import CommandError, run
from calico_openstack.lab.guest import DHCLIENT_SCRIPT, UDHCPC_SCRIPT


@dataclass(frozen=True)
class GuestImage:
    """The kernel, the archive that all machines share, and the one with the DHCPv6 client."""

    kernel: Path
    base: Path
    dhcp6: Path


def prepare(cache: Path) -> GuestImage:
    """The image, made at the first time. Raises CommandError when something cannot be had."""
    kernel = kernel_package.fetch(cache, initramfs.MODULES)
    image = GuestImage(kernel.image, kernel.folder / "base.cpio", kernel.folder / "dhcp6.cpio")
    # The archives are cheap to make, and so follow their sources without a version of their own.
    image.base.write_bytes(_base_archive(kernel.modules))
    image.dhcp6.write_bytes(_dhcp6_archive())
    return image


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
