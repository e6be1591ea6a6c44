"""Etcd and the database agree again after anything, and agreement costs no write."""

from __future__ import annotations

import json
import signal
from concurrent.futures import ThreadPoolExecutor

from calico_openstack.neutron.markers import comparison_path
from tests.neutron.conftest import REGION, Cloud
from tests.support.etcd import EtcdServer
from tests.support.neutron import ApiError, Json
from tests.support.processes import eventually


def resynchronised(cloud: Cloud) -> None:
    """Restart the workers, and wait until their resynchronisation is through."""
    marker = comparison_path(REGION)
    cloud.etcd.delete(marker)
    cloud.neutron.restart_workers()
    # It is written last.
    eventually(lambda: cloud.etcd.get(marker) is not None, 120, "resynchronisation")


def revisions(cloud: Cloud) -> dict[str, int]:
    """Return the revision of everything that the driver writes."""
    return {
        kv.key: kv.mod_revision
        for prefix in ("/calico/resources/", "/calico/dhcp/")
        for kv in cloud.etcd.get_prefix(prefix).kvs
        if "clusterinformations" not in kv.key
    }


def test_the_cluster_is_provided_for(cloud: Cloud) -> None:
    def spec(path: str) -> dict[str, object]:
        stored = cloud.stored(f"/calico/resources/v3/projectcalico.org/{path}")
        assert stored is not None
        result: dict[str, object] = stored["spec"]
        return result

    marker = "/calico/resources/v3/projectcalico.org/clusterinformations/default"
    # It is written last.
    eventually(lambda: cloud.etcd.get(marker) is not None, 120, "the first resynchronisation")
    information = spec("clusterinformations/default")
    assert len(str(information.pop("clusterGUID"))) == 32
    assert information == {"clusterType": "openstack", "datastoreReady": True}
    assert spec("felixconfigurations/default") == {
        "endpointReportingEnabled": True,
        "interfacePrefix": "tap",
        "logActionRateLimit": "100/second",
        "logActionRateLimitBurst": 25,
        "logPrefix": "calico-packet %n %r",
        "workloadSourceSpoofing": "Any",
    }
    assert spec("tiers/default") == {"order": 1000000, "defaultAction": "Deny"}


def test_drift_is_repaired_and_a_clean_cloud_is_left_alone(cloud: Cloud) -> None:
    cloud.felix()
    network = cloud.network()
    subnet = cloud.subnet(network)
    kept, lost, wrong = (cloud.port(network) for _ in range(3))
    (group_id,) = kept["security_groups"]
    before = {port["id"]: cloud.endpoint(port) for port in (kept, lost, wrong)}
    policy = cloud.policy(group_id)
    dhcp = f"/calico/dhcp/v2/no-region/subnet/{subnet['id']}"
    dhcp_before = cloud.stored(dhcp)

    prefix = "/calico/resources/v3/projectcalico.org"
    policy_path = f"{prefix}/networkpolicies/openstack/ossg.default.{group_id}"
    operator = f"{prefix}/networkpolicies/openstack/operator"
    strangers = (
        f"{prefix}/networkpolicies/openstack/ossg.default.no-such-group",
        f"{prefix}/workloadendpoints/openstack/h-openstack-vm-port",
        f"{prefix}/workloadendpoints/openstack/-openstack-vm-port",
        cloud.endpoint_path(kept, "elsewhere"),
        "/calico/dhcp/v2/no-region/subnet/no-such-subnet",
    )
    foreign = f"{prefix}/workloadendpoints/openstack/h-k8s-pod-eth0"
    cloud.etcd.delete(cloud.endpoint_path(lost))
    cloud.etcd.put(cloud.endpoint_path(wrong), b"{garbage")
    cloud.etcd.put(policy_path, json.dumps(policy).replace("Allow", "Deny").encode())
    cloud.etcd.put(dhcp, b"{}")
    for path in (*strangers, operator, foreign):
        cloud.etcd.put(path, b"{}")

    resynchronised(cloud)
    for port in (kept, lost, wrong):
        after, earlier = cloud.endpoint(port), before[port["id"]]
        assert after is not None
        assert earlier is not None
        assert after["spec"] == earlier["spec"]
        assert after["metadata"]["labels"] == earlier["metadata"]["labels"]
    assert cloud.policy(group_id) == policy
    assert cloud.stored(dhcp) == dhcp_before
    assert [path for path in strangers if cloud.etcd.get(path)] == []
    assert cloud.etcd.get(operator) is not None
    assert cloud.etcd.get(foreign) is not None

    clean = revisions(cloud)
    resynchronised(cloud)
    assert revisions(cloud) == clean
    cloud.etcd.delete(operator)
    cloud.etcd.delete(foreign)


def test_concurrent_updates_end_as_the_database_has_it(cloud: Cloud) -> None:
    """Requests go to both API processes; whoever writes last must have read last."""
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    port = cloud.port(network)
    groups = [cloud.member.create("security_group", name=f"g{n}") for n in range(6)]

    def put_into(number: int) -> None:
        chosen = [groups[number % 6]["id"], groups[(number + 1) % 6]["id"]]
        pairs = [{"ip_address": f"192.0.2.{number}"}]
        try:
            cloud.member.update(
                "port", port["id"], security_groups=chosen, allowed_address_pairs=pairs
            )
        except ApiError as error:
            assert error.status in {409, 500, 503}, error

    with ThreadPoolExecutor(6) as clients:
        list(clients.map(put_into, range(24)))
    final = cloud.admin.show("port", port["id"])
    endpoint = cloud.endpoint(port)
    assert endpoint is not None
    labels = endpoint["metadata"]["labels"]
    members = {k.rpartition("openstack-")[2] for k in labels if k.startswith("sg.")}
    assert members == set(final["security_groups"])
    pairs = [f"{pair['ip_address']}/32" for pair in final["allowed_address_pairs"]]
    assert endpoint["spec"]["allowedIps"] == pairs


def test_concurrent_rules_all_arrive(cloud: Cloud) -> None:
    group = cloud.member.create("security_group", name="busy")

    def add(number: int) -> None:
        cloud.member.create(
            "security_group_rule",
            security_group_id=group["id"],
            direction="ingress",
            protocol="tcp",
            port_range_min=number,
            port_range_max=number,
        )

    with ThreadPoolExecutor(6) as clients:
        list(clients.map(add, range(1, 25)))
    policy = cloud.policy(group["id"])
    assert policy is not None
    ports = sorted(rule["destination"]["ports"][0] for rule in policy["spec"]["ingress"])
    assert ports == list(range(1, 25))


def test_what_etcd_missed_is_written_when_it_is_back(
    cloud: Cloud, neutron_etcd: EtcdServer
) -> None:
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    port = cloud.port(network)
    group = cloud.member.create("security_group", name="late")
    neutron_etcd.kill()
    try:
        cloud.member.create(
            "security_group_rule", security_group_id=group["id"], direction="ingress"
        )
        cloud.member.update("port", port["id"], security_groups=[group["id"]])
    finally:
        neutron_etcd.start()
    eventually(lambda: arrived(cloud, group, port), 120, "what was missed")
    eventually(lambda: journal(cloud) == [], 60, "an empty journal")


def test_a_crash_between_the_commit_and_etcd_loses_nothing(
    cloud: Cloud, neutron_etcd: EtcdServer
) -> None:
    """All processes are killed while requests wait for etcd: only the database knows."""
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    port = cloud.port(network)
    group = cloud.member.create("security_group", name="late")
    assert journal(cloud) == []
    processes = [cloud.neutron.api_process, cloud.neutron.workers]
    neutron_etcd.kill()
    try:
        rule = {"security_group_id": group["id"], "direction": "ingress"}
        with ThreadPoolExecutor(2) as clients:
            requests = (
                clients.submit(cloud.member.create, "security_group_rule", **rule),
                clients.submit(
                    cloud.member.update, "port", port["id"], security_groups=[group["id"]]
                ),
            )
            eventually(lambda: len(journal(cloud)) == 3, 30, "records in the journal")
            for process in processes:
                assert process is not None
                process.kill()
            for request in requests:
                request.exception()
    finally:
        neutron_etcd.start()
    cloud.neutron.start_api()
    cloud.neutron.start_workers()
    eventually(lambda: arrived(cloud, group, port), 120, "what was missed")
    eventually(lambda: journal(cloud) == [], 60, "an empty journal")


def journal(cloud: Cloud) -> list[str]:
    rows = cloud.neutron.sql("SELECT kind, object_id FROM calico_dirty_objects").splitlines()
    return rows[1:]


def arrived(cloud: Cloud, group: Json, port: Json) -> bool:
    policy, endpoint = cloud.policy(group["id"]), cloud.endpoint(port)
    assert policy is not None
    assert endpoint is not None
    label = f"sg.projectcalico.org/openstack-{group['id']}"
    return bool(policy["spec"]["ingress"]) and label in endpoint["metadata"]["labels"]


def test_the_api_is_killed_in_the_middle(cloud: Cloud) -> None:
    """The database has it, etcd may not: the next resynchronisation makes it so."""
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    process = cloud.neutron.api_process
    assert process is not None
    created: list[Json] = []

    def create(_number: int) -> None:
        try:
            created.append(cloud.port(network))
        except (OSError, ApiError, ValueError):
            pass
        except Exception as error:  # http.client raises many kinds for a connection that ends
            assert "http.client" in type(error).__module__, error

    with ThreadPoolExecutor(4) as clients:
        for number in range(8):
            clients.submit(create, number)
        eventually(lambda: bool(created), 30, "a port")
        process.signal(signal.SIGKILL)
        process.wait()
    cloud.neutron.start_api()
    resynchronised(cloud)
    ports = cloud.admin.list("port", f"network_id={network['id']}")
    bound = [port for port in ports if port["binding:vif_type"] != "unbound"]
    assert bound
    for port in ports:
        assert (cloud.endpoint(port) is not None) == (port in bound)
