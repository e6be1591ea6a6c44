#!/bin/bash
# Installs the Debian packages that the lab and the tests need, and only those that are missing:
# packages.sh [nova]; with the argument also those of a lab with Nova.
# Services that an installation would start or enable are kept off: the lab runs its own.
set -euo pipefail

PACKAGES=(
    python3-venv python3-dev gcc libc6-dev              # the Python environment; uWSGI is compiled
    iproute2 iputils-ping util-linux procps             # namespaces and links
    nftables conntrack tcpdump iptables ipset           # the kernel's tables, and leftovers in them
    etcd-server etcd-client mariadb-server mariadb-client bird2 dnsmasq-base
    isc-dhcp-client ndisc6 busybox-static qemu-system-x86   # workloads and virtual machines
)
SERVICES=(etcd mariadb bird)
if [ "${1:-}" = nova ]; then
    PACKAGES+=(
        libvirt-daemon libvirt-daemon-driver-qemu qemu-utils rabbitmq-server
        libvirt-clients dropbear-bin            # to look at guests, and into them
        libvirt-dev pkg-config                  # libvirt's Python binding is compiled
    )
    SERVICES+=(rabbitmq-server)
fi

missing=()
for package in "${PACKAGES[@]}"; do
    state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "These packages are missing and only root can install them: ${missing[*]}" >&2
    exit 1
fi

echo "Installing ${#missing[@]} Debian packages: ${missing[*]}"
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
made_policy=
finish() {
    [ -z "$made_policy" ] || rm -f "$policy"
    rm -f "$log"
}
trap finish EXIT
if [ ! -e "$policy" ]; then
    # Debian's way to say that a package must not start its service (invoke-rc.d(8)).
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
    made_policy=yes
fi

apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" >> "$log" 2>&1
}
fail() {
    tail -20 "$log" >&2
    echo "apt-get could not $1; the lines above tell why" >&2
    exit 1
}

compgen -G '/var/lib/apt/lists/*_Packages*' > /dev/null || apt update || fail "read its lists"
if ! apt install --yes --no-install-recommends "${missing[@]}"; then
    # The lists may be older than the archive.
    apt update || fail "read its lists"
    apt install --yes --no-install-recommends "${missing[@]}" || fail "install the packages"
fi
echo "Debian packages installed in $SECONDS s"
if [ -d /run/systemd/system ]; then
    for service in "${SERVICES[@]}"; do
        case " ${missing[*]} " in
            *" $service"*) systemctl --quiet disable --now "$service" 2>/dev/null || true ;;
        esac
    done
fi
