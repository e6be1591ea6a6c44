"""Strategies that generate JSON in the shape of a struct."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

texts = st.text(max_size=6)
integers = st.integers(-(2**63), 2**63 - 1)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | integers | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def json_of(kind: msgspec.inspect.Type) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one for each type
    """Return a strategy for JSON values that convert to a type."""
    match kind:
        case msgspec.inspect.StrType():
            return texts
        case msgspec.inspect.IntType():
            return integers
        case msgspec.inspect.FloatType():
            return st.floats(allow_nan=False, allow_infinity=False)
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.NoneType():
            return st.none()
        case msgspec.inspect.AnyType():
            # Null in a map is the same as absence.
            return json_values.filter(lambda value: value is not None)
        case msgspec.inspect.DictType(value_type=value):
            return st.dictionaries(texts, json_of(value), max_size=2)
        case msgspec.inspect.VarTupleType(item_type=item):
            return st.lists(json_of(item), max_size=2)
        case msgspec.inspect.UnionType(types=types):
            return st.one_of(*map(json_of, types))
        case msgspec.inspect.StructType(fields=fields):
            required = {f.encode_name: json_of(f.type) for f in fields if f.required}
            optional = {f.encode_name: json_of(f.type) for f in fields if not f.required}
            return st.fixed_dictionaries(required, optional=optional)
    raise AssertionError(f"no strategy for {kind}")
