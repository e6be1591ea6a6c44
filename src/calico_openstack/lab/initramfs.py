"""The memory file system of a virtual machine, put together from Debian's packages. Pure parts.

An archive of the "newc" format of cpio (cpio(5), and the kernel's
Documentation/driver-api/early-userspace/buffer-format.rst). The kernel unpacks several archives
one after the other, so what all machines share is made once, and each adds its own small one.
"""

import stat
from collections.abc import Iterable
from dataclasses import dataclass

# Loaded in this order; those that the kernel has built in are not there and are left out.
MODULES = (
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
)

# Written by the guest to its console when it takes commands.
READY = "CALICO-LAB-GUEST-READY"

INIT = f"""\
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /etc /bin /sbin /run /var/lib/dhcp
/bin/busybox --install -s /bin
export PATH=/bin:/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
grep -q lab.probe /proc/cmdline && {{ echo {READY}; poweroff -f; }}
for module in {" ".join(MODULES)}; do
    [ -f /modules/$module.ko ] && insmod /modules/$module.ko
done
. /etc/guest.conf
hostname "$HOSTNAME"
ip link set lo up
[ -e /sys/class/net/eth0 ] || {{ echo "there is no eth0"; }}
echo 0 > /proc/sys/net/ipv6/conf/eth0/router_solicitation_delay
echo 1 > /proc/sys/net/ipv6/conf/eth0/router_solicitation_interval
: > /etc/resolv.conf
ip link set eth0 up
[ -n "$STATIC" ] && sh -c "$STATIC"
[ -n "$DHCP4" ] && udhcpc -f -i eth0 -s /etc/udhcpc.sh -t 10 -T 1 -A 1 \\
    -O staticroutes -O mtu -x hostname:"$HOSTNAME" &
[ -n "$DHCP6" ] && while :; do
    ip -6 address show dev eth0 | grep -v tentative | grep -q fe80 &&
        dhclient -6 -d -D LL -sf /etc/dhclient.sh -lf /run/dhclient6.leases \\
            -cf /etc/dhclient.conf -pf /run/dhclient6.pid eth0
    sleep 1
done &
stty -F /dev/ttyS1 raw -echo
exec 3<>/dev/ttyS1
echo {READY}
while read -r id command <&3; do
    echo "$command" | base64 -d > /tmp/command
    sh /tmp/command > /tmp/output 2>&1 3<&- < /dev/null
    status=$?
    {{ echo "BEGIN $id"; base64 /tmp/output; echo "END $id $status"; }} >&3
done
"""


@dataclass(frozen=True)
class File:
    """A file, a folder (without data) or a device (with its numbers) in the archive."""

    path: str
    data: bytes = b""
    mode: int = stat.S_IFREG | 0o755
    device: tuple[int, int] = (0, 0)


def folder(path: str) -> File:
    """A folder."""
    return File(path, mode=stat.S_IFDIR | 0o755)


def console() -> File:
    """The device on which the kernel opens the first program's standard streams."""
    return File("dev/console", mode=stat.S_IFCHR | 0o600, device=(5, 1))


def with_folders(files: Iterable[File]) -> tuple[File, ...]:
    """The files, after all folders that they need, which the kernel does not make itself."""
    wanted = list(files)
    folders: dict[str, File] = {}
    for file in wanted:
        parts = file.path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            folders.setdefault(path, folder(path))
    return (*folders.values(), *wanted)


def archive(files: Iterable[File]) -> bytes:
    """The archive of these files, padded so that another one may follow."""
    out = bytearray()
    for number, file in enumerate((*files, File("TRAILER!!!", mode=0)), start=1):
        name = file.path.encode() + b"\0"
        fields = (number, file.mode, 0, 0, 1, 0, len(file.data), 0, 0, *file.device, len(name), 0)
        out += b"070701" + b"".join(b"%08x" % value for value in fields) + name
        out += bytes(-len(out) % 4)
        out += file.data
        out += bytes(-len(out) % 4)
    return bytes(out) + bytes(-len(out) % 512)
