"""libvirt on a compute host of the lab, beside the libvirt of other hosts on one machine.

libvirt has its files at fixed places, so each host's has mounts of its own over them, which
nothing outside sees. What it starts outlives it, and is found by the next one, since the mounts
lead to the host's folder.
"""

import uuid
from pathlib import Path

from calico_openstack.lab.namespaces import inside_host
from calico_openstack.lab.processes import ProcessSpec
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.topology import Host

# Where libvirt listens for the hosts that guests come from (libvirtd.conf, tcp_port).
PORT = 16509

# $0 is the host's folder for libvirt, $1 whether guests may use KVM, $2 the host's folder of disks,
# $3 where Nova takes it to be on every host, then the command. Where KVM
# cannot be used its device must not be there: libvirt would ask QEMU about it before every start.
# A fresh /run hides the system's own libvirt and its message bus. Debian's libvirt does not start
# without the user that libvirt-daemon-system makes, even if nothing runs as this user.
_ENTER = """
set -e
mkdir -p /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt
for part in etc lib cache log run; do mkdir -p "$0/$part"; done
mount --bind "$0/etc" /etc/libvirt
mount --bind "$0/lib" /var/lib/libvirt
mount --bind "$0/cache" /var/cache/libvirt
mount --bind "$0/log" /var/log/libvirt
mount -t tmpfs -o mode=755 run /run
mkdir /run/libvirt
mount --bind "$0/run" /run/libvirt
for file in passwd group; do cp /etc/$file "$0/$file"; done
if ! grep -q '^libvirt-qemu:' /etc/passwd; then
    echo 'libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin' >> "$0/passwd"
    echo 'libvirt-qemu:x:64055:' >> "$0/group"
fi
for file in passwd group hosts; do mount --bind "$0/$file" /etc/$file; done
mount --bind "$2" "$3"
if [ "$1" = no ]; then
    mkdir -p "$0/dev"
    mount -t tmpfs -o mode=755 dev "$0/dev"
    cd "$0/dev"
    mkdir net pts shm
    for node in null zero full random urandom tty net/tun; do
        : > $node
        mount --bind /dev/$node $node
    done
    mount --rbind /dev/pts pts
    ln -s pts/ptmx ptmx
    ln -s /proc/self/fd fd
    mount --rbind "$0/dev" /dev
    cd /
fi
shift 3
exec "$@"
"""


def folder(lab: Lab, host: Host) -> Path:
    """Where everything of a host's libvirt is."""
    return lab.host_folder(host.name) / "libvirt"


def socket(lab: Lab, host: Host) -> Path:
    """Where it listens on its own host."""
    return folder(lab, host) / "socket" / "libvirt-sock"


def host_identity(lab: Lab, host: Host) -> uuid.UUID:
    """What tells hosts apart: libvirt refuses to move a guest to where it is already."""
    return uuid.uuid5(uuid.NAMESPACE_DNS, f"{host.name}.{lab.name}")


def daemon_conf(lab: Lab, host: Host) -> str:
    """The text of `libvirtd.conf`."""
    return _text(
        {
            "listen_tls": 0,
            "listen_tcp": 1,
            "listen_addr": host.ipv4,
            "tcp_port": str(PORT),
            "auth_tcp": "none",
            "auth_unix_ro": "none",
            "auth_unix_rw": "none",
            "unix_sock_dir": str(socket(lab, host).parent),
            "host_uuid": str(host_identity(lab, host)),
            "log_outputs": "2:stderr",
        }
    )


def qemu_conf(host: Host) -> str:
    """The text of `qemu.conf`: guests run as root, in the host's namespace and no other."""
    return _text(
        {
            "user": "root",
            "group": "root",
            "security_driver": "none",
            "remember_owner": 0,
            "namespaces": [],
            "cgroup_controllers": [],
            "stdio_handler": "file",
            "migration_address": host.ipv4,
            "migration_host": host.ipv4,
        }
    )


def process(lab: Lab, host: Host, *, kvm: bool, disks: tuple[Path, Path]) -> ProcessSpec:
    """The daemon. Writes its configuration.

    `disks` are the host's folder of disks, and where Nova takes it to be on every host.
    """
    base = folder(lab, host)
    for path, text in {
        base / "libvirtd.conf": daemon_conf(lab, host),
        base / "etc" / "qemu.conf": qemu_conf(host),
        # libvirt asks for the address of its own host's name again and again.
        base / "hosts": f"127.0.0.1 localhost\n{host.ipv4} {host.name}\n",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    socket(lab, host).parent.mkdir(exist_ok=True)
    daemon = [
        *("libvirtd", "--listen", "--config", str(base / "libvirtd.conf")),
        *("--pid-file", str(base / "libvirtd.pid")),
    ]
    settings = ["yes" if kvm else "no", *map(str, disks)]
    command = ["sh", "-c", _ENTER, str(base), *settings, *daemon]
    name = f"libvirt@{host.name}"
    return ProcessSpec(
        name=name,
        host=host.name,
        argv=tuple(inside_host(lab.namespace(host.name), host.name, command)),
        log=str(lab.log_file(name)),
    )


def _text(options: dict[str, str | int | list[str]]) -> str:
    lines = []
    for name, value in options.items():
        quoted = f'"{value}"' if isinstance(value, str) else str(value)
        lines.append(f"{name} = {quoted}\n")
    return "".join(lines)
