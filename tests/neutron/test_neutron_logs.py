"""Network logs are in the policies of groups, and in policies of their own, when a request ends."""

from __future__ import annotations

import pytest

from calico_openstack.datamodel.codec import decode
from calico_openstack.datamodel.policies import NetworkPolicy
from tests.neutron.conftest import Cloud
from tests.support.neutron import ApiError, Json
from tests.support.processes import eventually


class Logging:
    """A project with a group of its own and a port in it."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        cloud.felix()
        network = cloud.network()
        cloud.subnet(network)
        self.group = cloud.member.create("security_group", name="web")["id"]
        self.rule = cloud.member.create(
            "security_group_rule", security_group_id=self.group, direction="ingress", protocol="tcp"
        )["id"]
        self.other = cloud.member.create("security_group", name="other")["id"]
        self.port = cloud.port(network, security_groups=[self.group])

    def log(self, **attributes: object) -> str:
        values = {"resource_type": "security_group", "project_id": self.cloud.project}
        body = {"log": values | attributes}
        result: str = self.cloud.admin.request("POST", "log/logs", body)["log"]["id"]
        return result

    def update(self, log_id: str, **attributes: object) -> None:
        self.cloud.admin.request("PUT", f"log/logs/{log_id}", {"log": attributes})

    def delete(self, log_id: str) -> None:
        self.cloud.admin.request("DELETE", f"log/logs/{log_id}")

    def drops(self, log_id: str) -> Json | None:
        return self.cloud.policy(f"log-{log_id}")

    def actions(self, group_id: str | None = None) -> list[object]:
        policy = self.cloud.policy(group_id or self.group)
        assert policy is not None
        return [rule["action"] for rule in policy["spec"]["ingress"]]

    def labels(self) -> set[str]:
        endpoint = self.cloud.endpoint(self.port)
        assert endpoint is not None
        prefix = "log.projectcalico.org/openstack-"
        labels = endpoint["metadata"]["labels"]
        return {name.removeprefix(prefix) for name in labels if name.startswith(prefix)}


@pytest.fixture
def logging(cloud: Cloud) -> Logging:
    return Logging(cloud)


def test_a_group_is_logged_while_its_log_is_enabled(logging: Logging) -> None:
    cloud = logging.cloud
    assert cloud.admin.request("GET", "log/loggable-resources") == {
        "loggable_resources": [{"type": "security_group"}]
    }
    log = logging.log(resource_id=logging.group, event="ALL")
    assert logging.actions() == ["Log", "Allow"]
    drops = logging.drops(log)
    assert drops is not None
    assert drops["spec"]["selector"] == f"has(sg.projectcalico.org/openstack-{logging.group})"
    path = (
        f"/calico/resources/v3/projectcalico.org/networkpolicies/openstack/ossg.default.log-{log}"
    )
    stored = cloud.etcd.get(path)
    assert stored is not None
    assert isinstance(decode(path, stored.value), NetworkPolicy)
    assert not logging.labels()

    logging.update(log, enabled=False)
    assert logging.actions() == ["Allow"]
    assert logging.drops(log) is None
    logging.update(log, enabled=True)
    assert logging.actions() == ["Log", "Allow"]
    assert logging.drops(log) is not None
    logging.delete(log)
    assert logging.actions() == ["Allow"]
    assert logging.drops(log) is None


def test_events_choose_what_is_logged(logging: Logging) -> None:
    accepts = logging.log(resource_id=logging.group, event="ACCEPT")
    assert logging.drops(accepts) is None
    assert logging.actions() == ["Log", "Allow"]
    logging.delete(accepts)
    drops = logging.log(resource_id=logging.group, event="DROP")
    assert logging.drops(drops) is not None
    assert logging.actions() == ["Allow"]


def test_a_port_is_logged_in_whatever_groups_it_is(logging: Logging) -> None:
    cloud = logging.cloud
    log = logging.log(target_id=logging.port["id"], event="ALL")
    assert logging.labels() == {log}
    selector = f"has(log.projectcalico.org/openstack-{log})"
    policy = cloud.policy(logging.group)
    assert policy is not None
    assert policy["spec"]["ingress"][0]["destination"]["selector"] == selector
    drops = logging.drops(log)
    assert drops is not None
    assert drops["spec"]["selector"] == selector
    cloud.member.create(
        "security_group_rule", security_group_id=logging.other, direction="ingress", protocol="udp"
    )
    assert logging.actions(logging.other) == ["Allow"]
    cloud.member.update("port", logging.port["id"], security_groups=[logging.other])
    assert logging.actions(logging.other) == ["Log", "Allow"]
    assert logging.actions() == ["Allow"]
    cloud.admin.delete("port", logging.port["id"])
    eventually(lambda: logging.drops(log) is None, 30, "the end of the port's log")
    assert logging.actions(logging.other) == ["Allow"]


def test_all_of_a_project_is_logged(logging: Logging) -> None:
    log = logging.log(event="DROP")
    assert logging.labels() == {log}
    logging.delete(log)
    assert not logging.labels()


def test_a_group_that_is_deleted_takes_its_log_along(logging: Logging) -> None:
    log = logging.log(resource_id=logging.other, event="DROP")
    logging.cloud.member.delete("security_group", logging.other)
    assert logging.drops(log) is None
    assert logging.cloud.policy(logging.other) is None


def test_what_cannot_be_logged_is_refused(logging: Logging) -> None:
    with pytest.raises(ApiError) as error:
        logging.log(resource_type="snat", resource_id=logging.port["id"])
    assert error.value.status == 400
    with pytest.raises(ApiError) as error:
        logging.log(resource_id=logging.other, target_id=logging.port["id"])
    assert error.value.status == 400
