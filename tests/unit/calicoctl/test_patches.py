"""The three kinds of patch, by the examples of their specifications."""

from __future__ import annotations

from typing import Any

import pytest

from calico_openstack.calicoctl.patches import PatchError, json_patch, merge_patch, strategic_patch


# RFC 7396, appendix A.
@pytest.mark.parametrize(
    ("original", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_does_what_the_rfc_says(original: Any, patch: Any, result: Any) -> None:
    assert merge_patch(original, patch) == result


def test_a_strategic_patch_knows_directives() -> None:
    before = {"spec": {"a": {"x": 1}, "b": {"y": 2}, "c": [1]}}
    patch = {"spec": {"a": {"$patch": "replace", "z": 3}, "b": {"$patch": "delete"}, "c": [2]}}
    assert strategic_patch(before, patch) == {"spec": {"a": {"z": 3}, "c": [2]}}
    with pytest.raises(PatchError, match="merge, replace, delete"):
        strategic_patch(before, {"spec": {"$patch": "other"}})


# RFC 6902, appendix A.
@pytest.mark.parametrize(
    ("original", "operation", "result"),
    [
        ({"foo": "bar"}, {"op": "add", "path": "/baz", "value": 1}, {"foo": "bar", "baz": 1}),
        ({"f": ["a", "b"]}, {"op": "add", "path": "/f/1", "value": "q"}, {"f": ["a", "q", "b"]}),
        ({"f": ["a"]}, {"op": "add", "path": "/f/-", "value": ["q"]}, {"f": ["a", ["q"]]}),
        ({"baz": 1, "foo": 2}, {"op": "remove", "path": "/baz"}, {"foo": 2}),
        ({"f": [1, 2, 3]}, {"op": "remove", "path": "/f/1"}, {"f": [1, 3]}),
        ({"baz": 1}, {"op": "replace", "path": "/baz", "value": 2}, {"baz": 2}),
        ({"a": {"b": 1}, "c": {}}, {"op": "move", "from": "/a/b", "path": "/c/d"},
         {"a": {}, "c": {"d": 1}}),
        ({"f": [1, 2, 3]}, {"op": "move", "from": "/f/0", "path": "/f/2"}, {"f": [2, 3, 1]}),
        ({"a": [1]}, {"op": "copy", "from": "/a", "path": "/b"}, {"a": [1], "b": [1]}),
        ({"~1": 10, "/": 9}, {"op": "test", "path": "/~01", "value": 10}, {"~1": 10, "/": 9}),
        ({"a/b": 1}, {"op": "replace", "path": "/a~1b", "value": 2}, {"a/b": 2}),
    ],
)  # fmt: skip
def test_a_json_patch_does_what_the_rfc_says(original: Any, operation: Any, result: Any) -> None:
    assert json_patch(original, [operation]) == result


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        ({"op": "add", "path": "/a/b", "value": 1}, "/a does not exist"),
        ({"op": "add", "path": "/l/9", "value": 1}, "/l/9 does not exist"),
        ({"op": "add", "path": "/l/01", "value": 1}, "/l/01 does not exist"),
        ({"op": "replace", "path": "/l/1", "value": 1}, "/l/1 does not exist"),
        ({"op": "replace", "path": "/l/-", "value": 1}, "/l/- does not exist"),
        ({"op": "remove", "path": "/x"}, "/x does not exist"),
        ({"op": "remove", "path": ""}, "cannot be removed"),
        ({"op": "test", "path": "/n", "value": True}, "another value"),
        ({"op": "add", "path": "/x"}, "no value"),
        ({"op": "add", "path": "x", "value": 1}, "pointer"),
        ({"op": "put", "path": "/x", "value": 1}, "not add"),
        ({"op": "move", "from": "/o", "path": "/o/x"}, "into itself"),
        ("add", "not an object"),
    ],
)
def test_a_json_patch_that_cannot_be_made_says_why(operation: Any, reason: str) -> None:
    document = {"l": [0], "n": 1, "o": {}}
    with pytest.raises(PatchError, match=reason):
        json_patch(document, [operation])
    assert document == {"l": [0], "n": 1, "o": {}}
