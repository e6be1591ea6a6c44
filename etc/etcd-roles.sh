#!/bin/bash
# Makes a role in etcd for a process, with the rights that it needs and no others. Roles that exist
# get what they lack. Grant a role to a user of your own; etcdctl finds etcd by its environment.
#
#   etcd-roles.sh neutron
#   etcd-roles.sh felix|bgp|dhcp HOST
#   etcd-roles.sh operator              for calicoctl
#
# REGION is that of the configuration, empty for none. HOST is the agent's name for its host.
set -euo pipefail
export ETCDCTL_API=3

process=${1:?usage: etcd-roles.sh neutron|operator, or felix|bgp|dhcp HOST}
region=${REGION:+region-$REGION}
region=${region:-no-region}
namespace=openstack${REGION:+-region-$REGION}
resources=/calico/resources/v3/projectcalico.org
role=calico-$process
case $process in
felix | bgp | dhcp)
    host=${2:?usage: etcd-roles.sh $process HOST}
    role=$role-$host
    ;;
esac

granted=
grant() { # read|readwrite PREFIX, or read|readwrite KEY only
    local prefix=(--prefix=true)
    [ "${3:-}" != only ] || prefix=()
    granted+="$1 $2 ${prefix[*]}"$'\n'
}

case $process in
neutron)
    for kind in workloadendpoints networkpolicies livemigrations; do
        grant readwrite "$resources/$kind/$namespace/"
    done
    for name in tiers clusterinformations felixconfigurations; do
        grant readwrite "$resources/$name/default" only
    done
    grant readwrite "/calico/dhcp/v2/$region/subnet/"
    grant read "/calico/dhcp/v2/$region/host/"
    grant read "/calico/felix/v2/$region/host/"
    grant readwrite /calico/compaction/v1/
    grant readwrite "/calico/neutron/v1/$region/"
    ;;
felix)
    grant read "$resources/"
    grant readwrite "/calico/felix/v2/$region/host/$host/"
    grant readwrite "/calico/felix/v1/host/$host/"
    # What operators ask the agents of a host comes and goes through its Felix.
    grant readwrite "/calico/introspection/v1/request/$host/"
    grant readwrite /calico/introspection/v1/answer/
    ;;
bgp)
    grant read "$resources/"
    grant read /calico/dhcp/v2/
    grant read "/calico/ipam/v2/host/$host/"
    grant readwrite "$resources/nodes/$host" only
    grant readwrite "$resources/caliconodestatuses/"
    ;;
dhcp)
    grant read "$resources/workloadendpoints/$namespace/${host//-/--}-openstack-"
    grant read "/calico/dhcp/v2/$region/subnet/"
    grant readwrite "/calico/dhcp/v2/$region/host/$host/"
    ;;
operator)
    grant readwrite /calico/
    ;;
*)
    echo "no such process: $process" >&2
    exit 2
    ;;
esac

etcdctl role get "$role" > /dev/null 2>&1 || etcdctl role add "$role"
while read -r permission key prefix; do
    [ -z "$key" ] || etcdctl role grant-permission "$role" $prefix "$permission" "$key" < /dev/null
done <<< "$granted"
