"""The selector language, against the vectors of the specification."""

from __future__ import annotations

import string
from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from calico_openstack.datamodel.selector import (
    Selector,
    SelectorError,
    identifier,
    named_port_uid,
    parse,
)
from calico_openstack.datamodel.selector.nodes import (
    All,
    And,
    Contains,
    EndsWith,
    Equal,
    Global,
    Has,
    In,
    Node,
    Not,
    NotEqual,
    NotIn,
    Or,
    StartsWith,
    value_set,
)
from calico_openstack.datamodel.selector.parser import MAX_DEPTH

labels = st.text(string.ascii_letters + string.digits + "_./-", min_size=1, max_size=12)
# No selector can hold a value with both kinds of quotes.
values = st.text(max_size=8).filter(lambda value: not ("'" in value and '"' in value))
leaves: st.SearchStrategy[Node] = st.one_of(
    st.builds(Has, labels),
    st.builds(Equal, labels, values),
    st.builds(NotEqual, labels, values),
    st.builds(In, labels, st.lists(values, max_size=3).map(value_set)),
    st.builds(NotIn, labels, st.lists(values, max_size=3).map(value_set)),
    st.builds(Contains, labels, values),
    st.builds(StartsWith, labels, values),
    st.builds(EndsWith, labels, values),
    st.just(All()),
    st.just(Global()),
)


def _operators(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    operands = st.lists(inner, min_size=2, max_size=3).map(tuple)
    positive = inner.filter(lambda node: not isinstance(node, Not))
    return st.one_of(st.builds(And, operands), st.builds(Or, operands), st.builds(Not, positive))


trees = st.recursive(leaves, _operators, max_leaves=12)
label_maps = st.dictionaries(labels, values, max_size=4)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("", "all()"),
        (" \t", "all()"),
        ("all( )", "all()"),
        ("global(\t)", "global()"),
        ("! (has( b)||! has(a ))", "!(has(b) || !has(a))"),
        ("a startswith '\"'", "a starts with '\"'"),
        ("a  ends\t with 'x'", 'a ends with "x"'),
        ("a contains''", 'a contains ""'),
        ('a in {"z","x","x"}', 'a in {"x", "z"}'),
        ("a in {'x' , }", 'a in {"x"}'),
        ("a notin{}", "a not in {}"),
        ("a not\t in { }", "a not in {}"),
        ("((((a=='b'))))", 'a == "b"'),
        ("a=='1'&&b=='2'||c=='3'", '((a == "1" && b == "2") || c == "3")'),
        ("(a=='1'&&b=='2')&&c=='3'", '((a == "1" && b == "2") && c == "3")'),
        ("a=='1'&&b=='2'&&c=='3'", '(a == "1" && b == "2" && c == "3")'),
        ("!!a=='b'", 'a == "b"'),
        ("!!!a=='b'", '!a == "b"'),
        ("!(!(has(a)))", "has(a)"),
        ("in == 'x'", 'in == "x"'),
        ("in in {'x'}", 'in in {"x"}'),
        ("not not in {'x'}", 'not not in {"x"}'),
        ("has == 'y'", 'has == "y"'),
        ("all != 'y'", 'all != "y"'),
        ("starts starts with 'y'", 'starts starts with "y"'),
        ("login != 'x'", 'login != "x"'),
        ("a == 'line\nbreak'", 'a == "line\nbreak"'),
        ("a/b.c-d_e == ''", 'a/b.c-d_e == ""'),
    ],
)
def test_canonical_text(text: str, canonical: str) -> None:
    assert parse(text).canonical == canonical
    assert parse(canonical) == parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a b",
        "has (a)",
        "has()",
        "has('a')",
        "all",
        "all(a)",
        "a = 'b'",
        "a == b",
        "a == 'b\"",
        "a ==",
        "== 'b'",
        "!= 'b'",
        "a & b == 'c'",
        "has(a) & has(b)",
        "has(a) | has(b)",
        "has(a) has(b)",
        "has(a) &&",
        "|| has(a)",
        "(has(a)",
        "has(a))",
        "()",
        "!",
        "a in 'b'",
        "a in b",
        "a not in b",
        "a not in 'b'",
        "a not == 'b'",
        "a in {,}",
        "a in {'b' 'c'}",
        "a in {'b',,}",
        "a in {'b'",
        "a contains {'b'}",
        "login {'a'}",
        "a containsx 'b'",
        "\nhas(a)",
        "has(a)\n",
        "has(é)",
        "é == 'x'",
        "a" * 513 + " == 'b'",
        f"has({'a' * 513})",
    ],
)
def test_rejected(text: str) -> None:
    with pytest.raises(SelectorError):
        parse(text)


def test_longest_label() -> None:
    assert parse(f"has({'a' * 512})").matches({"a" * 512: ""})


@pytest.mark.parametrize(
    ("text", "matching", "failing"),
    [
        ("k == 'v'", [{"k": "v"}], [{}, {"k": "w"}]),
        ("k != 'v'", [{}, {"k": "w"}], [{"k": "v"}]),
        ("k in {'v', 'w'}", [{"k": "v"}, {"k": "w"}], [{}, {"k": "x"}]),
        ("k in {}", [], [{}, {"k": ""}]),
        ("k not in {'v'}", [{}, {"k": "w"}], [{"k": "v"}]),
        ("k not in {}", [{}, {"k": "w"}], []),
        ("k contains 'b'", [{"k": "abc"}], [{}, {"k": "ac"}]),
        ("k contains ''", [{"k": ""}], [{}]),
        ("k starts with 'a'", [{"k": "ab"}], [{}, {"k": "ba"}]),
        ("k ends with 'b'", [{"k": "ab"}], [{}, {"k": "ba"}]),
        ("has(k)", [{"k": ""}], [{}, {"l": ""}]),
        ("all()", [{}, {"k": ""}], []),
        ("global()", [{}, {"k": ""}], []),
        ("!has(k)", [{}], [{"k": ""}]),
        ("has(a) && has(b) && has(c)", [{"a": "", "b": "", "c": ""}], [{"a": "", "b": ""}]),
        ("has(a) || has(b) || has(c)", [{"a": ""}, {"c": ""}], [{}, {"d": ""}]),
    ],
)
def test_evaluation(
    text: str, matching: list[Mapping[str, str]], failing: list[Mapping[str, str]]
) -> None:
    selector = parse(text)
    assert all(selector.matches(labels) for labels in matching)
    assert not any(selector.matches(labels) for labels in failing)


@pytest.mark.parametrize(
    ("text", "uid"),
    [
        ("all()", "s:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug"),
        ("!(has(b) || !has(a))", "s:Iss0uCleLYv1GSv_pNm7hAO58kE9jAx1NKyG3Q"),
        ('!(a == "b" && !c != "d")', "s:lh3haoY1ikTRkd4UZu0nWSaIBknYLPJLX16d-w"),
    ],
)
def test_identifiers(text: str, uid: str) -> None:
    assert parse(text).uid == uid


def test_named_port_identifier_hashes_its_parts() -> None:
    uid = parse("all()").uid
    assert named_port_uid(uid, "tcp", "http") == identifier("n", f"{uid},tcp,http")
    assert named_port_uid(uid, "tcp", "http") != named_port_uid(uid, "udp", "http")


@pytest.mark.parametrize(
    ("text", "required"),
    [
        ("a == 'x'", {"a": {"x"}}),
        ("a in {'x', 'y'}", {"a": {"x", "y"}}),
        ("has(a)", {"a": None}),
        ("a contains 'x'", {"a": None}),
        ("a starts with 'x'", {"a": None}),
        ("a ends with 'x'", {"a": None}),
        ("a != 'x'", {}),
        ("a not in {'x'}", {}),
        ("all()", {}),
        ("global()", {}),
        ("!has(a)", {}),
        ("!(a != 'x')", {"a": {"x"}}),
        ("!(a not in {'x', 'y'})", {"a": {"x", "y"}}),
        ("!a == 'x'", {}),
        ("has(a) && b == 'x'", {"a": None, "b": {"x"}}),
        ("a in {'x', 'y'} && a in {'y', 'z'}", {"a": {"y"}}),
        ("has(a) && a == 'x'", {"a": {"x"}}),
        ("a == 'x' && a == 'y'", {"a": set()}),
        ("a == 'x' || a == 'y'", {"a": {"x", "y"}}),
        ("a == 'x' || has(a)", {"a": None}),
        ("a == 'x' || b == 'y'", {}),
        ("(a == 'x' && has(b)) || (a == 'y' && has(c))", {"a": {"x", "y"}}),
        ("(a == 'x' && a == 'y') || b == 'z'", {"b": {"z"}}),
        ("!(a != 'x' || b != 'y')", {"a": {"x"}, "b": {"y"}}),
        ("!(a != 'x' && a != 'y')", {"a": {"x", "y"}}),
    ],
)
def test_required_labels(text: str, required: dict[str, set[str] | None]) -> None:
    assert parse(text).required == required


@given(trees)
@example(Or((And((Has("a"), Has("b"))), Not(And((All(), Global()))))))
def test_canonical_text_parses_back_to_the_same_tree(tree: Node) -> None:
    selector = Selector(tree)
    again = parse(selector.canonical)
    assert again.root == tree
    assert again.canonical == selector.canonical


@given(trees, label_maps)
def test_what_matches_holds_what_is_required(tree: Node, found: dict[str, str]) -> None:
    selector = Selector(tree)
    holds = all(
        label in found and (allowed is None or found[label] in allowed)
        for label, allowed in selector.required.items()
    )
    assert holds or not selector.matches(found)


@given(trees, label_maps)
def test_negation_inverts(tree: Node, found: dict[str, str]) -> None:
    selector = Selector(tree)
    assert parse(f"!({selector.canonical})").matches(found) != selector.matches(found)


@given(trees, label_maps)
def test_prefixed_labels_match_prefixed_maps(tree: Node, found: dict[str, str]) -> None:
    prefixed = Selector(tree).with_label_prefix("pcns.")
    assert prefixed.matches({f"pcns.{k}": v for k, v in found.items()}) == Selector(tree).matches(
        found
    )


@given(st.text(st.sampled_from("ab'\"(){},!=&|. \t\nhasinotcfrwgl") | st.characters(), max_size=60))
def test_any_text_gives_a_selector_or_its_error(text: str) -> None:
    try:
        selector = parse(text)
    except SelectorError as error:
        assert str(error)
    else:
        assert parse(selector.canonical) == selector


@pytest.mark.parametrize(
    "text",
    [
        "(" * 200_000,
        "!" * 200_000,
        "a" * 1_000_000,
        " " * 1_000_000 + "x",
        "x" + " " * 1_000_000,
        "a in {" + "'a'," * 200_000,
        "a == 'b' && " * 100_000,
        "(a == 'b' && " * 1000 + "all()" + ")" * 1000,
        "a == '" + "b" * 1_000_000,
    ],
    ids=lambda text: f"{text[:4]}-{len(text)}",
)
def test_long_and_deep_texts_are_refused(text: str) -> None:
    with pytest.raises(SelectorError) as caught:
        parse(text)
    assert len(str(caught.value)) < 300


def test_long_and_shallow_texts_are_read() -> None:
    assert parse("(" * 50_000 + "has(a)" + ")" * 50_000).canonical == "has(a)"
    assert parse("has(b) || " * 50_000 + "has(a)").matches({"a": ""})


def test_negations_that_vanish_are_not_deep() -> None:
    # As many as fit into a selector of a policy.
    for levels in (338, 339):
        text = "!(" * levels + "has(a)" + ")" * levels
        assert parse(text).canonical == ("!has(a)" if levels % 2 else "has(a)")


def test_deepest_tree_can_be_used() -> None:
    levels = MAX_DEPTH - 1
    selector = parse("(has(a) && " * levels + "has(a)" + ")" * levels)
    assert selector.matches({"a": ""})
    assert selector.required == {"a": None}
    assert parse(selector.canonical) == selector
    with pytest.raises(SelectorError, match="deep"):
        parse(f"(has(a) && {selector.canonical})")
