"""What the kernel can do, asked of the real one without leaving a trace. Needs root."""

from __future__ import annotations

from calico_openstack.felix.kernel.features import FEATURES, conntrack_refusal, refusal, refusals
from calico_openstack.felix.render.nft import Hook, OffloadFlow
from tests.kernel.conftest import NamespaceFactory
from tests.support.netns import needs_root

pytestmark = needs_root


def test_every_feature_is_asked_for_and_nothing_is_left(new_namespace: NamespaceFactory) -> None:
    namespace = new_namespace("host")
    with namespace.entered():
        found = {feature.name: reason for feature, reason in refusals()}
        assert conntrack_refusal() == ""
    assert found.keys() == {feature.name for feature in FEATURES}
    # Those without which no test of this folder could pass.
    for name in ("rules", "states of connections", "destination translation"):
        assert found[name] == "", name
    assert namespace.run("nft", "list", "ruleset").stdout == ""


def test_what_the_kernel_does_not_take_is_told(new_namespace: NamespaceFactory) -> None:
    with new_namespace("host").entered():
        assert refusal((OffloadFlow("nobody-made-it"),), Hook("filter", "forward", 0)) != ""


def test_other_transactions_are_not_disturbed(new_namespace: NamespaceFactory) -> None:
    namespace = new_namespace("host")
    with namespace.entered():
        before = namespace.run("nft", "list", "tables").stdout
        assert refusal(FEATURES[0].expressions, FEATURES[0].hook) == ""
    namespace.run("nft", "add", "table", "ip", "calico-probe")
    with namespace.entered():
        # Not even a table of the same name that is there already.
        assert refusal(FEATURES[0].expressions, FEATURES[0].hook) == ""
    assert before == ""
    assert namespace.run("nft", "list", "ruleset").stdout == "table ip calico-probe {\n}\n"
