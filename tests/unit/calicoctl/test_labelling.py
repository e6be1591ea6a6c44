"""Setting and removing labels."""

from __future__ import annotations

import pytest

from calico_openstack.calicoctl.labelling import LabelError, changed_labels, parse_changes


def test_labels_are_set_updated_and_removed() -> None:
    wanted = parse_changes(["a=1", "b=2=3", "c="], remove=False)
    after, done = changed_labels({"a": "0"}, wanted, overwrite=True)
    assert after == {"a": "1", "b": "2=3", "c": ""}
    assert [change.past for change in done] == ["updated", "set", "set"]
    after, done = changed_labels(after, parse_changes(["a", "c"], remove=True), overwrite=False)
    assert after == {"b": "2=3"}
    assert [change.past for change in done] == ["removed", "removed"]


def test_another_value_needs_to_be_overwritten_on_purpose() -> None:
    wanted = parse_changes(["a=1"], remove=False)
    with pytest.raises(LabelError, match="key a is already present"):
        changed_labels({"a": "0"}, wanted, overwrite=False)
    assert changed_labels({"a": "1"}, wanted, overwrite=False)[0] == {"a": "1"}


def test_what_is_not_there_cannot_be_removed() -> None:
    with pytest.raises(LabelError, match="cannot remove label a"):
        changed_labels({}, parse_changes(["a"], remove=True), overwrite=False)


@pytest.mark.parametrize(("text", "remove"), [("a", False), ("=b", False), ("a=b", True)])
def test_what_is_no_label_is_refused(text: str, remove: bool) -> None:
    with pytest.raises(LabelError):
        parse_changes([text], remove=remove)
