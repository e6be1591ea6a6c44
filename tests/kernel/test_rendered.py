"""Whatever is rendered, the kernel takes, step by step, and nft(8) can list it."""

from __future__ import annotations

from random import Random

import pytest

from calico_openstack.felix.calc import HostCalculation
from calico_openstack.felix.kernel.nft_driver import NftDriver
from calico_openstack.felix.render import TABLES, DenyAction, Renderer, RenderSettings
from tests.support.clusters import HOST, ClusterGenerator
from tests.support.netns import NetworkNamespace, needs_root

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
