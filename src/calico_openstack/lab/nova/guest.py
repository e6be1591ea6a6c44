"""A small guest for Nova: configures every interface, and obeys its metadata.

It has the kernel and the tools of the lab's other virtual machines, and an own init that

* asks by DHCP and DHCPv6 on every interface, also on those that are attached while it runs;
* asks the metadata service for its name, its user's SSH keys and its user data, which it runs
  when it is a script;
* tells all this on its console;
* lets root in by SSH with those keys, and gives a shell on its serial line.
"""

from pathlib import Path

from calico_openstack.lab import guest_image, initramfs

METADATA_ADDRESS = "169.254.169.254"
# Written to the console with what was learnt: a line for each.
ADDRESS_LINE = "GUEST-ADDRESS"
METADATA_LINE = "GUEST-METADATA"
USER_DATA_LINE = "GUEST-USER-DATA"

# Interfaces after the first have a routing table each, by source address: an answer leaves where
# the question came in, or the host would take it for forged.
_DHCP_SCRIPT = f"""\
#!/bin/sh
if [ "$interface" = eth0 ]; then
    /etc/udhcpc.sh "$@"
else
    case "$1" in
    deconfig)
        ip -4 address flush dev "$interface"
        ip link set "$interface" up ;;
    bound|renew)
        table=$((100 + ${{interface#eth}}))
        ip -4 address replace "$ip/32" dev "$interface"
        [ -n "$mtu" ] && ip link set "$interface" mtu "$mtu"
        for gateway in $router; do
            ip route replace default via "$gateway" dev "$interface" onlink table $table
            break
        done
        ip rule del from "$ip" table $table 2> /dev/null
        ip rule add from "$ip" table $table ;;
    esac
fi
[ "$1" = bound ] && echo "{ADDRESS_LINE} $interface $ip" > /dev/console
exit 0
"""

_INTERFACE_SCRIPT = """\
#!/bin/sh
echo 0 > /proc/sys/net/ipv6/conf/$1/router_solicitation_delay
echo 1 > /proc/sys/net/ipv6/conf/$1/router_solicitation_interval
ip link set $1 up
udhcpc -f -i $1 -s /etc/dhcp.sh -t 10 -T 1 -A 1 -O staticroutes -O mtu &
while [ -e /sys/class/net/$1 ]; do
    ip -6 address show dev $1 | grep -v tentative | grep -q fe80 &&
        dhclient -6 -d -D LL -sf /etc/dhclient.sh -lf /run/dhclient6.$1.leases \\
            -cf /etc/dhclient.conf -pf /run/dhclient6.$1.pid $1 > /dev/null 2>&1
    sleep 1
done
"""

# Debian's static busybox has a wget that crashes in such a small system, and an nc that does not.
# It is patient, since asking anew adds to what a loaded machine has to do: it takes two waits of
# 20 s without a word for the end. More than a minute would be in vain, as it says at once that it
# has nothing more to ask: then conntrack forgets what translates the answer (close_wait, 60 s).
_METADATA_SCRIPT = f"""\
#!/bin/sh
ask() {{
    printf 'GET /latest/%s HTTP/1.0\\r\\nHost: {METADATA_ADDRESS}\\r\\n\\r\\n' "$1" |
        nc -w 20 {METADATA_ADDRESS} 80 2> /dev/null | tr -d '\\r' > /run/answer
    head -n 1 /run/answer | grep -q ' 200 ' && sed '1,/^$/d' /run/answer
}}
until instance=$(ask meta-data/instance-id) && [ -n "$instance" ]; do sleep 1; done
name=$(ask meta-data/hostname)
hostname "${{name%%.*}}"
for key in $(ask meta-data/public-keys/ | cut -d= -f1); do
    ask meta-data/public-keys/$key/openssh-key >> /root/.ssh/authorized_keys
    echo >> /root/.ssh/authorized_keys
done
echo "{METADATA_LINE} $instance $name" > /dev/console
ask user-data > /run/user-data
if [ "$(head -c 2 /run/user-data)" = "#!" ]; then
    chmod +x /run/user-data
    /run/user-data > /dev/console 2>&1
    echo "{USER_DATA_LINE} ended with $?" > /dev/console
fi
"""

INIT = f"""\
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /bin /sbin /run /var/run /var/log /var/lib/dhcp
/bin/busybox --install -s /bin
export PATH=/bin:/sbin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts
mount -t devpts pts /dev/pts
for module in {" ".join(initramfs.MODULES)}; do
    [ -f /modules/$module.ko ] && insmod /modules/$module.ko
done
chmod 700 /root /root/.ssh
hostname guest
ip link set lo up
: > /etc/resolv.conf
/etc/metadata.sh &
dropbear -R -E -s > /var/log/dropbear 2>&1
setsid sh -c 'while :; do cttyhack sh -l; done' < /dev/ttyS0 > /dev/ttyS0 2>&1 &
echo {initramfs.READY}
known=
while :; do
    present=
    for path in /sys/class/net/eth*; do
        [ -e $path ] || continue
        name=${{path##*/}}
        present="$present $name "
        case "$known" in *" $name "*) ;; *) /etc/interface.sh $name & ;; esac
    done
    known=$present
    sleep 1
done
"""

_TEXTS = {
    "init": INIT,
    "etc/dhcp.sh": _DHCP_SCRIPT,
    "etc/interface.sh": _INTERFACE_SCRIPT,
    "etc/metadata.sh": _METADATA_SCRIPT,
    "etc/passwd": "root:*:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:*:0:\n",
    "etc/shells": "/bin/sh\n",
}
_FOLDERS = ("root/.ssh", "etc/dropbear")


def kernel_and_memory_disk(cache: Path) -> tuple[bytes, bytes]:
    """The kernel and the memory disk of the guest. Raises CommandError.

    The own archive comes last: its init takes the place of the one that all machines share.
    """
    image = guest_image.prepare(cache)
    files = [
        *(initramfs.File(path, text.encode()) for path, text in _TEXTS.items()),
        *(initramfs.folder(path) for path in _FOLDERS),
        *guest_image.program_files("dropbear", "dropbear-bin"),
    ]
    own = initramfs.archive(initramfs.with_folders(files))
    archives = [image.base.read_bytes(), image.dhcp6.read_bytes(), own]
    return image.kernel.read_bytes(), b"".join(archives)
