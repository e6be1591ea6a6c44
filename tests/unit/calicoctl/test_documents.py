"""Reading resources from YAML and JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from calico_openstack.calicoctl.documents import DocumentError, resources_in, value_in
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


@pytest.mark.parametrize(
    "spec",
    [
        "spec:\n  selector: all()\n  ingress: [{action: Deny}]\n  ingress: [{action: Allow}]",
        "spec: {selector: all(), ingress: [{action: Allow, action: Deny}]}",
        "spec: {selector: all()}\nspec: {selector: none == 'a'}",
    ],
)
def test_a_member_that_is_given_twice_is_an_error(spec: str) -> None:
    head = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: x}\n"
    with pytest.raises(DocumentError, match="is given twice"):
        resources_in(head + spec, "x.yaml")


def test_a_member_that_is_given_twice_is_an_error_in_json_too() -> None:
    text = (
        '{"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": "x"}, '
        '"spec": {"order": 1}, "spec": {"order": 2}}'
    )
    with pytest.raises(DocumentError, match="spec is given twice"):
        resources_in(text, "x.json")


@pytest.mark.parametrize(
    "form", [{"ensure_ascii": True}, {"ensure_ascii": False}, {"indent": "\t"}]
)
def test_json_is_read_as_json(form: dict[str, Any]) -> None:
    value = "\U0001f600 \x7f \x85 \u2028"
    tier = {
        "apiVersion": "projectcalico.org/v3",
        "kind": "Tier",
        "metadata": {"name": "x", "annotations": {"a": value}},
    }
    (found,) = resources_in(json.dumps(tier, **form), "x.json")
    assert found.metadata.annotations == {"a": value}


def test_what_is_no_text_or_nested_without_end_is_refused() -> None:
    tier = (
        '{"apiVersion": "projectcalico.org/v3", "kind": "Tier", '
        '"metadata": {"name": "x", "annotations": {"a": "\\ud800"}}}'
    )
    with pytest.raises(DocumentError, match="surrogates not allowed"):
        resources_in(tier, "x.json")
    with pytest.raises(DocumentError, match="nested too deeply"):
        resources_in("[" * 100_000, "x.json")


def test_an_annotation_without_value_is_empty() -> None:
    (found,) = resources_in(
        "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: x, annotations: {a: }}", "x"
    )
    assert found.metadata.annotations == {"a": ""}


def test_one_value_is_one_document() -> None:
    assert value_in("", "patch") is None
    assert value_in("spec: {order: 1}", "patch") == {"spec": {"order": 1}}
    with pytest.raises(DocumentError, match="expected one document, found 2"):
        value_in("a: 1\n---\nb: 2", "patch")
