"""Reading resources from YAML and JSON."""

from __future__ import annotations

import pytest

from calico_openstack.calicoctl.documents import DocumentError, resources_in
from calico_openstack.datamodel import BGPConfiguration, NetworkPolicy, Tier


def test_a_community_stays_text_though_it_looks_like_a_base_60_number() -> None:
    (found,) = resources_in(
        """
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata: {name: default}
spec:
  communities: [{name: a, value: 5663:12}]
  prefixAdvertisements: [{cidr: 10.0.0.0/8, communities: [a]}]
""",
        "x.yaml",
    )
    assert isinstance(found, BGPConfiguration)
    assert found.spec.communities[0].value == "5663:12"


def test_label_values_are_text_whatever_they_look_like() -> None:
    (found,) = resources_in(
        """
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: p, labels: {a: yes, b: 5, c: true}}
spec: {selector: all()}
""",
        "x.yaml",
    )
    assert isinstance(found, NetworkPolicy)
    assert found.metadata.labels.items() >= {("a", "yes"), ("b", "5"), ("c", "true")}
    assert found.metadata.namespace == "default"


def test_documents_lists_and_json_are_read_in_order() -> None:
    tier = '{"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": "%s"}}'
    text = "\n---\n".join(
        [
            tier % "a",
            "# nothing but a comment",
            f'{{"kind": "TierList", "items": [{tier % "b"}]}}',
            f"- {tier % 'c'}\n- {tier % 'd'}",
        ]
    )
    assert [tier.metadata.name for tier in resources_in(text, "x")] == ["a", "b", "c", "d"]
    assert all(isinstance(tier, Tier) for tier in resources_in(text, "x"))


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("kind: Teir", "did you mean Tier?"),
        ("kind: Tier\nmetadata: {name: x}\nspec: {ordr: 5}", "wrong location: spec.ordr"),
        ("kind: Tier\nmetadata: {}", "resource name may not be empty"),
        ("kind: Tier\nmetadata: {name: x, namespace: y}", "Tier is not namespaced"),
        ("kind: Tier\nmetadata: {name: x}\nspec: {order: [1]}", "spec.order"),
        ("kind: NetworkPolicy\nmetadata: {name: x}\nspec: {selector: 'a ='}", "spec.selector"),
        (
            "kind: NetworkPolicy\nmetadata: {name: x}\n"
            "spec: {ingress: [{action: Allow, source: {nets: [10.0.0.1/8]}}]}",
            "spec.ingress[0].source.nets",
        ),
    ],
)
def test_an_error_names_file_document_and_field(document: str, expected: str) -> None:
    with pytest.raises(DocumentError) as caught:
        resources_in(f"apiVersion: projectcalico.org/v3\n{document}", "policies.yaml")
    assert "policies.yaml, document 1" in str(caught.value)
    assert expected in str(caught.value)


def test_what_is_no_yaml_is_refused_with_its_place() -> None:
    with pytest.raises(DocumentError, match=r"x\.yaml: not YAML or JSON"):
        resources_in("a: [", "x.yaml")
