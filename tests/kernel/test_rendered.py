"""Whatever is rendered, the kernel takes, step by step, and nft(8) can list it."""

from __future__ import annotations

from random import Random

import pytest

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.policies import GlobalNetworkPolicy, GlobalNetworkPolicySpec
from calico_openstack.datamodel.rules import EntityRule, Rule
from calico_openstack.felix.calc import HostCalculation
from calico_openstack.felix.kernel.nft_driver import NftDriver
from calico_openstack.felix.render import TABLES, DenyAction, Renderer, RenderSettings
from tests.support.clusters import HOST, ClusterGenerator
from tests.support.netns import NetworkNamespace, needs_root
from tests.support.resources import workload

pytestmark = needs_root


@pytest.mark.parametrize("deny", DenyAction)
def test_random_clusters(namespace: NetworkNamespace, deny: DenyAction) -> None:
    for seed in range(12):
        # Each begins with what the one before left in the kernel.
        with namespace.entered():
            driver = NftDriver(TABLES)
        generator = ClusterGenerator(Random(seed))
        calculation = HostCalculation(HOST)
        renderer = Renderer(RenderSettings(deny_action=deny), calculation.state)
        for batch in generator.batches():
            for key, value in batch:
                calculation.update(key, value)
            delta = renderer.apply(calculation.flush())
            driver.apply(renderer.desired.ruleset, delta.tables)
            assert driver.failures == {}, f"seed {seed}"
            assert not driver.needs_apply
        with namespace.entered():
            probe = NftDriver(TABLES)
        probe.apply(renderer.desired.ruleset, {})
        assert (probe.writes, probe.failures) == (0, {}), f"seed {seed}"
        namespace.run("nft", "list", "ruleset")
        namespace.run("nft", "-j", "list", "ruleset")
        probe.close()
        driver.close()


def test_the_longest_rules_that_may_be(namespace: NetworkNamespace) -> None:
    # Within the limits of validation, beyond that of the kernel if each were an expression.
    def entity(first: int) -> EntityRule:
        return EntityRule(
            nets=(f"{first}.0.0.0/8",),
            not_nets=tuple(f"{first}.{n}.0.0/24" for n in range(256)),
            selector="has(a)",
            not_selector="has(b)",
            ports=("1:65000",),
            not_ports=(
                *(f"{n}:{n + 100}" for n in range(200, 200 * 26, 200)),
                *(f"p{n}" for n in range(25)),
            ),
        )

    few = EntityRule(
        not_nets=tuple(f"10.0.{n}.0/25" for n in range(4)), not_ports=(1, 2, 3, 4, *"abcd")
    )
    rules = tuple(
        Rule(action=action, protocol="TCP", source=source, destination=destination)
        for source, destination in ((entity(10), entity(11)), (few, few))
        for action in ("Log", "Deny", "Allow")
    )
    policy = GlobalNetworkPolicy(spec=GlobalNetworkPolicySpec(selector="all()", ingress=rules))
    calculation = HostCalculation(HOST)
    for key, value in (
        (ResourceKey("GlobalNetworkPolicy", "long"), policy),
        workload(1, node=HOST),
    ):
        calculation.update(key, value)
    renderer = Renderer(RenderSettings(log_rate=(5, 60)), calculation.state)
    with namespace.entered():
        driver = NftDriver(TABLES)
    driver.apply(renderer.desired.ruleset, renderer.apply(calculation.flush()).tables)
    assert driver.failures == {}
    with namespace.entered():
        probe = NftDriver(TABLES)
    probe.apply(renderer.desired.ruleset, {})
    assert (probe.writes, probe.failures) == (0, {})
    namespace.run("nft", "list", "ruleset")
    probe.close()
    driver.close()
